//! What headers and errors say. Pure.

use super::RegistryError;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, RETRY_AFTER};
use serde::Deserialize;
use std::time::{Duration, SystemTime};

/// Numbers from here on are no seconds to wait but a point in time, as Docker Hub has it.
const EPOCH: u64 = 1_000_000_000;
/// Nobody is left alone for longer, whatever they ask.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How many pulls a registry grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReading {
    /// Whose.
    pub registry: String,
    /// In one window.
    pub limit: u64,
    /// Of these.
    pub remaining: u64,
    /// How long the window is, if it says so.
    pub window: Option<Duration>,
    /// When it said so.
    pub at: Timestamp,
}

/// The value of a header, if it is text.
pub(super) fn text(headers: &HeaderMap, name: impl Into<Name>) -> Option<&str> {
    match name.into() {
        Name::Known(name) => headers.get(name),
        Name::Word(name) => headers.get(name),
    }?
    .to_str()
    .ok()
}

/// A header's name.
pub(super) enum Name {
    Known(HeaderName),
    Word(&'static str),
}

impl From<HeaderName> for Name {
    fn from(name: HeaderName) -> Self {
        Self::Known(name)
    }
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self::Word(name)
    }
}

/// `Retry-After`: seconds, a date (RFC 9110, 10.2.3), or seconds since 1970.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?.trim();
    let until = |then: SystemTime| then.duration_since(now).unwrap_or_default();
    let wait = match value.parse::<u64>() {
        Ok(seconds) if seconds >= EPOCH => until(SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?),
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => until(httpdate::parse_http_date(value).ok()?),
    };
    Some(wait.min(LONGEST))
}

/// `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`.
pub(super) fn rate_limit(headers: &HeaderMap, registry: &str, at: Timestamp) -> Option<LimitReading> {
    let read = |name: &'static str| {
        let mut parts = text(headers, name)?.split([';', ',']).map(str::trim);
        let number = parts.next()?.parse::<u64>().ok()?;
        let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
        Some((number, window.map(Duration::from_secs)))
    };
    let (limit, window) = read("ratelimit-limit")?;
    let (remaining, other) = read("ratelimit-remaining")?;
    Some(LimitReading {
        registry: registry.to_owned(),
        limit,
        remaining,
        window: window.or(other),
        at,
    })
}

/// For people: one line without control characters, of a length that fits a log.
pub(super) fn plain(said: &str) -> String {
    let said = said.split(" (os error ").next().unwrap_or_default();
    said.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a registry says in the body of an error (distribution-spec, "Error Codes"), without these secrets; nothing if
/// it does not say it as registries do.
pub(super) fn complaint(body: &[u8], secrets: &[String]) -> String {
    let Ok(Errors { errors }) = serde_json::from_slice(body) else {
        return String::new();
    };
    let lines = errors.iter().take(3).map(|e| match e.message.as_str() {
        "" => e.code.clone(),
        message if e.code.is_empty() => message.to_owned(),
        message => format!("{}: {message}", e.code),
    });
    let mut text = lines.collect::<Vec<_>>().join("; ");
    for secret in secrets.iter().filter(|s| s.len() > 2) {
        text = text.replace(secret.as_str(), "***");
    }
    plain(&text)
}

/// An answer that is no success, by its status.
pub(super) struct Refusal<'a> {
    /// The registry's name.
    pub registry: &'a str,
    /// What was asked for.
    pub what: &'a str,
    /// Which credentials were used.
    pub tried: String,
    /// Of the answer.
    pub status: u16,
    /// What it says.
    pub said: String,
    /// When it wants to be asked again.
    pub until: Option<Timestamp>,
}

impl Refusal<'_> {
    /// What it means.
    pub fn into_error(self) -> RegistryError {
        let Self {
            tried, status, said, ..
        } = self;
        let (registry, what) = (self.registry.to_owned(), self.what.to_owned());
        match status {
            401 => RegistryError::Unauthorized { registry, tried, said },
            403 => RegistryError::Denied {
                registry,
                what,
                tried,
                said,
            },
            404 => RegistryError::Missing { what, said },
            429 => RegistryError::Throttled {
                registry,
                until: self.until,
            },
            408 | 500..600 => RegistryError::Server { registry, status, said },
            407 => RegistryError::Unreachable {
                registry,
                said: "the proxy wants a login".to_owned(),
            },
            _ if said.is_empty() => RegistryError::Protocol {
                registry,
                said: format!("{status} for {what}"),
            },
            _ => RegistryError::Protocol {
                registry,
                said: format!("{status} for {what}: {said}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap()))
            .collect()
    }

    #[rstest]
    #[case("0", Some(0))]
    #[case(" 7 ", Some(7))]
    #[case("1700000030", Some(30))]
    #[case("1600000000", Some(0))]
    #[case("Tue, 14 Nov 2023 22:14:20 GMT", Some(60))]
    #[case("Tue, 14 Nov 2000 22:14:20 GMT", Some(0))]
    #[case("99999999", Some(86400))]
    #[case("18446744073709551615", None)]
    #[case("-1", None)]
    #[case("soon", None)]
    fn reads_retry_after(#[case] value: &str, #[case] seconds: Option<u64>) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let found = retry_after(&headers(&[("retry-after", value)]), now);
        assert_eq!(found, seconds.map(Duration::from_secs));
    }

    #[rstest]
    #[case("100;w=21600", "76;w=21600", Some((100, 76, Some(21600))))]
    #[case("100", "0", Some((100, 0, None)))]
    #[case("100, 100;w=60", "1", Some((100, 1, Some(60))))]
    #[case("many", "0", None)]
    #[case("1", "-1", None)]
    fn reads_rate_limits(#[case] limit: &str, #[case] remaining: &str, #[case] read: Option<(u64, u64, Option<u64>)>) {
        let all = headers(&[("ratelimit-limit", limit), ("ratelimit-remaining", remaining)]);
        let found = rate_limit(&all, "r", Timestamp::UNIX_EPOCH);
        let found = found.map(|r| (r.limit, r.remaining, r.window.map(|w| w.as_secs())));
        assert_eq!(found, read);
    }

    #[test]
    fn complaints_are_short_and_without_secrets() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no,\nhunter2 may not","detail":1},{"code":"X"}]}"#;
        assert_eq!(complaint(body, &["hunter2".to_owned()]), "DENIED: no, *** may not; X");
        assert_eq!(complaint(b"<html>", &[]), "");
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(9999));
        assert_eq!(complaint(long.as_bytes(), &[]).len(), 300);
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_left(value in "[ -~]{0,40}") {
            let all = headers(&[("retry-after", &value), ("ratelimit-limit", &value), ("ratelimit-remaining", &value)]);
            let wait = retry_after(&all, SystemTime::now());
            prop_assert!(wait.is_none_or(|w| w <= LONGEST));
            let _ = rate_limit(&all, "r", Timestamp::now());
        }
    }
}
