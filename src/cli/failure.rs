//! How a verb that did not work ends: the chain of reasons once, and the exit code that belongs to it.

use super::common::{Exit, report_load_error};
use crate::api::ClientError;
use crate::config::LoadError;
use crate::store::LockError;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Tells stderr `pipelined: what: why: why`. Nobody is left to be told about a pipe whose reader went away (`| head`).
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    let pipe = error.downcast_ref::<std::io::Error>();
    if pipe.is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) {
        return Exit::Fine.into();
    }
    // stderr is the last place to complain to.
    let _ = match error.chain().find_map(|e| e.downcast_ref::<LoadError>()) {
        Some(error) => report_load_error(error),
        None => writeln!(std::io::stderr().lock(), "pipelined: {error:#}"),
    };
    exit(error).into()
}

fn exit(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if cause.is::<LoadError>() {
            return Exit::BadConfig;
        }
        if matches!(cause.downcast_ref(), Some(ClientError::NoDaemon { .. })) {
            return Exit::NoDaemon;
        }
        if matches!(cause.downcast_ref(), Some(LockError::InUse { .. })) {
            return Exit::InUse;
        }
    }
    Exit::Failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_code_is_found_below_context() {
        let no_daemon = ClientError::NoDaemon { workdir: "/w".into() };
        let error = Err::<(), _>(no_daemon).context("cannot build").unwrap_err();
        assert_eq!(exit(&error), Exit::NoDaemon);
        let in_use = LockError::InUse {
            workdir: "/w".into(),
            pid: "1".to_owned(),
        };
        assert_eq!(exit(&in_use.into()), Exit::InUse);
        assert_eq!(exit(&anyhow::anyhow!("no")), Exit::Failed);
    }
}
