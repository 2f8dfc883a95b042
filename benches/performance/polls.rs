//! CPU of one poll for each transport, beside `git ls-remote`.

use crate::fleet::{Fleet, Orders};
use crate::note::Table;
use crate::served::{Refs, Served};
use crate::stats::{Goal, Pair, Pairs, ms, round};
use crate::support::scratch::Scratch;
use crate::support::servers::git_daemon::GitDaemon;
use crate::support::servers::http::{HttpGit, HttpOptions};
use crate::support::servers::ssh::SshGit;
use std::ffi::OsString;
use std::time::Duration;

/// Where Debian has the certificates that every program trusts.
const SYSTEM_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What an unchanged answer of 10,000 refs may cost.
const MANY_REFS: Goal = Goal::Below(1.0, "ms");

/// Plain http.
pub fn http(rounds: usize) -> String {
    table(rounds, "http", Goal::Times(80.0), |scratch, served| {
        let server = HttpGit::start(scratch, &served.root, HttpOptions::default());
        let urls = served.names.iter().map(|name| server.url(name)).collect();
        (
            server,
            Orders {
                urls,
                ..Orders::default()
            },
        )
    })
}

/// https, with a certificate of a CA of our own.
pub fn https(rounds: usize) -> String {
    table(rounds, "https", Goal::Times(250.0), |scratch, served| {
        let server = HttpGit::start(scratch, &served.root, TLS);
        let urls = served.names.iter().map(|name| server.url(name)).collect();
        let env = vec![trust(scratch, &server)];
        (
            server,
            Orders {
                urls,
                env,
                ..Orders::default()
            },
        )
    })
}

/// How https is served.
pub const TLS: HttpOptions = HttpOptions { auth: None, tls: true };

/// What makes git and the daemon trust the server, beside all that the system trusts. A variable and no line of a git
/// config, as it may be set outside of this bench, and would win.
pub fn trust(scratch: &Scratch, server: &HttpGit) -> (OsString, OsString) {
    let mut bundle = std::fs::read(SYSTEM_CAS).unwrap();
    bundle.extend(std::fs::read(server.ca_file()).unwrap());
    let bundle = scratch.write("trusted.crt", bundle);
    ("GIT_SSL_CAINFO".into(), bundle.into())
}

/// ssh, with the key exchange that it has by itself.
pub fn ssh(rounds: usize) -> String {
    table(rounds, "ssh", Goal::Times(15.0), |scratch, served| {
        let server = SshGit::start(scratch);
        let command = server.command().replace(" -o KexAlgorithms=curve25519-sha256", "");
        let urls = served
            .names
            .iter()
            .map(|name| server.url(&served.root.join(name)))
            .collect();
        let env = vec![("GIT_SSH_COMMAND".into(), command.into())];
        (
            server,
            Orders {
                urls,
                env,
                ..Orders::default()
            },
        )
    })
}

/// git://.
pub fn git(rounds: usize) -> String {
    table(rounds, "git://", Goal::Times(12.0), |scratch, served| {
        let server = GitDaemon::start(scratch, &served.root);
        let urls = served.names.iter().map(|name| server.url(name)).collect();
        (
            server,
            Orders {
                urls,
                ..Orders::default()
            },
        )
    })
}

/// file://.
pub fn file(rounds: usize) -> String {
    table(rounds, "file://", Goal::Times(50.0), |_, served| {
        let url = |name: &String| format!("file://{}", served.root.join(name).display());
        let urls = served.names.iter().map(url).collect();
        (
            (),
            Orders {
                urls,
                ..Orders::default()
            },
        )
    })
}

fn table<S>(rounds: usize, name: &str, goal: Goal, serve: impl Fn(&Scratch, &Served) -> (S, Orders)) -> String {
    let mut table = Table::new(["remote", "refs", "daemon, ms", "git, ms", "git / daemon", "goal"]);
    for refs in [Refs::Three, Refs::TenThousand] {
        // The record of so many refs is what takes its time at first sight, not the questions.
        let (remotes, asks) = match refs {
            Refs::Three => (100, 10),
            Refs::TenThousand => (20, 5),
        };
        let scratch = Scratch::new();
        let served = Served::new(&scratch, refs, remotes);
        let (_server, mut orders) = serve(&scratch, &served);
        orders.interval = "30days";
        let fleet = Fleet::start(orders);
        let cells = match pairs(&fleet, rounds, asks) {
            Ok(pairs) => {
                let judged = match refs {
                    Refs::Three => goal.judge(pairs.ratio()),
                    Refs::TenThousand => MANY_REFS.judge(pairs.ours()),
                };
                let fallback = fleet.polls().fallback;
                let note = fallback.map_or_else(String::new, |why| format!("; asked by git itself ({why})"));
                [
                    round(pairs.ours()),
                    round(pairs.git()),
                    pairs.ratio_text(),
                    judged + &note,
                ]
            }
            Err(why) => {
                eprintln!("{name}, {} refs: {why}", refs.count());
                ["-", "-", "-", "**could not be measured**"].map(str::to_owned)
            }
        };
        let [ours, git, ratio, goal] = cells;
        table.row([name.to_owned(), refs.count().to_owned(), ours, git, ratio, goal]);
    }
    table.into_text() + &format!("\n{rounds} pairs.\n")
}

/// A round of each, one after the other, so that a busy moment of the machine meets both.
fn pairs(fleet: &Fleet, rounds: usize, asks: u32) -> Result<Pairs, String> {
    fleet.warm_up()?;
    // A local repository that has just changed is read once more when its file system's clock has moved on.
    std::thread::sleep(Duration::from_millis(2500));
    for _ in 0..2 {
        fleet.round()?;
    }
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        let ours = ms(fleet.round()?.cpu);
        let git = ms(fleet.git_round(asks));
        pairs.push(Pair { ours, git });
    }
    Ok(Pairs(pairs))
}
