//! Building one image.

use super::access::authfile;
use super::builder::Builder;
use super::command::{Engine, pass_on};
use super::disk::is_full;
use super::inspect::digest;
use super::scratch::remove;
use super::{docker_config, ignore};
use crate::config::{EngineKind, Pull};
use crate::model::{Digest, Failure, Step};
use crate::process::{Marker, Runner};
use bstr::ByteSlice;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What builders take the time from.
const EPOCH: &str = "SOURCE_DATE_EPOCH";
/// The start of the id of the secret by which podman's working containers are known as ours.
pub(super) const SECRET: &str = "pipelined-";

/// What to build. Templates are filled in, paths are absolute and without links.
#[derive(Debug, Clone, Copy)]
pub struct BuildRequest<'a> {
    /// What is built: from `find_containerfile`, or a file of ours that was made of it.
    pub file: &'a Path,
    /// What `file` was made of, if it is one of ours: the ignore file beside this one is heeded.
    pub original: Option<&'a Path>,
    /// From `find_context`.
    pub context: &'a Path,
    /// The stage to build; none: the last.
    pub target: Option<&'a str>,
    /// Bases were pulled before; this only says whether a name that could not be resolved may still be fetched.
    pub pull: Pull,
    /// Use the layer cache.
    pub cache: bool,
    /// Only those that the file declares (SOURCE_DATE_EPOCH, too, if it does). Values go by environment.
    pub build_args: &'a [(String, OsString)],
    /// Files that `RUN --mount=type=secret,id=NAME` may read, by their names.
    pub secrets: &'a [(String, PathBuf)],
    /// Of the image, beside those in `file`.
    pub labels: &'a BTreeMap<String, String>,
    /// Of the manifest; podman only.
    pub annotations: &'a BTreeMap<String, String>,
    /// Times in the image are this one, in seconds since 1970, as far as the engine can do that.
    pub timestamp: Option<i64>,
    /// Credentials for what may still be fetched; none: the engine's own.
    pub authfile: Option<&'a Path>,
    /// Names in the engine's storage.
    pub tags: &'a [String],
    /// A directory of the job's own for the engine's temporary files; made here, and removed at the end. What a killed
    /// engine leaves there goes with the job's directory.
    pub scratch: &'a Path,
    /// For the whole build.
    pub timeout: Duration,
}

impl Engine {
    /// Whether labels cost less in the file. Seen with podman 4.3: each `--label` is an instruction with a commit of its
    /// own, and where the target is not the file's last stage, one that is in the cache keeps the labels that it had. The
    /// builders of docker put all of them into one step, or none.
    pub fn labels_by_instruction(&self) -> bool {
        self.kind == EngineKind::Podman
    }

    /// Builds, and answers with the image's id.
    pub async fn build(&self, runner: &Runner, request: &BuildRequest<'_>) -> Result<Digest, Failure> {
        let features = self.info(runner).await?.features(self.kind);
        features.check(!request.secrets.is_empty())?;
        check_secrets(request.secrets)?;
        let broken =
            |e: std::io::Error| Failure::errored(format!("build: cannot write to {}: {e}", request.scratch.display()));
        remove(request.scratch).map_err(broken)?;
        std::fs::create_dir_all(request.scratch).map_err(broken)?;
        let result = self.build_in(runner, request).await;
        self.remove_scratch(runner, request.scratch).await;
        result
    }

    async fn build_in(&self, runner: &Runner, request: &BuildRequest<'_>) -> Result<Digest, Failure> {
        let iidfile = request.scratch.join("iid");
        let mut options: Vec<OsString> = Vec::new();
        let mut env: Vec<(OsString, OsString)> = vec![("TMPDIR".into(), request.scratch.into())];
        match self.kind {
            EngineKind::Podman => {
                if !self.info(runner).await?.remote {
                    options.push(secret(&runner.marker));
                }
                if request.timestamp.is_some() && request.cache {
                    runner.note(
                        Step::Build,
                        "source_date_epoch: without the layer cache, which has layers with other times",
                    );
                }
                options.extend(request.original.and_then(ignore::podman));
            }
            EngineKind::Docker => {
                let needed = !request.secrets.is_empty() || request.timestamp.is_some();
                let builder = self.builder(runner, needed).await?;
                self.for_docker(runner, request, builder, &mut options, &mut env)
                    .await?;
            }
        }
        env.extend(pass_on("--build-arg", request.build_args).1);
        let argv = self.argv(arguments(self.kind, request, &iidfile, options));
        let code = runner
            .with_env(env)
            .logged(Step::Build, &argv, request.context, request.timeout)
            .await?;
        if code != 0 {
            return Err(self.whose_fault(runner, request, code).await);
        }
        match std::fs::read_to_string(&iidfile).map(|id| digest(&id)) {
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

    /// What docker is told in its own way.
    async fn for_docker(
        &self,
        runner: &Runner,
        request: &BuildRequest<'_>,
        builder: Builder,
        options: &mut Vec<OsString>,
        env: &mut Vec<(OsString, OsString)>,
    ) -> Result<(), Failure> {
        let classic = builder == Builder::Classic;
        if classic && !request.secrets.is_empty() {
            return Err(Failure::failed(
                "build: docker's classic builder has no build secrets: install buildx",
            ));
        }
        // Whoever has set it has been heeded.
        if runner.variable("DOCKER_BUILDKIT").is_none_or(|v| v.is_empty()) {
            let value = if classic { "0" } else { "1" };
            env.push(("DOCKER_BUILDKIT".into(), value.into()));
        }
        if let Some(timestamp) = request.timestamp {
            let features = self.info(runner).await?.features(self.kind);
            let cannot = match features.missing().filter(|_| !features.epoch) {
                _ if classic => {
                    "source_date_epoch: docker's classic builder cannot set times: install buildx".to_owned()
                }
                Some(missing) => missing,
                None => "source_date_epoch: docker sets the times of the image, and files keep theirs: two builds may \
                         have different digests"
                    .to_owned(),
            };
            runner.note(Step::Build, &cannot);
            // BuildKit knows it, declared or not.
            if !classic && request.build_args.iter().all(|(name, _)| name != EPOCH) {
                options.push(format!("--build-arg={EPOCH}={timestamp}").into());
            }
        }
        if let Some(authfile) = request.authfile {
            let dir = docker_config::make(runner, Step::Build, request.scratch, authfile)?;
            env.push(("DOCKER_CONFIG".into(), dir.into()));
        }
        if let Some(original) = request.original {
            // The classic builder heeds the context's only, for every file.
            ignore::copy_beside(original, request.file)
                .map_err(|e| Failure::errored(format!("build: cannot write beside {}: {e}", request.file.display())))?;
        }
        Ok(())
    }

    /// Gives an image another name.
    pub async fn tag(&self, runner: &Runner, step: Step, id: &str, name: &str) -> Result<(), Failure> {
        let answer = self.ask(runner, step, &["tag", "--", id, name]).await?;
        match answer.success() {
            true => Ok(()),
            false => Err(Failure::errored(format!(
                "{step}: cannot tag {name}: {}",
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

/// Both engines take the option as a list with commas.
fn check_secrets(secrets: &[(String, PathBuf)]) -> Result<(), Failure> {
    let odd = secrets
        .iter()
        .find(|(_, path)| path.as_os_str().as_bytes().find_byteset(b",\"").is_some());
    match odd {
        Some((name, path)) => Err(Failure::failed(format!(
            "build: the file of the secret {name} has a comma or a quote in its path, which engines cannot take: {}",
            path.display()
        ))),
        None => Ok(()),
    }
}

fn arguments(kind: EngineKind, request: &BuildRequest<'_>, iidfile: &Path, options: Vec<OsString>) -> Vec<OsString> {
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
        args.extend(request.authfile.map(authfile));
        args.extend(request.timestamp.map(|t| format!("--timestamp={t}").into()));
        args.extend(
            request
                .annotations
                .iter()
                .map(|(k, v)| format!("--annotation={k}={v}").into()),
        );
    }
    args.extend(options);
    for (name, path) in request.secrets {
        args.push(joined(&format!("--secret=id={name},src="), path));
    }
    args.extend(request.target.map(|target| format!("--target={target}").into()));
    // Seen with podman 4.3: a layer in the cache is used whatever times it has, so that the digest would depend on what
    // was built before. Without the cache `--timestamp` leaves nothing that varies.
    let fixed = kind == EngineKind::Podman && request.timestamp.is_some();
    args.extend((!request.cache || fixed).then(|| "--no-cache".into()));
    args.extend(pass_on("--build-arg", request.build_args).0);
    args.extend(request.labels.iter().map(|(k, v)| format!("--label={k}={v}").into()));
    args.extend(request.tags.iter().map(|tag| format!("--tag={tag}").into()));
    args.push("--".into());
    args.push(request.context.into());
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_out_of_argv_and_nothing_can_pass_for_an_option() {
        let labels = BTreeMap::from([("k".to_owned(), "--v w".to_owned())]);
        let build_args = [("TOKEN".to_owned(), OsString::from("hunter2"))];
        let secrets = [("S".to_owned(), PathBuf::from("/s e"))];
        let request = BuildRequest {
            file: Path::new("/b/Containerfile"),
            original: None,
            context: Path::new("/b"),
            target: Some("-x"),
            pull: Pull::Newer,
            cache: false,
            build_args: &build_args,
            secrets: &secrets,
            labels: &labels,
            annotations: &labels,
            timestamp: Some(5),
            authfile: Some(Path::new("/a")),
            tags: &["localhost/a:1".to_owned()],
            scratch: Path::new("/s"),
            timeout: Duration::from_secs(1),
        };
        let args = |kind| {
            let args = arguments(kind, &request, Path::new("/s/iid"), vec!["--mark".into()]);
            args.iter()
                .map(|a| a.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let expected = "build --force-rm --iidfile=/s/iid --file=/b/Containerfile --pull=missing --authfile=/a \
                        --timestamp=5 --annotation=k=--v w --mark --secret=id=S,src=/s e --target=-x --no-cache --build-arg=TOKEN --label=k=--v w --tag=localhost/a:1 -- /b";
        assert_eq!(args(EngineKind::Podman), expected);
        for option in ["--pull", "--authfile", "--timestamp", "--annotation"] {
            assert!(!args(EngineKind::Docker).contains(option), "{option}");
        }
    }
}
