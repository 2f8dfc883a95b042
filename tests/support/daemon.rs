//! The daemon under test: the built binary, its config and workdir, and what people see of them.

use crate::support::repo::short;
use crate::support::scratch::{SOON, Scratch, ask_until, wait_for, wait_for_state};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// A config, a workdir and an environment: what outlives a daemon.
pub struct Site {
    /// The config file.
    pub config: PathBuf,
    /// The work directory.
    pub workdir: PathBuf,
    /// The daemon's log, of all its starts.
    pub log: PathBuf,
    /// The git settings that the daemon's git commands see; local submodules are allowed there.
    pub gitconfig: PathBuf,
    env: Vec<(OsString, OsString)>,
}

impl Site {
    /// Writes `pipelined.toml`: a line with the workdir, then `toml`, which may begin with further top-level keys.
    pub fn new(scratch: &Scratch, toml: &str) -> Self {
        let gitconfig = scratch.write("gitconfig", "[protocol \"file\"]\n\tallow = always\n");
        let site = Self {
            config: scratch.join("pipelined.toml"),
            workdir: scratch.join("work"),
            log: scratch.join("daemon.log"),
            env: vec![
                ("GIT_CONFIG_GLOBAL".into(), gitconfig.clone().into()),
                ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
                // Whatever the daemon starts inherits it: by this `strays` knows the site's own.
                ("TEST_WORKDIR".into(), scratch.join("work").into()),
            ],
            gitconfig,
        };
        site.write_config(toml);
        site
    }

    /// Replaces the config.
    pub fn write_config(&self, toml: &str) {
        std::fs::write(&self.config, format!("workdir = {:?}\n{toml}", self.workdir)).unwrap();
    }

    /// Adds to the environment of the daemon and of the commands.
    pub fn with_env<K: Into<OsString>, V: Into<OsString>>(mut self, env: impl IntoIterator<Item = (K, V)>) -> Self {
        self.env.extend(env.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// `pipelined VERB --config F REST…`, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipelined"));
        // Nothing of what tells the git of whoever runs the tests about proxies, certificates and the like.
        let told = |name: &OsString| {
            let name = name.to_string_lossy().to_lowercase();
            name.starts_with("git_") || name.ends_with("_proxy")
        };
        for name in std::env::vars_os().map(|(name, _)| name).filter(told) {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        let (verb, rest) = args.split_first().unwrap();
        command.arg(verb).arg("--config").arg(&self.config).args(rest);
        command
    }

    /// Runs it to its end.
    pub fn cli(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs it to its end, which must be good; its stdout as JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.cli(args);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {}\n{text}{errors}", output.status);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e} in {text}"))
    }

    /// Starts the daemon, and does not wait.
    pub fn spawn(&self, args: &[&str]) -> Daemon {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let mut command = self.command(&["run"]);
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let (workdir, log) = (self.workdir.clone(), self.log.clone());
        Daemon {
            child: child.unwrap(),
            workdir,
            log,
            crashed: false,
        }
    }

    /// Starts the daemon, and waits until it answers.
    #[track_caller]
    pub fn start(&self) -> Daemon {
        let mut daemon = self.spawn(&[]);
        wait_for_state("the daemon to answer", SOON, || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended, {status}: {}", daemon.log());
            }
            let output = self.cli(&["status", "--json"]);
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let answers = status.get("daemon").is_some_and(|d| !d.is_null());
            answers.then_some(()).ok_or_else(|| format!("{output:?}"))
        });
        daemon
    }

    /// `<workdir>/<project>/<encoded ref>`, by the full name of the ref.
    pub fn ref_dir(&self, project: &str, reference: impl AsRef<[u8]>) -> PathBuf {
        self.workdir.join(project).join(encode_ref(reference.as_ref()))
    }

    /// A job's directory, by its name (`5bf417f5`, `5bf417f5.2`, `9c01ab77.tmp`).
    pub fn job_dir(&self, project: &str, reference: &str, name: &str) -> PathBuf {
        self.ref_dir(project, reference).join(name)
    }

    /// What `latest` points at, if it is there.
    pub fn latest(&self, project: &str, reference: &str) -> Option<String> {
        let target = std::fs::read_link(self.ref_dir(project, reference).join("latest")).ok()?;
        Some(target.into_os_string().into_string().unwrap())
    }

    /// Waits until the commit's first run is the `latest` of the ref; its directory.
    #[track_caller]
    pub fn wait_built(&self, project: &str, reference: &str, commit: &str) -> PathBuf {
        self.wait_latest(project, reference, short(commit))
    }

    /// Waits until `latest` points at this name; the directory.
    #[track_caller]
    pub fn wait_latest(&self, project: &str, reference: &str, name: &str) -> PathBuf {
        wait_for_state(&format!("{project} {reference} {name}"), SOON, || {
            let latest = self.latest(project, reference);
            let built = latest.as_deref() == Some(name);
            let dir = self.job_dir(project, reference, name);
            built.then_some(dir).ok_or_else(|| {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                format!("latest is {latest:?}, and the daemon says\n{log}")
            })
        })
    }
}

/// A daemon that runs. Dropping it ends it, and panics if processes of its jobs are left.
pub struct Daemon {
    child: Child,
    workdir: PathBuf,
    log: PathBuf,
    crashed: bool,
}

impl Daemon {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let Self { child, log, .. } = self;
        wait_for_state("the daemon to end", deadline, || {
            child
                .try_wait()
                .unwrap()
                .ok_or_else(|| std::fs::read_to_string(&log).unwrap_or_default())
        })
    }

    /// A crash: nothing is tidied up, and what its jobs left is for the next daemon to find.
    pub fn kill_9(&mut self) {
        self.crashed = true;
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.crashed {
            return;
        }
        // Its id is ours to signal only until it was waited for.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGTERM);
        }
        let ended = ask_until(SOON, || {
            self.child.try_wait().unwrap().ok_or_else(|| "it runs on".to_owned())
        });
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What was a question to git when the daemon ended is ended by its supervisor, a moment later.
        let _ = ask_until(Duration::from_secs(5), || {
            let left = strays(&self.workdir);
            left.is_empty().then_some(()).ok_or_else(|| format!("{left:?}"))
        });
        let left = end_strays(&self.workdir);
        // A second panic would abort, and hide the first.
        if !std::thread::panicking() {
            assert!(ended.is_ok(), "the daemon does not end upon TERM: {}", self.log());
            assert!(left.is_empty(), "processes of finished jobs are left: {left:?}");
        }
    }
}

/// Ends the processes of jobs in this workdir that are left, and says which they were.
pub fn end_strays(workdir: &Path) -> Vec<(Pid, String)> {
    let left = strays(workdir);
    for (pid, _) in &left {
        // It may end by itself meanwhile.
        let _ = kill(*pid, Signal::SIGKILL);
    }
    left
}

/// The processes whose environment has the job marker and names this workdir, each with its command line.
pub fn strays(workdir: &Path) -> Vec<(Pid, String)> {
    let workdir = workdir.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let found = processes.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // A process may end while we look.
        let environ = std::fs::read(entry.path().join("environ")).ok()?;
        let environ = String::from_utf8_lossy(&environ);
        let marked = environ.split('\0').any(|e| e.starts_with("PIPELINED_JOB")) && environ.contains(workdir);
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        marked.then(|| (Pid::from_raw(pid), String::from_utf8_lossy(&command).replace('\0', " ")))
    });
    found.collect()
}

/// Waits until no process of a job in this workdir is left.
#[track_caller]
pub fn wait_no_strays(workdir: &Path, deadline: Duration) {
    wait_for_state("processes of jobs to be gone", deadline, || {
        let left = strays(workdir);
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
}

/// `build.json` of a job's directory.
#[track_caller]
pub fn build_json(dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(dir.join("build.json")).unwrap()).unwrap()
}

/// `build.log` of a job's directory, as text.
#[track_caller]
pub fn build_log(dir: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(dir.join("build.log")).unwrap()).into_owned()
}

/// Waits until `build.log` there has a line that contains this.
#[track_caller]
pub fn wait_log(dir: &Path, text: &str) {
    let log = dir.join("build.log");
    wait_for(&format!("{text:?} in {log:?}"), SOON, || {
        String::from_utf8_lossy(&std::fs::read(&log).ok()?)
            .contains(text)
            .then_some(())
    });
}

/// The name of a ref's directory, for names that are not cut (200 bytes when encoded). Written apart from the daemon's own, so that the two check each other.
pub fn encode_ref(name: &[u8]) -> String {
    let mut encoded = String::new();
    for byte in name {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(*byte)),
            _ => write!(encoded, "%{byte:02X}").unwrap(),
        }
    }
    encoded
}
