//! Building one image.

use super::command::{Engine, pass_on};
use super::disk::is_full;
use super::scratch::remove;
use crate::config::{EngineKind, Pull};
use crate::model::{Failure, Step};
use crate::process::{Marker, Runner};
use bstr::ByteSlice;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The start of the id of the secret by which podman's working containers are known as ours.
pub(super) const SECRET: &str = "pipelined-";

/// What to build. Templates are filled in, paths are absolute and without links.
#[derive(Debug, Clone, Copy)]
pub struct BuildRequest<'a> {
    /// From `find_containerfile`.
    pub file: &'a Path,
    /// From `find_context`.
    pub context: &'a Path,
    /// The stage to build; none: the last.
    pub target: Option<&'a str>,
    /// Bases were pulled before; this only says whether a name that could not be resolved may still be fetched.
    pub pull: Pull,
    /// Use the layer cache.
    pub cache: bool,
    /// Only those that the file declares. Values go by environment.
    pub build_args: &'a [(String, OsString)],
    /// Of the image.
    pub labels: &'a BTreeMap<String, String>,
    /// Names in the engine's storage.
    pub tags: &'a [String],
    /// A directory of the job's own for the engine's temporary files; made here, and removed at the end. What a killed
    /// engine leaves there goes with the job's directory.
    pub scratch: &'a Path,
    /// For the whole build.
    pub timeout: Duration,
}

impl Engine {
    /// Builds, and answers with the image's id.
    pub async fn build(&self, runner: &Runner, request: &BuildRequest<'_>) -> Result<String, Failure> {
        let broken =
            |e: std::io::Error| Failure::errored(format!("build: cannot write to {}: {e}", request.scratch.display()));
        remove(request.scratch).map_err(broken)?;
        std::fs::create_dir_all(request.scratch).map_err(broken)?;
        let result = self.build_in(runner, request).await;
        self.remove_scratch(runner, request.scratch).await;
        result
    }

    async fn build_in(&self, runner: &Runner, request: &BuildRequest<'_>) -> Result<String, Failure> {
        let iidfile = request.scratch.join("iid");
        let mut marker = None;
        let mut env: Vec<(OsString, OsString)> = vec![("TMPDIR".into(), request.scratch.into())];
        match self.kind {
            EngineKind::Podman => {
                if !self.info(runner).await?.remote {
                    marker = Some(secret(&runner.marker));
                }
            }
            EngineKind::Docker => {
                if runner.variable("DOCKER_BUILDKIT").is_none() && !self.has_buildx(runner).await? {
                    env.push(("DOCKER_BUILDKIT".into(), "0".into()));
                }
            }
        }
        env.extend(pass_on("--build-arg", request.build_args).1);
        let argv = self.argv(arguments(self.kind, request, &iidfile, marker));
        let runner = runner.with_env(env);
        let code = runner
            .logged(Step::Build, &argv, request.context, request.timeout)
            .await?;
        if code != 0 {
            return Err(self.whose_fault(&runner, request, code).await);
        }
        match std::fs::read_to_string(&iidfile).map(|id| image_id(&id)) {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err(Failure::errored(format!(
                "build: {} is not an image id",
                iidfile.display()
            ))),
            Err(_) => Err(Failure::errored(format!(
                "build: {} exited with 0 and made no image: was it ended by somebody?",
                self.program()
            ))),
        }
    }

    /// A build that failed for want of disk space, or because the engine is gone, is our side's trouble.
    async fn whose_fault(&self, runner: &Runner, request: &BuildRequest<'_>, code: i32) -> Failure {
        let info = self.probe(runner).await;
        let graph_root = info.as_ref().ok().and_then(|i| i.graph_root.clone());
        let places = std::iter::once(request.scratch.to_owned()).chain(graph_root);
        let full = places.into_iter().find(|path| is_full(path));
        match (full, info) {
            (Some(path), _) => Failure::errored(format!("build: the disk of {} is full", path.display())),
            (None, Err(error)) => error.into_failure(),
            (None, Ok(_)) => Failure::failed(format!(
                "build: {} build exited with {code}: see build.log",
                self.program()
            )),
        }
    }

    async fn has_buildx(&self, runner: &Runner) -> Result<bool, Failure> {
        Ok(self.ask(runner, Step::Build, &["buildx", "version"]).await?.success())
    }

    /// Gives an image another name.
    pub async fn tag(&self, runner: &Runner, id: &str, name: &str) -> Result<(), Failure> {
        let answer = self.ask(runner, Step::Build, &["tag", "--", id, name]).await?;
        match answer.success() {
            true => Ok(()),
            false => Err(Failure::errored(format!(
                "build: cannot tag {name}: {}",
                answer.last_words()
            ))),
        }
    }
}

/// podman writes the secrets of a build into the record of each of its working containers. This one is empty, no RUN
/// mounts it, and it is not part of the cache's key. No file of ours: a comma in its path would end the option.
fn secret(marker: &Marker) -> OsString {
    format!("--secret=id={SECRET}{marker},src=/dev/null").into()
}

/// podman takes this option as a line of CSV.
fn list_of_one(option: &str, path: &Path) -> OsString {
    let quoted = path.as_os_str().as_bytes().replace("\"", "\"\"");
    let mut argument = OsString::from(option);
    argument.push("\"");
    argument.push(OsStr::from_bytes(&quoted));
    argument.push("\"");
    argument
}

fn arguments(kind: EngineKind, request: &BuildRequest<'_>, iidfile: &Path, marker: Option<OsString>) -> Vec<OsString> {
    let joined = |option: &str, value: &Path| {
        let mut argument = OsString::from(option);
        argument.push(value);
        argument
    };
    let mut args: Vec<OsString> = vec!["build".into(), "--force-rm".into()];
    args.push(joined("--iidfile=", iidfile));
    args.push(match kind {
        EngineKind::Podman if request.file.as_os_str().as_bytes().find_byteset(b",\"").is_some() => {
            list_of_one("--file=", request.file)
        }
        _ => joined("--file=", request.file),
    });
    if kind == EngineKind::Podman {
        let policy = match request.pull {
            Pull::Never => "never",
            Pull::Newer | Pull::Always | Pull::Missing => "missing",
        };
        args.push(format!("--pull={policy}").into());
    }
    args.extend(marker);
    args.extend(request.target.map(|target| format!("--target={target}").into()));
    args.extend((!request.cache).then(|| "--no-cache".into()));
    args.extend(pass_on("--build-arg", request.build_args).0);
    args.extend(request.labels.iter().map(|(k, v)| format!("--label={k}={v}").into()));
    args.extend(request.tags.iter().map(|tag| format!("--tag={tag}").into()));
    args.push("--".into());
    args.push(request.context.into());
    args
}

/// `sha256:` and 64 digits, the prefix being optional.
fn image_id(text: &str) -> Option<String> {
    let hex = text.trim().trim_start_matches("sha256:");
    (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then(|| format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_out_of_argv_and_nothing_can_pass_for_an_option() {
        let labels = BTreeMap::from([("k".to_owned(), "--v w".to_owned())]);
        let build_args = [("TOKEN".to_owned(), OsString::from("hunter2"))];
        let request = BuildRequest {
            file: Path::new("/b/Containerfile"),
            context: Path::new("/b"),
            target: Some("-x"),
            pull: Pull::Newer,
            cache: false,
            build_args: &build_args,
            labels: &labels,
            tags: &["localhost/a:1".to_owned()],
            scratch: Path::new("/s"),
            timeout: Duration::from_secs(1),
        };
        let args = |kind| {
            let marker = Some(OsString::from("--secret=id=x"));
            let args = arguments(kind, &request, Path::new("/s/iid"), marker);
            args.iter()
                .map(|a| a.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let expected = "build --force-rm --iidfile=/s/iid --file=/b/Containerfile --pull=missing --secret=id=x --target=-x \
                        --no-cache --build-arg=TOKEN --label=k=--v w --tag=localhost/a:1 -- /b";
        assert_eq!(args(EngineKind::Podman), expected);
        assert!(!args(EngineKind::Docker).contains("--pull"));
    }

    #[test]
    fn knows_an_image_id() {
        let hex = "a".repeat(64);
        assert_eq!(image_id(&format!("{hex}\n")), Some(format!("sha256:{hex}")));
        assert_eq!(image_id(&format!("sha256:{hex}")), Some(format!("sha256:{hex}")));
        assert_eq!(image_id(""), None);
    }
}
