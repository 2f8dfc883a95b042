//! A DOCKER_CONFIG for one command, which has other credentials than the user's.
//!
//! docker has no option for credentials, only this directory, and there is more in it: contexts, plugins, proxies.
//! All of that must go on working, so it is taken over; only what tells credentials is replaced.

use crate::model::{Failure, Step};
use crate::process::Runner;
use serde_json::{Map, Value};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

/// What tells credentials in config.json.
const CREDENTIALS: [&str; 3] = ["auths", "credHelpers", "credsStore"];
/// Directories beside it that docker looks into.
const BESIDE: [&str; 2] = ["contexts", "cli-plugins"];

/// Makes the directory, readable for us only.
pub(super) fn make(runner: &Runner, step: Step, scratch: &Path, authfile: &Path) -> Result<PathBuf, Failure> {
    let dir = scratch.join("docker");
    let own = own_dir(runner);
    let given = std::fs::read(authfile)
        .map_err(|e| Failure::errored(format!("{step}: cannot read {}: {e}", authfile.display())))?;
    let users = own
        .as_ref()
        .and_then(|own| std::fs::read(own.join("config.json")).ok())
        .unwrap_or_default();
    let Some(merged) = merge(&users, &given) else {
        return Err(Failure::errored(format!(
            "{step}: {} is no JSON object: it should look like containers' auth.json",
            authfile.display()
        )));
    };
    write(&dir, own.as_deref(), &merged)
        .map_err(|e| Failure::errored(format!("{step}: cannot write to {}: {e}", dir.display())))?;
    Ok(dir)
}

fn own_dir(runner: &Runner) -> Option<PathBuf> {
    let variable = |name: &str| runner.variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    variable("DOCKER_CONFIG").or_else(|| variable("HOME").map(|home| home.join(".docker")))
}

fn write(dir: &Path, own: Option<&Path>, config: &str) -> std::io::Result<()> {
    super::scratch::remove(dir)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(dir.join("config.json"))?;
    file.write_all(config.as_bytes())?;
    for name in BESIDE {
        if let Some(target) = own.map(|own| own.join(name)).filter(|target| target.is_dir()) {
            symlink(target.canonicalize()?, dir.join(name))?;
        }
    }
    Ok(())
}

/// The user's settings with the given credentials. A config of the user's that cannot be read is not taken over, as
/// docker itself would only warn of it.
fn merge(users: &[u8], given: &[u8]) -> Option<String> {
    let given: Map<String, Value> = serde_json::from_slice(given).ok()?;
    let mut merged: Map<String, Value> = serde_json::from_slice(users).unwrap_or_default();
    for key in CREDENTIALS {
        merged.remove(key);
        if let Some(value) = given.get(key) {
            merged.insert(key.to_owned(), value.clone());
        }
    }
    serde_json::to_string(&merged).ok()
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn credentials_are_replaced_and_the_rest_stays() {
        let users = br#"{"auths":{"old":{}},"credsStore":"x","currentContext":"far","proxies":{"a":1}}"#;
        let given = br#"{"auths":{"new":{"auth":"eA=="}},"currentContext":"other"}"#;
        let merged: serde_json::Value = serde_json::from_str(&merge(users, given).unwrap()).unwrap();
        let expected = serde_json::json!({
            "auths": {"new": {"auth": "eA=="}}, "currentContext": "far", "proxies": {"a": 1}
        });
        assert_eq!(merged, expected);
        assert_eq!(merge(b"nonsense", b"{}").unwrap(), "{}");
        assert_eq!(merge(b"{}", b"[]"), None);
    }
}
