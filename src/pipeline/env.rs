//! The environment of a job's commands, and which parts of it an image may see.

use crate::config::{EnvLayer, Project, SecretFile};
use crate::model::{Failure, ImageResult, Job, RefKind, is_job_variable, mask_url, parse_env_file};
use crate::process::Masks;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The variables of a job. Later entries of `all` win, as a shell's assignments would.
#[derive(Debug, Clone)]
pub(super) struct JobEnv {
    /// Everything, for callbacks, git, engine and rsync.
    pub all: Vec<(OsString, OsString)>,
    /// What may become an ARG: env tables, `CI_*` and `BUILD_*`, but nothing of an env file.
    pub public: BTreeSet<String>,
    /// What the run gets: `public` and the env files' names.
    pub run: BTreeSet<String>,
    /// What the files of the images' secrets hold: no command gets it by its environment.
    files: Vec<Vec<u8>>,
}

impl JobEnv {
    /// The values that no log and no error may show.
    pub fn secret_values(&self) -> Vec<&OsString> {
        // What a later entry stands in for, no command sees.
        let values: BTreeMap<&OsString, &OsString> = self.all.iter().map(|(name, value)| (name, value)).collect();
        let secret = |name: &OsString| name.to_str().is_some_and(|name| self.is_secret(name));
        values
            .into_iter()
            .filter(|(name, _)| secret(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The patterns by which they are masked.
    pub fn masks(&self) -> Result<Masks, Failure> {
        let values = self.secret_values().into_iter().map(|value| value.as_encoded_bytes());
        Masks::new(values.chain(self.files.iter().map(Vec::as_slice)))
            .map_err(|e| Failure::errored(format!("cannot keep secrets out of logs: {e}")))
    }

    /// Everything but secrets: for commands of which they cannot be masked.
    pub fn without_secrets(&self) -> Vec<(OsString, OsString)> {
        let secret = |name: &OsString| name.to_str().is_some_and(|name| self.is_secret(name));
        self.all.iter().filter(|(name, _)| !secret(name)).cloned().collect()
    }

    /// Whether the value comes from an env file.
    pub fn is_secret(&self, name: &str) -> bool {
        self.run.contains(name) && !self.public.contains(name)
    }
}

/// The longest secret that is masked, and so the longest that may be used.
const LONGEST_SECRET: u64 = 64 << 10;

/// Paths on this machine, which mean nothing in a container: the run has its own for two of them.
const HOST_ONLY: [&str; 4] = ["BUILD_DIR", "BUILD_LOG", "BUILD_PATH", "BUILD_DROP"];

/// The variables of a project's jobs that are not each job's own, as far as its env files can be read now.
pub fn project_variables(project: &Project) -> Vec<(OsString, OsString)> {
    layers(project).0.all
}

/// As [`project_variables`], and the names of those that env files set.
pub(super) fn project_variables_and_secrets(project: &Project) -> (Vec<(OsString, OsString)>, BTreeSet<OsString>) {
    let (env, _) = layers(project);
    let secret = env.run.iter().filter(|name| env.is_secret(name));
    let secrets = secret.map(OsString::from).collect();
    (env.all, secrets)
}

/// Reads the env files and puts everything in order. `dir` is the job's directory. What cannot be read is left out, and
/// the first such trouble is the result: the error callback gets all the rest.
pub(super) fn job_env(project: &Project, job: &Job, dir: &Path) -> (JobEnv, Result<(), Failure>) {
    let (mut env, result) = layers(project);
    for (name, value) in job_variables(project, job, dir) {
        if !HOST_ONLY.contains(&name) {
            env.public.insert(name.to_owned());
        }
        env.all.push((name.into(), value));
    }
    env.run.extend(env.public.iter().cloned());
    let mut result = result;
    for (name, file) in project.images.iter().flat_map(|image| &image.secrets) {
        match secret_file(file) {
            Ok(secret) => env.files.push(secret),
            Err(why) => result = result.and(Err(Failure::errored(format!("the secret {name}: {why}")))),
        }
    }
    (env, result)
}

/// The environment of a project without a job.
pub(super) fn project_env(project: &Project) -> (JobEnv, Result<(), Failure>) {
    let (mut env, result) = layers(project);
    env.run.extend(env.public.iter().cloned());
    (env, result)
}

/// Reads a secret, to be masked; what the engine gives to the build it reads by itself.
fn secret_file(file: &SecretFile) -> Result<Vec<u8>, String> {
    let path = file.resolve().map_err(|error| error.to_string())?;
    let unreadable = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    // Asked first: reading a pipe would wait for ever.
    let metadata = std::fs::metadata(&path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > LONGEST_SECRET {
        return Err(format!(
            "{} is not a file of {LONGEST_SECRET} bytes at most",
            path.display()
        ));
    }
    std::fs::read(&path).map_err(unreadable)
}

fn layers(project: &Project) -> (JobEnv, Result<(), Failure>) {
    let mut env = JobEnv {
        all: Vec::new(),
        public: BTreeSet::new(),
        run: BTreeSet::new(),
        files: Vec::new(),
    };
    let mut result = Ok(());
    for layer in &project.env {
        match layer {
            EnvLayer::Table(table) => {
                for (name, value) in table.iter().filter(|(name, _)| !is_job_variable(name)) {
                    env.public.insert(name.clone());
                    env.all.push((name.into(), value.into()));
                }
            }
            EnvLayer::File(path) => match env_file(path) {
                Ok(entries) => {
                    for (name, value) in entries.into_iter().filter(|(name, _)| !is_job_variable(name)) {
                        env.run.insert(name.clone());
                        // What a file sets is secret, also where a table set it before.
                        env.public.remove(&name);
                        env.all.push((name.into(), value.into()));
                    }
                }
                Err(failure) => result = result.and(Err(failure)),
            },
        }
    }
    (env, result)
}

fn env_file(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let unreadable = |e| Failure::errored(format!("cannot read the env_file {}: {e}", path.display()));
    // Asked first: reading a pipe would wait for ever.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a regular file")));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse_env_file(&text).map_err(|e| Failure::errored(format!("the env_file {} is not valid: {e}", path.display())))
}

/// The variables that tell of an image; `name` is what it is called as long as it is not released.
pub(super) fn image_variables(result: &ImageResult, name: Option<String>) -> Vec<(OsString, OsString)> {
    let released = result.released.first().map(ToString::to_string);
    let id = result.id.as_ref().map(ToString::to_string);
    let digest = result.digest.as_ref().map(ToString::to_string);
    let variables = [
        ("BUILD_IMAGE", released.or(name).or_else(|| id.clone())),
        ("BUILD_IMAGE_NAME", Some(result.image.to_string())),
        ("BUILD_IMAGE_DIGEST", digest.or_else(|| id.clone())),
        ("BUILD_IMAGE_ID", id),
    ];
    let known = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into(), value?.into())));
    known.collect()
}

/// The variable that changes when a job becomes a part of another wave.
pub(super) const WAVE_VARIABLE: &str = "BUILD_WAVE";

fn job_variables(project: &Project, job: &Job, dir: &Path) -> Vec<(&'static str, OsString)> {
    let short_name = OsString::from_vec(job.reference.short().to_vec());
    let commit = job.commit.as_str();
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("CI", "true".into()),
        ("CI_COMMIT_SHA", commit.into()),
        ("CI_COMMIT_REF_NAME", short_name.clone()),
        ("CI_COMMIT_REF_SLUG", job.reference.slug().into()),
        ("CI_PROJECT_NAME", project.name.as_str().into()),
        ("BUILD_PROJECT", project.name.as_str().into()),
        ("BUILD_REMOTE", mask_url(&project.remote).into()),
        ("BUILD_REF", job.reference.as_os_str().to_owned()),
        ("BUILD_REF_NAME", short_name.clone()),
        ("BUILD_REF_SLUG", job.reference.slug().into()),
        ("BUILD_REF_TYPE", job.reference.kind().as_str().into()),
        ("BUILD_COMMIT", commit.into()),
        ("BUILD_SHORT_COMMIT", job.commit.short().into()),
        ("BUILD_NUMBER", job.number.to_string().into()),
        ("BUILD_REASON", job.reason.as_str().into()),
        (WAVE_VARIABLE, job.wave.to_string().into()),
        ("BUILD_DIR", dir.into()),
        ("BUILD_PATH", dir.join("build").into()),
        ("BUILD_DROP", dir.join("drop").into()),
        ("BUILD_LOG", dir.join("build.log").into()),
    ];
    variables.push(match job.reference.kind() {
        RefKind::Branch => ("CI_COMMIT_BRANCH", short_name),
        RefKind::Tag => ("CI_COMMIT_TAG", short_name),
    });
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load};
    use crate::model::{CommitId, ImageRef, JobId, JobState, Reason, RefName, Template};
    use jiff::Timestamp;

    /// What the config takes for known of a job is what the job has.
    #[test]
    fn a_job_releases_only_what_was_possible() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.toml");
        let text = "workdir = \"w\"\n[projects.ruby]\nremote = \"h:x\"\n\
                    env = { A = \"1\", BUILD_REF_NAME = \"never\" }\nimage.release_refs = \"**\"\n";
        std::fs::write(&file, text).unwrap();
        let config = load(&file, &Overrides::default()).unwrap().config;
        let mut project = config.projects.into_values().next().unwrap();
        let mut tried = 0;
        for name in [
            &b"refs/heads/Feature/X_1"[..],
            b"refs/heads/main",
            b"refs/tags/v1.0",
            b"refs/heads/a\xff",
        ] {
            let job = Job {
                id: JobId(1),
                project: project.name.clone(),
                reference: RefName::new(name.to_vec()).unwrap(),
                commit: CommitId::new("a".repeat(40)).unwrap(),
                number: 1,
                reason: Reason::Manual,
                cause: String::new(),
                place: 1,
                created: Timestamp::UNIX_EPOCH,
                state: JobState::Queued { not_before: None },
                attempts: 0,
                note: String::new(),
                failure: None,
                rebuild: None,
                wave: JobId(1),
                atomic: None,
            };
            let (env, read) = job_env(&project, &job, Path::new("/d"));
            read.unwrap();
            for (name, value) in &env.all {
                for template in ["r.io/a:x", "r.io/a-b/x", "r.io"].map(|text| format!("{text}${{{}}}", name.display()))
                {
                    let template = Template::new(template).unwrap();
                    let text = template.render(|_| Some(value.to_string_lossy().into_owned())).unwrap();
                    let Ok(target) = ImageRef::parse(&text) else { continue };
                    project.images[0].release = vec![template];
                    assert!(project.could_release(&job.reference, &target), "{name:?}: {target}");
                    tried += 1;
                }
            }
        }
        assert!(tried > 50, "{tried}");
    }
}
