//! Looking into a released image for packages that have newer versions.
//!
//! The image is as it was released, by digest; what looks is a container that is thrown away. It must never change the
//! image, never leave a container, a secret or an image behind that was not here before, and never say "no update" where it
//! could not find out.

use super::Tools;
use super::check_log::{CHECK_LOG, CheckLog, WHO};
use super::verdict::{self, Found, MOST_BYTES};
use crate::config::{Image, PackageCheck, Project};
use crate::engine::{CheckEnd, CheckRequest, container_name};
use crate::model::{
    CheckError, Digest, Failure, ImageRef, ImageResult, ImageStatus, Job, Node, Packages, Standing, Step,
};
use crate::pipeline::{inside, pull_access};
use crate::process::{Cancel, Marker, Runner};
use crate::registry::RegistryError;
use crate::workdir::Layout;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, Permissions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Lists what would be upgraded, with the image's own package manager.
const LIST_PACKAGES: &str = include_str!("list-packages.sh");

/// Where the container has the directory for its result.
const MOUNTED: &str = "/run/pipelined-update";
const RESULT: &str = "result";
const SCRIPT: &str = "list-packages.sh";
/// Names the file for the result in the container.
const RESULT_VARIABLE: &str = "PIPELINED_UPDATE_RESULT";

/// Looks into a released image for newer packages, as its `update.packages` says.
///
/// With `"auto"` by the image's own package manager. A command is run as it is: it exits with 0 if there is nothing new, with
/// 100 or 101 if there is, and everything else is an error. If it has written the file that `PIPELINED_UPDATE_RESULT` names,
/// the first line of that is `UPGRADE_NEEDED` or `NO_UPGRADE_NEEDED`, and goes before the exit code 0; after
/// `UPGRADE_NEEDED` there may be lines `name old new`, which are recorded (`-` where there is no old version). Any other
/// content is an error, and so is `NO_UPGRADE_NEEDED` together with 100 or 101.
///
/// `dir` is the directory of the commit that was released: what the look does is in `update-check.log` there. `job` is the
/// job that released it, whose variables the container gets; without, only those of the project.
pub async fn look_inside(
    tools: &Tools,
    project: &Project,
    image: &Image,
    node: &Node,
    standing: &Standing,
    dir: Option<PathBuf>,
    job: Option<&Job>,
) -> Result<Packages, CheckError> {
    let asked = match &image.update.packages {
        PackageCheck::Off => return Err(plain("packages is off")),
        PackageCheck::Auto => "packages = \"auto\"",
        PackageCheck::Command(_) => "the command of packages",
    };
    let place = Place::of(standing).ok_or_else(|| plain("it is not known where the image is, or by which digest"))?;
    let marker = Marker::service(tools.runner.marker.instance());
    let own = Own::make(&tools.layout, &marker)?;
    let log = CheckLog::open(dir.as_deref(), &own.0, tools.log_limit);
    let mut runner = Runner {
        marker,
        log: Some((log.path.clone(), tools.log_limit)),
        ..tools.runner.clone()
    };
    runner.note(
        WHO,
        &format!("{} {} {}: {asked} in {place}", node.project, node.reference, node.image),
    );
    let directory = dir.as_deref().unwrap_or(&own.0);
    let found = match inside(project, job, directory, &image_result(image, standing)) {
        Ok(inside) => {
            runner = runner.with_env(inside.all);
            runner.masks = inside.masks;
            let look = Look {
                tools,
                image,
                node,
                commit: standing.commit.short(),
                runner: &runner,
                own: &own,
                log: &log,
                place: &place,
                env: inside.container,
                end: Instant::now() + image.update.timeout,
            };
            look.look().await
        }
        Err(failure) => Err(of_failure(failure)),
    };
    let found = found.map_err(|error| CheckError {
        message: one_line(&runner.mask(&error.message)),
        ..error
    });
    match &found {
        Ok(found) => runner.note(WHO, &verdict::in_words(found)),
        Err(error) => runner.note(WHO, &format!("error: {}", error.message)),
    }
    let found = found?;
    Ok(Packages {
        image: place.digest().clone(),
        checked: Timestamp::now(),
        needed: found.needed,
        updates: found.updates,
    })
}

/// Removes what looks of a daemon that was killed have left in the work directory. Not while any runs.
pub fn tidy_looks(layout: &Layout) {
    remove(&layout.checks());
}

/// Where a released image is.
#[derive(Debug)]
enum Place {
    /// In a registry, by digest.
    Registry(ImageRef, Digest, Option<Digest>),
    /// Only in the engine's storage, by id.
    Storage(Digest),
}

impl Place {
    fn of(standing: &Standing) -> Option<Self> {
        let remote = standing.released.iter().find(|reference| !reference.is_local());
        match (remote, &standing.digest, &standing.id) {
            (Some(reference), Some(digest), id) => Some(Self::Registry(
                reference.with_digest(digest.clone()),
                digest.clone(),
                id.clone(),
            )),
            (None, _, Some(id)) => Some(Self::Storage(id.clone())),
            _ => None,
        }
    }

    fn digest(&self) -> &Digest {
        match self {
            Self::Registry(_, digest, _) | Self::Storage(digest) => digest,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference, ..) => reference.fmt(f),
            Self::Storage(id) => id.fmt(f),
        }
    }
}

/// One look, up to its end.
struct Look<'a> {
    tools: &'a Tools,
    image: &'a Image,
    node: &'a Node,
    commit: &'a str,
    runner: &'a Runner,
    own: &'a Own,
    log: &'a CheckLog,
    place: &'a Place,
    env: Vec<(String, std::ffi::OsString)>,
    end: Instant,
}

impl Look<'_> {
    async fn look(mut self) -> Result<Found, CheckError> {
        let engine = &self.tools.engine;
        let held = engine.hold_images().await;
        let mut pulled = None;
        let found = match self.image_id(&mut pulled).await {
            Ok(id) => self.run(&id).await,
            Err(error) => Err(error),
        };
        drop(held);
        engine.remove_image_when_unused(self.runner, pulled).await;
        found
    }

    /// The image's id in the storage. `pulled` is set to it if it was not there before.
    async fn image_id(&self, pulled: &mut Option<Digest>) -> Result<Digest, CheckError> {
        let engine = &self.tools.engine;
        let inspect = async |name: &str| {
            let found = engine.inspect_image(self.runner, Step::Pull, name).await;
            found.map(|info| info.map(|info| info.id)).map_err(of_failure)
        };
        let (reference, id) = match self.place {
            Place::Storage(id) => {
                return inspect(id.as_str()).await?.ok_or_else(|| {
                    plain(format!(
                        "{id}: it is not in the storage of {} any more",
                        engine.program()
                    ))
                });
            }
            Place::Registry(reference, _, id) => (reference, id),
        };
        // Asked first: an engine does not say why it cannot pull, and what the registry has lost is an error also if it is
        // still here.
        let asked = self.tools.registries.head(self.runner, reference);
        let answer = tokio::time::timeout(self.left()?, asked).await;
        match answer.map_err(|_| self.too_long())? {
            Ok(Some(_)) => {}
            Ok(None) | Err(RegistryError::Missing { .. }) => {
                return Err(plain(format!("{reference}: the registry has lost it")));
            }
            Err(error) => return Err(of_registry(&error)),
        }
        if let Some(id) = id
            && let Some(here) = inspect(id.as_str()).await?
        {
            return Ok(here);
        }
        if let Some(here) = inspect(&reference.to_string()).await? {
            return Ok(here);
        }
        let before = engine.image_ids(self.runner, Step::Pull).await.map_err(of_failure)?;
        let places = (self.own.0.join("pull"), self.own.0.join("auth"));
        let references = [reference.clone()].into();
        let access = pull_access(&self.tools.registries, self.runner, &references, Step::Pull, places).await;
        let access = access.map_err(of_failure)?;
        let left = self.left()?;
        let info = engine.pull_ref(self.runner, Step::Pull, reference, &access, left).await;
        let info = match info {
            Ok(info) => info,
            Err(failure) => {
                // It may have come all the same, just before it was cut off.
                let runner = Runner {
                    cancel: Cancel::new(),
                    ..self.runner.clone()
                };
                let here = engine.inspect_image(&runner, Step::Pull, &reference.to_string()).await;
                let here = here.ok().flatten().map(|info| info.id);
                *pulled = here.filter(|id| !before.contains(id));
                return Err(self.trouble(&failure));
            }
        };
        if !before.contains(&info.id) {
            *pulled = Some(info.id.clone());
        }
        Ok(info.id)
    }

    async fn run(&mut self, id: &Digest) -> Result<Found, CheckError> {
        let mount = self.own.mounted()?;
        let result = format!("{MOUNTED}/{RESULT}");
        self.env.push((RESULT_VARIABLE.to_owned(), result.into()));
        let auto = self.image.update.packages == PackageCheck::Auto;
        // Not as an argument: these are logged.
        let script = ["sh".to_owned(), format!("{MOUNTED}/{SCRIPT}")];
        if auto {
            let file = mount.join(SCRIPT);
            let written = std::fs::write(&file, LIST_PACKAGES)
                .and_then(|()| std::fs::set_permissions(&file, Permissions::from_mode(0o644)));
            written.map_err(|error| plain(format!("cannot write {SCRIPT}: {error}")))?;
        }
        let project = self.node.project.as_str();
        let request = CheckRequest {
            image: id.as_str(),
            project,
            name: &container_name(project, self.commit, &self.runner.marker),
            command: match &self.image.update.packages {
                PackageCheck::Command(command) => command,
                _ => &script,
            },
            network: self.image.update.network.as_deref(),
            env: &self.env,
            mount: (&mount, MOUNTED),
            timeout: self.left()?,
        };
        let end = self.tools.engine.check(self.runner, &request).await;
        let end = end.map_err(|failure| self.trouble(&failure))?;
        let exit = match end {
            CheckEnd::Exited(exit) => exit,
            CheckEnd::NotStarted if auto => {
                return Err(plain(
                    "there is no shell in the image, which packages = \"auto\" needs: use a command",
                ));
            }
            CheckEnd::NotStarted => {
                return Err(plain(format!(
                    "the command cannot be started in this image{}",
                    self.log.hint()
                )));
            }
        };
        let file = read_result(&mount.join(RESULT)).map_err(plain)?;
        let found = match auto {
            true => verdict::of_script(exit, file.as_deref()),
            false => verdict::of_command(exit, file.as_deref()),
        };
        found.map_err(|why| match (auto, self.log.lasting) {
            // Its own words are enough.
            (true, true) if exit != 3 => plain(format!("{why}: see {CHECK_LOG}")),
            (true, _) => plain(why),
            (false, _) => plain(format!("{why}{}", self.log.hint())),
        })
    }

    /// Of the time for all of it.
    fn left(&self) -> Result<Duration, CheckError> {
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(self.too_long()),
            false => Ok(left),
        }
    }

    fn too_long(&self) -> CheckError {
        let timeout = humantime::format_duration(self.image.update.timeout);
        plain(format!(
            "it was ended after its timeout of {timeout}{}",
            self.log.hint()
        ))
    }

    /// The engine's trouble; with the last words, because its own are few.
    fn trouble(&self, failure: &Failure) -> CheckError {
        if self.runner.cancel.is_asked() {
            return plain("it was ended because the daemon stops");
        }
        if self.end <= Instant::now() {
            return self.too_long();
        }
        let see = format!(": see {CHECK_LOG}");
        match failure.message.strip_suffix(&see) {
            Some(message) => plain(format!("{message}{}", self.log.hint())),
            None => of_failure(failure.clone()),
        }
    }
}

fn plain(message: impl Into<String>) -> CheckError {
    CheckError {
        message: message.into(),
        not_before: None,
    }
}

fn of_failure(failure: Failure) -> CheckError {
    plain(failure.message)
}

fn of_registry(error: &RegistryError) -> CheckError {
    let not_before = match error {
        RegistryError::Throttled { until, .. } => *until,
        _ => None,
    };
    CheckError {
        message: error.to_string(),
        not_before,
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What variables tell of the image: as it is released.
fn image_result(image: &Image, standing: &Standing) -> ImageResult {
    ImageResult {
        image: image.name.clone(),
        status: ImageStatus::Released,
        note: String::new(),
        fingerprint: String::new(),
        id: standing.id.clone(),
        digest: standing.digest.clone(),
        bases: Vec::new(),
        released: standing.released.clone(),
        alike: BTreeSet::new(),
    }
}

/// What a container has written. It may have put anything there: only a regular file of a decent size is read, and no link
/// is followed.
fn read_result(path: &Path) -> Result<Option<Vec<u8>>, String> {
    use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
    let broken = |error: std::io::Error| format!("the result cannot be read: {error}");
    let mut options = std::fs::OpenOptions::new();
    let file = match options.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(broken)?,
    };
    if !file.metadata().map_err(broken)?.is_file() {
        return Err("the result is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(broken)?;
    match bytes.len() as u64 > MOST_BYTES {
        true => Err(format!("the result has more than {MOST_BYTES} bytes")),
        false => Ok(Some(bytes)),
    }
}

/// A directory of the look's own, which nobody else can read and which goes with it.
#[derive(Debug)]
struct Own(PathBuf);

impl Own {
    fn make(layout: &Layout, marker: &Marker) -> Result<Self, CheckError> {
        let path = layout.checks().join(marker.as_str());
        // A daemon before this one had the same name for another look.
        remove(&path);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| plain(format!("cannot make {}: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// The part of it that a container may write to, as whichever user it is on this machine.
    fn mounted(&self) -> Result<PathBuf, CheckError> {
        let path = self.0.join("mounted");
        let made =
            std::fs::create_dir(&path).and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o777)));
        made.map_err(|error| plain(format!("cannot make {}: {error}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove what a look into an image has left");
        }
        _ => {}
    }
}
