//! The daemon's side of a supervised command.

use super::cancel::Cancel;
use super::marker::{MARKER_VARIABLE, Marker};
use super::masks::Masks;
use super::supervise::{GIVE_UP, VERB};
use super::sweep::{Known, sweep};
use super::wire::{self, Report};
use crate::model::{CALLBACK_VARIABLES, JOB_VARIABLES};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};

/// What systemd says to the daemon alone.
const DAEMON_ONLY: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// By which git, started from a hook or a shell inside of a repository, points its children at that repository
/// (`git rev-parse --local-env-vars`, without the variables that only carry config). No child of ours works there.
const GIT_LOCAL: [&str; 13] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
];

/// How much longer than it may a supervisor takes on a loaded machine.
const MARGIN: Duration = Duration::from_secs(5);

/// One command to run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Program and arguments. Never holds a secret: arguments are public.
    pub argv: Vec<OsString>,
    /// Added to the daemon's own environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// After which it is ended.
    pub timeout: Duration,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// Whose it is.
    pub marker: Marker,
    /// Where its output goes.
    pub output: Output,
    /// What is masked in its log, or in its captured stderr.
    pub masks: Masks,
}

/// Where a command's output goes.
#[derive(Debug, Clone)]
pub enum Output {
    /// stdout and stderr, in order, to the end of a file, until the file has `limit` bytes.
    Log {
        /// The file; made if it is missing.
        path: PathBuf,
        /// Bytes.
        limit: u64,
    },
    /// stdout's first `limit` bytes, as they are, and stderr's last 64 KiB to memory.
    Capture {
        /// Bytes.
        limit: usize,
    },
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited.
    Code(i32),
    /// A signal that was not ours ended it.
    Signal(i32),
    /// Its time was up.
    TimedOut,
    /// It was cancelled.
    Cancelled,
}

/// What is left of a command.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub ended: Ended,
    /// Captured stdout.
    pub stdout: Vec<u8>,
    /// The end of captured stderr.
    pub stderr: String,
    /// Bytes of output that were over a limit.
    pub dropped: u64,
    /// Why the log is not whole.
    pub log_error: Option<String>,
    /// Processes that survived KILL.
    pub leftover: usize,
}

/// Why a command did not run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program cannot be started.
    #[error("cannot start {program}")]
    NotStarted {
        /// As it was asked for.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The log cannot be opened.
    #[error("cannot open {path}")]
    Log {
        /// Of the log.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The supervisor cannot be started.
    #[error("cannot start a supervisor in {cwd}")]
    Supervisor {
        /// Where it would have run.
        cwd: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The supervisor ended without a report.
    #[error("the supervisor of {program} died: {how}")]
    SupervisorDied {
        /// As it was asked for.
        program: String,
        /// Its own end.
        how: String,
    },
}

/// Starts supervisors.
#[derive(Debug, Clone)]
pub struct Supervisor {
    exe: PathBuf,
}

impl Default for Supervisor {
    /// This very binary, also after it was replaced on disk by an upgrade.
    fn default() -> Self {
        Self::new("/proc/self/exe")
    }
}

impl Supervisor {
    /// A `pipelined` binary by its path.
    pub fn new(exe: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into() }
    }

    /// Runs a command to its end; on a cancel, or when the future is dropped, the end of all that it started.
    pub async fn run(&self, spec: &Spec, cancel: &Cancel) -> Result<Done, ProcessError> {
        let program = spec
            .argv
            .first()
            .map_or_else(String::new, |p| p.to_string_lossy().into_owned());
        let (log, log_limit, capture) = match &spec.output {
            Output::Log { path, limit } => {
                let file = std::fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .map_err(|source| ProcessError::Log {
                        path: path.clone(),
                        source,
                    })?;
                (Stdio::from(file), *limit, 0)
            }
            Output::Capture { limit } => (Stdio::null(), 0, (*limit).max(1)),
        };
        let mut command = Command::new(&self.exe);
        command
            .arg(VERB)
            .args([
                millis(spec.timeout),
                millis(spec.grace),
                log_limit.to_string(),
                capture.to_string(),
            ])
            .args(&spec.argv);
        // A daemon that was started from a job, of ours or of some CI, must not hand that job's variables on.
        for name in JOB_VARIABLES.iter().chain(CALLBACK_VARIABLES) {
            command.env_remove(name);
        }
        command
            .envs(spec.env.iter().map(|(n, v)| (n, v)))
            .env(MARKER_VARIABLE, OsStr::new(spec.marker.as_str()))
            .current_dir(&spec.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        for name in DAEMON_ONLY.iter().chain(&GIT_LOCAL) {
            command.env_remove(name);
        }
        let failed = |source| ProcessError::Supervisor {
            cwd: spec.cwd.clone(),
            source,
        };
        let (mut child, _known) = Known::spawn(&mut command).map_err(failed)?;
        let control = child.stdin.take();
        let mut stdout = BufReader::new(
            child
                .stdout
                .take()
                .ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?,
        );
        let read = async {
            let mut line = String::new();
            stdout.read_line(&mut line).await?;
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).await?;
            std::io::Result::Ok((line, bytes))
        };
        let ending = async { (Some(read.await), Some(child.wait().await)) };
        let (answer, status) = tokio::select! {
            biased;
            end = ending => end,
            never = pass_on(control, &spec.masks, cancel) => match never {},
            () = overdue(spec, cancel) => (None, None),
        };
        let report = answer
            .and_then(Result::ok)
            .and_then(|(line, bytes)| Some((serde_json::from_str::<Report>(&line).ok()?, bytes)));
        let Some((report, stdout)) = report else {
            // It may be stopped, or stuck: KILL ends it all the same. One that has ended already needs no telling.
            let _ = child.kill().await;
            sweep(spec.marker.as_str(), Duration::ZERO).await;
            let how = match status {
                Some(Ok(status)) => status.to_string(),
                Some(Err(error)) => error.to_string(),
                None => "it did not end the command in time, and was killed".to_owned(),
            };
            return Err(ProcessError::SupervisorDied { program, how });
        };
        if let Some((errno, text)) = &report.spawn_error {
            let source = match errno {
                0 => std::io::Error::other(text.clone()),
                errno => std::io::Error::from_raw_os_error(*errno),
            };
            return Err(ProcessError::NotStarted { program, source });
        }
        Ok(done(report, stdout))
    }
}

/// Tells the supervisor what it must mask, upon which it starts the command, and then what the token says; holds its
/// stdin open for as long as this is awaited. The supervisor reads all patterns before it does anything else, so they
/// may be more than a pipe takes.
async fn pass_on(mut control: Option<ChildStdin>, masks: &Masks, cancel: &Cancel) -> Infallible {
    send(&mut control, &wire::frame(masks.patterns())).await;
    cancel.asked().await;
    send(&mut control, &[wire::CANCEL]).await;
    cancel.insisted().await;
    send(&mut control, &[wire::KILL]).await;
    std::future::pending().await
}

/// Ends when the supervisor should have, and has not: a supervisor that was stopped must not hold up a job for ever.
async fn overdue(spec: &Spec, cancel: &Cancel) {
    let ladder = spec.grace + GIVE_UP + MARGIN;
    tokio::select! {
        () = tokio::time::sleep(spec.timeout.saturating_add(ladder)) => {}
        () = async { cancel.asked().await; tokio::time::sleep(ladder).await } => {}
        () = async { cancel.insisted().await; tokio::time::sleep(MARGIN).await } => {}
    }
}

async fn send(control: &mut Option<ChildStdin>, bytes: &[u8]) {
    if let Some(control) = control {
        // A supervisor that has just ended needs no telling.
        let _ = control.write_all(bytes).await;
    }
}

fn done(report: Report, stdout: Vec<u8>) -> Done {
    let ended = if report.timed_out {
        Ended::TimedOut
    } else if report.cancelled {
        Ended::Cancelled
    } else if let Some(code) = report.code {
        Ended::Code(code)
    } else {
        Ended::Signal(report.signal.unwrap_or(0))
    };
    Done {
        ended,
        stdout,
        stderr: report.stderr,
        dropped: report.dropped,
        log_error: report.log_error,
        leftover: report.leftover,
    }
}

fn millis(duration: Duration) -> String {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .min(u64::from(u32::MAX))
        .to_string()
}
