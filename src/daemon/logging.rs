//! The daemon's own log: stderr, and a daily file if one is asked for.

use crate::config::{LogConfig, LogFormat};
use std::io::{IsTerminal, Stderr, Write};
use std::path::PathBuf;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Changes the level of a running log.
pub(super) type LevelHandle = reload::Handle<LevelFilter, Registry>;

/// The log file cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot write logs to {dir}")]
pub struct LogError {
    dir: PathBuf,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Starts logging. A level can be changed later, the rest holds until the next start.
pub(super) fn start(config: &LogConfig) -> Result<LevelHandle, LogError> {
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(config.level));
    let under_journald = std::env::var_os("JOURNAL_STREAM").is_some();
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let stderr = fmt::layer().with_target(false).with_ansi(ansi);
    // journald has a clock of its own, and takes the level from the prefix.
    let journal = fmt::layer()
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .with_writer(Journal);
    let stderr: Box<dyn Layer<_> + Send + Sync> = match (config.format, under_journald) {
        (LogFormat::Text, false) => stderr.with_writer(std::io::stderr).boxed(),
        (LogFormat::Text, true) => journal.with_level(false).boxed(),
        (LogFormat::Json, false) => stderr.with_writer(std::io::stderr).json().flatten_event(true).boxed(),
        (LogFormat::Json, true) => journal.json().flatten_event(true).boxed(),
    };
    let file = config
        .dir
        .as_ref()
        .map(|dir| {
            let failed = |source| LogError {
                dir: dir.clone(),
                source,
            };
            std::fs::create_dir_all(dir).map_err(|e| failed(e.into()))?;
            let appender = RollingFileAppender::builder()
                .rotation(Rotation::DAILY)
                .filename_prefix("pipelined")
                .filename_suffix("log")
                .max_log_files(config.keep)
                .build(dir)
                .map_err(|e| failed(e.into()))?;
            let file = fmt::layer().with_writer(appender).with_target(false).with_ansi(false);
            let file: Box<dyn Layer<_> + Send + Sync> = match config.format {
                LogFormat::Text => file.boxed(),
                LogFormat::Json => file.json().flatten_event(true).boxed(),
            };
            Ok(file)
        })
        .transpose()?;
    // What a library does for each connection is nobody's wish at `debug`.
    let ours = Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::TRACE)
        .with_default(LevelFilter::WARN);
    // A subscriber that is there already is a test's.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(ours)
        .with(stderr)
        .with(file)
        .try_init();
    Ok(handle)
}

/// stderr with the prefix of sd-daemon(3) before each line, by which journald knows its level.
struct Journal;

struct Prefixed {
    prefix: &'static [u8],
    stderr: Stderr,
}

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Prefixed;

    fn make_writer(&'a self) -> Prefixed {
        Prefixed {
            prefix: b"<6>",
            stderr: std::io::stderr(),
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Prefixed {
        let prefix: &[u8] = match *meta.level() {
            Level::ERROR => b"<3>",
            Level::WARN => b"<4>",
            Level::INFO => b"<6>",
            Level::DEBUG | Level::TRACE => b"<7>",
        };
        Prefixed {
            prefix,
            ..self.make_writer()
        }
    }
}

impl Write for Prefixed {
    /// Called once for a whole line.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        // In one piece: the supervisors write there too.
        let whole = [self.prefix, line.strip_prefix(b" ").unwrap_or(line)].concat();
        self.stderr.lock().write_all(&whole)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stderr.flush()
    }
}
