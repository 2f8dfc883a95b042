//! When a schedule is due.
//!
//! It exists because the clock on the wall leaps: what it leaps over is due right after, and what it shows twice is due
//! the first time only. It must never hold a schedule that is not due at any time.

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};
use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// The fields of an expression, in their order.
const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];

/// How far is looked ahead in one go, and how often: a leap day on a certain day of the week may take 40 years.
const STEP_YEARS: i64 = 4;
const STEPS: usize = 10;

/// No later time is looked at: calendars end in the year 9999.
const LAST_YEAR: i16 = 9_900;

/// A cron expression of five fields, and a time zone of its own if it names one (`0 4 * * 1 Europe/Berlin`); else the
/// system's counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    /// Of clocks on the wall, whatever zone they hang in.
    tab: Box<Crontab>,
    zone: TimeZone,
}

/// Why a text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It ends too early.
    #[error("it has {0} of the five fields: {list}", list = FIELDS.join(", "))]
    Short(usize),
    /// A field is none.
    #[error("the {field}: {what}")]
    Field {
        /// Which.
        field: &'static str,
        /// In one line.
        what: String,
    },
    /// What comes after the five fields.
    #[error("there is no time zone `{}`", .0.escape_debug())]
    Zone(String),
    /// There is no such day.
    #[error("it is never due")]
    Never,
}

impl Cron {
    /// Reads an expression.
    pub fn new(text: impl AsRef<str>) -> Result<Self, CronError> {
        let words: Vec<&str> = text.as_ref().split_whitespace().collect();
        let Some((fields, zone)) = words.split_at_checked(FIELDS.len()) else {
            return Err(CronError::Short(words.len()));
        };
        for (n, field) in FIELDS.iter().enumerate() {
            // Alone, so that it is known which one is wrong.
            let mut alone = ["*"; FIELDS.len()];
            alone[n] = fields[n];
            tab(&alone).map_err(|what| CronError::Field { field, what })?;
        }
        let cron = Self {
            text: words.join(" "),
            tab: Box::new(tab(fields).map_err(|what| CronError::Field {
                field: "expression",
                what,
            })?),
            zone: match zone {
                [] => TimeZone::system(),
                words => {
                    let name = words.join(" ");
                    let zone = DateTimeParser::new().parse_time_zone(&name);
                    zone.map_err(|_| CronError::Zone(name))?
                }
            },
        };
        match cron.next_shown(DateTime::constant(2000, 1, 1, 0, 0, 0, 0)) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never),
        }
    }

    /// As it was written, with one space between its words.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after this one at which it is due; none only at the end of all calendars.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let mut shown = self.zone.to_datetime(time);
        loop {
            shown = self.next_shown(shown)?;
            // While clocks show an hour for the second time, what they show was due before.
            if let Some(due) = self.when(shown).filter(|due| *due > time) {
                return Some(due);
            }
        }
    }

    /// What clocks show when it is due next.
    fn next_shown(&self, after: DateTime) -> Option<DateTime> {
        let mut from = after.to_zoned(TimeZone::UTC).ok()?;
        for _ in 0..STEPS {
            if from.year() > LAST_YEAR {
                return None;
            }
            match self.tab.find_next(MakeTimestamp(from.timestamp())) {
                Ok(next) => return Some(next.datetime()),
                Err(_) => from = from.checked_add(Span::new().years(STEP_YEARS)).ok()?,
            }
        }
        None
    }

    /// When clocks of its zone show this for the first time; if they leap over it, when they have leapt.
    fn when(&self, shown: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Gap { after, .. } => {
                let before_the_leap = after.to_timestamp(shown).ok()?;
                Some(self.zone.following(before_the_leap).next()?.timestamp())
            }
            AmbiguousOffset::Fold { before: offset, .. } | AmbiguousOffset::Unambiguous { offset } => {
                offset.to_timestamp(shown).ok()
            }
        }
    }
}

/// Reads the five fields; what is wrong in one line.
fn tab(fields: &[&str]) -> Result<Crontab, String> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    cronexpr::parse_crontab_with(&fields.join(" "), options).map_err(|error| {
        // The last line says it, behind a mark that points into the line before.
        let message = error.to_string();
        let last = message.lines().last().unwrap_or_default();
        let what = last.trim_start().trim_start_matches("^ ");
        match what {
            "malformed expression" => "this cannot be read".to_owned(),
            _ => what.replace("..=", " to "),
        }
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The next times, as the zone's clocks show them.
    fn due(cron: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::new(cron).unwrap();
        let next = |time: &Timestamp| cron.next_after(*time);
        std::iter::successors(next(&at(after)), next)
            .take(count)
            .map(|time| time.to_zoned(cron.zone.clone()).strftime("%F %H:%M %z").to_string())
            .collect()
    }

    #[test]
    fn a_zone_of_its_own_counts() {
        for (cron, expected) in [
            ("0 4 * * 1 UTC", "2026-01-05 04:00 +0000"),
            ("0 4 * * 1 Europe/Berlin", "2026-01-05 04:00 +0100"),
            ("0 4 * * 1 America/New_York", "2026-01-05 04:00 -0500"),
            ("  0\t4 * * MON  +02:00 ", "2026-01-05 04:00 +0200"),
        ] {
            assert_eq!(due(cron, "2026-01-01T00:00:00Z", 1), [expected], "{cron}");
        }
        let here = Cron::new("0 4 * * 1").unwrap();
        let next = here.next_after(at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(next.to_zoned(TimeZone::system()).hour(), 4);
    }

    #[test]
    fn the_next_time_is_a_later_one() {
        let cron = "0 4 * * * UTC";
        assert_eq!(due(cron, "2026-01-01T03:59:59.999Z", 1), ["2026-01-01 04:00 +0000"]);
        assert_eq!(due(cron, "2026-01-01T04:00:00Z", 1), ["2026-01-02 04:00 +0000"]);
        assert_eq!(due(cron, "2026-01-01T04:00:00.001Z", 1), ["2026-01-02 04:00 +0000"]);
    }

    #[test]
    fn what_clocks_leap_over_is_due_when_they_have_leapt() {
        // Weekly on the very day: without that, a week would be left out.
        assert_eq!(
            due("30 2 * * 0 Europe/Berlin", "2026-03-25T00:00:00Z", 2),
            ["2026-03-29 03:00 +0200", "2026-04-05 02:30 +0200"]
        );
        assert_eq!(
            due("15,30 2,3 * * * Europe/Berlin", "2026-03-29T00:00:00Z", 3),
            [
                "2026-03-29 03:00 +0200",
                "2026-03-29 03:15 +0200",
                "2026-03-29 03:30 +0200"
            ]
        );
        // They leapt over a whole day.
        assert_eq!(
            due("0 12 * * * Pacific/Apia", "2011-12-29T22:00:00Z", 2),
            ["2011-12-31 00:00 +1400", "2011-12-31 12:00 +1400"]
        );
    }

    #[test]
    fn what_clocks_show_twice_is_due_once() {
        assert_eq!(
            due("30 2 * * * Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"]
        );
        // In the hour that is shown for the second time.
        assert_eq!(
            due("*/20 * * * * Europe/Berlin", "2026-10-25T01:10:00Z", 1),
            ["2026-10-25 03:00 +0100"]
        );
    }

    #[test]
    fn rare_days_are_found() {
        assert_eq!(
            due("0 0 29 2 * UTC", "2096-03-01T00:00:00Z", 1),
            ["2104-02-29 00:00 +0000"]
        );
        // A leap day on a Sunday: 40 years from one to the next, as 2100 has none.
        assert_eq!(
            due("0 0 29 2 */7 UTC", "2088-03-01T00:00:00Z", 1),
            ["2128-02-29 00:00 +0000"]
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (cron, expected) in [
            (
                "",
                "it has 0 of the five fields: minute, hour, day of the month, month, day of the week",
            ),
            (
                "@daily",
                "it has 1 of the five fields: minute, hour, day of the month, month, day of the week",
            ),
            ("60 * * * *", "the minute: value must be in range 0 to 59; found 60"),
            ("* 5-3 * * *", "the hour: range must be in ascending order; found 5-3"),
            ("* * x * *", "the day of the month: this cannot be read"),
            ("* * * FOO *", "the month: this cannot be read"),
            (
                "* * * * 8",
                "the day of the week: value must be in range 0 to 7; found 8",
            ),
            ("H * * * *", "the minute: this cannot be read"),
            ("* * * * * Mars/Base", "there is no time zone `Mars/Base`"),
            ("* * * * * UTC UTC", "there is no time zone `UTC UTC`"),
            ("0 0 4 * * 1", "there is no time zone `1`"),
            ("0 0 30 2 *", "it is never due"),
            ("0 0 31 4,6,9,11 *", "it is never due"),
        ] {
            let error = Cron::new(cron).unwrap_err().to_string();
            assert_eq!(error, expected, "{cron}");
        }
    }

    #[test]
    fn it_comes_back_from_json() {
        let cron = Cron::new("0 4 * * 1 Europe/Berlin").unwrap();
        let json = serde_json::to_string(&cron).unwrap();
        assert_eq!(serde_json::from_str::<Cron>(&json).unwrap(), cron);
        assert!(serde_json::from_str::<Cron>("\"0 0 30 2 *\"").is_err());
    }

    #[test]
    fn calendars_end() {
        let cron = Cron::new("0 4 * * *").unwrap();
        assert_eq!(cron.next_after(Timestamp::MAX), None);
        assert!(cron.next_after(Timestamp::MIN).is_some());
    }

    fn field(range: std::ops::RangeInclusive<u8>) -> impl Strategy<Value = String> {
        let numbers = prop::collection::vec(range, 1..4);
        prop_oneof![
            2 => Just("*".to_owned()),
            1 => Just("*/7".to_owned()),
            3 => numbers.prop_map(|list| list.iter().map(u8::to_string).collect::<Vec<_>>().join(",")),
        ]
    }

    proptest! {
        #[test]
        fn the_next_time_is_the_first_later_one(
            fields in (field(0..=59), field(0..=23), field(1..=28), field(1..=12), field(0..=7)),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]),
            second in 0i64..4_000_000_000,
            nanosecond in 0i32..1_000_000_000,
        ) {
            let (minute, hour, day, month, weekday) = fields;
            let cron = Cron::new(format!("{minute} {hour} {day} {month} {weekday} {zone}")).unwrap();
            let time = Timestamp::new(second, nanosecond).unwrap();
            let next = cron.next_after(time).unwrap();
            prop_assert!(next > time);
            // None in between is left out: from there it is the same one.
            let between = Timestamp::from_second((second + next.as_second()) / 2).unwrap().max(time);
            if between < next {
                prop_assert_eq!(cron.next_after(between), Some(next));
            }
        }

        #[test]
        fn no_text_breaks_it(text in ".{0,40}") {
            if let Err(error) = Cron::new(&text) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
