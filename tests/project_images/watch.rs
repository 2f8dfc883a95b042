//! `watch`: a commit builds what it changes, and what stands on that, and nothing that failed is forgotten.

use crate::common::{Done, MAIN, World, config, done_again, done_as, image_row, says};
use crate::support::daemon::Site;
use crate::support::repo::Repo;
use nix::sys::signal::Signal;

struct Watched {
    site: Site,
    work: Repo,
    /// The remote.
    bare: Repo,
}

impl Watched {
    /// Pushes, has the daemon look, and waits for the job of the commit on the branch.
    #[track_caller]
    fn push(&self, branch: &str, commit: &str) -> Done {
        self.work.push_to(&self.bare);
        says(&self.site, &["poll"], 0);
        done_again(&self.site, "p", &format!("refs/heads/{branch}"), commit, 1)
    }

    /// Commits these files to `main`, and says what became of the images.
    #[track_caller]
    fn change(&self, files: &[(&str, &str)]) -> Done {
        let commit = self.work.commit(files);
        self.push("main", &commit)
    }
}

const FILES: [(&str, &str); 7] = [
    ("base/Containerfile", "FROM localhost/busybox\nCOPY base/data /data\n"),
    ("base/data", "1"),
    // Red when the base says so, without a change of its own.
    (
        "app/Containerfile",
        "FROM localhost/w-base:1\nCOPY app/data /app\nRUN ! grep -q bad-for-app /data\n",
    ),
    ("app/data", "1"),
    (
        "other/Containerfile",
        "FROM localhost/busybox\nCOPY other/data /other\n",
    ),
    ("other/data", "1"),
    ("README", "1"),
];

fn toml(world: &World, shallow: bool, more: &str) -> String {
    format!(
        "[projects.p]\nremote = '{}'\nshallow = {shallow}\n\
         [projects.p.images.base]\nfile = 'base/Containerfile'\nwatch = ['base/']\ntags = ['localhost/w-base:1']\n\
         [projects.p.images.app]\nfile = 'app/Containerfile'\nwatch = ['app/**']\n\
         [projects.p.images.other]\nfile = 'other/Containerfile'\nwatch = ['other/']\n{more}\
         [projects.p.run]\nimage = 'other'\ncommand = 'cp /other /drop/result'\n\
         [projects.p.rsync]\ndestination = '{}'\ndelete = true\n",
        world.remote("bare"),
        world.remote("destination"),
    )
}

fn watched(world: &World, shallow: bool) -> (Watched, String) {
    let (work, first) = world.repo("source", &FILES);
    let bare = work.bare(world.scratch.join("bare"));
    let site = world.site(&toml(world, shallow, ""));
    (Watched { site, work, bare }, first)
}

#[track_caller]
fn assert_images(job: &Done, outcome: &str, expected: &[&str]) {
    let mut images = job.images();
    images.sort();
    assert_eq!(
        (
            job.outcome.as_str(),
            images.iter().map(String::as_str).collect::<Vec<_>>()
        ),
        (outcome, expected.to_vec()),
        "{}",
        job.log
    );
}

const ALL_BUILT: [&str; 3] = ["app built", "base built", "other built"];
const ALL_SKIPPED: [&str; 3] = ["app skipped", "base skipped", "other skipped"];

#[test]
fn a_commit_builds_what_it_changes_and_nothing_that_failed_is_forgotten() {
    let world = World::new();
    let (watched, first) = watched(&world, true);
    let daemon = watched.site.start();
    let result = world.scratch.join("destination/result");
    let copied = || std::fs::read_to_string(&result).unwrap_or_default();
    let job = done_as(&watched.site, "p", &first, "succeeded");
    assert_images(&job, "succeeded", &ALL_BUILT);
    assert!(
        job.log.contains("base is built: it was never built here"),
        "{}",
        job.log
    );
    assert_eq!(copied(), "1");

    let job = watched.change(&[("app/data", "2")]);
    assert_images(&job, "succeeded", &["app built", "base skipped", "other skipped"]);
    let skipped = format!("nothing that it watches has changed since {} (job 1)", &first[..8]);
    assert_eq!(job.note("base"), skipped);
    assert!(job.log.contains(&format!("base is skipped: {skipped}")), "{}", job.log);
    assert!(job.log.contains("other was not built: it is not run"), "{}", job.log);
    assert_eq!(copied(), "1", "what was not run must not be copied");
    let explained = watched.site.json(&["explain", "p", "--json"]);
    let stories = explained["refs"][0]["images"].as_array().unwrap();
    let told = |s: &&serde_json::Value| s["job"] == job.id && s["image"] == "base" && s["status"] == "skipped";
    assert!(
        stories.iter().filter(told).any(|s| s["note"] == skipped.as_str()),
        "{explained:#}"
    );
    let row = image_row(&watched.site, "p", "base");
    assert_eq!((&row["state"], &row["job"]), (&"current".into(), &1.into()), "{row}");

    let job = watched.change(&[("README", "2")]);
    assert_images(&job, "succeeded", &ALL_SKIPPED);
    assert_eq!(copied(), "1");
    assert!(
        !job.steps().iter().any(|s| s == "run" || s == "rsync"),
        "{:?}",
        job.steps()
    );

    // What stands on it goes with it; and what failed is tried again by a commit that has nothing to do with it.
    let broken = watched.change(&[
        ("base/data", "bad"),
        ("base/Containerfile", "FROM localhost/busybox\nRUN exit 4\n"),
    ]);
    assert_images(&broken, "failed", &["app blocked", "base failed", "other skipped"]);
    let job = watched.change(&[("README", "3")]);
    assert_images(&job, "failed", &["app blocked", "base failed", "other skipped"]);
    let why = format!(
        "base/Containerfile and 1 more have changed since {} (job 1)",
        &first[..8]
    );
    assert!(job.log.contains(&format!("base is built: {why}")), "{}", job.log);
    // The base gets well, and is what breaks the app: which is not forgotten either.
    let job = watched.change(&[("base/data", "bad-for-app"), FILES[0]]);
    assert_images(&job, "failed", &["app failed", "base built", "other skipped"]);
    let job = watched.change(&[("README", "4")]);
    assert_images(&job, "failed", &["app failed", "base skipped", "other skipped"]);
    let job = watched.change(&[("base/data", "fine")]);
    assert_images(&job, "succeeded", &["app built", "base built", "other skipped"]);
    assert!(
        job.log.contains("app is built: it stands on base, which is built"),
        "{}",
        job.log
    );
    drop(daemon);
}

#[test]
fn a_run_that_failed_is_not_forgotten() {
    let world = World::new();
    let (watched, first) = watched(&world, false);
    let _daemon = watched.site.start();
    done_as(&watched.site, "p", &first, "succeeded");
    let result = world.scratch.join("destination/result");
    // The image is fine; its run is not.
    let job = watched.change(&[
        ("other/Containerfile", "FROM scratch\nCOPY other/data /other\n"),
        ("other/data", "2"),
    ]);
    assert_eq!(
        (job.outcome.as_str(), &job.report["failed_step"]),
        ("failed", &"run".into()),
        "{}",
        job.log
    );
    let job = watched.change(&[("README", "2")]);
    assert_eq!(job.outcome, "failed", "{}", job.log);
    let job = watched.change(&[FILES[4]]);
    assert_images(&job, "succeeded", &["app skipped", "base skipped", "other built"]);
    assert_eq!(std::fs::read_to_string(&result).unwrap(), "2");
}

#[test]
fn branches_force_pushes_configs_and_people() {
    let world = World::new();
    let (watched, first) = watched(&world, true);
    let daemon = watched.site.start();
    done_as(&watched.site, "p", &first, "succeeded");
    let work = &watched.work;

    // A branch of an old commit, while the default branch has gone on.
    let job = watched.change(&[("app/data", "2")]);
    assert_images(&job, "succeeded", &["app built", "base skipped", "other skipped"]);
    work.git(&["switch", "--quiet", "--create", "docs", &first]);
    let docs = work.commit(&[("README", "docs")]);
    let job = watched.push("docs", &docs);
    assert_images(&job, "succeeded", &ALL_SKIPPED);
    assert_eq!(
        job.note("other"),
        "nothing that it watches has changed since this branch left main"
    );
    work.git(&["switch", "--quiet", "--create", "feature", &first]);
    work.commit(&[("other/data", "feature")]);
    let feature = work.commit(&[("README", "feature")]);
    let job = watched.push("feature", &feature);
    assert_images(&job, "succeeded", &["app skipped", "base skipped", "other built"]);
    assert!(
        job.log.contains("other/data has changed since this branch left main"),
        "{}",
        job.log
    );
    let result = world.scratch.join("destination/result");
    assert_eq!(std::fs::read_to_string(&result).unwrap(), "feature");

    // The same files, and no history in common.
    work.git(&["switch", "--quiet", "--orphan", "fresh"]);
    let fresh = work.commit(&FILES);
    work.git(&["branch", "--force", "main", "fresh"]);
    work.switch("main");
    work.git(&["branch", "--delete", "--force", "fresh"]);
    let job = watched.push("main", &fresh);
    assert_images(&job, "succeeded", &ALL_BUILT);
    assert!(job.log.contains("has no history in common with this"), "{}", job.log);

    // A changed config concerns the image whose it is; a callback does not.
    let changed = toml(&world, true, "labels = { a = 'b' }\n").replace("shallow = true", "error_callback = 'true'");
    watched.site.write_config(&config(&changed));
    daemon.signal(Signal::SIGHUP);
    crate::support::scratch::wait_for("the reload", crate::support::scratch::SOON, || {
        let row = image_row(&watched.site, "p", "other");
        let read = std::fs::read_to_string(&watched.site.log).unwrap().to_lowercase();
        assert_eq!(row["state"], "outdated", "{row}");
        assert!(row["why"].as_str().unwrap().contains("config"), "{row}");
        read.contains("reload").then_some(())
    });
    assert_eq!(image_row(&watched.site, "p", "base")["state"], "current");
    let job = watched.change(&[("README", "5")]);
    assert_images(&job, "succeeded", &["app skipped", "base skipped", "other built"]);
    assert!(
        job.log.contains("other is built: its config has changed"),
        "{}",
        job.log
    );

    // Asked for.
    says(&watched.site, &["build", "p", "main"], 0);
    let again = done_again(&watched.site, "p", MAIN, &watched.work.head(), 2);
    assert_images(&again, "succeeded", &ALL_BUILT);
}
