//! However a stream is cut, no secret is left of it, and nothing else is changed.

use super::super::masks::{LONGEST, MaskError, Masks};
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

/// Exactly these patterns, without encodings.
fn exactly(patterns: &[&[u8]]) -> Masks {
    Masks::from_patterns(patterns.iter().map(|p| p.to_vec()).collect()).unwrap()
}

/// What comes out of each chunk, and of the end.
fn cut(masks: &Masks, chunks: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut masker = Masker::new(masks).unwrap();
    let mut outputs = Vec::new();
    for chunk in chunks {
        let mut output = Vec::new();
        masker.take(chunk, &mut |piece| output.extend_from_slice(piece));
        outputs.push(output);
    }
    let mut output = Vec::new();
    masker.end(&mut |piece| output.extend_from_slice(piece));
    outputs.push(output);
    outputs
}

fn whole(masks: &Masks, text: &[u8]) -> Vec<u8> {
    cut(masks, &[text]).concat()
}

/// The plain way: every place of every pattern.
fn reference(patterns: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let mut matches: Vec<(usize, usize)> = Vec::new();
    for pattern in patterns {
        let places = text
            .windows(pattern.len())
            .enumerate()
            .filter(|(_, window)| window == pattern);
        matches.extend(places.map(|(at, _)| (at, at + pattern.len())));
    }
    matches.sort_unstable();
    let (mut output, mut at) = (Vec::new(), 0);
    for (start, end) in matches {
        if start >= at {
            output.extend_from_slice(&text[at..start]);
            output.extend_from_slice(MASK);
        }
        at = at.max(end);
    }
    output.extend_from_slice(&text[at..]);
    output
}

fn contains(text: &[u8], pattern: &[u8]) -> bool {
    text.windows(pattern.len()).any(|window| window == pattern)
}

#[test]
fn patterns_that_begin_end_and_overlap_each_other() {
    for (patterns, text, expected) in [
        (&["abcd", "abcdef"][..], "xabcdefx abcdex", "x***x ***ex"),
        (&["abcd", "cdef"], "abcdef abcd cdef cde", "*** *** *** cde"),
        (&["bcde", "abcdef", "cd"], "abcdeg abcdef", "a***g ***"),
        (&["abab"], "ababab ababx", "*** ***x"),
        (&["abcd"], "abcdabcdabc", "******abc"),
        (&["\u{e4}\u{f6}"], "\u{e4}\u{e4}\u{f6}\u{e4}", "\u{e4}***\u{e4}"),
    ] {
        let masks = exactly(&patterns.iter().map(|p| p.as_bytes()).collect::<Vec<_>>());
        assert_eq!(masks.mask(text), expected);
    }
}

#[test]
fn holds_back_only_what_could_become_a_secret() {
    let masks = exactly(&[b"secre", b"sec", b"recall"]);
    let text =
        |outputs: Vec<Vec<u8>>| -> Vec<String> { outputs.into_iter().map(|o| String::from_utf8(o).unwrap()).collect() };
    let bytes: Vec<&[u8]> = b"as sec!".chunks(1).collect();
    assert_eq!(text(cut(&masks, &bytes)), ["a", "", "s ", "", "", "", "***!", ""]);
    // The mask is out before it is known where what it stands for ends.
    assert_eq!(text(cut(&masks, &[b"secre", b"call", b"."])), ["***", "", ".", ""]);
    assert_eq!(text(cut(&masks, &[b"secre", b"cal."])), ["***", "cal.", ""]);
    // A whole secret that leads nowhere does not wait for more.
    assert_eq!(text(cut(&exactly(&[b"abcd"]), &[b"x abcd", b""])), ["x ***", "", ""]);
}

#[test]
fn every_form_of_a_value_is_found() {
    let value = "hunter2 \"p\u{e4}ss\"/w?rd";
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n}\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END KEY-----\n";
    let masks = Masks::new([value, "abc", "  ", key]).unwrap();
    let base64 = |text: &str| STANDARD.encode(text);
    let wrapped = |columns: usize| {
        let encoded = base64(key).into_bytes();
        let lines: Vec<_> = encoded.chunks(columns).map(String::from_utf8_lossy).collect();
        lines.join("\n")
    };
    for (text, expected) in [
        (value.to_owned(), "***"),
        (base64(value), "***"),
        (base64(value).trim_end_matches('=').to_owned(), "***"),
        (URL_SAFE.encode(value), "***"),
        (serde_json::to_string(value).unwrap(), "\"***\""),
        ("hunter2%20%22p%C3%A4ss%22%2Fw%3Frd".to_owned(), "***"),
        (key.to_owned(), "***\n"),
        ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\r\n}\r\n".to_owned(), "***\r\n}\r\n"),
        ("abc".to_owned(), "abc"),
    ] {
        assert_eq!(masks.mask(&format!("<{text}>")), format!("<{expected}>"), "{text}");
    }
    // What follows the value changes its last character in base64 and no other.
    let followed = masks.mask(&base64(&format!("{value}\n")));
    assert!(
        followed.starts_with("***") && followed.len() <= "***".len() + 4,
        "{followed}"
    );
    for columns in [64, 76] {
        let masked = masks.mask(&wrapped(columns));
        let rest: String = masked.split("***").collect();
        assert!(rest.len() < 16, "{masked}");
    }
    assert_eq!(format!("{masks:?}").split('(').next(), Some("Masks"));
    assert!(!format!("{masks:?}").contains("hunter"));
}

#[test]
fn there_are_limits() {
    let long = |length: usize| vec![b'x'; length];
    assert!(Masks::new([long(10_000)]).is_ok());
    assert_eq!(
        Masks::new([long(LONGEST + 1)]).unwrap_err(),
        MaskError::TooLong(LONGEST + 1)
    );
    // In base64.
    assert_eq!(Masks::new([long(LONGEST)]).unwrap_err(), MaskError::TooLong(LONGEST));
    let many = |count: u32| (0..count).map(|n| format!("value-{n:08}"));
    assert!(Masks::new(many(800)).is_ok());
    assert_eq!(Masks::new(many(100_000)).unwrap_err(), MaskError::TooMany);
    assert!(Masks::new(["a", "bcd", ""]).unwrap().is_empty());
}

/// A few patterns of few letters, so that they overlap, and of any length that the automaton treats in its own way.
fn patterns() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let pattern = proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0xff), Just(b'\n')], 1..7);
    (proptest::collection::vec(pattern, 1..6), any::<bool>()).prop_map(|(mut patterns, compact)| {
        if compact {
            patterns.push(vec![0; 5000]);
        }
        patterns
    })
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(
        prop_oneof![Just(b'a'), Just(b'b'), Just(0xff), Just(b'\n'), Just(0)],
        0..60,
    )
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_and_no_secret_is_left(patterns in patterns(), chunks in proptest::collection::vec(text(), 0..8)) {
        let masks = Masks::from_patterns(patterns.clone()).unwrap();
        let text = chunks.concat();
        let expected = reference(&patterns, &text);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(&cut(&masks, &chunks).concat(), &expected);
        prop_assert_eq!(&whole(&masks, &text), &expected);
        prop_assert_eq!(&cut(&masks, &text.chunks(1).collect::<Vec<_>>()).concat(), &expected);
        for pattern in &patterns {
            prop_assert!(!contains(&expected, pattern));
        }
    }

    #[test]
    fn a_secret_never_waits_and_is_never_seen(secret in "[ab]{4,8}", chunks in proptest::collection::vec(text(), 0..8)) {
        let masks = exactly(&[secret.as_bytes()]);
        let (mut masker, mut read, mut output) = (Masker::new(&masks).unwrap(), Vec::new(), Vec::new());
        for chunk in &chunks {
            masker.take(chunk, &mut |piece| output.extend_from_slice(piece));
            read.extend_from_slice(chunk);
            // What is held is the longest end that begins the secret.
            let open = (0..secret.len()).rev().find(|n| read.ends_with(&secret.as_bytes()[..*n])).unwrap();
            prop_assert_eq!(masker.held.len(), open);
            prop_assert!(!contains(&output, secret.as_bytes()));
        }
    }

    #[test]
    fn text_without_secrets_is_as_it_was(text in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(whole(&exactly(&[b"0123456789abcdef0123"]), &text), text);
    }
}
