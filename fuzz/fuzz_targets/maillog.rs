//! Any octets as the log of a mail server: nothing panics, and a reader that is handed what another one knew goes on as
//! that one would have.
#![no_main]

use bounced::maillog::{Delivery, Format, Outcome, Reader, ReaderSettings};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

/// After the logs in tests/logs.
const NOW: i64 = 1_795_800_000;

fn reader(format: Format) -> Reader {
    let campaign_headers = vec!["X-Campaign".to_owned()];
    Reader::new(format, ReaderSettings { submission_hosts: Vec::new(), campaign_headers, zone: TimeZone::UTC })
}

fn read(reader: &mut Reader, lines: &[&[u8]]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    lines.iter().for_each(|line| reader.line(line, NOW, &mut deliveries));
    deliveries
}

fuzz_target!(|log: &[u8]| {
    let lines: Vec<_> = log.split(|octet| *octet == b'\n').collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    for format in Format::ALL.iter().copied() {
        let whole = read(&mut reader(format), &lines);
        for delivery in &whole {
            assert!(delivery.recipient.normalised().contains('@') && !delivery.queue_id.is_empty());
            assert!(delivery.outcome != Outcome::Deferred || delivery.at <= NOW + 86_400);
        }
        let mut before = reader(format);
        let mut parts = read(&mut before, first);
        let mut after = reader(format);
        after.load(before.take_changes().into_iter().filter_map(|(id, queued)| Some((id, queued?))));
        parts.extend(read(&mut after, second));
        assert_eq!(parts, whole);
    }
});
