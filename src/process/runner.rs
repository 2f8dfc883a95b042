//! Commands of one job (or one question), with everything that they share: environment, marker, log, cancel.

use super::cancel::Cancel;
use super::marker::Marker;
use super::masks::Masks;
use super::run::{Done, Ended, Output, ProcessError, Spec, Supervisor};
use crate::model::{Failure, FailureKind, Step, error_chain, is_job_variable, mask_url};
use jiff::Timestamp;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs commands that share an environment, a marker, a log, secrets and a cancel.
#[derive(Debug, Clone)]
pub struct Runner {
    /// Starts them.
    pub supervisor: Supervisor,
    /// Whose they are.
    pub marker: Marker,
    /// Added to the daemon's environment, in order, later wins.
    pub env: Vec<(OsString, OsString)>,
    /// Ends them.
    pub cancel: Cancel,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// `build.log` and its limit in bytes. Without one, output of logged commands is dropped.
    pub log: Option<(PathBuf, u64)>,
    /// What must be in no log and no error. Captured stdout is data, and as it was written.
    pub masks: Masks,
}

/// What a captured command said.
#[derive(Debug)]
pub struct Captured {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// The end of what it wrote to stderr.
    pub stderr: String,
    /// stdout was longer than the limit.
    pub truncated: bool,
}

impl Captured {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// The last line on stderr that says something, for an error message.
    pub fn last_words(&self) -> &str {
        self.stderr
            .lines()
            .rev()
            .map(str::trim)
            .find(|l| !l.is_empty())
            .unwrap_or("it said nothing")
    }
}

impl Runner {
    /// Runs a command with a header line and its output in the log. Answers with its exit code; a signal, a timeout, a
    /// cancel, a command that cannot be started and a log that cannot be written are failures.
    pub async fn logged(&self, step: Step, argv: &[OsString], cwd: &Path, timeout: Duration) -> Result<i32, Failure> {
        self.note(step, &format!("$ {}", self.shown(argv)));
        let output = match &self.log {
            Some((path, limit)) => Output::Log {
                path: path.clone(),
                limit: *limit,
            },
            None => Output::Capture { limit: 1 },
        };
        let begin = std::time::Instant::now();
        let result = self.run(argv, cwd, timeout, output).await;
        let wall = humantime::format_duration(Duration::from_millis(begin.elapsed().as_millis() as u64));
        let ended = match result {
            Ok(done) => match done.log_error {
                Some(error) => Err(Failure::errored(format!(
                    "{step}: cannot write {}: {error}",
                    self.log_name()
                ))),
                None => self.status(step, argv, timeout, done.ended),
            },
            Err(error) => Err(not_run(step, &error)),
        };
        let ended = ended.map_err(|failure| self.masked(failure));
        match &ended {
            Ok(0) => {}
            Ok(code) => self.note(step, &format!("exit code {code} after {wall}")),
            Err(failure) => self.note(step, &format!("{failure} (after {wall})")),
        }
        ended
    }

    /// Runs a command and takes its stdout, up to `limit` bytes. What it says does not reach the log.
    pub async fn capture(
        &self,
        step: Step,
        argv: &[OsString],
        cwd: &Path,
        timeout: Duration,
        limit: usize,
    ) -> Result<Captured, Failure> {
        let done = self
            .run(argv, cwd, timeout, Output::Capture { limit })
            .await
            .map_err(|error| self.masked(not_run(step, &error)))?;
        let code = match done.ended {
            Ended::Code(code) => Some(code),
            Ended::Signal(_) => None,
            ended => {
                self.status(step, argv, timeout, ended)
                    .map_err(|failure| self.masked(failure))?;
                None
            }
        };
        Ok(Captured {
            code,
            truncated: done.dropped > 0,
            stdout: done.stdout,
            stderr: done.stderr,
        })
    }

    async fn run(
        &self,
        argv: &[OsString],
        cwd: &Path,
        timeout: Duration,
        output: Output,
    ) -> Result<Done, ProcessError> {
        let spec = Spec {
            argv: argv.to_vec(),
            env: self.env.clone(),
            cwd: cwd.to_owned(),
            timeout,
            grace: self.grace,
            marker: self.marker.clone(),
            output,
            masks: self.masks.clone(),
        };
        self.supervisor.run(&spec, &self.cancel).await
    }

    fn status(&self, step: Step, argv: &[OsString], timeout: Duration, ended: Ended) -> Result<i32, Failure> {
        let program = argv.first().map(|p| p.to_string_lossy()).unwrap_or_default();
        match ended {
            Ended::Code(code) => Ok(code),
            Ended::Signal(signal) => {
                let name = nix::sys::signal::Signal::try_from(signal)
                    .map_or_else(|_| signal.to_string(), |s| s.as_str().to_owned());
                Err(Failure::new(
                    step.on_signal(),
                    format!("{step}: {program} was ended by {name}"),
                ))
            }
            Ended::TimedOut => Err(Failure::new(
                step.on_timeout(),
                format!(
                    "{step}: {program} was ended after its timeout of {}",
                    humantime::format_duration(timeout)
                ),
            )),
            Ended::Cancelled if !self.cancel.is_asked() => Err(Failure::errored(format!(
                "{step}: somebody ended the supervisor of {program}"
            ))),
            Ended::Cancelled => Err(Failure::new(FailureKind::Cancelled, format!("{step}: cancelled"))),
        }
    }

    /// The text without secrets. For whatever is said of a command and does not come from a function of this type.
    pub fn mask(&self, text: &str) -> String {
        self.masks.mask(text)
    }

    /// A failure without secrets.
    pub fn masked(&self, failure: Failure) -> Failure {
        Failure::new(failure.kind, self.mask(&failure.message))
    }

    /// A command line as a shell would take it, without secrets.
    pub fn shown(&self, argv: &[OsString]) -> String {
        // Before it is quoted: a quoted secret is not found.
        let argv: Vec<OsString> = match self.masks.is_empty() {
            true => argv.to_vec(),
            false => argv
                .iter()
                .map(|arg| self.mask(&arg.to_string_lossy()).into())
                .collect(),
        };
        display_argv(&argv)
    }

    /// Writes a line of ours to the log, without secrets: `=== TIME STEP: TEXT`, at the start of a line.
    pub fn note(&self, step: impl std::fmt::Display, text: &str) {
        let Some((path, _)) = &self.log else { return };
        let line = format!("=== {:.3} {step}: {}\n", Timestamp::now(), one_line(&self.mask(text)));
        let written = open_log(path).and_then(|mut file| {
            let newline = !ends_with_newline(&mut file)?;
            let line = if newline { format!("\n{line}") } else { line };
            file.write_all(line.as_bytes())
        });
        if let Err(error) = written {
            // The next command finds the same trouble and makes a failure of it.
            tracing::warn!(path = %path.display(), %error, "cannot write a log");
        }
    }

    /// What people know the log by.
    pub fn log_name(&self) -> std::borrow::Cow<'_, str> {
        let name = self.log.as_ref().and_then(|(path, _)| path.file_name());
        name.map_or("build.log".into(), OsStr::to_string_lossy)
    }

    /// A copy with more environment.
    pub fn with_env(&self, more: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut runner = self.clone();
        runner.env.extend(more);
        runner
    }

    /// The value that a command would see.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        self.env
            .iter()
            .rev()
            .find(|(n, _)| n == OsStr::new(name))
            .map(|(_, v)| v.clone())
            .or_else(|| std::env::var_os(name).filter(|_| !is_job_variable(name)))
    }
}

fn open_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

fn ends_with_newline(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// A callback that cannot be started is the user's mistake; a git or an engine that cannot is ours.
fn not_run(step: Step, error: &ProcessError) -> Failure {
    let (kind, message) = match error {
        ProcessError::NotStarted { program, source } => {
            let hint = match source.raw_os_error().map(nix::errno::Errno::from_raw) {
                Some(nix::errno::Errno::ENOENT) => ": is it installed, and in the daemon's PATH?",
                Some(nix::errno::Errno::EACCES) => ": is it executable?",
                Some(nix::errno::Errno::ENOEXEC) => ": does it begin with a #! line?",
                _ => "",
            };
            let kind = match step {
                Step::Prepare | Step::SuccessCallback | Step::ErrorCallback => FailureKind::Failed,
                _ => FailureKind::Errored,
            };
            (kind, format!("{step}: cannot start {program}: {source}{hint}"))
        }
        ProcessError::Log { .. } | ProcessError::Supervisor { .. } | ProcessError::SupervisorDied { .. } => {
            (FailureKind::Errored, format!("{step}: {}", error_chain(error)))
        }
    };
    Failure::new(kind, message)
}

/// A command line as a shell would take it, with credentials in URLs masked.
pub fn display_argv(argv: &[OsString]) -> String {
    argv.iter()
        .map(|arg| {
            let arg = mask_url(&arg.to_string_lossy());
            // shlex quotes more than a reader needs.
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
            if !arg.is_empty() && arg.chars().all(plain) {
                return arg;
            }
            shlex::try_quote(&arg).map_or_else(|_| format!("{arg:?}"), |quoted| quoted.into_owned())
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}
