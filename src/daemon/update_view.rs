//! How released images stand to what is below them, as people are told: by the daemon and from the record alike.

use crate::api::{BaseUpdates, CheckState, ImageUpdates, InsideUpdates, UpdateState};
use crate::config::PackageCheck;
use crate::model::{Check, State, Timestamped, Updates, full_name};
use crate::reconcile::{BaseState, BaseVerdict, Ours, Watched, base_key, held, judge, tried_job};

/// What there is to say of one image. `updates` may know more than the state: the answers of checks made just now.
pub fn image_updates(watched: Watched<'_>, state: &State, updates: &Updates, ours: &Ours) -> ImageUpdates {
    let Watched {
        node, standing, image, ..
    } = watched;
    let judgement = judge(watched, updates, ours);
    let bases = judgement.bases.iter().map(|base| base_updates(watched, base, updates));
    let scheduled = image.schedule.as_ref().and_then(|cron| {
        let heeded = updates.scheduled.get(node)?;
        cron.next_after(heeded.until)
    });
    ImageUpdates {
        name: full_name(&node.project, &node.image),
        project: node.project.clone(),
        image: node.image.clone(),
        reference: node.reference.clone(),
        released: standing.released.clone(),
        commit: standing.commit.clone(),
        job: standing.job,
        evidence: standing.evidence.as_str().to_owned(),
        updates: judgement.is_stale(),
        bases: bases.collect(),
        packages: inside(watched, updates),
        held: judgement
            .is_stale()
            .then(|| held(node, &judgement.key, updates))
            .flatten(),
        rebuild: tried_job(node, state),
        refused: None,
        scheduled,
    }
}

fn base_updates(watched: Watched<'_>, base: &BaseState<'_>, updates: &Updates) -> BaseUpdates {
    let check = base_key(watched.node, &base.used).and_then(|key| updates.bases.get(&key));
    let head = check
        .and_then(|check| check.last.as_ref())
        .map(|look| look.head.clone());
    let (state, to, how, since) = match &base.verdict {
        BaseVerdict::Fixed => (UpdateState::Fixed, None, None, None),
        BaseVerdict::Unknown => (UpdateState::Unknown, None, None, None),
        BaseVerdict::Absent(how) => (UpdateState::Unknown, head, Some(how.clone()), None),
        BaseVerdict::Same(None) => (UpdateState::Current, None, None, None),
        BaseVerdict::Same(Some(how)) => (UpdateState::Current, head, Some(how.clone()), None),
        BaseVerdict::Moved {
            to, how, since, counts, ..
        } => {
            let state = if *counts {
                UpdateState::Updates
            } else {
                UpdateState::Settling
            };
            (state, to.clone(), Some(how.clone()), Some(*since))
        }
    };
    BaseUpdates {
        name: base.used.name.clone(),
        state,
        from: base.used.digests.first().or(base.used.id.as_ref()).cloned(),
        to,
        how,
        since,
        check: check.map(check_state),
    }
}

fn inside(watched: Watched<'_>, updates: &Updates) -> Option<InsideUpdates> {
    if watched.image.update.packages == PackageCheck::Off {
        return None;
    }
    let check = updates.packages.get(watched.node);
    let found = check.and_then(|check| check.last.as_ref());
    let found = found.filter(|found| watched.standing.known_by() == Some(&found.image));
    Some(InsideUpdates {
        state: match found {
            None => UpdateState::Unknown,
            Some(found) if found.needed => UpdateState::Updates,
            Some(_) => UpdateState::Current,
        },
        updates: found.map(|found| found.updates.clone()).unwrap_or_default(),
        check: check.map(check_state),
    })
}

/// How a check goes.
pub fn check_state<T: Timestamped>(check: &Check<T>) -> CheckState {
    CheckState {
        last: check.last.as_ref().map(Timestamped::checked),
        next: Some(check.next),
        error: check.trouble.as_ref().map(|trouble| trouble.error.clone()),
        failing_since: check.trouble.as_ref().map(|trouble| trouble.since),
    }
}
