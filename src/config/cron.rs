//! When a schedule is due.

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A cron expression of five fields, and a time zone of its own if it names one (`0 4 * * 1 Europe/Berlin`); else the
/// system's counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    tab: Box<Crontab>,
}

/// Why a text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

impl Cron {
    /// Reads an expression.
    pub fn new(text: impl Into<String>) -> Result<Self, CronError> {
        let text = text.into();
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::System;
        match cronexpr::parse_crontab_with(&text, options) {
            Ok(tab) => Ok(Self {
                text,
                tab: Box::new(tab),
            }),
            Err(error) => Err(CronError(error.to_string())),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after this one at which it is due; none if there is no such time.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let next = self.tab.find_next(MakeTimestamp(time)).ok()?;
        Some(next.timestamp())
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl std::fmt::Display for Cron {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Cron {
    type Error = CronError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> String {
        cron.text
    }
}
