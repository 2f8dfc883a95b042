//! `pipelined init`: a short config to begin with.
//!
//! It must never write over a file that someone may have worked on, unless told to.

use super::common::Exit;
use anyhow::Context;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const TEXT: &str = include_str!("init.toml");

/// Not for others: a remote with a token in it is soon written.
const MODE: u32 = 0o640;

/// Write a short commented config to begin with
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write it
    #[arg(
        value_name = "PATH",
        env = "PIPELINED_CONFIG",
        default_value = "/etc/pipelined/pipelined.toml"
    )]
    path: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Writes; ends with 1 if the file is there already.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = &args.path;
    let written = if args.force { replace(path) } else { create(path) };
    match written {
        Ok(()) => {
            let shown = path.display();
            writeln!(
                std::io::stdout().lock(),
                "{shown}: written; edit it, then run: pipelined check --config {shown}"
            )?;
            Ok(Exit::Fine.into())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            writeln!(
                std::io::stderr().lock(),
                "error: {}: is there already; --force replaces it",
                path.display()
            )?;
            Ok(Exit::Failed.into())
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

fn create(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(TEXT.as_bytes())?;
    file.sync_all()
}

/// Through a second file, so that a full disk leaves the old one.
fn replace(path: &Path) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => create(&new)?,
    }
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn writes_a_config_that_is_fine_and_never_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.toml");
        create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
        assert_eq!(load(&path, &Overrides::default()).unwrap().config.projects.len(), 1);
        fs::write(&path, "mine").unwrap();
        assert_eq!(create(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        replace(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
