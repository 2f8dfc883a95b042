//! What is written in an image's `update`, and its `schedule`.
//!
//! It must never fill in a default, and never look at another key.

use super::keys::UPDATE;
use super::notes::Notes;
use super::reader::{At, Node, Table, wrong_type};
use super::text::{self, Mistake};
use super::values::{boolean, command, duration, kept, parsed, patterns, positive, refuse};
use super::{Cron, CronError, PackageCheck, Pattern};
use std::time::Duration;
use toml::de::DeValue;

/// Jitter of less than that is none, and no registry wants to be asked more often.
const SHORTEST: Duration = Duration::from_secs(1);

/// `update`
#[derive(Debug, Clone, Default)]
pub(super) struct RawUpdate {
    pub(super) base: Option<At<bool>>,
    pub(super) packages: Option<At<PackageCheck>>,
    pub(super) every: Option<Duration>,
    pub(super) quiet: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) network: Option<String>,
    pub(super) tags: Option<At<Vec<Pattern>>>,
}

impl RawUpdate {
    pub(super) fn read<'a>(node: &'a Node<'a>, notes: &'a Notes<'a>) -> Option<Self> {
        let table = Table::open(node, UPDATE, notes)?;
        Some(Self {
            base: table.read_at("base", boolean),
            packages: table.read_at("packages", packages),
            every: table.read("every", every),
            quiet: table.read("quiet", duration),
            timeout: table.read("timeout", positive),
            network: table.read("network", |n, notes| parsed(n, notes, text::word)),
            tags: table.read_at("tags", patterns),
        })
    }
}

fn every(node: &Node<'_>, notes: &Notes<'_>) -> Option<Duration> {
    let every = duration(node, notes)?;
    let mistake = || {
        Mistake::new("a check may be made once a second at most")
            .help("registries count what they are asked: some hours are enough")
    };
    let fine = if every < SHORTEST { Err(mistake()) } else { Ok(every) };
    kept(fine, node, notes)
}

/// `"auto"`, a command, or `false`.
fn packages(node: &Node<'_>, notes: &Notes<'_>) -> Option<PackageCheck> {
    match node.get_ref() {
        DeValue::Boolean(false) => Some(PackageCheck::Off),
        DeValue::Boolean(true) => {
            let mistake = Mistake::new("expected \"auto\", a command or false")
                .help("write \"auto\" to ask the image's own package manager");
            refuse(node.span(), mistake, notes)
        }
        DeValue::String(word) => match word.trim() {
            "auto" => Some(PackageCheck::Auto),
            // Each could be a program; none is what was meant.
            "false" | "no" | "off" | "none" | "never" => {
                let mistake = Mistake::new("this would be run as a command").help("write false, without quotes");
                refuse(node.span(), mistake, notes)
            }
            word if word.eq_ignore_ascii_case("auto") || word == "true" => {
                let mistake = Mistake::new("this would be run as a command").help("write \"auto\"");
                refuse(node.span(), mistake, notes)
            }
            _ => command(node, notes).map(PackageCheck::Command),
        },
        DeValue::Array(_) => command(node, notes).map(PackageCheck::Command),
        _ => wrong_type(node, notes, "\"auto\", a command or false"),
    }
}

/// A cron expression, or `false` where `[defaults.image]` has one.
pub(super) fn schedule(node: &Node<'_>, notes: &Notes<'_>) -> Option<Option<Cron>> {
    match node.get_ref() {
        DeValue::Boolean(false) => Some(None),
        DeValue::String(_) => parsed(node, notes, cron).map(Some),
        _ => wrong_type(node, notes, "a cron expression or false"),
    }
}

fn cron(text: &str) -> Result<Cron, Mistake> {
    Cron::new(text).map_err(|error| {
        let help = match &error {
            CronError::Zone(_) => {
                "after the five fields may come a name of the tz database, as in \"0 4 * * 1 Europe/Berlin\""
            }
            CronError::Never => "no calendar has such a day",
            CronError::Short(_) | CronError::Field { .. } => {
                "write minute, hour, day of the month, month, day of the week: \"0 4 * * 1\" is Mondays at four"
            }
        };
        Mistake::new(format!("not a schedule: {error}")).help(help)
    })
}
