//! `pipelined doctor`: will builds work on this machine, and if not, what is to be done?
//!
//! It tries things out rather than reading versions, and must leave nothing behind: no image, no container, no file.

mod engine;
mod finding;
mod hooks;
mod host;
mod kaniko;
mod program;
mod registries;
mod space;
mod tools;

use super::common::{ConfigArgs, Exit};
use super::style::{Style, plain};
use crate::config::{Config, EngineKind, LoadError};
use crate::model::mask_url;
use crate::process::{Cancel, Marker, Masks, Runner, Supervisor};
use finding::{Finding, Level};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;
use std::time::Duration;

/// Check whether this machine can build, and say what to do where it cannot
///
/// Run it as the user that the daemon runs as. It really builds and runs a tiny image, without the network, and removes
/// it again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pipelined doctor -c ./pipelined.toml
  sudo -u pipelined pipelined doctor
  pipelined doctor --json | jq '.[] | select(.level == \"bad\")'")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Looks at everything; ends with 1 if something is bad.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(examine(args));
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &findings)?;
        writeln!(out)?;
    } else {
        let style = Style::stdout();
        for finding in &findings {
            let word = style.word(finding.level.word());
            let pad = 4 - finding.level.word().len();
            writeln!(out, "{word}{:pad$}  {}: {}", "", finding.about, plain(&finding.text))?;
            if let Some(advice) = &finding.advice {
                writeln!(out, "      -> {}", plain(advice))?;
            }
        }
    }
    let bad = findings.iter().any(|f| f.level == Level::Bad);
    Ok(if bad { Exit::Failed } else { Exit::Fine }.into())
}

async fn examine(args: &Args) -> Vec<Finding> {
    let runner = Runner {
        supervisor: Supervisor::default(),
        marker: Marker::service("doctor"),
        env: Vec::new(),
        cancel: Cancel::new(),
        grace: Duration::from_secs(2),
        log: None,
        masks: Masks::default(),
    };
    let cancel = runner.cancel.clone();
    tokio::spawn(async move {
        // What was built so far is removed all the same.
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.ask();
        }
    });
    let mut findings = Vec::new();
    let config = config(args, &mut findings);
    let kind = config.as_ref().map_or(EngineKind::Podman, |c| c.engine);
    let workdir = args
        .config
        .workdir
        .as_deref()
        .or(config.as_ref().map(|c| c.workdir.as_path()));
    if let Some(workdir) = workdir {
        findings.extend(space::workdir(workdir));
    }
    findings.push(tools::git(&runner).await);
    if config
        .iter()
        .flat_map(|c| c.projects.values())
        .any(|p| p.rsync.is_some())
    {
        findings.push(tools::rsync(&runner).await);
    }
    findings.extend(engine::examine(kind, &runner).await);
    if let Some(kaniko) = config.as_ref().and_then(|c| c.kaniko.as_ref()) {
        findings.push(kaniko::examine(kind, &kaniko.image, &runner).await);
    }
    if let Some(config) = &config {
        findings.extend(registries::examine(config));
        findings.extend(hooks::examine(config));
    }
    findings.extend(host::limits());
    findings.extend(host::systemd());
    findings
}

fn config(args: &Args, findings: &mut Vec<Finding>) -> Option<Config> {
    const ABOUT: &str = "config";
    let path = args.config.config.display();
    match args.config.load() {
        Ok(loaded) => {
            let config = loaded.config;
            let text = format!(
                "{path}: {} projects, {} warnings",
                config.projects.len(),
                loaded.warnings.len()
            );
            findings.push(match loaded.warnings.is_empty() {
                true => Finding::ok(ABOUT, text),
                false => Finding::warn(ABOUT, text, format!("see them: pipelined check -c {path}")),
            });
            let secret = config.projects.values().any(|p| mask_url(&p.remote) != p.remote);
            let mode = std::fs::metadata(&args.config.config).map_or(0, |meta| meta.permissions().mode());
            if secret && mode & 0o004 != 0 {
                findings.push(Finding::bad(
                    ABOUT,
                    format!("{path} holds credentials, and everyone may read it"),
                    format!("chmod o-rwx {path}"),
                ));
            }
            Some(config)
        }
        Err(LoadError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let advice = format!("write one: pipelined init {path}; or name it with --config");
            findings.push(Finding::warn(ABOUT, format!("{path} is not there"), advice));
            None
        }
        Err(LoadError::Invalid(diagnostics)) => {
            let text = format!("{path} has {} mistakes", diagnostics.errors().count());
            findings.push(Finding::bad(
                ABOUT,
                text,
                format!("see them: pipelined check -c {path}"),
            ));
            None
        }
        Err(error) => {
            let text = format!("{:#}", anyhow::Error::from(error));
            findings.push(Finding::bad(ABOUT, text, "let the daemon's user read it"));
            None
        }
    }
}
