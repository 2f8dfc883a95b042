//! How one base stands, or something else that an image relies on: by our own releases, or by what was seen of it.
//!
//! Trouble with a check is never "nothing new": what could not be seen is unknown.

use super::judge::{BaseVerdict, Own, Watched, base_key, used};
use super::ours::{At, Ours};
use crate::model::{
    BaseKey, BaseUsed, EdgeKind, Evidence, ImageName, JobId, Look, Needed, Node, Standing, Updates, full_name,
};
use jiff::SignedDuration;
use std::time::Duration;

/// How a base stands, and what a build would use of it now.
pub(super) fn base_verdict(
    watched: Watched<'_>,
    base: &BaseUsed,
    updates: &Updates,
    ours: &Ours,
) -> (BaseVerdict, Option<String>) {
    let Watched {
        node, standing, image, ..
    } = watched;
    let was = base.id.as_ref().or(base.digests.first()).map(ToString::to_string);
    if let Some(sibling) = &base.sibling {
        return (sibling_verdict(node, standing, base, sibling, updates), was);
    }
    if let Some(needed) = &base.needed {
        return needed_verdict(node, needed, updates, ours);
    }
    let Some(key) = base_key(node, base) else {
        return (BaseVerdict::Fixed, was);
    };
    if ours.stands_on_it(node, &key.reference) {
        return (BaseVerdict::Fixed, was);
    }
    if standing.evidence != Evidence::Layers
        && let Some(at) = own_base(node, &key, updates, ours)
    {
        return own_verdict(&at, at.is(&base.digests, base.id.as_ref()), was);
    }
    // What was used since the last look is none of those that it was compared with.
    let Some(look) = updates.bases.get(&key).and_then(|check| check.last.as_ref()) else {
        return (BaseVerdict::Unknown, was);
    };
    let used = used(standing, base);
    if used.is_at(&look.head) {
        return (BaseVerdict::Same(None), was);
    }
    let name = used.key();
    match look.compared.iter().find(|compared| compared.used == name) {
        None => (BaseVerdict::Unknown, was),
        Some(compared) if compared.absent => (BaseVerdict::Absent(compared.how.clone()), was),
        Some(compared) if compared.same => (BaseVerdict::Same(Some(compared.how.clone())), was),
        Some(compared) => {
            let verdict = BaseVerdict::Moved {
                to: Some(look.head.clone()),
                how: compared.how.clone(),
                since: look.since,
                counts: has_settled(look, image.update.quiet),
                own: None,
            };
            (
                verdict,
                Some(compared.present.as_ref().unwrap_or(&look.head).to_string()),
            )
        }
    }
}

/// Whether a base was seen where it is at two looks with the quiet period between them.
fn has_settled(look: &Look, quiet: Duration) -> bool {
    SignedDuration::try_from(quiet).is_ok_and(|quiet| look.checked.duration_since(look.since) >= quiet)
}

/// A base that was built by the same job moves when it is released by a later one.
fn sibling_verdict(
    node: &Node,
    standing: &Standing,
    base: &BaseUsed,
    sibling: &ImageName,
    updates: &Updates,
) -> BaseVerdict {
    let of_sibling = Node {
        image: sibling.clone(),
        ..node.clone()
    };
    let Some(there) = updates.standings.get(&of_sibling) else {
        // It is not released by itself, and is only built with this one.
        return BaseVerdict::Fixed;
    };
    let newer: Option<JobId> = there.job.filter(|_| there.job > standing.job);
    match (newer, &there.id) {
        // Also one that was only verified since: what it was verified against is what it was.
        (Some(job), Some(id))
            if there.verified > standing.verified
                && base.id.as_ref() != Some(id)
                && !base
                    .digests
                    .iter()
                    .chain(&base.id)
                    .any(|used| there.alike.contains(used)) =>
        {
            BaseVerdict::Moved {
                to: Some(there.known_by().unwrap_or(id).clone()),
                how: format!("job {job} has released it"),
                since: there.verified,
                counts: true,
                own: Some(Own {
                    job,
                    wave: there.wave.unwrap_or(job),
                    held: None,
                }),
            }
        }
        _ => BaseVerdict::Same(None),
    }
}

/// What a base is at by our own release, unless somebody has moved it since.
pub fn own_base(node: &Node, key: &BaseKey, updates: &Updates, ours: &Ours) -> Option<At> {
    let at = ours.base(node, &key.reference, updates)?;
    let look = updates.bases.get(key).and_then(|check| check.last.as_ref());
    let is_overruled =
        look.is_some_and(|look| at.held.is_none() && look.checked > at.since && at.digest.as_ref() != Some(&look.head));
    (!is_overruled).then_some(at)
}

fn own_verdict(at: &At, is_same: bool, was: Option<String>) -> (BaseVerdict, Option<String>) {
    let job = at.job;
    if is_same {
        let how = format!("job {job} has released the same content");
        return (BaseVerdict::Same((!at.alike.is_empty()).then_some(how)), was);
    }
    let Some(to) = at.digest.clone() else {
        return (BaseVerdict::Unknown, was);
    };
    let verdict = BaseVerdict::Moved {
        to: Some(to.clone()),
        how: match at.held {
            Some(_) => format!("job {job} has built it, and it will be released with all of its wave"),
            None => format!("job {job} has released it"),
        },
        since: at.since,
        counts: true,
        own: Some(own(at)),
    };
    (verdict, Some(to.to_string()))
}

fn own(at: &At) -> Own {
    Own {
        job: at.job,
        wave: at.wave,
        held: at.held,
    }
}

/// What is relied on without being a base.
fn needed_verdict(node: &Node, needed: &Needed, updates: &Updates, ours: &Ours) -> (BaseVerdict, Option<String>) {
    let was = needed
        .digest
        .as_ref()
        .map(ToString::to_string)
        .or_else(|| needed.commit.as_ref().map(ToString::to_string));
    let Some(Some(at)) = ours.needed(node, &needed.node, updates) else {
        return (BaseVerdict::Fixed, was);
    };
    moved_need(&at, at.is_what_was_needed(needed), was)
}

fn moved_need(at: &At, is_same: bool, was: Option<String>) -> (BaseVerdict, Option<String>) {
    if is_same {
        return (BaseVerdict::Same(None), was);
    }
    let verdict = BaseVerdict::Moved {
        to: at.digest.clone(),
        how: match &at.digest {
            Some(_) => format!("job {} has released it", at.job),
            None => format!("job {} has built {}", at.job, at.commit.short()),
        },
        since: at.since,
        counts: true,
        own: Some(own(at)),
    };
    (verdict, Some(at.as_input()))
}

/// What is relied on since the image was built last: it was not recorded then, so only what was built since counts.
pub(super) fn new_needs(
    watched: Watched<'_>,
    updates: &Updates,
    ours: &Ours,
) -> Vec<(BaseUsed, BaseVerdict, Option<String>)> {
    let Watched { node, standing, .. } = watched;
    let Some(place) = ours.graph.place(node) else {
        return Vec::new();
    };
    let needs = ours.graph.ups(place).filter(|edge| edge.kind == EdgeKind::Needs);
    let nodes = needs.map(|edge| &ours.graph.nodes()[edge.to]);
    let is_recorded = |up: &Node| {
        standing
            .bases
            .iter()
            .any(|base| base.needed.as_ref().is_some_and(|n| n.node == *up))
    };
    nodes
        .filter(|up| !is_recorded(up))
        .filter_map(|up| {
            let at = ours.any(up, updates)?;
            let used = need(up, None);
            let (verdict, now) = moved_need(&at, at.since <= standing.verified, None);
            Some((used, verdict, now))
        })
        .collect()
}

/// An input that is no base, as it is recorded among the bases.
pub(super) fn need(upstream: &Node, at: Option<&At>) -> BaseUsed {
    BaseUsed {
        name: full_name(&upstream.project, &upstream.image),
        reference: None,
        digests: Vec::new(),
        id: None,
        diff_ids: Vec::new(),
        platform: None,
        sibling: None,
        needed: Some(Needed {
            node: upstream.clone(),
            digest: at.and_then(|at| at.digest.clone()),
            commit: at.map(|at| at.commit.clone()),
        }),
    }
}
