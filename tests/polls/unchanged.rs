//! An answer that is the same as before is passed over. It must never hide work that is still to be done.

use crate::common::{MAIN, project, wait_polls};
use crate::support::daemon::Site;
use crate::support::jobs::{job_of, jobs, wait_job, wait_outcome};
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use crate::support::servers::http::{HttpGit, HttpOptions};
use std::path::PathBuf;

/// A repository behind a server, and a script that holds a job for as long as there is a file.
struct Bench {
    site: Site,
    source: Repo,
    served: Repo,
    http: HttpGit,
    hold: PathBuf,
    wait: PathBuf,
    scratch: Scratch,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let source = Repo::new(scratch.join("source"));
        source.commit(&[("a", "1")]);
        let served = source.bare(scratch.join("srv/repo.git"));
        let http = HttpGit::start(&scratch, &scratch.join("srv"), HttpOptions::default());
        let hold = scratch.write("hold", "");
        let wait = scratch.script(
            "wait",
            &format!("while [ -e '{}' ]; do sleep 0.02; done", hold.display()),
        );
        Self {
            site: Site::new(&scratch, ""),
            source,
            served,
            http,
            hold,
            wait,
            scratch,
        }
    }

    /// One slot, which the project `blocker` takes while [`Bench::hold`] is there, and more.
    fn blocked(&self, interval: &str, projects: &str) -> String {
        let repo = self.scratch.join("blocker");
        if !repo.exists() {
            Repo::new(&repo).commit(&[("b", "1")]);
        }
        let wait = format!("interval = '1h'\nprepare_callback = {:?}", self.wait);
        format!("limit = 1\ninterval = '{interval}'\n")
            + &project("blocker", &repo.display().to_string(), &wait)
            + projects
    }

    /// Starts with the blocker alone, so that it has the slot; then come the others.
    fn start(&self, toml: &str) -> crate::support::daemon::Daemon {
        let (blocker, _) = toml.split_once("[projects.p").unwrap();
        self.site.write_config(blocker);
        let daemon = self.site.start();
        wait_for_state("the slot to be taken", SOON, || {
            let running = jobs(&self.site.workdir).iter().any(|job| job.state == "running");
            running.then_some(()).ok_or_else(|| daemon.log())
        });
        self.reload(toml);
        daemon
    }

    #[track_caller]
    fn reload(&self, toml: &str) {
        self.site.write_config(toml);
        let answer = self.site.cli(&["reload"]);
        assert!(answer.status.success(), "{answer:?}");
    }

    fn url(&self) -> String {
        self.http.url("repo.git")
    }
}

/// The jobs of a commit.
fn count(site: &Site, commit: &str) -> usize {
    jobs(&site.workdir).iter().filter(|job| job.commit == commit).count()
}

#[test]
fn a_commit_that_vanished_and_came_back_is_built() {
    let bench = Bench::new();
    let base = bench.source.head();
    let commit = bench.source.commit(&[("a", "2")]);
    bench.source.push_to(&bench.served);
    let toml = bench.blocked("1h", &project("p", &bench.url(), ""));
    let _daemon = bench.start(&toml);
    wait_job(&bench.site, &commit, "it to wait", |job| job.state == "queued");
    bench.served.set_ref(MAIN, &base);
    bench.served.git(&["gc", "--quiet", "--prune=now"]);
    std::fs::remove_file(&bench.hold).unwrap();
    wait_outcome(&bench.site, &commit, "superseded");
    // It comes back before anybody has seen that it was gone: the answer is the one of the first look.
    bench.source.push_to(&bench.served);
    assert!(bench.site.cli(&["poll", "p"]).status.success());
    wait_job(&bench.site, &commit, "another one", |job| job.outcome() == "succeeded");
    assert_eq!(count(&bench.site, &commit), 2);
}

#[test]
fn what_was_cancelled_stays_so_and_can_be_asked_for() {
    let bench = Bench::new();
    let commit = bench.source.head();
    let toml = bench.blocked("100ms", &project("p", &bench.url(), ""));
    let _daemon = bench.start(&toml);
    let job = wait_job(&bench.site, &commit, "it to wait", |job| job.state == "queued");
    assert!(
        bench
            .site
            .cli(&["cancel", "--job", &job.id.to_string()])
            .status
            .success()
    );
    wait_outcome(&bench.site, &commit, "cancelled");
    std::fs::remove_file(&bench.hold).unwrap();
    wait_polls(&bench.site, 5);
    assert_eq!(count(&bench.site, &commit), 1, "it was queued again");
    assert!(bench.site.cli(&["build", "p", "--wait"]).status.success());
    bench.site.wait_built("p", MAIN, &commit);
}

#[test]
fn a_reload_sees_the_same_answer_with_other_eyes() {
    let bench = Bench::new();
    let commit = bench.source.head();
    bench.source.branch("dev");
    let dev = bench.source.commit(&[("a", "2")]);
    bench.source.push_to(&bench.served);
    let toml = |q: &str, r: &str| {
        bench.blocked(
            "100ms",
            // Two of them: a remote that is shared is asked on, whatever happens to one.
            &(project("p", &bench.url(), "branches = ['main']")
                + &project("q", &bench.url(), &format!("branches = ['main']\n{q}"))
                + &project("r", &bench.url(), r)),
        )
    };
    let of = |project: &str, commit: &str| {
        let all = jobs(&bench.site.workdir).into_iter().rev();
        all.filter(|job| job.project == project)
            .find(|job| job.commit == commit)
    };
    let wait = |project: &str, commit: &str, is: &str| {
        wait_for_state(&format!("{project} to be {is}"), SOON, || {
            let job = of(project, commit);
            let fits = job.as_ref().is_some_and(|job| job.state == is || job.outcome() == is);
            fits.then_some(()).ok_or_else(|| format!("{job:?}"))
        });
    };
    let _daemon = bench.start(&toml("", "branches = ['main']"));
    for project in ["p", "q", "r"] {
        wait(project, &commit, "queued");
    }
    wait_polls(&bench.site, 3);
    bench.reload(&toml("enabled = false", "branches = ['dev']"));
    for project in ["q", "r"] {
        wait(project, &commit, "skipped");
    }
    wait("r", &dev, "queued");
    wait_polls(&bench.site, 3);
    bench.reload(&toml("", "branches = ['**']"));
    for project in ["q", "r"] {
        wait(project, &commit, "queued");
    }
    std::fs::remove_file(&bench.hold).unwrap();
    for project in ["p", "q", "r"] {
        bench.site.wait_built(project, MAIN, &commit);
    }
    bench.site.wait_built("r", "refs/heads/dev", &dev);
}

#[test]
fn a_look_that_could_not_be_recorded_is_made_again() {
    let bench = Bench::new();
    let first = bench.source.head();
    std::fs::remove_file(&bench.hold).unwrap();
    bench
        .site
        .write_config(&("interval = '100ms'\n".to_owned() + &project("p", &bench.url(), "")));
    let daemon = bench.site.start();
    bench.site.wait_built("p", MAIN, &first);
    let database = rusqlite::Connection::open(bench.site.workdir.join("pipelined.db")).unwrap();
    database.busy_timeout(SOON).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'a bad day'); END";
    database.execute_batch(refuse).unwrap();
    let second = bench.source.commit(&[("a", "2")]);
    bench.source.push_to(&bench.served);
    wait_for_state("the trouble", SOON, || {
        daemon
            .log()
            .contains("a bad day")
            .then_some(())
            .ok_or_else(|| daemon.log())
    });
    wait_polls(&bench.site, 3);
    assert!(job_of(&bench.site.workdir, &second).is_none());
    database.execute_batch("DROP TRIGGER refuse").unwrap();
    // The remote says nothing new any more.
    bench.site.wait_built("p", MAIN, &second);
}

#[test]
fn a_job_that_comes_back_to_the_queue_learns_that_its_ref_is_gone() {
    let bench = Bench::new();
    bench.source.branch("dev");
    let commit = bench.source.commit(&[("a", "2")]);
    bench.source.push_to(&bench.served);
    let more = format!(
        "branches = ['dev']\nprepare_callback = {:?}\nrsync = {{ destination = '/proc/nowhere/x' }}",
        bench.wait
    );
    let toml = "interval = '100ms'\nretry = { attempts = 9, delay = '1h', max_delay = '1h' }\n".to_owned()
        + &project("p", &bench.url(), &more);
    bench.site.write_config(&toml);
    let _daemon = bench.site.start();
    wait_job(&bench.site, &commit, "it to run", |job| job.state == "running");
    bench.served.delete_ref("refs/heads/dev");
    // Its look is over when the ref is no longer known.
    wait_for_state("the ref to be gone", SOON, || {
        let status = bench.site.json(&["status", "p", "--json"]);
        let known = status["projects"][0]["refs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|r| !r["commit"].is_null());
        (!known).then_some(()).ok_or_else(|| status.to_string())
    });
    wait_polls(&bench.site, 3);
    std::fs::remove_file(&bench.hold).unwrap();
    let job = wait_outcome(&bench.site, &commit, "skipped");
    assert_eq!(job.note, "the ref was deleted");
    // And it is a new one when it comes back, as the first did not end.
    bench.served.set_ref("refs/heads/dev", &commit);
    wait_for_state("another job", SOON, || {
        (count(&bench.site, &commit) == 2)
            .then_some(())
            .ok_or_else(|| format!("{:?}", jobs(&bench.site.workdir)))
    });
}
