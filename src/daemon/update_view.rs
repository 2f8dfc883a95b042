//! How released images stand to what is below them, as people are told: by the daemon and from the record alike.

use crate::api::{BaseKind, BaseUpdates, CheckState, ImageUpdates, InsideUpdates, OwnRelease, UpdateState};
use crate::config::{Config, PackageCheck};
use crate::model::{Check, State, Timestamped, Updates, full_name};
use crate::reconcile::{BaseState, BaseVerdict, Ours, Watched, base_key, held, judge, own_base, tried_job};

/// What there is to say of one image. `updates` may know more than the state: the answers of checks made just now.
pub fn image_updates(
    watched: Watched<'_>,
    state: &State,
    config: &Config,
    updates: &Updates,
    ours: &Ours,
) -> ImageUpdates {
    let Watched {
        node, standing, image, ..
    } = watched;
    let judgement = judge(watched, updates, ours);
    let bases = judgement
        .bases
        .iter()
        .map(|base| base_updates(watched, base, updates, ours));
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
        wave: standing.wave.or(standing.job),
        evidence: standing.evidence.as_str().to_owned(),
        updates: judgement.is_stale(),
        bases: bases.collect(),
        packages: inside(watched, updates),
        held: judgement
            .is_stale()
            .then(|| held(node, &judgement.key, updates, config))
            .flatten(),
        rebuild: tried_job(node, state),
        refused: None,
        scheduled,
    }
}

fn base_updates(watched: Watched<'_>, base: &BaseState<'_>, updates: &Updates, ours: &Ours) -> BaseUpdates {
    let node = watched.node;
    let key = base_key(node, &base.used);
    let check = key.as_ref().and_then(|key| updates.bases.get(key));
    let at = match (&base.used.needed, &key) {
        (Some(needed), _) => ours.needed(node, &needed.node, updates).flatten(),
        (None, Some(key)) => own_base(node, key, updates, ours),
        (None, None) => None,
    };
    let head = check.and_then(|check| check.last.as_ref()).map(|look| &look.head);
    let head = at.as_ref().and_then(|at| at.digest.as_ref()).or(head).cloned();
    let (state, to, how, since) = match &base.verdict {
        BaseVerdict::Fixed => (UpdateState::Fixed, None, fixed(watched, base, ours), None),
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
    let needed = base.used.needed.as_ref();
    BaseUpdates {
        name: base.used.name.clone(),
        kind: match (needed, &base.used.sibling) {
            (Some(_), _) => BaseKind::DependsOn,
            (None, Some(_)) => BaseKind::Sibling,
            (None, None) => BaseKind::Base,
        },
        state,
        from: base
            .used
            .digests
            .first()
            .or(base.used.id.as_ref())
            .or(needed.and_then(|needed| needed.digest.as_ref()))
            .cloned(),
        commit: needed.and_then(|needed| needed.commit.clone()),
        by: at.map(|at| OwnRelease {
            job: at.job,
            wave: at.wave,
            digest: at.digest,
            held: at.held,
        }),
        to,
        how,
        since,
        check: check.map(check_state),
    }
}

/// Why something does not count that could move.
fn fixed(watched: Watched<'_>, base: &BaseState<'_>, ours: &Ours) -> Option<String> {
    if base.used.needed.is_some() {
        return Some("not relied on any more, or both rely on each other".to_owned());
    }
    let key = base_key(watched.node, &base.used)?;
    let is_circle = ours.stands_on_it(watched.node, &key.reference);
    is_circle.then(|| "it stands on this image itself: what it is at does not count".to_owned())
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
