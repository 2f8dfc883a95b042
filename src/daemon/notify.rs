//! What systemd is told. Outside of systemd all of it is nothing.

use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// Tells systemd that the loop makes progress, as often as it wants to hear it and no more.
#[derive(Debug)]
pub(super) struct Watchdog {
    every: Option<Duration>,
    last: Instant,
    status: String,
}

impl Watchdog {
    pub fn new() -> Self {
        Self {
            every: sd_notify::watchdog_enabled().map(|timeout| timeout / 3),
            last: Instant::now(),
            status: String::new(),
        }
    }

    /// How long the loop may sleep.
    pub fn patience(&self) -> Duration {
        self.every.unwrap_or(Duration::from_secs(3600))
    }

    /// Called once a turn of the loop, when all that the turn had to do is done.
    pub fn turn(&mut self, status: String) {
        if self.every.is_some_and(|every| self.last.elapsed() >= every) {
            send(&[NotifyState::Watchdog]);
            self.last = Instant::now();
        }
        if status != self.status {
            send(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }
}

pub(super) fn ready() {
    send(&[NotifyState::Ready]);
}

/// Sent before a reload; [`ready`] follows it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic clock for systemd"),
    }
}

/// From here on systemd's stop timeout counts; so a drain, which takes as long as builds do, does not say it.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}
