//! `http.extraHeader`, as curl takes it (CURLOPT_HTTPHEADER): `Name: value`, `Name;` for one without a value, and
//! `Name:` to leave out one of curl's own.

use super::Header;
use hyper::http::{HeaderName, HeaderValue};

/// They say how the body is sent, or what it is: ours to set, and git's to change if somebody wants it.
const OURS: [&str; 7] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "git-protocol",
    "transfer-encoding",
];

/// `Ok(None)` for one that changes nothing; an error, for people, if only git can do what it means.
pub(super) fn parse(line: &str) -> Result<Option<Header>, String> {
    let (name, value) = match line.split_once(':') {
        Some((name, value)) => (name, value.trim()),
        None => match line.split_once(';') {
            Some((name, rest)) if rest.trim().is_empty() => (name, ""),
            // Curl passes over what is no header.
            _ => return Ok(None),
        },
    };
    let name = name.trim();
    if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
        return Err("http.extraHeader is no header".to_owned());
    }
    if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return Err(format!("http.extraHeader sets {name}"));
    }
    if value.is_empty() && line.contains(':') {
        // Curl would send it for big bodies, and we never.
        return match name.eq_ignore_ascii_case("expect") {
            true => Ok(None),
            false => Err(format!("http.extraHeader leaves out {name}")),
        };
    }
    Ok(Some(Header {
        name: name.to_owned(),
        value: value.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_curl_reads_them() {
        for (line, name, value) in [
            ("Authorization: Bearer a:b", "Authorization", "Bearer a:b"),
            ("X-Tenant:7", "X-Tenant", "7"),
            ("X-Empty;", "X-Empty", ""),
            ("X-Text: \u{e4}", "X-Text", "\u{e4}"),
        ] {
            let header = parse(line).unwrap().unwrap();
            assert_eq!((header.name.as_str(), header.value.as_str()), (name, value), "{line}");
            assert!(value.is_empty() || !format!("{header:?}").contains(value));
        }
        for nothing in ["Expect:", "no header", ""] {
            assert_eq!(parse(nothing), Ok(None), "{nothing}");
        }
        for only_git in [
            "Accept:",
            "content-length: 5",
            "Git-Protocol: version=1",
            "a b: c",
            ": x",
            "X: a\nY: b",
        ] {
            assert!(parse(only_git).is_err(), "{only_git}");
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_can_be_sent(line in "\\PC{0,30}") {
            if let Ok(Some(header)) = parse(&line) {
                prop_assert!(HeaderName::from_bytes(header.name.as_bytes()).is_ok());
                prop_assert!(HeaderValue::from_str(&header.value).is_ok());
            }
        }
    }
}
