//! The reference file is the documentation of the configuration, so it must not drift from the code.

use std::path::Path;

use bounced::config::Config;

#[test]
fn the_reference_file_shows_the_defaults() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/bounced.toml");
    let loaded = Config::load(Some(&reference)).expect("the reference is valid");
    assert_eq!(Config { file: None, ..loaded }, Config::default());
}
