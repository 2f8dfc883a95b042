//! Building with kaniko: its executor is an image that runs as a container of the host's engine.
//!
//! The container is named and labelled as all of ours are, so that `cleanup` finds it, and it never sees more than this
//! build needs: the context, read-only; a directory for what it makes; credentials for the registries of this build
//! only. No value of an ARG and no secret may be seen in an argument.

use super::access::RegistryAccess;
use super::command::{Engine, changes_engine, pass_on};
use super::inspect::digest;
use super::run::{Container, Ended, mounts_as_they_are, our_labels, verdict, volume};
use super::scratch::remove;
use super::{PullAccess, ignore};
use crate::config::SnapshotMode;
use crate::model::{Digest, Failure, ImageRef, Step};
use crate::process::Runner;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The executor leaves out of the image what is mounted, and all of this directory, which is its own. Files that are
/// mounted one by one go below it, so that no empty directory of theirs ends up in the image.
const OWN: &str = "/kaniko/pipelined";
/// What the executor calls docker.io.
const HUB: (&str, &str) = ("docker.io", "index.docker.io");

/// What to build. Templates are filled in, paths are absolute and without links.
#[derive(Debug, Clone, Copy)]
pub struct KanikoRequest<'a> {
    /// The executor's image; it is pulled if it is not here.
    pub executor: &'a str,
    /// Whose.
    pub project: &'a str,
    /// Of the container: see [`super::container_name`].
    pub name: &'a str,
    /// What is built: in the context, or a file of ours that was made of `original`.
    pub file: &'a Path,
    /// What `file` was made of, if it is one of ours: the ignore file beside this one is heeded.
    pub original: Option<&'a Path>,
    /// From `find_context`.
    pub context: &'a Path,
    /// The stage to build; none: the last.
    pub target: Option<&'a str>,
    /// Keep layers there; none: no cache.
    pub cache_repo: Option<&'a ImageRef>,
    /// How changes are found; none: the executor's default.
    pub snapshot_mode: Option<SnapshotMode>,
    /// Only those that the file declares. Values go by environment.
    pub build_args: &'a [(String, OsString)],
    /// Of the image.
    pub labels: &'a BTreeMap<String, String>,
    /// Files that `RUN --mount=type=secret,id=NAME` may read, by their names. Old executors have none.
    pub secrets: &'a [(String, PathBuf)],
    /// The name of what is built.
    pub destination: &'a ImageRef,
    /// Push it to `destination`; else it becomes an archive.
    pub push: bool,
    /// A config.json with the registries that this build needs, and no others.
    pub auth_json: Option<&'a str>,
    /// The registries that this build speaks to, by their hosts.
    pub registries: &'a BTreeMap<String, RegistryAccess>,
    /// Further flags of the executor, after ours.
    pub flags: &'a [String],
    /// A directory of the job's own for what is made: it is emptied first, and the archive stays there.
    pub out: &'a Path,
    /// A directory of the job's own for what is mounted; made here, and removed at the end.
    pub scratch: &'a Path,
    /// For the whole build.
    pub timeout: Duration,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KanikoBuilt {
    /// The destination has it, by this digest of its manifest.
    Pushed(Digest),
    /// It is in this file, in the form of `docker save`.
    Archive(PathBuf),
}

impl Engine {
    /// Builds with the executor. A build that is cut off leaves its container for `cleanup`.
    pub async fn build_kaniko(&self, runner: &Runner, request: &KanikoRequest<'_>) -> Result<KanikoBuilt, Failure> {
        self.executor_is_here(runner, request).await?;
        let result = self.build_kaniko_in(runner, request).await;
        // There are credentials in it.
        if let Err(error) = remove(request.scratch) {
            tracing::warn!(dir = %request.scratch.display(), %error, "cannot remove a build's temporary files");
        }
        result
    }

    async fn executor_is_here(&self, runner: &Runner, request: &KanikoRequest<'_>) -> Result<(), Failure> {
        let name = request.executor;
        if self.inspect_image(runner, Step::Build, name).await?.is_some() {
            return Ok(());
        }
        let access = PullAccess::new(request.scratch);
        self.pull_one(runner, Step::Build, name, &access, request.timeout).await
    }

    async fn build_kaniko_in(&self, runner: &Runner, request: &KanikoRequest<'_>) -> Result<KanikoBuilt, Failure> {
        let broken = |e: std::io::Error| Failure::errored(format!("build: cannot prepare kaniko's directories: {e}"));
        let mounts = prepare(request).map_err(broken)?;
        let mut args: Vec<OsString> = ["run", "--pull=never"].map(OsString::from).to_vec();
        args.push(format!("--name={}", request.name).into());
        args.extend(our_labels(runner, request.project));
        for (from, to) in &mounts {
            args.push(volume(Step::Build, from, to)?);
        }
        args.extend(mounts_as_they_are());
        let arguments = arguments(request);
        args.extend(pass_on("--env", &arguments.env).0);
        args.extend(["--".into(), request.executor.into()]);
        args.extend(arguments.flags);
        let argv = self.argv(args);
        let container = Container {
            step: Step::Build,
            name: request.name,
            argv: &argv,
            cwd: Path::new("/"),
            timeout: request.timeout,
        };
        let client = runner.with_env(pass_on("--env", &arguments.env).1);
        self.to_its_end(runner, &client, &container, kaniko_verdict).await?;
        made(request)
    }

    /// What the executor in an image says about its version.
    pub async fn kaniko_version(&self, runner: &Runner, image: &str) -> Result<String, Failure> {
        let args = ["run", "--rm", "--pull=never", "--network=none", "--", image, "version"];
        let answer = self.ask(runner, Step::Build, &args).await?;
        let said = String::from_utf8_lossy(&answer.stdout);
        let version = said.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()));
        match version {
            Some(version) if answer.success() => Ok(version.trim().to_owned()),
            _ => Err(Failure::errored(format!(
                "build: {image} does not say the version of a kaniko executor: {}",
                answer.last_words()
            ))),
        }
    }
}

/// Makes what is mounted, and says where: as `--volume` takes it.
fn prepare(request: &KanikoRequest<'_>) -> std::io::Result<Vec<(PathBuf, String)>> {
    let private = |dir: &Path| DirBuilder::new().recursive(true).mode(0o700).create(dir);
    remove(request.scratch)?;
    private(request.scratch)?;
    remove(request.out)?;
    private(request.out)?;
    let mut mounts = vec![
        (request.context.to_owned(), "/workspace:ro".to_owned()),
        (request.out.to_owned(), "/out".to_owned()),
    ];
    if !request.file.starts_with(request.context) {
        let dir = request.scratch.join("file");
        private(&dir)?;
        let file = dir.join("Containerfile");
        std::fs::copy(request.file, &file)?;
        if let Some(original) = request.original {
            ignore::copy_beside(original, &file)?;
        }
        mounts.push((dir, "/pipelined:ro".to_owned()));
    }
    if let Some(json) = request.auth_json {
        let dir = request.scratch.join("docker");
        private(&dir)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(dir.join("config.json"))?;
        file.write_all(json.as_bytes())?;
        mounts.push((dir, "/kaniko/.docker:ro".to_owned()));
    }
    let certificates = request.scratch.join("certs");
    for (number, (_, access)) in request.registries.iter().enumerate() {
        if let Some(ca_file) = &access.ca_file {
            private(&certificates)?;
            std::fs::copy(ca_file, certificates.join(format!("{number}.crt")))?;
        }
    }
    if certificates.exists() {
        mounts.push((certificates, "/certs:ro".to_owned()));
    }
    for (name, path) in request.secrets {
        mounts.push((path.clone(), format!("{OWN}/secrets/{name}:ro")));
    }
    Ok(mounts)
}

struct Arguments {
    flags: Vec<OsString>,
    /// Of the container.
    env: Vec<(String, OsString)>,
}

/// The executor takes the value of `--build-arg NAME` from its environment (all versions that are in use do, see
/// resolveEnvironmentBuildArgs in its sources). A variable that it would heed itself goes by its value; such are no
/// secrets.
fn arguments(request: &KanikoRequest<'_>) -> Arguments {
    let (mut flags, mut env): (Vec<OsString>, Vec<_>) = (Vec::new(), Vec::new());
    flags.push("--context=dir:///workspace".into());
    let mut file = OsString::from("--dockerfile=");
    match request.file.strip_prefix(request.context) {
        Ok(inside) => file.push(Path::new("/workspace").join(inside)),
        Err(_) => file.push("/pipelined/Containerfile"),
    }
    flags.push(file);
    flags.push(format!("--destination={}", request.destination).into());
    flags.extend(
        match request.push {
            true => &["--digest-file=/out/digest"][..],
            false => &["--no-push", "--tar-path=/out/image.tar"],
        }
        .iter()
        .map(OsString::from),
    );
    flags.push("--log-format=text".into());
    flags.extend(request.target.map(|target| format!("--target={target}").into()));
    if let Some(repo) = request.cache_repo {
        flags.extend(["--cache=true".into(), format!("--cache-repo={}", repo.name()).into()]);
    }
    flags.extend(
        request
            .snapshot_mode
            .map(|m| format!("--snapshot-mode={}", m.as_str()).into()),
    );
    for (name, value) in request.build_args {
        let mut flag = OsString::from(format!("--build-arg={name}"));
        if changes_executor(name) {
            flag.push("=");
            flag.push(value);
        } else {
            env.push((name.clone(), value.clone()));
        }
        flags.push(flag);
    }
    flags.extend(request.labels.iter().map(|(k, v)| format!("--label={k}={v}").into()));
    for (name, _) in request.secrets {
        flags.push(format!("--secret=id={name},src={OWN}/secrets/{name}").into());
    }
    for (number, (host, access)) in request.registries.iter().enumerate() {
        let host = if host == HUB.0 { HUB.1 } else { host };
        if access.insecure {
            flags.push(format!("--insecure-registry={host}").into());
            flags.push(format!("--skip-tls-verify-registry={host}").into());
        }
        if access.ca_file.is_some() {
            flags.push(format!("--registry-certificate={host}=/certs/{number}.crt").into());
        }
    }
    flags.extend(request.flags.iter().map(OsString::from));
    Arguments { flags, env }
}

fn changes_executor(name: &str) -> bool {
    const PREFIXES: [&str; 6] = ["AWS_", "AZURE_", "GOOGLE_", "KANIKO_", "SSL_", "GODEBUG"];
    changes_engine(name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// It exits with the code of a RUN that failed, and with 1 for everything else.
fn kaniko_verdict(ended: &Ended<'_>) -> Result<(), Failure> {
    match ended.exit_code() {
        Some(1) => Err(Failure::failed(
            "build: kaniko exited with 1, as it does for a RUN that does, a mistake in the Containerfile, a flag that \
             it does not know, and a registry that refuses: see build.log",
        )),
        _ => verdict(ended),
    }
}

fn made(request: &KanikoRequest<'_>) -> Result<KanikoBuilt, Failure> {
    let nothing = |what: &Path| {
        Failure::errored(format!(
            "build: kaniko exited with 0 and did not write {}: was it ended by somebody?",
            what.display()
        ))
    };
    if request.push {
        let path = request.out.join("digest");
        let text = std::fs::read_to_string(&path).map_err(|_| nothing(&path))?;
        return digest(&text).map(KanikoBuilt::Pushed).ok_or_else(|| nothing(&path));
    }
    let path = request.out.join("image.tar");
    match path.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => Ok(KanikoBuilt::Archive(path)),
        _ => Err(nothing(&path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_whole_and_values_stay_out_of_them() {
        let destination = ImageRef::parse("r.io/staging/a:1").unwrap();
        let cache = ImageRef::parse("r.io/cache").unwrap();
        let build_args = [
            ("TOKEN".to_owned(), OsString::from("hunter2")),
            ("KANIKO_DIR".to_owned(), OsString::from("/x")),
        ];
        let secrets = [("S".to_owned(), PathBuf::from("/s"))];
        let registries = BTreeMap::from([
            (
                "docker.io".to_owned(),
                RegistryAccess {
                    insecure: true,
                    ca_file: None,
                },
            ),
            (
                "r.io:5000".to_owned(),
                RegistryAccess {
                    insecure: false,
                    ca_file: Some("/ca.pem".into()),
                },
            ),
        ]);
        let labels = BTreeMap::from([("k".to_owned(), "--v w".to_owned())]);
        let mut request = KanikoRequest {
            executor: "e",
            project: "p",
            name: "n",
            file: Path::new("/b/sub/Containerfile"),
            original: None,
            context: Path::new("/b"),
            target: Some("t"),
            cache_repo: Some(&cache),
            snapshot_mode: Some(SnapshotMode::Redo),
            build_args: &build_args,
            labels: &labels,
            secrets: &secrets,
            destination: &destination,
            push: true,
            auth_json: None,
            registries: &registries,
            flags: &["--single-snapshot".to_owned()],
            out: Path::new("/o"),
            scratch: Path::new("/t"),
            timeout: Duration::from_secs(1),
        };
        let text = |request: &KanikoRequest<'_>| {
            let flags = arguments(request).flags;
            let flags: Vec<_> = flags.iter().map(|f| f.to_string_lossy().into_owned()).collect();
            flags.join(" ")
        };
        let expected = "--context=dir:///workspace --dockerfile=/workspace/sub/Containerfile \
            --destination=r.io/staging/a:1 --digest-file=/out/digest --log-format=text --target=t --cache=true \
            --cache-repo=r.io/cache --snapshot-mode=redo --build-arg=TOKEN --build-arg=KANIKO_DIR=/x \
            --label=k=--v w --secret=id=S,src=/kaniko/pipelined/secrets/S --insecure-registry=index.docker.io \
            --skip-tls-verify-registry=index.docker.io --registry-certificate=r.io:5000=/certs/1.crt \
            --single-snapshot";
        assert_eq!(text(&request), expected);
        assert_eq!(arguments(&request).env, build_args[..1]);
        request.push = false;
        request.file = Path::new("/elsewhere/Containerfile");
        let archive = text(&request);
        for flag in [
            "--dockerfile=/pipelined/Containerfile",
            "--no-push --tar-path=/out/image.tar",
        ] {
            assert!(archive.contains(flag), "{archive}");
        }
        assert!(!archive.contains("digest-file"), "{archive}");
    }
}
