//! Which of docker's two builders does a build.
//!
//! They differ in what they can do and not in how they are called, so this is decided before the build, and what the
//! chosen one cannot do is said then.

use super::command::Engine;
use super::features::numbers;
use crate::model::{Failure, Step};
use crate::process::Runner;

/// The one that is part of the daemon, and the newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builder {
    Classic,
    BuildKit,
}

/// What a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Client {
    buildx: bool,
    version: Option<(u32, u32, u32)>,
}

impl Engine {
    /// `needed`: the build has something that only BuildKit can do.
    pub(super) async fn builder(&self, runner: &Runner, needed: bool) -> Result<Builder, Failure> {
        let asked = runner.variable("DOCKER_BUILDKIT").filter(|v| !v.is_empty());
        if let Some(asked) = asked {
            return Ok(match asked.to_str() {
                Some("0" | "false" | "f" | "F" | "False" | "FALSE") => Builder::Classic,
                _ => Builder::BuildKit,
            });
        }
        let buildx = self.ask(runner, Step::Build, &["buildx", "version"]).await?.success();
        let version = match needed && !buildx {
            true => {
                let args = ["version", "--format", "{{.Client.Version}}"];
                let answer = self.ask(runner, Step::Build, &args).await?;
                numbers(&String::from_utf8_lossy(&answer.stdout))
            }
            false => None,
        };
        Ok(choose(Client { buildx, version }, needed))
    }
}

/// Clients from 18.09 on have BuildKit built in, and from 23.0 on only by way of buildx. The classic one stays the
/// default where there is no buildx: it is what the daemon's own layer cache is of.
fn choose(client: Client, needed: bool) -> Builder {
    let built_in = client
        .version
        .is_some_and(|version| ((18, 9, 0)..(23, 0, 0)).contains(&version));
    match client.buildx || (needed && built_in) {
        true => Builder::BuildKit,
        false => Builder::Classic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildkit_where_it_is_there_and_where_it_is_needed() {
        let table = [
            (true, None, false, Builder::BuildKit),
            (false, None, false, Builder::Classic),
            (false, Some((20, 10, 24)), true, Builder::BuildKit),
            (false, Some((18, 9, 0)), true, Builder::BuildKit),
            (false, Some((18, 6, 1)), true, Builder::Classic),
            (false, Some((28, 2, 2)), true, Builder::Classic),
            (false, None, true, Builder::Classic),
        ];
        for (buildx, version, needed, builder) in table {
            assert_eq!(choose(Client { buildx, version }, needed), builder, "{version:?}");
        }
    }
}
