//! When checks are made again: spread over their interval, and less and less often while they fail.

use super::retry::later;
use crate::model::{Check, CheckError, CheckTrouble, Compared, Digest, Look, Timestamped};
use jiff::Timestamp;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The wait after the first failure of a check, if it is not made more often anyway.
const FIRST_BACKOFF: Duration = Duration::from_secs(60);
/// The longest wait for a check that fails.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60 * 60);
/// The longest time that a registry may ask to be left alone.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
/// A check that fails waits for at most so many of its intervals.
const MOST_INTERVALS: u32 = 10;

/// An interval after a time, a tenth more or less: by what it is for, so that not all come at once.
pub(super) fn spread(after: Timestamp, every: Duration, seed: &impl Hash) -> Timestamp {
    let mut hasher = DefaultHasher::new();
    (seed, after.as_millisecond()).hash(&mut hasher);
    let share = 0.9 + 0.2 * (hasher.finish() % 1024) as f64 / 1024.0;
    // A product that is no duration is later than all times.
    let wait = Duration::try_from_secs_f64(every.as_secs_f64() * share).unwrap_or(Duration::MAX);
    rounded(later(after, wait))
}

/// As the record has it.
pub(super) fn rounded(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// When a check is due: as was planned when it was made, or earlier if it is to be made more often by now. What fails waits
/// as it was told to.
pub(super) fn due<T: Timestamped>(check: &Check<T>, every: Duration, seed: &impl Hash) -> Timestamp {
    match &check.last {
        Some(last) if check.trouble.is_none() => check.next.min(spread(last.checked(), every, seed)),
        _ => check.next,
    }
}

/// When a check that has failed is made again.
fn again(trouble: &CheckTrouble, every: Duration, error: &CheckError, now: Timestamp) -> Timestamp {
    let first = every.min(FIRST_BACKOFF);
    let longest = every.saturating_mul(MOST_INTERVALS).min(LONGEST_BACKOFF).max(first);
    let doublings = trouble.failures.saturating_sub(1).min(31);
    let wait = first.saturating_mul(1 << doublings).min(longest);
    let next = later(now, wait);
    let longest = later(now, LONGEST_PAUSE);
    rounded(
        error
            .not_before
            .map_or(next, |not_before| next.max(not_before.min(longest))),
    )
}

/// A time for a check that is further off than any wait for it comes from a clock that has jumped back.
pub(super) fn sane(at: Timestamp, every: Duration, now: Timestamp) -> Timestamp {
    let longest = later(now, every.saturating_mul(2).max(LONGEST_PAUSE));
    if at > longest { now } else { at }
}

/// What becomes of a check: `last` is what the answer says, with when to ask next.
pub(super) fn taken<T: Clone>(
    before: Option<&Check<T>>,
    answer: Result<(T, Timestamp), CheckError>,
    every: Duration,
    now: Timestamp,
) -> Check<T> {
    match answer {
        Ok((last, next)) => Check {
            last: Some(last),
            trouble: None,
            next,
        },
        Err(error) => {
            let earlier = before.and_then(|check| check.trouble.as_ref());
            let trouble = CheckTrouble {
                since: earlier.map_or(now, |trouble| trouble.since),
                failures: earlier.map_or(0, |trouble| trouble.failures).saturating_add(1),
                error: error.message.clone(),
            };
            Check {
                last: before.and_then(|check| check.last.clone()),
                next: again(&trouble, every, &error, now),
                trouble: Some(trouble),
            }
        }
    }
}

/// A check that was made by hand, outside of the planner's own times.
pub fn answered<T: Clone>(before: Option<&Check<T>>, answer: Result<T, CheckError>, now: Timestamp) -> Check<T> {
    let next = before.map_or(now, |check| check.next);
    taken(before, answer.map(|last| (last, next)), Duration::ZERO, now)
}

/// A look at a base, with when it was seen there first.
pub fn look(before: Option<&Look>, head: Digest, compared: Vec<Compared>, now: Timestamp) -> Look {
    Look {
        since: before.filter(|look| look.head == head).map_or(now, |look| look.since),
        head,
        checked: now,
        compared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Elsewhere;

    #[test]
    fn a_shorter_interval_holds_at_once_and_a_longer_one_from_the_next_time_on() {
        const HOUR: Duration = Duration::from_secs(3600);
        let now = Timestamp::UNIX_EPOCH + 1000 * HOUR;
        let seed = "seed".to_owned();
        let next = spread(now, 6 * HOUR, &seed);
        let last = Some(Elsewhere {
            checked: now,
            found: None,
        });
        let mut check = Check {
            last,
            trouble: None,
            next,
        };
        assert_eq!(due(&check, 6 * HOUR, &seed), next);
        assert_eq!(due(&check, 12 * HOUR, &seed), next);
        let sooner = due(&check, HOUR, &seed);
        assert_eq!(sooner, spread(now, HOUR, &seed));
        assert!(sooner < later(now, 2 * HOUR));
        // A registry may have said when it wants to be asked again.
        check.trouble = Some(CheckTrouble {
            since: now,
            failures: 1,
            error: "throttled".to_owned(),
        });
        assert_eq!(due(&check, HOUR, &seed), next);
    }
}
