//! Submodules of a checkout.
//!
//! Which transports they may use is git's own default or the user's config (`protocol.<name>.allow`): a repository
//! must not be able to point the daemon at files of its machine.

use super::checkout::{Checkout, not_the_build};
use crate::model::{Failure, Step};
use crate::process::Runner;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The longest index that is read.
const INDEX_LIMIT: usize = 256 << 20;

/// Brings every submodule to the commit that the checkout names.
pub(super) async fn update(runner: &Runner, wanted: &Checkout<'_>) -> Result<(), Failure> {
    let dir = wanted.dir;
    // A gitlink that nothing explains is what is left of a nested repository; git would stumble over it.
    if !dir.join(".gitmodules").is_file() {
        return Ok(());
    }
    let shallow = wanted.shallow && run(runner, wanted, &["update", "--init", "--recursive", "--depth=1"]).await? == 0;
    if shallow {
        return Ok(());
    }
    if wanted.shallow {
        runner.note(
            Step::Checkout,
            "submodules cannot be had without history: fetching all of it",
        );
        run(runner, wanted, &["deinit", "--all", "--force", "--quiet"]).await?;
        let modules = dir.join(".git/modules");
        let removed = match wanted.mirrors {
            Some(mirrors) => mirrors.discard(&modules),
            None => std::fs::remove_dir_all(&modules),
        };
        match removed {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::errored(format!(
                    "checkout: cannot remove {}: {e}",
                    modules.display()
                )));
            }
            _ => {}
        }
    }
    let full = ["update", "--init", "--recursive", "--no-recommend-shallow"];
    match run(runner, wanted, &full).await? {
        0 => Ok(()),
        _ => Err(why(runner, wanted).await?),
    }
}

async fn run(runner: &Runner, wanted: &Checkout<'_>, args: &[&str]) -> Result<i32, Failure> {
    let argv: Vec<OsString> = ["git", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "submodule"]
        .iter()
        .chain(args)
        .map(OsString::from)
        .collect();
    runner
        .logged(Step::Checkout, &argv, wanted.dir, wanted.timeout)
        .await
        .map_err(not_the_build)
}

/// A commit that does not exist where the submodule's remote answers is the user's mistake; everything else, and what
/// cannot be told (submodules of submodules), is ours.
async fn why(runner: &Runner, wanted: &Checkout<'_>) -> Result<Failure, Failure> {
    for (path, commit) in gitlinks(runner, wanted).await? {
        let module = wanted.dir.join(&path);
        if !module.join(".git").exists() {
            continue;
        }
        let object = format!("{commit}^{{commit}}");
        if quiet(runner, &module, wanted.timeout, &["cat-file", "-e", &object]).await? {
            continue;
        }
        if quiet(
            runner,
            &module,
            wanted.timeout,
            &["ls-remote", "--quiet", "origin", "HEAD"],
        )
        .await?
        {
            return Ok(Failure::failed(format!(
                "checkout: submodule {} wants commit {commit}, which its remote does not have: was it never pushed?",
                path.display()
            )));
        }
        return Ok(Failure::errored(format!(
            "checkout: the remote of submodule {} does not answer: see build.log",
            path.display()
        )));
    }
    Ok(Failure::errored(
        "checkout: cannot check out the submodules: see build.log",
    ))
}

async fn quiet(runner: &Runner, dir: &Path, timeout: Duration, args: &[&str]) -> Result<bool, Failure> {
    let argv: Vec<OsString> = std::iter::once("git")
        .chain(args.iter().copied())
        .map(OsString::from)
        .collect();
    Ok(runner
        .capture(Step::Checkout, &argv, dir, timeout, 64 * 1024)
        .await?
        .success())
}

/// Path and commit of every submodule in the index.
async fn gitlinks(runner: &Runner, wanted: &Checkout<'_>) -> Result<Vec<(std::path::PathBuf, String)>, Failure> {
    let argv = ["git", "ls-files", "--stage", "-z"].map(OsString::from);
    let listed = runner
        .capture(Step::Checkout, &argv, wanted.dir, wanted.timeout, INDEX_LIMIT)
        .await?;
    let links = listed.stdout.split(|b| *b == 0).filter_map(|entry| {
        let entry = entry.strip_prefix(b"160000 ")?;
        let tab = entry.iter().position(|b| *b == b'\t')?;
        let commit = std::str::from_utf8(&entry[..tab]).ok()?.split(' ').next()?;
        Some((OsStr::from_bytes(&entry[tab + 1..]).into(), commit.to_owned()))
    });
    Ok(links.collect())
}
