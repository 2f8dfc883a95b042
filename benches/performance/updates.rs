//! A round of looking for updates in which nothing has moved, beside skopeo that asks the same.

use crate::load;
use crate::made::{Made, Repository};
use crate::note::Table;
use crate::released;
use crate::stats::{Pair, Pairs, median, ms, round};
use crate::support::daemon::{Daemon, Site};
use crate::support::repo::Repo;
use crate::support::scratch::{Scratch, wait_for};
use crate::support::servers::faults::Faults;
use crate::support::servers::registry::Registry;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use pipelined::model::{Digest, ImageRef};
use std::process::Command;
use std::time::{Duration, Instant};

/// Checks are made by hand only.
const NEVER: &str = "30days";
/// The daemon makes its own rounds.
const OFTEN: &str = "10s";
/// Longer than that, and a tenth.
const ASLEEP: Duration = Duration::from_secs(12);
/// A round that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// Released images, their bases on a registry, and the daemon that looks after them. Dropped in this order.
struct Scene {
    daemon: Option<Daemon>,
    site: Site,
    proxy: Faults,
    /// As skopeo names them.
    bases: Vec<String>,
    images: usize,
    _registry: Registry,
    scratch: Scratch,
}

/// One round of somebody.
#[derive(Default, Clone, Copy)]
struct Cost {
    requests: usize,
    /// To the registry, and back.
    bytes: (u64, u64),
    cpu: Duration,
    /// Of the command that asks the daemon.
    client: Duration,
    wall: Duration,
}

impl Scene {
    fn new(images: usize, bases: usize) -> Self {
        let scratch = Scratch::new();
        let registry = Registry::start(&scratch);
        let proxy = Faults::start(registry.port(), |_| None);
        let host = proxy.host();
        let names: Vec<String> = (0..bases).map(|base| format!("{host}/base{base}:1")).collect();
        let made: Vec<(ImageRef, Made, Digest)> = (0..bases)
            .map(|base| {
                let image = Made::on("linux/amd64", &[&format!("layer {base}")]);
                let port = registry.port();
                let name = format!("base{base}");
                let index = Repository { port, name }.push_index(&[&image, &Made::on("linux/arm64/v8", &["x"])]);
                (ImageRef::parse(&names[base]).unwrap(), image, index)
            })
            .collect();
        let work = Repo::new(scratch.join("work-tree"));
        let commit = work.commit(&[("Containerfile", "FROM scratch\n")]);
        let remote = work.bare(scratch.join("remote.git"));
        let config = |every| released::config(images, remote.path(), &host, every, "");
        let site = Site::new(&scratch, &config(NEVER)).with_env(environment(&scratch));
        let at = Timestamp::now();
        released::record(&site, &host, &commit, at, |n| {
            let (reference, image, index) = &made[n % bases];
            image.used(reference, &[&image.digest(), index]).base
        });
        // For the second daemon.
        scratch.write("often.toml", config(OFTEN));
        Self {
            daemon: Some(site.start()),
            site,
            proxy,
            bases: names,
            images,
            _registry: registry,
            scratch,
        }
    }

    /// Another daemon takes the place of this one, which makes its own rounds.
    fn often(&mut self) {
        self.daemon = None;
        let config = std::fs::read_to_string(self.scratch.join("often.toml")).unwrap();
        self.site.write_config(&config);
        self.daemon = Some(self.site.start());
        // Everything is due at the start.
        load::wait_quiet(self.pid());
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    fn pid(&self) -> i32 {
        self.daemon().pid().as_raw()
    }

    fn peak(&self) -> f64 {
        load::status(self.pid(), "VmHWM") / 1024.0
    }

    /// What went over the wire since it was forgotten.
    fn wire(&self) -> Cost {
        Cost {
            requests: self.proxy.requests().len(),
            bytes: self.proxy.traffic(),
            ..Cost::default()
        }
    }

    /// One HEAD for each base, or it is no round of those that are measured.
    fn expect_heads(&self) {
        let (heads, bases) = (self.proxy.count("HEAD", "/manifests/1"), self.bases.len());
        let all = self.proxy.requests().len();
        assert_eq!((heads, all), (bases, bases), "{}", self.daemon().log());
    }

    /// `pipelined updates`.
    fn by_hand(&self) -> Cost {
        load::wait_quiet(self.pid());
        self.proxy.forget();
        let (cpu, client, begin) = (load::of_tree(self.pid()), load::of_our_children(), Instant::now());
        let output = self.site.cli(&["updates"]);
        let wall = begin.elapsed();
        let client = load::of_our_children() - client;
        load::wait_quiet(self.pid());
        let expected = format!("{} images have no updates\n", self.images);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
        self.expect_heads();
        Cost {
            cpu: load::of_tree(self.pid()) - cpu,
            client,
            wall,
            ..self.wire()
        }
    }

    /// All bases are due at once: the daemon was asleep for longer than their interval.
    fn by_itself(&self) -> Cost {
        self.daemon().signal(Signal::SIGSTOP);
        self.proxy.forget();
        std::thread::sleep(ASLEEP);
        self.proxy.forget();
        let (cpu, begin) = (load::of_tree(self.pid()), Instant::now());
        self.daemon().signal(Signal::SIGCONT);
        wait_for("the daemon's own round", DEADLINE, || {
            (self.proxy.requests().len() >= self.bases.len()).then_some(())
        });
        let end = load::wait_quiet(self.pid());
        self.expect_heads();
        Cost {
            cpu: load::of_tree(self.pid()) - cpu,
            wall: end - begin,
            ..self.wire()
        }
    }

    /// What a script does.
    fn skopeo(&self, times: usize) -> Cost {
        self.proxy.forget();
        let (cpu, begin) = (load::of_our_children(), Instant::now());
        for n in 0..times {
            let base = &self.bases[n % self.bases.len()];
            let output = Command::new("skopeo")
                .args(["inspect", "--no-tags", "--tls-verify=false", "--format", "{{.Digest}}"])
                .arg(format!("docker://{base}"))
                .envs(environment(&self.scratch))
                .output()
                .unwrap();
            assert!(output.stdout.starts_with(b"sha256:"), "{output:?}");
        }
        Cost {
            cpu: load::of_our_children() - cpu,
            wall: begin.elapsed(),
            ..self.wire()
        }
    }
}

/// No logins of whoever runs this.
fn environment(scratch: &Scratch) -> Vec<(&'static str, String)> {
    scratch.write("docker/config.json", "{}");
    let dirs = [
        ("HOME", "home"),
        ("XDG_RUNTIME_DIR", "run"),
        ("DOCKER_CONFIG", "docker"),
    ];
    dirs.map(|(name, dir)| (name, scratch.mkdir(dir).display().to_string()))
        .into()
}

/// 500 images on 20 bases.
pub fn twenty_bases(rounds: usize) -> String {
    let mut scene = Scene::new(500, 20);
    let (images, bases) = (scene.images, scene.bases.len());
    // Connections and logins were looked for once.
    scene.by_hand();
    scene.skopeo(1);
    let (mut hand, mut each, mut once) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        hand.push(scene.by_hand());
        each.push(scene.skopeo(images));
        once.push(scene.skopeo(bases));
    }
    let by_hand_peak = scene.peak();
    scene.often();
    let own: Vec<Cost> = (0..rounds).map(|_| scene.by_itself()).collect();
    let mut table = Table::new([
        "500 images on 20 bases",
        "`pipelined updates`",
        "the daemon's own round",
        "500 `skopeo inspect`",
        "20 `skopeo inspect`",
    ]);
    for (title, figure) in FIGURES {
        let of = |costs: &[Cost]| figure(costs);
        table.row([(*title).to_owned(), of(&hand), of(&own), of(&each), of(&once)]);
    }
    let peak = [round(by_hand_peak), round(scene.peak())];
    let [first, second] = peak;
    let nothing = String::new;
    table.row([
        "peak memory of the daemon, MiB".to_owned(),
        first,
        second,
        nothing(),
        nothing(),
    ]);
    let ratio = |theirs: &[Cost], of: fn(&Cost) -> Duration| {
        let pairs = hand.iter().zip(theirs).map(|(ours, theirs)| Pair {
            ours: ms(of(ours)),
            git: ms(of(theirs)),
        });
        Pairs(pairs.collect()).ratio_text()
    };
    let cpu = |cost: &Cost| cost.cpu + cost.client;
    table.into_text()
        + &format!(
            "\nA skopeo for each image costs {} times the CPU of `pipelined updates` and {} times the wall time; one for \
             each base {} and {} times. {rounds} rounds.\n",
            ratio(&each, cpu),
            ratio(&each, |cost| cost.wall),
            ratio(&once, cpu),
            ratio(&once, |cost| cost.wall),
        )
}

/// 10,000 images on 500 bases.
pub fn many_bases(rounds: usize) -> String {
    let mut scene = Scene::new(10_000, 500);
    scene.by_hand();
    let hand: Vec<Cost> = (0..rounds).map(|_| scene.by_hand()).collect();
    let by_hand_peak = scene.peak();
    scene.often();
    let own: Vec<Cost> = (0..rounds).map(|_| scene.by_itself()).collect();
    let mut table = Table::new([
        "10,000 images on 500 bases",
        "`pipelined updates`",
        "the daemon's own round",
    ]);
    for (title, figure) in FIGURES {
        table.row([(*title).to_owned(), figure(&hand), figure(&own)]);
    }
    let peak = [round(by_hand_peak), round(scene.peak())];
    let [first, second] = peak;
    table.row(["peak memory of the daemon, MiB".to_owned(), first, second]);
    table.into_text() + &format!("\n{rounds} rounds.\n")
}

type Figure = fn(&[Cost]) -> String;

const FIGURES: &[(&str, Figure)] = &[
    ("requests", |costs| count(costs, |cost| cost.requests as f64)),
    ("bytes to the registry", |costs| {
        middle(costs, |cost| cost.bytes.0 as f64)
    }),
    ("bytes back", |costs| count(costs, |cost| cost.bytes.1 as f64)),
    ("CPU, ms", |costs| middle(costs, |cost| ms(cost.cpu))),
    ("CPU of the command, ms", |costs| match costs[0].client.is_zero() {
        true => String::new(),
        false => middle(costs, |cost| ms(cost.client)),
    }),
    ("wall, ms", |costs| middle(costs, |cost| ms(cost.wall))),
];

fn count(costs: &[Cost], of: fn(&Cost) -> f64) -> String {
    format!("{:.0}", median(&costs.iter().map(of).collect::<Vec<_>>()))
}

fn middle(costs: &[Cost], of: fn(&Cost) -> f64) -> String {
    round(median(&costs.iter().map(of).collect::<Vec<_>>()))
}
