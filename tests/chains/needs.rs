//! What is relied on without being a base: images and projects of `depends_on`, and `.gitlab-deps`.

use crate::scene::{Farm, Job, ROOT};

fn ended(farm: &Farm, job: &Job) -> i64 {
    let query = format!("SELECT max(ended) FROM attempts WHERE job = {}", job.id);
    farm.query(&query, |row| row.get(0))[0]
}

fn started(farm: &Farm, job: &Job) -> i64 {
    let query = format!("SELECT max(started) FROM attempts WHERE job = {}", job.id);
    farm.query(&query, |row| row.get(0))[0]
}

/// The jobs after the first `before`, which are of these.
#[track_caller]
fn next(farm: &Farm, before: usize, names: &[&str]) -> Vec<Job> {
    let jobs = farm.wait_jobs(before + names.len()).split_off(before);
    assert!(jobs.iter().all(|job| job.outcome == "succeeded"), "{}", farm.story());
    let mut found: Vec<&str> = jobs.iter().map(|job| job.project.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, names, "{}", farm.story());
    jobs
}

#[test]
fn what_is_named_elsewhere_is_followed() {
    let mut farm = Farm::new(&[("app", ROOT), ("by-file", ROOT), ("tool", ROOT)]);
    farm.add("library", ROOT);
    farm.project("library", "prepare_callback = 'true'");
    farm.image("app", "depends_on = ['library', 'tool/tool']");
    let remote = farm.remote("library");
    farm.push(
        "by-file",
        &[(".gitlab-deps", &format!("# upstreams\nfile://{remote}\n"))],
    );
    farm.start();
    let first = farm.wait_jobs(4);
    assert!(first.iter().all(|job| job.outcome == "succeeded"), "{}", farm.story());
    farm.push("library", &[("source", "2\n")]);
    // In any order but for the first.
    let jobs = next(&farm, 4, &["app", "by-file", "library"]);
    assert_eq!(jobs[0].project, "library");
    for job in &jobs[1..] {
        assert_eq!(job.wave, jobs[0].id, "{jobs:#?}");
        assert!(ended(&farm, &jobs[0]) <= started(&farm, job), "{}", farm.story());
    }
    farm.change("tool", "2\n");
    let jobs = next(&farm, 7, &["app", "tool"]);
    assert_eq!(jobs[0].project, "tool");
    // Nothing of it comes back upon a restart.
    farm.stop();
    farm.start_again();
    farm.change("app", "2\n");
    next(&farm, 9, &["app"]);
}
