//! What an answer means: taken, refused for good, or to be tried again. Pure.

use crate::model::{PokeAnswer, PokeError};
use jiff::Timestamp;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// So many characters of an answer are kept.
const KEPT: usize = 500;
/// For an error: one line of a log.
const SAID: usize = 300;

/// What was answered.
pub(super) struct Given {
    pub status: u16,
    /// The begin of its body, without secrets.
    pub body: String,
    pub retry_after: Option<String>,
}

/// What it means.
pub(super) fn judge(given: &Given, now: Timestamp) -> Result<PokeAnswer, PokeError> {
    let status = given.status;
    if (200..300).contains(&status) {
        return Ok(PokeAnswer {
            status,
            text: begin(&given.body, KEPT),
            web_url: web_url(&given.body),
        });
    }
    let said = complaint(&given.body);
    let said = if said.is_empty() { said } else { format!(": {said}") };
    // Those say that it may go better later.
    let rejected = !matches!(status, 408 | 425 | 429 | 500..) && status >= 300;
    let message = match status {
        300..400 => format!("it answers {status} and sends us elsewhere, where no secret may go: write the right url"),
        _ => format!("it answers {status}{said}"),
    };
    let not_before = given.retry_after.as_deref().and_then(|value| retry_after(value, now));
    Err(PokeError {
        rejected,
        message,
        not_before,
    })
}

/// GitLab's page of the pipeline.
fn web_url(body: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(body).ok()?;
    let url = answer.get("web_url")?.as_str()?;
    let is_url = url.starts_with("https://") || url.starts_with("http://");
    let is_plain = !url.contains(|c: char| c.is_control() || c.is_whitespace());
    (is_url && is_plain).then(|| begin(url, KEPT))
}

/// What an answer complains about: GitLab's `message` or `error`, else its begin.
fn complaint(body: &str) -> String {
    let answer: Option<Value> = serde_json::from_str(body).ok();
    let said = answer
        .as_ref()
        .and_then(|a| a.get("message").or_else(|| a.get("error")));
    let said = match said {
        Some(Value::String(said)) => said.clone(),
        Some(other) => other.to_string(),
        None if body.trim_start().starts_with('<') => return String::new(),
        None => body.to_owned(),
    };
    let line: String = said
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    begin(&line, SAID)
}

fn begin(text: &str, count: usize) -> String {
    text.chars().take(count).collect()
}

/// Seconds, or a date.
fn retry_after(value: &str, now: Timestamp) -> Option<Timestamp> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(
            now.saturating_add(Duration::from_secs(seconds))
                .unwrap_or(Timestamp::MAX),
        );
    }
    let then = httpdate::parse_http_date(value).ok()?;
    let since = then.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Timestamp::UNIX_EPOCH.checked_add(since).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn given(status: u16, body: &str, retry_after: Option<&str>) -> Result<PokeAnswer, PokeError> {
        let given = Given {
            status,
            body: body.to_owned(),
            retry_after: retry_after.map(str::to_owned),
        };
        judge(&given, Timestamp::UNIX_EPOCH)
    }

    #[rstest]
    #[case(400, true)]
    #[case(401, true)]
    #[case(403, true)]
    #[case(404, true)]
    #[case(302, true)]
    #[case(408, false)]
    #[case(425, false)]
    #[case(429, false)]
    #[case(500, false)]
    #[case(503, false)]
    #[case(599, false)]
    #[case(100, false)]
    fn some_answers_are_final(#[case] status: u16, #[case] rejected: bool) {
        assert_eq!(given(status, "", None).unwrap_err().rejected, rejected);
    }

    #[test]
    fn what_was_taken_is_kept_in_short() {
        let body = format!(r#"{{"web_url":"https://h/p/1","x":"{}"}}"#, "é".repeat(900));
        let answer = given(201, &body, None).unwrap();
        assert_eq!(answer.web_url.as_deref(), Some("https://h/p/1"));
        assert_eq!(answer.text.chars().count(), KEPT);
        for odd in [r#"{"web_url":"javascript:x"}"#, r#"{"web_url":7}"#, "no json", "[]"] {
            assert_eq!(given(200, odd, None).unwrap().web_url, None, "{odd}");
        }
    }

    #[rstest]
    #[case(r#"{"message":"404 Not Found"}"#, "it answers 404: 404 Not Found")]
    #[case(r#"{"message":{"base":["No stages"]}}"#, r#"it answers 404: {"base":["No stages"]}"#)]
    #[case(r#"{"error":"ref is missing"}"#, "it answers 404: ref is missing")]
    #[case("plain\nwords", "it answers 404: plain words")]
    #[case("<html><body>no", "it answers 404")]
    #[case("", "it answers 404")]
    fn complaints_are_one_line(#[case] body: &str, #[case] message: &str) {
        assert_eq!(given(404, body, None).unwrap_err().message, message);
    }

    #[rstest]
    #[case("120", Some(120))]
    #[case("99999999999999999999", None)]
    #[case("Thu, 01 Jan 1970 00:02:00 GMT", Some(120))]
    #[case("soon", None)]
    #[case("-1", None)]
    fn reads_retry_after(#[case] value: &str, #[case] second: Option<i64>) {
        let error = given(503, "", Some(value)).unwrap_err();
        assert_eq!(error.not_before.map(Timestamp::as_second), second);
    }
}
