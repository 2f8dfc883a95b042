//! Many remotes over https: all of them now, and all of them all the time.

use crate::fleet::{Fleet, Orders};
use crate::load;
use crate::note::Table;
use crate::polls::{TLS, trust};
use crate::served::{Refs, Served};
use crate::stats::{Goal, Pair, Pairs, median, ms, round};
use crate::support::scratch::{Scratch, wait_for};
use crate::support::servers::http::HttpGit;
use std::fmt::Write;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A thousand on one server, asked at the same time, beside four gits at once.
pub fn thousand(rounds: usize) -> String {
    let scratch = Scratch::new();
    let served = Served::new(&scratch, Refs::Three, 1000);
    let server = HttpGit::start(&scratch, &served.root, TLS);
    let fleet = Fleet::start(Orders {
        urls: served.names.iter().map(|name| server.url(name)).collect(),
        interval: "30days",
        env: vec![trust(&scratch, &server)],
    });
    match compare(&fleet, &server, rounds) {
        Ok(text) => text,
        Err(why) => {
            eprintln!("thousand: {why}");
            "**Could not be measured.**".to_owned()
        }
    }
}

fn compare(fleet: &Fleet, server: &HttpGit, rounds: usize) -> Result<String, String> {
    fleet.warm_up()?;
    let (mut cpu, mut wall, mut git_memory, mut traffic) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let before = server.traffic().len();
        let ours = fleet.round()?;
        traffic.extend_from_slice(&server.traffic()[before..]);
        let git = four_at_once(fleet);
        cpu.push(Pair {
            ours: ms(ours.cpu),
            git: ms(git.cpu) / per(fleet),
        });
        wall.push(Pair {
            ours: ms(ours.wall),
            git: ms(git.wall),
        });
        git_memory.push(git.memory);
    }
    let (cpu, wall) = (Pairs(cpu), Pairs(wall));
    let memory = load::status(fleet.pid(), "VmHWM") / 1024.0;
    let git_memory = median(&git_memory) / 1024.0;
    let mut table = Table::new(["1,000 remotes", "daemon", "git", "git / daemon", "goal"]);
    let goal = Goal::Below(0.06, "ms").judge(cpu.ours());
    table.row([
        "CPU for each, ms".to_owned(),
        round(cpu.ours()),
        round(cpu.git()),
        cpu.ratio_text(),
        goal,
    ]);
    let (ours, git) = (round(wall.ours() / 1000.0), round(wall.git() / 1000.0));
    table.row([
        "wall for all, s".to_owned(),
        ours,
        git,
        wall.ratio_text(),
        String::new(),
    ]);
    let ratio = round(git_memory / memory);
    table.row([
        "peak memory, MiB".to_owned(),
        round(memory),
        round(git_memory),
        ratio,
        String::new(),
    ]);
    let mut text = table.into_text();
    let threads = load::status(fleet.pid(), "Threads");
    writeln!(
        text,
        "\nThreads of the daemon: {threads}. {} {rounds} pairs.",
        requests(&traffic, rounds * fleet.remotes())
    )
    .unwrap();
    Ok(text)
}

fn per(fleet: &Fleet) -> f64 {
    u32::try_from(fleet.remotes()).unwrap().into()
}

/// What the server saw of so many polls.
fn requests(traffic: &[(u64, u64)], polls: usize) -> String {
    let mean = |sum: u64| sum / u64::try_from(polls).unwrap();
    let (received, sent) = traffic
        .iter()
        .fold((0, 0), |(r, s), request| (r + request.0, s + request.1));
    format!(
        "{} requests for {polls} unchanged polls, each poll {} bytes to the server and {} bytes back, headers included.",
        traffic.len(),
        mean(received),
        mean(sent)
    )
}

/// What git cost.
struct Git {
    /// Of all.
    cpu: Duration,
    /// For all.
    wall: Duration,
    /// The highest sum that was seen, in KiB.
    memory: f64,
}

fn four_at_once(fleet: &Fleet) -> Git {
    let (before, begin) = (load::of_our_children(), Instant::now());
    let mut command = std::process::Command::new("xargs");
    let git = fleet.git();
    command
        .args(["-P", "4", "-n", "1", "git", "ls-remote", "--heads", "--tags"])
        .envs(git.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(fleet.urls().join("\n").as_bytes())
        .unwrap();
    let mut memory = 0.0;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
        memory = load::proportional(child.id().try_into().unwrap()).max(memory);
    };
    assert!(status.success(), "xargs: {status}");
    Git {
        cpu: load::of_our_children() - before,
        wall: begin.elapsed(),
        memory,
    }
}

/// How many addresses the ten thousand are on.
const HOSTS: u8 = 50;
const INTERVAL: Duration = Duration::from_secs(60);

/// Ten thousand on fifty hosts, each asked once a minute.
pub fn ten_thousand() -> String {
    let scratch = Scratch::new();
    let served = Served::new(&scratch, Refs::Three, 10_000);
    let server = HttpGit::start_on(&scratch, &served.root, TLS, HOSTS);
    let hosts = (1..=HOSTS).cycle();
    let fleet = Fleet::start(Orders {
        urls: served
            .names
            .iter()
            .zip(hosts)
            .map(|(name, host)| server.url_on(host, name))
            .collect(),
        interval: "60s",
        env: vec![trust(&scratch, &server)],
    });
    // The first looks take an interval, or as long as the servers need; with the second ones connections are at rest.
    wait_for("the first looks", INTERVAL * 10, || {
        std::thread::sleep(Duration::from_secs(5));
        (fleet.polls().asked >= 10_000).then_some(())
    });
    std::thread::sleep(INTERVAL);
    let (before, seen) = (fleet.polls(), server.traffic().len());
    let (cpu, begin) = (load::of_tree(fleet.pid()), Instant::now());
    std::thread::sleep(INTERVAL * 2);
    let share = (load::of_tree(fleet.pid()) - cpu).as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
    let elapsed = begin.elapsed().as_secs_f64();
    let traffic = server.traffic();
    let after = fleet.polls();
    let (asked, unchanged) = (after.asked - before.asked, after.unchanged - before.unchanged);

    let mut table = Table::new(["10,000 remotes, each every 60 s", "daemon", "goal"]);
    let judged = |goal: Goal, figure: f64| [round(figure), goal.judge(figure)];
    let [figure, goal] = judged(Goal::Below(1.5, "%"), share);
    table.row(["CPU, % of a core".to_owned(), figure, goal]);
    let memory = |key| load::status(fleet.pid(), key) / 1024.0;
    let [figure, goal] = judged(Goal::Below(30.0, "MiB"), memory("VmRSS"));
    table.row(["resident, MiB".to_owned(), figure, goal]);
    table.row([
        "most resident since the start, MiB".to_owned(),
        round(memory("VmHWM")),
        String::new(),
    ]);
    let threads = load::status(fleet.pid(), "Threads").to_string();
    table.row(["threads".to_owned(), threads, "none for each remote".to_owned()]);
    let rate = (traffic.len() - seen) as f64 / elapsed;
    table.row(["requests a second at the server".to_owned(), round(rate), String::new()]);
    let polls = usize::try_from(asked).unwrap().max(1);
    let failed = after.failed - before.failed;
    table.into_text()
        + &format!(
            "\n{asked} polls: {unchanged} unchanged, {failed} failed. {}\n",
            requests(&traffic[seen..], polls)
        )
}
