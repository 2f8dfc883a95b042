//! How much of something there may be: so many at once, and so many a second.

use std::time::{Duration, Instant};

/// A bucket that fills again by itself.
#[derive(Debug)]
pub(super) struct Bucket {
    size: f64,
    a_second: f64,
    tokens: f64,
    since: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(size: u32, a_second: u32, now: Instant) -> Self {
        Self {
            size: size.into(),
            a_second: a_second.into(),
            tokens: size.into(),
            since: now,
        }
    }

    /// Takes one, or says how long there is none.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.since);
        self.since = now.max(self.since);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.a_second).min(self.size);
        if self.tokens < 1.0 {
            let wait = (1.0 - self.tokens) / self.a_second;
            return Err(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX));
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

/// Says that something goes on, once a minute at most.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
    left_out: u64,
}

/// Between two times that it is said.
const GAP: Duration = Duration::from_secs(60);

impl Seldom {
    /// Whether to say it now, and how often it was not said since the last time.
    pub fn say(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < GAP) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(60, 10, start);
        let taken = |bucket: &mut Bucket, now| (0..1000).filter(|_| bucket.take(now).is_ok()).count();
        assert_eq!(taken(&mut bucket, start), 60);
        let wait = bucket.take(start).unwrap_err();
        assert!((0.05..=0.1).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(1050)), 10);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3600)), 60);
        // Time that goes back gives nothing.
        assert_eq!(taken(&mut bucket, start), 0);
    }

    #[test]
    fn once_a_minute() {
        let start = Instant::now();
        let mut seldom = Seldom::default();
        assert_eq!(seldom.say(start), Some(0));
        let said = (0..59).filter(|second| seldom.say(start + Duration::from_secs(*second)).is_some());
        assert_eq!(said.count(), 0);
        assert_eq!(seldom.say(start + GAP), Some(59));
        assert_eq!(seldom.say(start + 3 * GAP), Some(0));
    }
}
