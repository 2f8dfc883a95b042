//! What headers and errors say. Pure.

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER};
use std::time::{Duration, SystemTime};

/// Nobody is left alone for longer, whatever they ask.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The value of a header, if it is text.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The media type without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = text(headers, CONTENT_TYPE).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether the body is not the bytes that were meant. We never asked for that.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_ENCODING)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// `Retry-After`: seconds or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let wait = httpdate::parse_http_date(value)
                .ok()?
                .duration_since(now)
                .unwrap_or_default();
            // Whole seconds, as the date has them.
            Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

/// The beginning of a file that `git update-server-info` makes, as a server gives it that knows nothing of git.
pub(super) fn is_dumb(body: &[u8]) -> bool {
    let tab = body.iter().position(|b| *b == b'\t');
    matches!(tab, Some(at @ (40 | 64)) if body[..at].iter().all(u8::is_ascii_hexdigit))
}

/// For people: one line without control characters, and without the number of an errno.
pub(super) fn plain(said: &str) -> String {
    let said = said.split(" (os error ").next().unwrap_or_default();
    said.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn waits() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap() - Duration::from_millis(1500);
        for (value, wait) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(2)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("99999999999", Some(24 * 60 * 60)),
            ("99999999999999999999999999", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let wait = wait.map(Duration::from_secs);
            assert_eq!(retry_after(&headers(RETRY_AFTER, value), now), wait, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn types_and_encodings() {
        for (value, media) in [("Text/HTML; charset=utf-8", "text/html"), ("a/b", "a/b"), ("", "")] {
            assert_eq!(media_type(&headers(CONTENT_TYPE, value)), media);
        }
        assert!(is_encoded(&headers(CONTENT_ENCODING, "gzip")));
        assert!(!is_encoded(&headers(CONTENT_ENCODING, "Identity")));
        assert!(!is_encoded(&HeaderMap::new()));
    }

    #[test]
    fn dumb_servers() {
        let hash = "a".repeat(40);
        assert!(is_dumb(format!("{hash}\trefs/heads/main\n").as_bytes()));
        assert!(is_dumb(format!("{}\trefs/heads/main\n", "b".repeat(64)).as_bytes()));
        for not in ["", "<html>", "\t", &hash, &format!("{hash} refs/heads/main")] {
            assert!(!is_dumb(not.as_bytes()), "{not}");
        }
    }

    #[test]
    fn words_are_plain() {
        assert_eq!(plain("Connection refused (os error 111)"), "Connection refused");
        assert_eq!(plain("a\u{1b}[2J\nb"), "a [2J b");
    }
}
