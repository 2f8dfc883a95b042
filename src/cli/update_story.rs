//! How a released image stands to what is below it, line by line, as `images` and `explain` tell it. Pure.

use super::news::{Told, follows, is_news, moved, packages, settles};
use super::time::{ago, moment, until};
use crate::api::{BaseKind, BaseUpdates, CheckState, ImageUpdates, InsideUpdates, OwnRelease, UpdateState};
use crate::model::Digest;
use crate::reconcile::{Stands, Word};
use jiff::Timestamp;

/// What the image's state is because of what is below it; none if it needs no word.
pub(super) fn stands(image: &ImageUpdates, chain: Option<&Stands>, now: Timestamp) -> Option<(&'static str, String)> {
    if !is_news(image) {
        return None;
    }
    let moved = moved(image).into_iter().map(|moved| match moved.kind {
        "base" => format!("base moved: {}", moved.what),
        kind => format!("{kind}: {}", moved.what),
    });
    let mut why: Vec<String> = moved.collect();
    why.extend(image.held.as_ref().map(|held| format!("held: {held}")));
    if image.held.is_none() {
        why.extend(follows(image, Told::Record, now));
    }
    why.extend(chain.and_then(in_the_way));
    let state = if image.updates { "outdated" } else { "current" };
    Some((state, why.join("; ")))
}

/// What keeps an image from being built that is to be built; none if nothing does.
pub(super) fn in_the_way(chain: &Stands) -> Option<String> {
    matches!(chain.state, Word::Waits | Word::Blocked | Word::Held).then(|| chain.line())
}

/// Who says what it stands on, if that is not the record.
pub(super) fn origin(image: &ImageUpdates) -> Option<String> {
    match image.job {
        Some(_) => None,
        None => Some(format!("elsewhere, known by {}", image.evidence)),
    }
}

/// `current; checked 5m ago, next in 2h`
pub(super) fn base(base: &BaseUpdates, now: Timestamp) -> String {
    let stands = match base.state {
        UpdateState::Fixed => return base.how.clone().unwrap_or_else(|| "cannot move".to_owned()),
        UpdateState::Current => match (&base.how, &base.to) {
            (Some(how), Some(to)) => format!("now at {to}, with the same content ({how}): not built again"),
            _ => "current".to_owned(),
        },
        UpdateState::Updates | UpdateState::Settling => {
            let to = base.to.as_ref().map_or("another digest", Digest::as_str);
            let since = base
                .since
                .map(|at| format!(" since {}", ago(at, now)))
                .unwrap_or_default();
            let how = base.how.as_ref().map(|how| format!(": {how}")).unwrap_or_default();
            let counts = match base.state {
                UpdateState::Settling => format!("; {}", settles(base, Told::Record, now)),
                _ => String::new(),
            };
            format!("now at {to}{since}{how}{counts}")
        }
        UpdateState::Unknown if base.check.as_ref().is_some_and(|check| check.last.is_some()) => {
            let how = base.how.clone();
            how.unwrap_or_else(|| "not compared with what is there now".to_owned())
        }
        UpdateState::Unknown => "not looked at yet".to_owned(),
    };
    format!("{stands}{}{}", by(base.by.as_ref()), check(base.check.as_ref(), now))
}

/// `; ours, by job 8 of the wave of job 7`
fn by(own: Option<&OwnRelease>) -> String {
    let Some(own) = own else { return String::new() };
    let wave = match own.wave == own.job {
        true => String::new(),
        false => format!(" in the wave of job {}", own.wave),
    };
    let held = own.held.map(|root| format!(", held back with the wave of job {root}"));
    format!("; ours, by job {}{wave}{}", own.job, held.unwrap_or_default())
}

/// `none newer; checked 5m ago, next in 2h`
pub(super) fn inside(inside: &InsideUpdates, now: Timestamp) -> String {
    let stands = match inside.state {
        UpdateState::Updates => match inside.updates.len() {
            0 | 1 => packages(&inside.updates),
            n => format!("{n} are newer: {}", packages(&inside.updates)),
        },
        UpdateState::Unknown => "not looked at yet".to_owned(),
        _ => "none newer".to_owned(),
    };
    format!("{stands}{}", check(inside.check.as_ref(), now))
}

/// `in 3h (2026-01-01T04:00:00Z)`
pub(super) fn scheduled(at: Timestamp, now: Timestamp) -> String {
    format!("built again {} ({})", until(at, now), moment(at))
}

fn check(check: Option<&CheckState>, now: Timestamp) -> String {
    let Some(check) = check else { return String::new() };
    let mut told = String::new();
    if let Some(last) = check.last {
        told.push_str(&format!("; checked {}", ago(last, now)));
    }
    if let Some(next) = check.next {
        let then = if told.is_empty() { ";" } else { "," };
        told.push_str(&format!("{then} next check {}", until(next, now)));
    }
    if let Some(error) = &check.error {
        let since = check
            .failing_since
            .map(|at| format!(" since {}", ago(at, now)))
            .unwrap_or_default();
        told.push_str(&format!("; cannot be checked{since}: {error}"));
    }
    told
}

/// All that there is to say of it, down to the digests.
pub(super) fn lines(image: &ImageUpdates, now: Timestamp) -> Vec<String> {
    let wave = image.wave.filter(|wave| image.job.is_some_and(|job| job != *wave));
    let wave = wave
        .map(|wave| format!(", in the wave of job {wave}"))
        .unwrap_or_default();
    let mut lines = vec![match image.job {
        Some(job) => format!("released by job {job} from {}{wave}", image.commit.short()),
        None => format!("built {}", origin(image).unwrap_or_default()),
    }];
    for of in &image.bases {
        let used = match (&of.from, &of.commit) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(commit)) => format!("commit {}", commit.short()),
            (None, None) if of.kind == BaseKind::DependsOn => "what was not built yet".to_owned(),
            (None, None) => "an unknown digest".to_owned(),
        };
        let kind = match of.kind {
            BaseKind::Base => "base",
            BaseKind::DependsOn => "depends on",
            BaseKind::Sibling => "base of the same project",
        };
        lines.push(format!("{kind} {}: used {used}; {}", of.name, base(of, now)));
    }
    if let Some(found) = &image.packages {
        lines.push(format!("packages: {}", inside(found, now)));
    }
    lines.extend(image.scheduled.map(|at| format!("schedule: {}", scheduled(at, now))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    fn image(now: Timestamp, packages: &Value) -> ImageUpdates {
        let value = json!({
            "name": "ruby", "project": "ruby", "image": "ruby", "ref": "refs/heads/main", "released": [],
            "commit": "a".repeat(40), "job": null, "evidence": "its first layers", "updates": packages["updates"] != json!([]),
            "bases": [], "packages": packages, "held": null, "rebuild": null, "refused": null, "scheduled": now + 3 * HOUR,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn packages_and_schedules_have_lines() {
        let now = Timestamp::UNIX_EPOCH + 4 * HOUR;
        let check = json!({ "last": now - HOUR, "next": now + HOUR, "error": null, "failing_since": null });
        let newer = json!([{ "name": "openssl", "old": "3.0.1", "new": "3.0.2" }, { "name": "libc6", "old": null, "new": "2" }]);
        let found = image(now, &json!({ "state": "updates", "updates": newer, "check": check }));
        let expected = [
            "built elsewhere, known by its first layers",
            "packages: 2 are newer: openssl 3.0.1 → 3.0.2, libc6 2; checked 1h ago, next check in 1h",
            "schedule: built again in 3h (1970-01-01T07:00:00Z)",
        ];
        assert_eq!(lines(&found, now), expected);
        let (state, why) = stands(&found, None, now).unwrap();
        assert_eq!(
            (state, why.as_str()),
            ("outdated", "packages: openssl 3.0.1 → 3.0.2, libc6 2")
        );

        let current = image(now, &json!({ "state": "current", "updates": [], "check": check }));
        assert!(lines(&current, now)[1].starts_with("packages: none newer; checked"));
        assert_eq!(stands(&current, None, now), None);
        let check = json!({ "last": null, "next": now, "error": "no apt", "failing_since": now - HOUR });
        let failing = image(now, &json!({ "state": "unknown", "updates": [], "check": check }));
        let line = "packages: not looked at yet; next check now; cannot be checked since 1h ago: no apt";
        assert_eq!(lines(&failing, now)[1], line);
        assert_eq!(stands(&failing, None, now), None);
    }

    #[test]
    fn the_same_content_under_another_digest_is_no_update() {
        let now = Timestamp::UNIX_EPOCH + 4 * HOUR;
        let digest = |digit: &str| Digest::new(format!("sha256:{}", digit.repeat(64))).unwrap();
        let of = BaseUpdates {
            name: "debian:12".to_owned(),
            kind: BaseKind::Base,
            commit: None,
            by: None,
            state: UpdateState::Current,
            from: Some(digest("1")),
            to: Some(digest("2")),
            how: Some("the layers are equal".to_owned()),
            since: None,
            check: None,
        };
        let told = format!(
            "now at {}, with the same content (the layers are equal): not built again",
            digest("2")
        );
        assert_eq!(base(&of, now), told);
    }
}
