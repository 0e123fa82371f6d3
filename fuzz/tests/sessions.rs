//! What real servers said in whole sessions, each a file in sessions/: imap-codec and our own reader read it alike.

use std::{fs, path::Path};

use bounced::source::imap::hear;
use bounced_fuzz::agree;

#[test]
fn what_imap_codec_accepts_of_recorded_sessions_is_read_alike() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions");
    let mut sessions = 0;
    for file in fs::read_dir(directory).unwrap() {
        let (path, mut responses, mut accepted) = (file.unwrap().path(), 0, 0);
        let octets = fs::read(&path).unwrap();
        let mut rest = &octets[..];
        while !rest.is_empty() {
            let (_, taken) = hear(rest).unwrap_or_else(|| panic!("{}: broken off", path.display()));
            accepted += usize::from(agree(rest).is_some());
            responses += 1;
            rest = &rest[taken..];
        }
        println!("{}: {responses} responses, of which imap-codec accepts {accepted}", path.display());
        assert!(responses >= 15 && 2 * accepted >= responses, "{}: {accepted} of {responses}", path.display());
        sessions += 1;
    }
    assert!(sessions >= 3, "{sessions} sessions prove little");
}
