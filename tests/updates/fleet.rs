//! 500 released images on 20 bases, as the daemon looks after them: what a round asks, and what comes of it.

use crate::made::{Made, Repository};
use crate::released::{self, MAIN};
use crate::support::daemon::{Daemon, Site};
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::Registry;
use jiff::Timestamp;
use pipelined::model::{BaseUsed, Check, Digest, ImageRef, Look, Reason};
use pipelined::store::{JobFilter, JobRecord, Store};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::time::Duration;

const IMAGES: usize = 500;
const BASES: usize = 20;
const HOUR: Duration = Duration::from_secs(3600);

/// Dropped in this order.
struct Fleet {
    daemon: Daemon,
    site: Site,
    proxy: Faults,
    _registry: Registry,
    _scratch: Scratch,
}

/// When the images were released, as the checks see it: each is made once in an hour.
#[derive(Clone, Copy)]
enum Released {
    Now,
    /// So that every base is due when the daemon starts.
    LongAgo,
}

impl Fleet {
    /// A base has moved meanwhile, if one is named, and the registry does this from the beginning.
    fn start(released: Released, moved: Option<usize>, fault: fn(&str) -> Option<Fault>) -> Self {
        let scratch = Scratch::new();
        let registry = Registry::start(&scratch);
        let proxy = Faults::start(registry.port(), move |request| fault(&request.path));
        let host = proxy.host();
        let bases: Vec<_> = (0..BASES)
            .map(|base| {
                let image = Made::on("linux/amd64", &[&format!("layer {base}")]);
                let index = repository(&registry, base).push_index(&[&image, &Made::on("linux/arm64/v8", &["x"])]);
                (image, index)
            })
            .collect();
        let work = Repo::new(scratch.join("work-tree"));
        let commit = work.commit(&[("Containerfile", "FROM scratch\n")]);
        let remote = work.bare(scratch.join("remote.git"));
        // What is built again ends before there is anything to build.
        let toml = released::config(IMAGES, remote.path(), &host, "1h", "prepare_callback = 'false'");
        scratch.write("docker/config.json", "{}");
        let nowhere = [("REGISTRY_AUTH_FILE", String::new())];
        let dirs = [
            ("HOME", "home"),
            ("XDG_RUNTIME_DIR", "run"),
            ("DOCKER_CONFIG", "docker"),
        ];
        let dirs = dirs.map(|(name, dir)| (name, scratch.mkdir(dir).display().to_string()));
        let site = Site::new(&scratch, &toml).with_env(nowhere.into_iter().chain(dirs));
        let at = match released {
            Released::Now => Timestamp::now(),
            Released::LongAgo => Timestamp::now() - 5 * HOUR,
        };
        released::record(&site, &host, &commit, at, |n| used(&host, n, &bases));
        if let Some(base) = moved {
            let new = Made::on("linux/amd64", &[&format!("layer {base}"), "more"]);
            repository(&registry, base).push_index(&[&new, &Made::on("linux/arm64/v8", &["x"])]);
        }
        Self {
            daemon: site.start(),
            site,
            proxy,
            _registry: registry,
            _scratch: scratch,
        }
    }

    /// What was asked of the registry since the last time: how often which base, by the kind of question.
    fn asked(&self) -> BTreeMap<String, BTreeMap<String, usize>> {
        let requests = self.proxy.requests();
        self.proxy.forget();
        let mut asked: BTreeMap<_, BTreeMap<_, usize>> = BTreeMap::new();
        for request in requests {
            let rest = request.path.strip_prefix("/v2/").unwrap();
            let (base, question) = rest.split_once('/').unwrap();
            let word = match question.split_once(':') {
                Some((before, _)) => format!("{} {before}", request.method),
                None => format!("{} {question}", request.method),
            };
            *asked.entry(word).or_default().entry(base.to_owned()).or_default() += 1;
        }
        asked
    }

    /// One HEAD for each base, and nothing else.
    #[track_caller]
    fn asked_one_head_each(&self) {
        let asked = self.asked();
        assert_eq!(asked, BTreeMap::from([("HEAD manifests/1".to_owned(), each_once())]));
    }

    fn store(&self) -> Store {
        Store::open_read(&self.site.workdir).unwrap()
    }

    /// What is on record of each base that was looked at.
    fn checks(&self) -> BTreeMap<String, Check<Look>> {
        let bases = self.store().load_state().unwrap().updates.bases;
        let name = |reference: &ImageRef| reference.repository().to_owned();
        bases
            .into_iter()
            .map(|(key, check)| (name(&key.reference), check))
            .collect()
    }

    /// Waits until the daemon by itself has looked at every base.
    #[track_caller]
    fn wait_looked(&self) -> BTreeMap<String, Check<Look>> {
        wait_for_state("a look at every base", SOON, || {
            let checks = self.checks();
            let log = || format!("{} of them, {}", checks.len(), self.daemon.log());
            if checks.len() == BASES { Ok(checks) } else { Err(log()) }
        })
    }

    /// Jobs that are not on record from the beginning.
    fn new_jobs(&self) -> Vec<JobRecord> {
        let jobs = self.store().jobs(&JobFilter::default()).unwrap();
        jobs.into_iter().skip(IMAGES).collect()
    }

    /// Waits until exactly those were built again that stand on base 7, each once.
    #[track_caller]
    fn wait_rebuilt_on_seven(&self) {
        let jobs = wait_for_state("the end of what is built again", SOON, || {
            let jobs = self.new_jobs();
            let over = !jobs.is_empty() && jobs.iter().all(|record| !record.job.is_live());
            if over { Ok(jobs) } else { Err(self.daemon.log()) }
        });
        assert_eq!(jobs.len(), 25);
        assert!(jobs.iter().all(|record| record.job.reason == Reason::BaseUpdated));
        assert!(jobs.iter().all(|record| record.job.reference.to_string() == MAIN));
        let rebuilt: BTreeSet<String> = jobs.iter().map(|record| record.job.project.to_string()).collect();
        assert_eq!(rebuilt, projects(|base| base == 7));
    }

    /// `updates --json`: how it ended, and the projects whose base stands like that.
    #[track_caller]
    fn updates(&self, args: &[&str]) -> (Option<i32>, BTreeMap<String, BTreeSet<String>>) {
        let output = self.site.cli(&[&["updates", "--json"], args].concat());
        let images: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let mut states: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for image in images {
            let [base] = image["bases"].as_array().unwrap().as_slice() else {
                panic!("{image}");
            };
            let state = match base["check"]["error"].as_str() {
                Some(error) => format!("{}: {error}", base["state"].as_str().unwrap()),
                None => base["state"].as_str().unwrap().to_owned(),
            };
            let project = image["project"].as_str().unwrap().to_owned();
            states.entry(state).or_default().insert(project);
        }
        (output.status.code(), states)
    }
}

fn repository(registry: &Registry, base: usize) -> Repository {
    Repository {
        port: registry.port(),
        name: base_name(base),
    }
}

fn base_name(base: usize) -> String {
    format!("base{base:02}")
}

/// Some were built by podman, some by kaniko, which know a base by other things.
fn used(host: &str, n: usize, bases: &[(Made, Digest)]) -> BaseUsed {
    let base = n % BASES;
    let reference = ImageRef::parse(&format!("{host}/{}:1", base_name(base))).unwrap();
    let (image, index) = &bases[base];
    let used = match n / BASES % 2 {
        0 => image.used(&reference, &[&image.digest(), index]),
        _ => image.used_by_kaniko(&reference, index),
    };
    used.base
}

fn each_once() -> BTreeMap<String, usize> {
    (0..BASES).map(|base| (base_name(base), 1)).collect()
}

/// The projects on these bases.
fn projects(bases: impl Fn(usize) -> bool) -> BTreeSet<String> {
    let numbers = (0..IMAGES).filter(|n| bases(n % BASES));
    numbers.map(released::project).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn twenty_heads_by_hand() {
    let fleet = Fleet::start(Released::Now, None, |_| None);
    for _ in 0..2 {
        let output = fleet.site.cli(&["updates"]);
        assert_eq!(text(&output), "500 images have no updates\n", "{output:?}");
        assert_eq!(output.status.code(), Some(0));
        fleet.asked_one_head_each();
    }
    let all = BTreeMap::from([("current".to_owned(), projects(|_| true))]);
    assert_eq!(fleet.updates(&[]), (Some(0), all));
    assert_eq!(fleet.new_jobs(), []);
    // And of one base, however it is asked for.
    fleet.asked();
    assert_eq!(fleet.site.cli(&["updates", "p00007", "p00027"]).status.code(), Some(0));
    let one = BTreeMap::from([("base07".to_owned(), 1)]);
    assert_eq!(fleet.asked(), BTreeMap::from([("HEAD manifests/1".to_owned(), one)]));
}

#[test]
fn twenty_heads_by_itself() {
    let fleet = Fleet::start(Released::LongAgo, None, |_| None);
    let checks = fleet.wait_looked();
    fleet.asked_one_head_each();
    for (base, check) in &checks {
        assert_eq!(check.trouble, None);
        assert_eq!(check.last.as_ref().unwrap().compared, [], "{base}");
        let next = check.next.duration_since(Timestamp::now()).as_secs_f64();
        assert!((3000.0..3970.0).contains(&next), "{base} in {next} s");
    }
    let spread: BTreeSet<Timestamp> = checks.values().map(|check| check.next).collect();
    assert!(spread.len() > BASES / 2, "all at once: {spread:?}");
    // A person's questions and a start move none of this, and ask nothing twice.
    assert_eq!(fleet.site.cli(&["updates"]).status.code(), Some(0));
    fleet.asked_one_head_each();
    let Fleet { daemon, site, .. } = &fleet;
    assert_eq!(fleet.checks(), checks, "{}", daemon.log());
    assert_eq!(site.cli(&["status"]).status.code(), Some(0));
    assert_eq!((fleet.asked(), fleet.new_jobs()), (BTreeMap::new(), Vec::new()));
}

/// What one base costs that has other content: what is there now, three requests, and of those who have noted nothing but
/// a digest, what was there before, three more.
fn deeper(asked: &BTreeMap<String, BTreeMap<String, usize>>) {
    let of = |count| BTreeMap::from([("base07".to_owned(), count)]);
    let expected = [
        ("HEAD manifests/1".to_owned(), each_once()),
        ("GET manifests/sha256".to_owned(), of(4)),
        ("GET blobs/sha256".to_owned(), of(2)),
    ];
    assert_eq!(*asked, BTreeMap::from(expected));
}

#[test]
fn a_base_that_moves_concerns_those_that_stand_on_it() {
    let fleet = Fleet::start(Released::Now, Some(7), |_| None);
    let states = BTreeMap::from([
        ("current".to_owned(), projects(|base| base != 7)),
        ("updates".to_owned(), projects(|base| base == 7)),
    ]);
    assert_eq!(states["updates"].len(), 25);

    let output = fleet.site.cli(&["updates"]);
    assert_eq!(output.status.code(), Some(100), "{output:?}");
    let shown = text(&output);
    let rows: BTreeSet<&str> = shown
        .lines()
        .filter(|line| line.contains(" → "))
        .map(|line| &line[..6])
        .collect();
    let expected = projects(|base| base == 7);
    assert_eq!(rows, expected.iter().map(String::as_str).collect(), "{shown}");
    assert!(shown.contains("475 images have no updates\n"), "{shown}");
    deeper(&fleet.asked());
    assert_eq!(fleet.updates(&[]), (Some(100), states.clone()));
    deeper(&fleet.asked());
    assert_eq!(fleet.new_jobs(), [], "nothing was asked for but a look");

    assert_eq!(fleet.updates(&["--rebuild"]), (Some(100), states));
    deeper(&fleet.asked());
    fleet.wait_rebuilt_on_seven();
}

#[test]
fn by_itself_it_builds_again_what_stands_on_a_base_that_moved() {
    let fleet = Fleet::start(Released::LongAgo, Some(7), |_| None);
    let checks = fleet.wait_looked();
    deeper(&fleet.asked());
    let compared = |base: &str| checks[base].last.as_ref().unwrap().compared.len();
    assert_eq!((compared("base07"), compared("base08")), (2, 0));
    fleet.wait_rebuilt_on_seven();
    // They have failed, and are not tried again for the same.
    assert_eq!(fleet.site.cli(&["updates"]).status.code(), Some(100));
    assert_eq!(fleet.new_jobs().len(), 25);
}

/// A registry that does not want to tell of one repository, and does not say for how long.
#[test]
fn one_base_that_is_refused_is_one_error() {
    let throttled = |path: &str| path.contains("/base07/").then(|| Fault::Answer(429, String::new()));
    let fleet = Fleet::start(Released::LongAgo, None, throttled);
    let checks = fleet.wait_looked();
    let mut heads = each_once();
    // It is asked four times more, for some seconds: it may be over soon.
    heads.insert("base07".to_owned(), 5);
    let asked = BTreeMap::from([("HEAD manifests/1".to_owned(), heads)]);
    assert_eq!(fleet.asked(), asked);
    for (base, check) in &checks {
        assert_eq!(check.trouble.is_some(), base == "base07", "{check:?}");
        assert_eq!(check.last.is_none(), base == "base07", "{check:?}");
    }
    let (code, states) = fleet.updates(&[]);
    assert_eq!(fleet.asked(), asked);
    assert_eq!(code, Some(1));
    assert_eq!(states["current"], projects(|base| base != 7));
    let (error, failed) = states.last_key_value().unwrap();
    assert!(
        error.starts_with("unknown: 127.0.0.1:") && error.ends_with(" wants to be left alone"),
        "{error}"
    );
    assert_eq!((states.len(), failed), (2, &projects(|base| base == 7)));
    assert_eq!(fleet.new_jobs(), []);
}

/// Of a registry that says for how long it wants to be left alone, nothing more is asked than what was under way.
#[test]
fn a_registry_that_wants_to_be_left_alone_is() {
    let throttled = |_: &str| Some(Fault::Answer(429, "Retry-After: 7200\r\n".to_owned()));
    let fleet = Fleet::start(Released::LongAgo, Some(7), throttled);
    let checks = fleet.wait_looked();
    let asked = |fleet: &Fleet| fleet.asked().values().flat_map(BTreeMap::values).sum::<usize>();
    let first = asked(&fleet);
    assert!((1..=4).contains(&first), "{first} requests");
    let soonest = checks.values().map(|check| check.next).min().unwrap();
    let wait = soonest.duration_since(Timestamp::now()).as_secs_f64();
    assert!((7000.0..=7200.0).contains(&wait), "asked again in {wait} s");
    assert!(
        checks
            .values()
            .all(|check| check.trouble.is_some() && check.last.is_none())
    );
    let (code, states) = fleet.updates(&[]);
    assert_eq!((code, states.len()), (Some(1), 1), "{states:?}");
    let (state, images) = states.first_key_value().unwrap();
    assert!(state.starts_with("unknown: "), "{state}");
    assert_eq!(*images, projects(|_| true));
    assert_eq!((asked(&fleet), fleet.new_jobs()), (0, Vec::new()));
}
