//! A daemon and its remotes, and git that asks the same.

use crate::load;
use crate::support::daemon::{Daemon, Site};
use crate::support::repo::git_command;
use crate::support::scratch::Scratch;
use std::ffi::OsString;
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A round that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(180);

/// What a daemon is to ask, and what it must know for that.
#[derive(Default)]
pub struct Orders {
    /// One project each.
    pub urls: Vec<String>,
    /// As in the config.
    pub interval: &'static str,
    /// For the daemon and for git.
    pub env: Vec<(OsString, OsString)>,
}

/// The daemon at work.
pub struct Fleet {
    daemon: Daemon,
    site: Site,
    urls: Vec<String>,
    env: Vec<(OsString, OsString)>,
    /// Its directory; the last field, so that it goes last.
    _scratch: Scratch,
}

/// All remotes asked once.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Of the daemon and its children, for each remote.
    pub cpu: Duration,
    /// For all.
    pub wall: Duration,
}

/// `daemon.polls` of the status.
#[derive(Debug, Clone)]
pub struct Polls {
    /// Questions.
    pub asked: u64,
    /// Same answer as before.
    pub unchanged: u64,
    /// No answer.
    pub failed: u64,
    /// Why remotes are asked by `git ls-remote`.
    pub fallback: Option<String>,
}

impl Fleet {
    /// Starts the daemon, and does not wait until it has asked.
    pub fn start(orders: Orders) -> Self {
        let scratch = Scratch::new();
        // What is there already is not built.
        let mut toml = format!("interval = {:?}\n[defaults]\ninitial = 'none'\n", orders.interval);
        for (i, url) in orders.urls.iter().enumerate() {
            write!(toml, "[projects.p{i}]\nremote = {url:?}\n").unwrap();
        }
        let site = Site::new(&scratch, &toml);
        let mut env = orders.env;
        env.push(("GIT_CONFIG_GLOBAL".into(), site.gitconfig.clone().into()));
        let site = site.with_env(env.iter().cloned());
        Self {
            daemon: site.start(),
            site,
            urls: orders.urls,
            env,
            _scratch: scratch,
        }
    }

    /// The daemon's process.
    pub fn pid(&self) -> i32 {
        self.daemon.pid().as_raw()
    }

    /// Its remotes.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// How many remotes it has.
    pub fn remotes(&self) -> usize {
        self.urls.len()
    }

    /// What it says of its questions.
    pub fn polls(&self) -> Polls {
        let status = self.site.json(&["status", "--json"]);
        let polls = &status["daemon"]["polls"];
        let count = |name: &str| polls[name].as_u64().unwrap();
        let noteworthy = polls["noteworthy"].as_array().unwrap().iter();
        let mut reasons = noteworthy.filter_map(|remote| remote["fallback"].as_str());
        Polls {
            asked: count("asked"),
            unchanged: count("unchanged"),
            failed: count("failed"),
            fallback: reasons.next().map(str::to_owned),
        }
    }

    /// Waits until every remote was asked, and then has each asked twice more: connections are open, answers known.
    pub fn warm_up(&self) -> Result<(), String> {
        self.wait_asked(self.urls.len() as u64)?;
        self.round()?;
        self.round()?;
        Ok(())
    }

    /// Has all remotes asked now, which must all say what they said before.
    pub fn round(&self) -> Result<Round, String> {
        let count = self.urls.len() as u64;
        let before = self.polls();
        let (cpu, begin) = (load::of_tree(self.pid()), Instant::now());
        let output = self.site.cli(&["poll"]);
        if !output.status.success() {
            return Err(format!("poll: {output:?}"));
        }
        let (after_cpu, end, after) = self.wait_asked(before.asked + count)?;
        let (asked, unchanged) = (after.asked - before.asked, after.unchanged - before.unchanged);
        if after.failed > before.failed || unchanged < asked {
            return Err(format!("before: {before:?}, after: {after:?}: {}", self.daemon.log()));
        }
        let asked = u32::try_from(asked).unwrap();
        Ok(Round {
            cpu: after_cpu.saturating_sub(cpu) / asked,
            wall: end - begin,
        })
    }

    /// Waits until it has asked so many times in all. It is disturbed by a question of ours only when it does nothing.
    /// Answers its CPU before that question, and when it last did something.
    fn wait_asked(&self, asked: u64) -> Result<(Duration, Instant, Polls), String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let end = load::wait_quiet(self.pid());
            let cpu = load::of_tree(self.pid());
            let polls = self.polls();
            if polls.asked >= asked {
                return Ok((cpu, end, polls));
            }
            if Instant::now() > deadline {
                return Err(format!("only {polls:?}, not {asked}: {}", self.daemon.log()));
            }
        }
    }

    /// A git command that knows what the daemon knows.
    pub fn git(&self) -> Command {
        let mut command = git_command();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// `git ls-remote` of so many remotes, one after the other: CPU for each.
    pub fn git_round(&self, count: u32) -> Duration {
        let before = load::of_our_children();
        for i in 0..count {
            let url = &self.urls[i as usize % self.urls.len()];
            let mut command = self.git();
            command
                .args(["ls-remote", "--heads", "--tags", url])
                .stdout(Stdio::null());
            assert!(command.status().unwrap().success(), "{url}");
        }
        (load::of_our_children() - before) / count
    }
}
