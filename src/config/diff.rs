//! What differs between two configs, so that a reload touches only that.
//!
//! Pure. It must never look at a disabled project: for the daemon there is none.

use super::{Config, Project};
use crate::model::ProjectName;
use std::fmt;

/// From one config to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Projects that are new, or enabled again.
    pub added: Vec<ProjectName>,
    /// Projects that are gone, or disabled.
    pub removed: Vec<ProjectName>,
    /// Projects of which anything changed.
    pub changed: Vec<ProjectName>,
    /// Keys at the top of the file that changed.
    pub settings: Vec<&'static str>,
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let Self {
            added,
            removed,
            changed,
            settings,
        } = self;
        added.is_empty() && removed.is_empty() && changed.is_empty() && settings.is_empty()
    }
}

/// Compares two configs.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let mut diff = Diff {
        settings: settings(old, new),
        ..Diff::default()
    };
    for name in old
        .projects
        .keys()
        .chain(new.projects.keys().filter(|n| !old.projects.contains_key(*n)))
    {
        match (enabled(old, name), enabled(new, name)) {
            (None, Some(_)) => diff.added.push(name.clone()),
            (Some(_), None) => diff.removed.push(name.clone()),
            (Some(before), Some(after)) if before != after => diff.changed.push(name.clone()),
            _ => {}
        }
    }
    diff.added.sort();
    diff
}

fn enabled<'a>(config: &'a Config, name: &ProjectName) -> Option<&'a Project> {
    config.projects.get(name).filter(|p| p.enabled)
}

fn settings(old: &Config, new: &Config) -> Vec<&'static str> {
    // Taken apart in full, so that a new setting cannot be forgotten here.
    let Config {
        limit,
        interval,
        workdir,
        engine,
        kaniko,
        registries,
        listen,
        hooks,
        grace,
        poll_timeout,
        poll_size_limit,
        polls_per_host,
        log_limit,
        retry,
        log,
        watch_config,
        projects: _,
    } = old;
    [
        ("limit", *limit != new.limit),
        ("interval", *interval != new.interval),
        ("workdir", *workdir != new.workdir),
        ("engine", *engine != new.engine),
        ("kaniko", *kaniko != new.kaniko),
        ("registries", *registries != new.registries),
        ("listen", *listen != new.listen),
        ("hooks", *hooks != new.hooks),
        ("grace", *grace != new.grace),
        ("poll_timeout", *poll_timeout != new.poll_timeout),
        ("poll_size_limit", *poll_size_limit != new.poll_size_limit),
        ("polls_per_host", *polls_per_host != new.polls_per_host),
        ("log_limit", *log_limit != new.log_limit),
        ("retry", *retry != new.retry),
        ("log_level", log.level != new.log.level),
        ("log_format", log.format != new.log.format),
        ("log_dir", log.dir != new.log.dir),
        ("log_keep", log.keep != new.log.keep),
        ("watch_config", *watch_config != new.watch_config),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

/// One line for the log.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changed");
        }
        let names = |list: &[ProjectName]| list.iter().map(ProjectName::to_string).collect::<Vec<_>>().join(", ");
        let parts = [
            ("added", names(&self.added)),
            ("removed", names(&self.removed)),
            ("changed", names(&self.changed)),
            ("settings", self.settings.join(", ")),
        ];
        let said: Vec<_> = parts
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {names}"))
            .collect();
        f.write_str(&said.join("; "))
    }
}
