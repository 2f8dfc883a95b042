//! The supervisor: a process of its own around one command.
//!
//! It is its own session and the subreaper of everything below it, so "no child is left" (`ECHILD`) means that nothing
//! that the command started is left. It must not allocate by the size of the output, read a config, or know of jobs.

use super::masks::Masks;
use super::procfs;
use super::sink::{Left, Sink};
use super::wire::{CANCEL, KILL, Report, read_frame};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, pipe2, read, setsid};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The hidden verb by which the binary becomes a supervisor.
pub const VERB: &str = "supervise";

/// How long what a command left behind may take to end by itself: a container's monitor tidies up after its client.
const SETTLE: Duration = Duration::from_secs(1);
/// How long processes may survive KILL (in uninterruptible sleep) before the supervisor gives up on them.
pub(super) const GIVE_UP: Duration = Duration::from_secs(30);
/// The size asked for the pipe of a log. More in flight means fewer switches on a loud build.
const PIPE_SIZE: usize = 1 << 20;

struct Options {
    timeout: Duration,
    grace: Duration,
    /// Bytes of the log file in all, or none if output is captured.
    log_limit: Option<u64>,
    capture_limit: usize,
    argv: Vec<OsString>,
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Option<Options> {
    let mut number = || args.next()?.to_str()?.parse::<u64>().ok();
    let timeout = Duration::from_millis(number()?);
    let grace = Duration::from_millis(number()?);
    let log_limit = number()?;
    let capture_limit = number()?;
    let argv: Vec<OsString> = args.collect();
    (!argv.is_empty()).then_some(Options {
        timeout,
        grace,
        log_limit: (capture_limit == 0).then_some(log_limit),
        capture_limit: usize::try_from(capture_limit).unwrap_or(usize::MAX),
        argv,
    })
}

/// Runs as a supervisor: `TIMEOUT_MS GRACE_MS LOG_LIMIT CAPTURE_LIMIT ARGV…`, patterns of secrets and then control on
/// stdin, report on stdout, log on stderr. Exits 0 once the report was written, whatever the command did.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(options) = parse(args) else {
        eprintln!("pipelined {VERB} is started by the daemon, not by people");
        return ExitCode::from(2);
    };
    match supervise(&options) {
        Ok((report, stdout)) => {
            let mut out = std::io::stdout().lock();
            // A daemon that is gone cannot read it; the log is written all the same.
            let _ = serde_json::to_writer(&mut out, &report)
                .map_err(std::io::Error::from)
                .and_then(|()| out.write_all(b"\n"))
                .and_then(|()| out.write_all(&stdout))
                .and_then(|()| out.flush());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pipelined {VERB}: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Stream {
    pipe: Option<File>,
    sink: Sink,
}

impl Stream {
    fn new(sink: Sink) -> nix::Result<(Self, OwnedFd)> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let stream = Self {
            pipe: Some(File::from(reader)),
            sink,
        };
        Ok((stream, writer))
    }

    /// Takes what is there, but no more than a full pipe, so that a loud command cannot keep a cancel waiting.
    fn drain(&mut self, buffer: &mut [u8], report: &mut Report) {
        for _ in 0..PIPE_SIZE / buffer.len() {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(buffer) {
                Ok(0) => self.close(report),
                Ok(n) => self.sink.take(&buffer[..n], report),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => self.close(report),
            }
        }
    }

    /// No more comes, or no more is waited for.
    fn close(&mut self, report: &mut Report) {
        self.pipe = None;
        self.sink.end(report);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// The command runs until its time is up.
    Running { until: Instant },
    /// The command has ended; what it started may end by itself for a moment.
    Settling { until: Instant },
    /// TERM was sent.
    Terminating { until: Instant },
    /// KILL is sent again and again.
    Killing { until: Instant },
}

impl Phase {
    fn until(self) -> Instant {
        match self {
            Self::Running { until }
            | Self::Settling { until }
            | Self::Terminating { until }
            | Self::Killing { until } => until,
        }
    }
}

fn supervise(options: &Options) -> std::io::Result<(Report, Vec<u8>)> {
    // Fails only for a group leader, which the daemon's child is not; then the session is the one we have.
    let _ = setsid();
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut watched = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        watched.add(signal);
    }
    let mut report = Report::default();
    let control = std::io::stdin();
    // Not by the buffered stdin, which would read on into the requests.
    let patterns = read_frame(&mut File::from(control.as_fd().try_clone_to_owned()?))?;
    let masks = Masks::from_patterns(patterns).map_err(std::io::Error::other)?;
    // Before signals are blocked: the command would inherit that, and be deaf to TERM.
    let (mut streams, main_pid) = match start(options, &masks)? {
        Ok(started) => started,
        Err(error) => {
            report.spawn_error = Some((error.raw_os_error().unwrap_or(0), error.to_string()));
            return Ok((report, Vec::new()));
        }
    };
    watched.thread_block()?;
    let mut signals = SignalFd::with_flags(&watched, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;

    let begin = Instant::now();
    let mut phase = Phase::Running {
        until: begin + options.timeout,
    };
    let mut control_open = true;
    let mut buffer = vec![0; 64 * 1024];

    loop {
        // Reap first: a SIGCHLD that came before the signalfd was armed is not lost this way.
        if reap(main_pid, &mut report) {
            break;
        }
        let main_ended = report.code.is_some() || report.signal.is_some();
        let now = Instant::now();
        phase = match phase {
            Phase::Running { .. } if main_ended => Phase::Settling { until: now + SETTLE },
            Phase::Running { until } if now >= until => {
                report.timed_out = true;
                terminate(now + options.grace)
            }
            Phase::Settling { until } if now >= until => terminate(now + options.grace),
            Phase::Terminating { until } if now >= until => Phase::Killing { until: now + GIVE_UP },
            Phase::Killing { until } if now >= until => {
                report.leftover = procfs::descendants(&[getpid().as_raw()]).len();
                break;
            }
            same => same,
        };
        let mut wait = phase.until().saturating_duration_since(now);
        if let Phase::Killing { .. } = phase {
            for pid in procfs::descendants(&[getpid().as_raw()]) {
                procfs::signal(pid, Signal::SIGKILL);
            }
            wait = wait.min(Duration::from_millis(20));
        }
        let asked = wait_for_events(&control, control_open, &mut signals, &mut streams, wait)?;
        for stream in &mut streams {
            stream.drain(&mut buffer, &mut report);
        }
        if let Asked::Nothing = asked {
            continue;
        }
        let now = Instant::now();
        // The end of the stream means that the daemon is gone.
        control_open &= !matches!(asked, Asked::Closed);
        report.cancelled |= matches!(phase, Phase::Running { .. });
        phase = match (asked, phase) {
            (Asked::Kill, _) => Phase::Killing { until: now + GIVE_UP },
            (_, Phase::Running { .. } | Phase::Settling { .. }) => terminate(now + options.grace),
            (_, same) => same,
        };
    }
    for stream in &mut streams {
        stream.drain(&mut buffer, &mut report);
        stream.close(&mut report);
    }
    Ok(finish(report, streams, options))
}

/// The command's streams and its process.
type Started = (Vec<Stream>, Pid);

/// Starts the command in a group of its own. The inner error is the command's: it could not be started.
fn start(options: &Options, masks: &Masks) -> std::io::Result<Result<Started, std::io::Error>> {
    let mut streams = Vec::new();
    let (stdout, stderr) = match options.log_limit {
        Some(limit) => {
            let file = File::from(std::io::stderr().as_fd().try_clone_to_owned()?);
            let (stream, writer) = Stream::new(Sink::log(file, limit, masks)?)?;
            if let Some(pipe) = &stream.pipe {
                // Refused where the user's share of pipe memory is used up; the default size works too.
                let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE as i32));
            }
            streams.push(stream);
            (writer.try_clone()?, writer)
        }
        None => {
            let (out, out_writer) = Stream::new(Sink::head(options.capture_limit))?;
            let (err, err_writer) = Stream::new(Sink::tail(masks))?;
            streams.extend([out, err]);
            (out_writer, err_writer)
        }
    };
    let spawned = Command::new(&options.argv[0])
        .args(&options.argv[1..])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn();
    Ok(spawned.map(|child| (streams, Pid::from_raw(child.id() as i32))))
}

/// Takes the status of every child that has ended. True when no child is left at all.
fn reap(main_pid: Pid, report: &mut Report) -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == main_pid => report.code = Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == main_pid => report.signal = Some(signal as i32),
            Ok(WaitStatus::StillAlive) => return false,
            Err(Errno::ECHILD) => return true,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

/// TERM to all; what the kernel would not deliver TERM to is killed at once.
fn terminate(until: Instant) -> Phase {
    for pid in procfs::descendants(&[getpid().as_raw()]) {
        let signal = if procfs::ignores_term(pid) {
            Signal::SIGKILL
        } else {
            Signal::SIGTERM
        };
        procfs::signal(pid, signal);
    }
    Phase::Terminating { until }
}

enum Asked {
    Nothing,
    Cancel,
    Kill,
    Closed,
}

fn wait_for_events(
    control: &std::io::Stdin,
    control_open: bool,
    signals: &mut SignalFd,
    streams: &mut [Stream],
    wait: Duration,
) -> std::io::Result<Asked> {
    let control_ready = {
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if control_open {
            fds.push(PollFd::new(control.as_fd(), PollFlags::POLLIN));
        }
        for stream in streams.iter() {
            if let Some(pipe) = &stream.pipe {
                fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            }
        }
        // One more millisecond: a timeout that is rounded down would spin.
        let wait = PollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, wait) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        control_open && fds[1].any().unwrap_or(false)
    };
    let mut asked = Asked::Nothing;
    while let Ok(Some(info)) = signals.read_signal() {
        if info.ssi_signo != Signal::SIGCHLD as u32 {
            asked = Asked::Cancel;
        }
    }
    if control_ready {
        let mut byte = [0];
        asked = match read(control.as_fd(), &mut byte) {
            Ok(1) if byte[0] == CANCEL => Asked::Cancel,
            Ok(1) if byte[0] == KILL => Asked::Kill,
            Ok(1) | Err(Errno::EINTR | Errno::EAGAIN) => asked,
            Ok(_) | Err(_) => Asked::Closed,
        };
    }
    Ok(asked)
}

fn finish(mut report: Report, streams: Vec<Stream>, options: &Options) -> (Report, Vec<u8>) {
    let mut stdout = Vec::new();
    for stream in streams {
        match stream.sink.into_left() {
            Left::Log(mut file) if report.dropped > 0 => {
                let limit = options.log_limit.unwrap_or_default();
                let note = format!(
                    "\npipelined: log_limit of {limit} bytes reached, {} bytes left out\n",
                    report.dropped
                );
                // The count is in the report as well.
                let _ = file.write_all(note.as_bytes());
            }
            Left::Log(_) => {}
            Left::Head(bytes) => stdout = bytes,
            Left::Tail(bytes) => report.stderr = String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
    report.stdout_len = stdout.len();
    (report, stdout)
}
