//! Twenty images that stand on each other, from a push to the first one's repository until the last one is released,
//! beside a shell script that does nothing but `podman build` and `podman push`.

use crate::note::Table;
use crate::stats::{Pair, Pairs, median, round};
use crate::support::daemon::{Daemon, Site, build_json, build_log};
use crate::support::podman::Podman;
use crate::support::repo::Repo;
use crate::support::scratch::{Scratch, wait_for_state};
use crate::support::servers::registry::Registry;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const IMAGES: usize = 20;
const MAIN: &str = "refs/heads/main";
/// A chain that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(300);

/// Dropped in this order.
struct Scene {
    _daemon: Daemon,
    site: Site,
    root: Repo,
    /// The script's storage, the daemon's, and the registry of both.
    theirs: Podman,
    _ours: Podman,
    registry: Registry,
    scratch: Scratch,
    _second: Scratch,
    /// What each image's `latest` points at.
    latest: Vec<Option<String>>,
}

/// One chain of the daemon, in milliseconds.
struct Chain {
    wall: f64,
    /// Of all images, by name; the way from one image to the next is the last of them.
    steps: BTreeMap<String, f64>,
}

fn name(n: usize) -> String {
    format!("c{n:02}")
}

/// What an image is built from; of the first one the file says which chain it is.
fn files(n: usize, host: &str) -> [(&'static str, String); 2] {
    let from = match n.checked_sub(1) {
        None => "scratch".to_owned(),
        Some(up) => format!("{host}/{}:latest", name(up)),
    };
    let text = format!("FROM {from}\nCOPY file /file{n}\n");
    [("Containerfile", text), ("file", "0\n".to_owned())]
}

impl Scene {
    fn new() -> Self {
        let (scratch, second) = (Scratch::new(), Scratch::new());
        let registry = Registry::start(&scratch);
        let (ours, theirs) = (Podman::new(&scratch), Podman::new(&second));
        let host = registry.host();
        let mut toml = format!("interval = '30days'\nlimit = 2\n[registries.{host:?}]\ninsecure = true\n");
        let mut repos = Vec::new();
        for n in 0..IMAGES {
            let (name, repo) = (name(n), Repo::new(scratch.join(format!("tree-{n}"))));
            repo.commit(&files(n, &format!("{host}/ours")));
            let remote = repo.bare(scratch.join(format!("{name}.git")));
            repo.git(&["remote", "add", "origin", &remote.path().display().to_string()]);
            writeln!(toml, "[projects.{name}]\nremote = {:?}", remote.path()).unwrap();
            writeln!(toml, "[projects.{name}.image]\nrelease = ['{host}/ours/{name}:latest']").unwrap();
            repos.push(repo);
            let dir = scratch.mkdir(format!("script/{name}"));
            for (file, text) in files(n, &format!("{host}/theirs")) {
                std::fs::write(dir.join(file), text).unwrap();
            }
        }
        let site = Site::new(&scratch, &toml).with_env(ours.env());
        let daemon = site.start();
        let mut scene = Self {
            _daemon: daemon,
            site,
            root: repos.remove(0),
            theirs,
            _ours: ours,
            registry,
            scratch,
            _second: second,
            latest: vec![None; IMAGES],
        };
        scene.wait_released();
        scene
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(&self.site.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Waits until each image was built once more than before, the last one last; their directories.
    fn wait_released(&mut self) -> Vec<PathBuf> {
        let last = IMAGES - 1;
        wait_for_state("the chain", DEADLINE, || {
            let latest = self.site.latest(&name(last), MAIN);
            (latest != self.latest[last]).then_some(()).ok_or_else(|| self.log())
        });
        let latest = (0..IMAGES)
            .map(|n| self.site.latest(&name(n), MAIN))
            .collect::<Vec<_>>();
        let fresh = latest.iter().zip(&self.latest).filter(|(now, before)| now != before);
        assert_eq!(
            fresh.count(),
            IMAGES,
            "{latest:?} after {:?}: {}",
            self.latest,
            self.log()
        );
        self.latest = latest;
        let dirs = (0..IMAGES).map(|n| self.site.job_dir(&name(n), MAIN, self.latest[n].as_ref().unwrap()));
        dirs.collect()
    }

    /// A push, and all that follows.
    fn by_daemon(&mut self, chain: usize) -> Chain {
        self.root.commit(&[("file", format!("{chain}\n"))]);
        let begin = Timestamp::now();
        self.root.git(&["push", "--quiet", "origin", "main"]);
        let dirs = self.wait_released();
        let mut steps: BTreeMap<String, f64> = BTreeMap::new();
        let mut last = begin;
        for dir in dirs {
            let report = build_json(&dir);
            assert_eq!(report["images"][0]["status"], "released", "{}", build_log(&dir));
            let at = |key: &str| -> Timestamp { report[key].as_str().unwrap().parse().unwrap() };
            let between = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64() * 1000.0;
            *steps.entry("~ between jobs".to_owned()).or_default() += between(last, at("started"));
            let took = report["duration_ms"].as_i64().unwrap();
            last = at("started") + SignedDuration::from_millis(took);
            let mut rest = between(at("started"), last);
            for step in report["steps"].as_array().unwrap() {
                let took = step["duration_ms"].as_f64().unwrap();
                *steps.entry(step["step"].as_str().unwrap().to_owned()).or_default() += took;
                rest -= took;
            }
            *steps.entry("~ between steps".to_owned()).or_default() += rest;
        }
        let wall = last.duration_since(begin).as_secs_f64() * 1000.0;
        Chain { wall, steps }
    }

    /// The script; milliseconds of all, of the builds, of the pushes.
    fn by_script(&self, chain: usize) -> [f64; 3] {
        std::fs::write(
            self.scratch.join("script").join(name(0)).join("file"),
            format!("{chain}\n"),
        )
        .unwrap();
        let host = self.registry.host();
        let text = format!(
            "set -e\nfor n in $(seq -f c%02g 0 {}); do\n\
             a=$(date +%s%N)\n\
             podman build --quiet --tag {host}/theirs/$n:latest $n >/dev/null\n\
             b=$(date +%s%N)\n\
             podman push --quiet --tls-verify=false {host}/theirs/$n:latest\n\
             echo $((b - a)) $(($(date +%s%N) - b))\ndone\n",
            IMAGES - 1
        );
        let mut command = Command::new("sh");
        command.args(["-c", &text]).envs(self.theirs.env());
        let begin = Instant::now();
        let output = command.current_dir(self.scratch.join("script")).output().unwrap();
        let wall = begin.elapsed().as_secs_f64() * 1000.0;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut parts = [0.0, 0.0];
        for (at, word) in text.split_whitespace().enumerate() {
            parts[at % 2] += word.parse::<f64>().unwrap() / 1e6;
        }
        [wall, parts[0], parts[1]]
    }
}

/// Twenty images, again and again.
pub fn twenty(rounds: usize) -> String {
    let mut scene = Scene::new();
    scene.by_script(1_000_000);
    let (mut chains, mut scripts) = (Vec::new(), Vec::new());
    for chain in 1..=rounds {
        // Nobody is always the first one.
        if chain % 2 == 0 {
            scripts.push(scene.by_script(chain));
            chains.push(scene.by_daemon(chain));
        } else {
            chains.push(scene.by_daemon(chain));
            scripts.push(scene.by_script(chain));
        }
    }
    // Here the script is ours, and the daemon is what is divided by it.
    let pairs = scripts.iter().zip(&chains);
    let pairs = Pairs(
        pairs
            .map(|(script, chain)| Pair {
                ours: script[0],
                git: chain.wall,
            })
            .collect(),
    );
    let each = IMAGES as f64;
    let overheads: Vec<f64> = pairs.0.iter().map(|pair| (pair.git - pair.ours) / each).collect();
    let script = |part: usize| median(&scripts.iter().map(|s| s[part]).collect::<Vec<_>>()) / each;
    let mut table = Table::new(["20 images", "daemon", "script", "daemon / script"]);
    table.row([
        "all, s".to_owned(),
        round(pairs.git() / 1000.0),
        round(pairs.ours() / 1000.0),
        pairs.ratio_text(),
    ]);
    let row = |title: &str, ours: String, theirs: String| [title.to_owned(), ours, theirs, String::new()];
    table.row(row("each, ms", round(pairs.git() / each), round(pairs.ours() / each)));
    let names: Vec<&String> = chains[0].steps.keys().collect();
    for step in names {
        let took: Vec<f64> = chains
            .iter()
            .map(|chain| chain.steps.get(step).copied().unwrap_or(0.0))
            .collect();
        let theirs = match step.as_str() {
            "build" => round(script(1)),
            "release" => round(script(2)),
            _ => String::new(),
        };
        let title = format!("of that: {}, ms", step.trim_start_matches("~ "));
        table.row(row(&title, round(median(&took) / each), theirs));
    }
    let overhead = round(median(&overheads));
    table.into_text() + &format!("\nThe daemon adds {overhead} ms to each image. {rounds} pairs.\n")
}
