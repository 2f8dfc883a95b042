//! When an errored job is tried again.

use crate::config::Retry;
use jiff::Timestamp;
use std::time::Duration;

/// How long to wait after the given number of attempts: the delay, doubled each time, up to the longest.
pub fn backoff(retry: &Retry, attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    retry.delay.saturating_mul(1 << doublings).min(retry.max_delay)
}

/// Whether the wait is over. A time that is further off than the longest wait comes from a clock that has jumped back.
pub(super) fn is_due(not_before: Option<Timestamp>, now: Timestamp, retry: &Retry) -> bool {
    let Some(not_before) = not_before else { return true };
    not_before <= now || not_before > later(now, retry.max_delay)
}

/// A moment after `now`.
pub(super) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest() {
        let retry = Retry {
            attempts: 9,
            delay: Duration::from_secs(30),
            max_delay: Duration::from_secs(1800),
        };
        let waits: Vec<u64> = (1..=8).map(|n| backoff(&retry, n).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1800, 1800]);
        assert_eq!(backoff(&retry, u32::MAX).as_secs(), 1800);
    }

    #[test]
    fn a_clock_that_jumped_back_does_not_hold_a_job_for_years() {
        let retry = Retry {
            attempts: 2,
            delay: Duration::from_secs(30),
            max_delay: Duration::from_secs(60),
        };
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |s| Some(Timestamp::from_second(s).unwrap());
        assert!(is_due(None, now, &retry));
        assert!(is_due(at(1_000_000), now, &retry));
        assert!(!is_due(at(1_000_060), now, &retry));
        assert!(is_due(at(9_000_000), now, &retry));
    }
}
