//! A project that the config has no more, while the references of a wave move that it is a part of.
//!
//! They all move, so that what that needs is on record with the release. Nothing else of the project is done: no callback
//! and no copy.

use crate::config::{EnvLayer, Initial, Project};
use crate::model::{Job, RELEASE_VARIABLES, ReleasePlan};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::Duration;

/// For a question to the engine, which has its own limit beside this.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// Of a job's environment, what a release needs.
pub(super) fn release_variables(env: &[(OsString, OsString)]) -> BTreeMap<String, String> {
    let text = |text: &OsString| text.to_str().map(str::to_owned);
    let all = env.iter().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    all.filter(|(name, _)| RELEASE_VARIABLES.contains(&name.as_str()))
        .collect()
}

/// What is left of the project of a job whose references move.
pub fn leaving(job: &Job, plan: &ReleasePlan) -> Project {
    Project {
        name: job.project.clone(),
        enabled: false,
        interval: TIMEOUT,
        remote: String::new(),
        branches: Vec::new(),
        tags: Vec::new(),
        initial: Initial::None,
        shallow: true,
        submodules: false,
        timeout: TIMEOUT,
        callback_timeout: TIMEOUT,
        env: vec![EnvLayer::Table(plan.env.clone())],
        prepare_callback: None,
        success_callback: None,
        error_callback: None,
        upstreams: BTreeSet::new(),
        images: Vec::new(),
        run: None,
        rsync: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_environment_what_a_release_needs_and_nothing_else() {
        let env = [
            ("HOME", "/a"),
            ("TOKEN", "secret"),
            ("REGISTRY_AUTH_FILE", "/f"),
            ("HOME", "/b"),
        ];
        let env: Vec<(OsString, OsString)> = env.map(|(name, value)| (name.into(), value.into())).into();
        let expected = [("HOME", "/b"), ("REGISTRY_AUTH_FILE", "/f")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(release_variables(&env), expected.into());
    }
}
