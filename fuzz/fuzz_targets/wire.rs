//! What a git server sends: advertisements, answers to ls-refs, sections that come in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipelined::git::wire::{Advertisement, ObjectFormat, Section, parse_advertisement, parse_refs};

fuzz_target!(|bytes: &[u8]| {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        if let Ok(list) = parse_refs(bytes, format) {
            assert!(bytes.ends_with(b"0000"), "an answer without its end was taken");
            assert!(list.refs.is_sorted_by(|a, b| a.0 < b.0), "a name twice, or out of order");
            // An answer that was taken is one section, whole and nothing more.
            assert_eq!(Section::default().end(bytes), Ok(Some(bytes.len())));
            assert!(parse_refs(&bytes[..bytes.len() - 1], format).is_err());
        }
    }
    if let Ok(Advertisement::Refs(list)) = parse_advertisement(bytes) {
        assert!(bytes.ends_with(b"0000"), "an advertisement without its end was taken");
        assert!(list.refs.is_sorted_by(|a, b| a.0 < b.0), "a name twice, or out of order");
    }
    // However a section comes, it ends at the same place.
    let whole = Section::default().end(bytes);
    let mut pieces = Section::default();
    let halves = pieces.end(&bytes[..bytes.len() / 2]);
    match halves {
        Ok(None) => assert_eq!(pieces.end(bytes), whole),
        Ok(end) => assert_eq!(Ok(end), whole),
        Err(_) => assert!(whole.is_err()),
    }
});
