//! Any octets as what an IMAP server says: nothing panics, and what imap-codec accepts is read as it reads it.
#![no_main]

use bounced::source::imap::hear;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let mut rest = octets;
    while let Some((_, taken)) = hear(rest) {
        bounced_fuzz::agree(rest);
        rest = &rest[taken..];
    }
    bounced_fuzz::agree(rest);
});
