//! Times as people say them.

use jiff::{Timestamp, Unit};
use std::time::Duration;

/// How long ago, in one unit: `12s`, `5m`, `3h`, `2d`.
pub(super) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_millisecond().saturating_sub(then.as_millisecond()).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `5m ago`, or `just now`.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    match age(then, now).as_str() {
        "0s" => "just now".to_owned(),
        age => format!("{age} ago"),
    }
}

/// `in 5m`, or `now`.
pub(super) fn until(then: Timestamp, now: Timestamp) -> String {
    match age(now, then).as_str() {
        "0s" => "now".to_owned(),
        wait => format!("in {wait}"),
    }
}

/// From one to the other; nothing if that is backwards.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    let millis = to.as_millisecond().saturating_sub(from.as_millisecond());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// How long it took: `0.4s`, `12s`, `1m 5s`, `2h 3m`.
pub(super) fn span(length: Duration) -> String {
    let millis = length.as_millis();
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{}s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A moment in whole seconds, UTC.
pub(super) fn moment(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_say_them() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let ages: Vec<String> = [0, 59_000, 60_000, 7_200_000, 400_000_000]
            .into_iter()
            .map(|t| age(at(0), at(t)))
            .collect();
        assert_eq!(ages, ["0s", "59s", "1m", "2h", "4d"]);
        assert_eq!(age(at(5000), at(0)), "0s");
        assert_eq!(until(at(120_900), at(0)), "in 2m");
        assert_eq!(until(at(0), at(5000)), "now");
        assert_eq!(span(between(at(0), at(450))), "0.4s");
        assert_eq!(span(between(at(0), at(65_000))), "1m 5s");
        assert_eq!(span(between(at(0), at(7_380_000))), "2h 3m");
        assert_eq!(span(between(at(450), at(0))), "0.0s");
        assert_eq!(moment(at(1_500)), "1970-01-01T00:00:02Z");
    }
}
