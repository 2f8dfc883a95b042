//! What an engine of some version cannot do.
//!
//! Asked before a build, so that it is a clear error and not a build that fails for a flag. Versions are the only
//! thing that is looked at: nothing here starts anything.

use super::probe::EngineInfo;
use crate::config::EngineKind;
use crate::model::Failure;

type Version = (u32, u32, u32);

/// podman: `build --secret` came with buildah 1.21. Our own mark on working containers is one, so that nothing older
/// can be used at all; `--annotation` and `--timestamp` are older than that.
const PODMAN: Version = (3, 2, 0);
/// dockerd: BuildKit, and with it secrets.
const DOCKER_BUILDKIT: Version = (18, 9, 0);
/// dockerd: a BuildKit that heeds SOURCE_DATE_EPOCH (0.11).
const DOCKER_EPOCH: Version = (23, 0, 0);

/// What an engine can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    kind: EngineKind,
    version: String,
    /// Everything that every build needs.
    pub builds: bool,
    /// `RUN --mount=type=secret`. (docker: with BuildKit.)
    pub secrets: bool,
    /// Annotations of the manifest. docker's storage has no manifest to put them into.
    pub annotations: bool,
    /// The same commit on the same bases gives the same digest. docker keeps the times of files as they are.
    pub reproducible: bool,
    /// SOURCE_DATE_EPOCH reaches at least the image's config.
    pub epoch: bool,
}

impl EngineInfo {
    /// What it can do, by its version. One that cannot be read is taken for a new one: distributions have odd ones.
    pub fn features(&self, kind: EngineKind) -> Features {
        let since = |version: Version| numbers(&self.version).is_none_or(|found| found >= version);
        let podman = kind == EngineKind::Podman;
        Features {
            kind,
            version: self.version.clone(),
            builds: !podman || since(PODMAN),
            secrets: since(if podman { PODMAN } else { DOCKER_BUILDKIT }),
            annotations: podman && since(PODMAN),
            reproducible: podman && since(PODMAN),
            epoch: since(if podman { PODMAN } else { DOCKER_EPOCH }),
        }
    }
}

impl Features {
    /// An error if a build cannot be done.
    pub(super) fn check(&self, secrets: bool) -> Result<(), Failure> {
        match self.missing() {
            Some(why) if !self.builds => Err(Failure::errored(format!("build: {why}"))),
            Some(why) if secrets && !self.secrets => Err(Failure::failed(format!("build: {why}"))),
            _ => Ok(()),
        }
    }

    /// What has to be newer, in words; none if nothing has.
    pub fn missing(&self) -> Option<String> {
        let version = &self.version;
        match self.kind {
            EngineKind::Podman if !self.builds => {
                Some(format!("builds need podman {}, and this is {version}", text(PODMAN)))
            }
            EngineKind::Docker if !self.secrets => Some(format!(
                "build secrets need docker {}, and this is {version}",
                text(DOCKER_BUILDKIT)
            )),
            EngineKind::Docker if !self.epoch => Some(format!(
                "source_date_epoch needs docker {}, and this is {version}: times in images are those of the build",
                text(DOCKER_EPOCH)
            )),
            _ => None,
        }
    }
}

fn text((major, minor, _): Version) -> String {
    match (major, minor) {
        // docker's were those of a calendar.
        (17..=20, _) => format!("{major}.{minor:02}"),
        _ => format!("{major}.{minor}"),
    }
}

/// The first version number in a text; what is left out is 0.
pub(super) fn numbers(text: &str) -> Option<Version> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let mut parts = text[start..].split('.').map(|part| {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..end].parse::<u32>().ok()
    });
    let major = parts.next()??;
    Some((
        major,
        parts.next().flatten().unwrap_or(0),
        parts.next().flatten().unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FailureKind;

    #[test]
    fn reads_versions() {
        let table = [
            ("4.3.1", Some((4, 3, 1))),
            ("20.10.24+dfsg1", Some((20, 10, 24))),
            ("v5.0", Some((5, 0, 0))),
            ("5.4.0-rc1", Some((5, 4, 0))),
            ("Kaniko version :  v1.24.0", Some((1, 24, 0))),
            ("7", Some((7, 0, 0))),
            ("dev", None),
            ("", None),
            ("99999999999999999999.1", None),
        ];
        for (said, version) in table {
            assert_eq!(numbers(said), version, "{said}");
        }
    }

    #[test]
    fn old_engines_lack_something_and_say_so() {
        use EngineKind::{Docker, Podman};
        // kind, version, builds, secrets, reproducible, epoch
        let table = [
            (Podman, "3.0.1", false, false, false, false),
            (Podman, "3.2.0", true, true, true, true),
            (Podman, "5.4.2", true, true, true, true),
            (Podman, "dev", true, true, true, true),
            (Docker, "17.12.1-ce", true, false, false, false),
            (Docker, "18.09.0", true, true, false, false),
            (Docker, "20.10.24+dfsg1", true, true, false, false),
            (Docker, "28.2.2", true, true, false, true),
        ];
        for (kind, version, builds, secrets, reproducible, epoch) in table {
            let info = EngineInfo {
                version: version.to_owned(),
                rootless: false,
                graph_root: None,
                run_root: None,
                driver: None,
                runtime: None,
                remote: false,
            };
            let features = info.features(kind);
            let found = (features.builds, features.secrets, features.reproducible, features.epoch);
            assert_eq!(found, (builds, secrets, reproducible, epoch), "{kind:?} {version}");
            assert_eq!(features.missing().is_some(), !builds || !secrets || !epoch, "{version}");
            let checked = features.check(true).map_err(|f| f.kind);
            let expected = match (builds, secrets) {
                (false, _) => Err(FailureKind::Errored),
                (_, false) => Err(FailureKind::Failed),
                _ => Ok(()),
            };
            assert_eq!(checked, expected, "{version}");
            if let Err(failure) = features.check(true) {
                assert!(failure.message.contains(version), "{failure}");
            }
        }
    }

    #[test]
    fn versions_are_written_as_their_makers_do() {
        assert_eq!(text(PODMAN), "3.2");
        assert_eq!(text(DOCKER_BUILDKIT), "18.09");
        assert_eq!(text(DOCKER_EPOCH), "23.0");
    }
}
