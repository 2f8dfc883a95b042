//! The engine: it is asked about itself, and then has to build an image and run it.

use super::finding::Finding;
use super::host::subordinate;
use super::program::exits_with;
use super::tools::{ask, version};
use crate::config::EngineKind;
use crate::engine::{Engine, Features};
use crate::process::Runner;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const ABOUT: &str = "engine";
/// What the probe exits with: no error of an engine's own has this code.
const CODE: u8 = 42;

/// All about it.
pub(super) async fn examine(kind: EngineKind, runner: &Runner) -> Vec<Finding> {
    let program = match kind {
        EngineKind::Podman => "podman",
        EngineKind::Docker => "docker",
    };
    let mut findings = Vec::new();
    match version(runner, program, &["--version"]).await {
        Ok(said) => findings.push(Finding::ok(ABOUT, said)),
        Err(error) => {
            let advice = format!("install {program}, or set `engine` to the one that you have");
            return vec![Finding::bad(ABOUT, error, advice)];
        }
    }
    if kind == EngineKind::Podman {
        findings.extend(about_podman(runner).await);
    }
    // What does not work at all is told of by what follows.
    if let Ok(info) = Engine::new(kind).probe(runner).await {
        findings.extend(lacks(&info.features(kind)));
    }
    findings.extend(try_out(program, runner).await);
    findings
}

/// What this version is too old for.
fn lacks(features: &Features) -> Option<Finding> {
    let missing = features.missing()?;
    Some(match features.builds {
        true => Finding::warn(ABOUT, missing, "projects that do not ask for it are fine"),
        false => Finding::bad(ABOUT, missing, "install a newer one, or set `engine` to another"),
    })
}

/// Which runtime, and whether its user may.
async fn about_podman(runner: &Runner) -> Vec<Finding> {
    let answer = match ask(runner, "podman", &["info", "--format", "json"], Path::new("/")).await {
        Ok(answer) if answer.success() => answer,
        Ok(answer) => return vec![not_working("podman", answer.last_words())],
        Err(error) => return vec![not_working("podman", &error)],
    };
    let Ok(info) = serde_json::from_slice::<serde_json::Value>(&answer.stdout) else {
        return vec![not_working("podman", "the answer of `podman info` cannot be read")];
    };
    let text = |pointer: &str| {
        info.pointer(pointer)
            .and_then(|v| v.as_str())
            .unwrap_or("unknown")
            .to_owned()
    };
    let rootless = info
        .pointer("/host/security/rootless")
        .and_then(serde_json::Value::as_bool);
    let mut findings = vec![Finding::ok(
        ABOUT,
        format!(
            "{}, OCI runtime {}, storage {} in {}",
            if rootless == Some(true) { "rootless" } else { "as root" },
            text("/host/ociRuntime/name"),
            text("/store/graphDriverName"),
            text("/store/graphRoot")
        ),
    )];
    if text("/store/graphDriverName") == "vfs" {
        findings.push(Finding::warn(
            ABOUT,
            "the storage driver vfs copies every layer whole: slow, and it fills the disk",
            "use overlay: see containers-storage.conf(5), and fuse-overlayfs for old kernels",
        ));
    }
    if rootless == Some(true) {
        let uid = nix::unistd::geteuid();
        let user = nix::unistd::User::from_uid(uid)
            .ok()
            .flatten()
            .map_or(uid.to_string(), |u| u.name);
        findings.extend(subordinate(&user, uid.as_raw()));
    }
    findings
}

fn not_working(program: &str, said: &str) -> Finding {
    let advice = format!("try `{program} info` as the daemon's user");
    Finding::bad(ABOUT, format!("{program} does not work: {said}"), advice)
}

/// Builds and runs.
async fn try_out(program: &str, runner: &Runner) -> Vec<Finding> {
    let context = match Context::make() {
        Ok(context) => context,
        Err(error) => {
            let dir = std::env::temp_dir();
            let text = format!("cannot make an image to try: {}: {error}", dir.display());
            return vec![Finding::bad(ABOUT, text, "make room there, or set TMPDIR")];
        }
    };
    let mut findings = Vec::new();
    let idfile = context.dir.join("id").to_string_lossy().into_owned();
    let build = ["build", "--no-cache", "--force-rm", "--iidfile", &idfile, "."];
    let built = ask(runner, program, &build, &context.dir.join("context")).await;
    let image = fs::read_to_string(&idfile)
        .ok()
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty());
    match (&built, &image) {
        (Ok(answer), Some(image)) if answer.success() => {
            findings.push(Finding::ok(ABOUT, "builds an image"));
            findings.push(match context.runs {
                true => run(program, image, runner).await,
                false => Finding::warn(
                    ABOUT,
                    format!(
                        "running it was not tried: there is no probe for {}",
                        std::env::consts::ARCH
                    ),
                    "run any image by hand",
                ),
            });
        }
        (Ok(answer), _) => findings.push(Finding::bad(
            ABOUT,
            format!("cannot build an image: {}", answer.last_words()),
            advice(&answer.stderr),
        )),
        (Err(error), _) => findings.push(Finding::bad(
            ABOUT,
            format!("cannot build an image: {error}"),
            format!("try `{program} build` by hand as the daemon's user"),
        )),
    }
    if let Some(image) = image {
        findings.extend(remove(program, &image, runner).await);
    }
    findings
}

/// With the network that builds have; without one only to tell what is broken.
async fn run(program: &str, image: &str, runner: &Runner) -> Finding {
    let first = start(program, image, &[], runner).await;
    let Err(said) = first else {
        return Finding::ok(ABOUT, "runs a container of it");
    };
    match start(program, image, &["--network", "none"], runner).await {
        Ok(()) => Finding::bad(
            ABOUT,
            format!("runs containers only without a network: {said}"),
            "install netavark and aardvark-dns (rootless: slirp4netns or passt), or set network = \"host\" in run tables",
        ),
        Err(_) => Finding::bad(ABOUT, format!("cannot run a container: {said}"), advice(&said)),
    }
}

async fn start(program: &str, image: &str, options: &[&str], runner: &Runner) -> Result<(), String> {
    let name = format!("pipelined-doctor-{}", std::process::id());
    let mut args = vec!["run", "--rm", "--name", &name];
    args.extend(options);
    args.push(image);
    let answer = ask(runner, program, &args, Path::new("/")).await;
    let ended = match answer {
        Ok(answer) if answer.code == Some(i32::from(CODE)) => return Ok(()),
        Ok(answer) => Err(answer.last_words().to_owned()),
        Err(error) => Err(error),
    };
    // --rm does not help a container that did not get as far as running.
    let _ = ask(&on_its_own(runner), program, &["rm", "--force", &name], Path::new("/")).await;
    ended
}

async fn remove(program: &str, image: &str, runner: &Runner) -> Option<Finding> {
    let answer = ask(&on_its_own(runner), program, &["rmi", "--force", image], Path::new("/")).await;
    let said = match answer {
        Ok(answer) if answer.success() => return None,
        Ok(answer) => answer.last_words().to_owned(),
        Err(error) => error,
    };
    let text = format!("the image {image} cannot be removed again: {said}");
    Some(Finding::warn(ABOUT, text, format!("{program} rmi --force {image}")))
}

/// Cleaning up goes on when the rest was cancelled.
fn on_its_own(runner: &Runner) -> Runner {
    let mut runner = runner.clone();
    runner.cancel = crate::process::Cancel::new();
    runner
}

fn advice(said: &str) -> String {
    let has = |word: &str| said.contains(word);
    let advice = if has("hybrid mode") || has("cgroup") {
        "install runc, and set runtime = \"runc\" and cgroup_manager = \"cgroupfs\" in containers.conf"
    } else if has("rlimit") {
        "set default_ulimits in containers.conf to what this machine allows"
    } else if has("netavark") || has("slirp4netns") || has("pasta") {
        "install netavark and aardvark-dns; rootless: slirp4netns or passt"
    } else if has("no space") {
        "make room where the engine stores its images"
    } else if has("permission denied") || has("not permitted") {
        "see whether this user may use the engine, and nested containers what the outer one allows"
    } else {
        "try it by hand as the daemon's user, with --log-level debug"
    };
    advice.to_owned()
}

/// A build context in a directory of its own, gone when dropped.
struct Context {
    dir: PathBuf,
    runs: bool,
}

impl Context {
    fn make() -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("pipelined-doctor-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&dir)?;
        let mut context = Self { dir, runs: false };
        let inner = context.dir.join("context");
        fs::create_dir(&inner)?;
        let file = |name: &str, bytes: &[u8]| {
            let path = inner.join(name);
            fs::write(&path, bytes)?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))
        };
        let text = match (exits_with(0), exits_with(CODE)) {
            (Some(fine), Some(probe)) => {
                file("fine", &fine)?;
                file("probe", &probe)?;
                context.runs = true;
                "FROM scratch\nCOPY fine probe /\nRUN [\"/fine\"]\nCMD [\"/probe\"]\n"
            }
            _ => "FROM scratch\nCOPY Containerfile /\nCMD [\"/none\"]\n",
        };
        file("Containerfile", text.as_bytes())?;
        // docker knows it by this name only.
        file("Dockerfile", text.as_bytes())?;
        Ok(context)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // In a temporary directory, where what stays does not stay for long.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
