//! `pipelined check`: is the config fine?
//!
//! It must never have an effect: people run it from an editor and before a reload.

use super::common::{ConfigArgs, Exit, report_load_error, report_warnings};
use crate::config::{LoadError, Loaded};
use std::io::Write;
use std::process::ExitCode;

/// Check the config and report every mistake in it
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print mistakes and warnings as JSON
    #[arg(long)]
    json: bool,
}

/// Checks; ends with 3 if the config cannot be used.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let result = args.config.load();
    if args.json {
        print_json(&result)?;
    } else {
        match &result {
            Ok(loaded) => {
                report_warnings(loaded)?;
                writeln!(std::io::stdout().lock(), "{}", summary(loaded))?;
            }
            Err(error) => report_load_error(error)?,
        }
    }
    Ok(if result.is_ok() { Exit::Fine } else { Exit::BadConfig }.into())
}

fn summary(loaded: &Loaded) -> String {
    let projects = loaded.config.projects.values();
    let disabled = projects.clone().filter(|p| !p.enabled).count();
    let counted = |count, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let mut out = format!(
        "{}: fine: {}",
        loaded.source.path().display(),
        counted(projects.len(), "project")
    );
    if disabled > 0 {
        out += &format!(" ({disabled} disabled)");
    }
    if !loaded.warnings.is_empty() {
        out += &format!(", {}", counted(loaded.warnings.len(), "warning"));
    }
    out
}

fn print_json(result: &Result<Loaded, LoadError>) -> anyhow::Result<()> {
    let list = match result {
        Ok(loaded) => loaded.source.to_json(&loaded.warnings),
        Err(LoadError::Invalid(diagnostics)) => diagnostics.to_json(),
        Err(error @ (LoadError::Read { path, .. } | LoadError::TooBig { path })) => {
            let cause = std::error::Error::source(error)
                .map(|s| format!(": {s}"))
                .unwrap_or_default();
            serde_json::json!([{
                "file": path.to_string_lossy(),
                "line": null,
                "column": null,
                "end": null,
                "severity": "error",
                "message": format!("{error}{cause}"),
                "help": null,
            }])
        }
    };
    writeln!(std::io::stdout().lock(), "{list:#}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn ends_with_the_code_of_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.toml");
        let ends = |text: &str, options: &[&str]| {
            std::fs::write(&path, text).unwrap();
            let path = path.to_str().unwrap();
            let cli = Cli::parse_from(["check", "-c", path].iter().chain(options));
            run(&cli.args).unwrap()
        };
        let fine = "workdir = \"/w\"\n[projects.a]\nremote = \"h:a\"\n";
        assert_eq!(ends(fine, &[]), Exit::Fine.into());
        assert_eq!(ends(fine, &["--json"]), Exit::Fine.into());
        assert_eq!(ends("limit = 0", &[]), Exit::BadConfig.into());
        assert_eq!(ends("limit = 0", &["--json"]), Exit::BadConfig.into());
        assert_eq!(ends("limit = 2", &["--workdir", "/w"]), Exit::Fine.into());
        let missing = Cli::parse_from(["check", "--config", "/nonexistent/p.toml"]);
        assert_eq!(run(&missing.args).unwrap(), Exit::BadConfig.into());
    }
}
