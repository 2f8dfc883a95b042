//! The second checkout of a repository, beside a fresh shallow clone of it.

use crate::note::Table;
use crate::stats::{Goal, Pair, Pairs, round};
use crate::support::daemon::{Site, build_json};
use crate::support::repo::{Repo, git_command};
use crate::support::scratch::Scratch;
use crate::support::servers::http::{HttpGit, HttpOptions};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

const FILES: usize = 5000;
const COMMITS: usize = 500;
/// Of a file; 16 MB in all.
const LINES: usize = 50;
/// What a commit changes.
const CHANGED: usize = 10;

/// A commit, a poll, a checkout; then a clone; again and again.
pub fn second(rounds: usize) -> String {
    let scratch = Scratch::new();
    let root = scratch.mkdir("root");
    let big = Repo::new(scratch.join("big"));
    import(big.path(), 0, COMMITS);
    big.bare(root.join("true.git"));
    big.bare(root.join("false.git"));
    let server = HttpGit::start(&scratch, &root, HttpOptions::default());

    let mut table = Table::new([
        "`shallow`",
        "first checkout, s",
        "second, s",
        "fresh clone, s",
        "clone / second",
        "goals",
    ]);
    for shallow in ["true", "false"] {
        let remote = root.join(format!("{shallow}.git"));
        let (first, pairs) = measure(&scratch, &server, &remote, shallow, rounds);
        let goals = format!(
            "{}; {}",
            Goal::Below(0.3, "s").judge(pairs.ours() / 1000.0),
            Goal::Times(4.0).judge(pairs.ratio())
        );
        table.row([
            shallow.to_owned(),
            round(first / 1000.0),
            round(pairs.ours() / 1000.0),
            round(pairs.git() / 1000.0),
            pairs.ratio_text(),
            goals,
        ]);
    }
    table.into_text() + &format!("\n{rounds} pairs.\n")
}

/// Of a project with this `shallow`: its first checkout in milliseconds, and the next ones.
fn measure(scratch: &Scratch, server: &HttpGit, remote: &Path, shallow: &str, rounds: usize) -> (f64, Pairs) {
    let own = Scratch::new();
    let url = server.url(&format!("{shallow}.git"));
    let toml = format!("interval = '30days'\n[projects.p]\nremote = {url:?}\nshallow = {shallow}\n");
    let site = Site::new(&own, &toml);
    let _daemon = site.start();
    let checkout = |commit: &str| {
        let dir = site.wait_built("p", "refs/heads/main", commit);
        let report = build_json(&dir);
        let steps = report["steps"].as_array().unwrap().iter();
        let mut checkouts = steps.filter(|step| step["step"] == "checkout");
        checkouts.next().unwrap()["duration_ms"].as_f64().unwrap()
    };
    let head = || git(remote, &["rev-parse", "refs/heads/main"]);
    let first = checkout(&head());
    let mut pairs = Vec::new();
    for i in 0..rounds {
        import(remote, COMMITS + i, 1);
        assert!(site.cli(&["poll"]).status.success());
        let ours = checkout(&head());
        let clone = format!("clone-{shallow}-{i}");
        let begin = Instant::now();
        git(scratch.path(), &["clone", "--quiet", "--depth", "1", &url, &clone]);
        pairs.push(Pair {
            ours,
            git: begin.elapsed().as_secs_f64() * 1000.0,
        });
        // It stays until the end: file systems are slow where much was removed a moment ago.
    }
    (first, Pairs(pairs))
}

fn git(dir: &Path, args: &[&str]) -> String {
    crate::support::repo::git_in(dir, args)
}

/// Adds so many commits to main, of which the one before is the `from`th. The first brings all files.
fn import(repo: &Path, from: usize, commits: usize) {
    let mut command = git_command();
    command.arg("-C").arg(repo).args(["fast-import", "--quiet", "--force"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut out = BufWriter::new(child.stdin.take().unwrap());
    for commit in from..from + commits {
        writeln!(
            out,
            "commit refs/heads/main\ncommitter Test <test@example.org> {} +0000",
            1_700_000_000 + commit
        )
        .unwrap();
        write!(out, "data 7\nChange\n").unwrap();
        if commit == from && from > 0 {
            writeln!(out, "from refs/heads/main^0").unwrap();
        }
        let files = if commit == 0 {
            0..FILES
        } else {
            commit * CHANGED..(commit + 1) * CHANGED
        };
        for file in files {
            let text = text(file, commit);
            let number = file % FILES;
            write!(
                out,
                "M 100644 inline dir{}/file{number}\ndata {}\n{text}\n",
                number % 100,
                text.len()
            )
            .unwrap();
        }
    }
    drop(out);
    assert!(child.wait().unwrap().success());
}

/// Lines that compress about as source code does, and are the same in every run.
fn text(file: usize, commit: usize) -> String {
    // Never 0, which a xorshift cannot leave.
    let mut state = (file * (COMMITS * 2) + commit + 1) as u64;
    let mut lines = String::new();
    for _ in 0..LINES {
        for _ in 0..4 {
            // A step of xorshift64.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            lines += &format!("{state:016x}");
        }
        lines.push('\n');
    }
    lines
}
