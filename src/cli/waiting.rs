//! What a queued job waits for, told from the record and from what is known of daemon and config.

use super::place::Place;
use super::time::moment;
use super::view::JobView;
use jiff::Timestamp;

/// In words, the most lasting obstacle first. A queued job that waits for nothing is about to start.
pub(super) fn waits_for(job: &JobView, live: &[JobView], place: &Place, now: Timestamp) -> Vec<String> {
    let mut waits = Vec::new();
    if job.state != "queued" {
        return waits;
    }
    if let Some(config) = &place.config {
        match config.projects.get(&job.project) {
            None => waits.push("the project is not in the config".to_owned()),
            Some(project) if !project.enabled => waits.push("the project is disabled".to_owned()),
            Some(_) => {}
        }
    }
    match &place.daemon {
        None if place.silent.is_some() => waits.push(place.no_daemon()),
        None => waits.push(format!("{}: start it with `pipelined run`", place.no_daemon())),
        Some(daemon) if daemon.mode == "stopping" => {
            waits.push("the daemon is stopping: it runs after the next start".to_owned());
        }
        Some(_) => {}
    }
    if let Some(at) = job.not_before.filter(|at| *at > now) {
        let seconds = at.as_second().saturating_sub(now.as_second());
        waits.push(format!("its next attempt is not before {} (in {seconds}s)", moment(at)));
    }
    waits.extend(job.waits.clone());
    let running: Vec<&JobView> = live.iter().filter(|other| other.is_running()).collect();
    for other in &running {
        if other.project == job.project && other.reference == job.reference {
            waits.push(format!("{} is running: one at a time of a ref", other.title()));
        }
    }
    let limit = place.daemon.as_ref().map(|d| d.limit);
    if let Some(limit) = limit.or(place.config.as_ref().map(|c| c.limit))
        && running.len() >= limit
    {
        let holders: Vec<String> = running.iter().map(|other| other.title()).collect();
        waits.push(format!("the limit of {limit} is reached by {}", holders.join(", ")));
    }
    waits
}
