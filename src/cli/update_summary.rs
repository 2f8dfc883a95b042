//! What `status` says of updates, from the record.

use super::news::{Told, follows, is_news, moved, title};
use super::style::{Style, plain};
use super::time::{ago, until};
use super::update_story::in_the_way;
use crate::api::{CheckState, ImageUpdates};
use crate::config::Config;
use crate::daemon::{check_state, image_updates};
use crate::model::{Node, ProjectName, Question, State, full_name};
use crate::reconcile::{Chains, Stands, base_key, due, watched};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;

/// How the checks for updates go.
#[derive(Debug, Serialize)]
pub(super) struct UpdatesView {
    /// Released images that are kept up to date.
    pub images: usize,
    /// Distinct bases that are looked at.
    pub bases: usize,
    /// Images that are looked into.
    pub inside: usize,
    /// The newest good check.
    pub last: Option<Timestamp>,
    /// The next check; now if one is due.
    pub next: Option<Timestamp>,
    /// Checks that fail.
    pub failing: Vec<FailingView>,
    /// Images that have something new below them.
    pub news: Vec<NewsView>,
}

/// A check that fails.
#[derive(Debug, Serialize)]
pub(super) struct FailingView {
    /// `base`, `packages` or `elsewhere`.
    pub check: &'static str,
    /// Of what.
    pub of: String,
    /// How it goes.
    #[serde(flatten)]
    pub state: CheckState,
}

/// An image, and what becomes of what is new below it.
#[derive(Debug, Serialize)]
pub(super) struct NewsView {
    /// What.
    #[serde(flatten)]
    pub image: ImageUpdates,
    /// What becomes of that, in words; empty if there is nothing new.
    pub then: String,
    /// How it stands in its chain.
    pub chain: Option<Stands>,
}

impl NewsView {
    /// Of one image; `runs` tells whether a daemon is there.
    pub fn new(image: ImageUpdates, chain: Option<Stands>, state: &State, runs: bool, now: Timestamp) -> Self {
        let then = match is_news(&image) {
            true => then(&image, chain.as_ref(), state, runs, now),
            false => String::new(),
        };
        Self { image, then, chain }
    }
}

impl UpdatesView {
    /// Of one project, or of all; none if nothing is checked.
    pub fn new(
        state: &State,
        config: &Config,
        chains: &Chains<'_>,
        only: Option<&ProjectName>,
        runs: bool,
        now: Timestamp,
    ) -> Option<Self> {
        let is_meant = |project: &ProjectName| only.is_none_or(|only| project == only);
        let mut bases = BTreeSet::new();
        let (mut images, mut news) = (0, Vec::new());
        let ours = chains.ours();
        for image in watched(state, config).filter(|image| is_meant(&image.node.project)) {
            images += 1;
            let used = image.standing.bases.iter().filter(|_| image.image.update.base);
            bases.extend(used.filter_map(|base| base_key(image.node, base)));
            let updates = image_updates(image, state, config, &state.updates, ours);
            if is_news(&updates) {
                news.push(NewsView::new(updates, chains.of(image.node), state, runs, now));
            }
        }
        let mut view = Self {
            images,
            bases: bases.len(),
            inside: 0,
            last: None,
            next: None,
            failing: Vec::new(),
            news,
        };
        let mut any = false;
        for (question, at) in due(state, config, now) {
            let updates = &state.updates;
            let (check, of, known) = match &question {
                Question::Base(base) if bases.contains(base) => {
                    let storage = base.project.as_ref().map(|p| format!(" in the storage of {p}"));
                    let of = format!("{}{}", base.reference, storage.unwrap_or_default());
                    ("base", of, updates.bases.get(base).map(check_state))
                }
                Question::Inside(node) if is_meant(&node.project) => {
                    view.inside += 1;
                    let known = updates.packages.get(node).map(check_state);
                    ("packages", format!("the packages of {}", name(node)), known)
                }
                Question::Elsewhere(node) if is_meant(&node.project) => {
                    let check = updates.elsewhere.get(node);
                    let known = check.map(|check| CheckState {
                        last: None,
                        next: Some(check.next),
                        error: check.trouble.as_ref().map(|trouble| trouble.error.clone()),
                        failing_since: check.trouble.as_ref().map(|trouble| trouble.since),
                    });
                    ("elsewhere", format!("{}, if it was built elsewhere", name(node)), known)
                }
                _ => continue,
            };
            any = true;
            let at = at.max(now);
            view.next = Some(view.next.map_or(at, |next| next.min(at)));
            if let Some(state) = known {
                view.last = view.last.max(state.last);
                if state.error.is_some() {
                    view.failing.push(FailingView { check, of, state });
                }
            }
        }
        // Where nothing is released, only trouble is worth a word.
        (any && images > 0 || !view.failing.is_empty()).then_some(view)
    }

    /// Writes it for people.
    pub fn print(&self, out: &mut impl Write, runs: bool, style: Style, now: Timestamp) -> std::io::Result<()> {
        let last = match self.last {
            Some(at) => format!("last good check {}", ago(at, now)),
            None => "no good check yet".to_owned(),
        };
        let next = match self.next {
            Some(at) if at > now => format!(", next {}", until(at, now)),
            Some(_) if runs => ", next now".to_owned(),
            Some(_) => ", next when a daemon runs".to_owned(),
            None => String::new(),
        };
        let looked_at = [(self.bases, "base"), (self.inside, "image")];
        let looked_at: Vec<String> = looked_at
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| count(n, what))
            .collect();
        let heading = style.strong("Updates");
        let looked_at = match looked_at.is_empty() {
            true => String::new(),
            false => format!("{} looked at; ", looked_at.join(" and ")),
        };
        writeln!(out, "\n{heading}: {looked_at}{last}{next}")?;
        for failing in &self.failing {
            let error = failing.state.error.as_deref().unwrap_or_default();
            let since = failing
                .state
                .failing_since
                .map(|at| format!("failing since {}", ago(at, now)));
            let next = failing.state.next.map(|at| match at > now || runs {
                true => format!("asked again {}", until(at, now)),
                false => "asked again when a daemon runs".to_owned(),
            });
            let told: Vec<String> = since.into_iter().chain(next).collect();
            let line = format!("{}: {error} ({})", failing.of, told.join(", "));
            writeln!(out, "  {}", plain(&line))?;
        }
        for news in &self.news {
            let moved: Vec<String> = moved(&news.image).into_iter().map(|moved| moved.what).collect();
            let line = format!("{}: {}: {}", title(&news.image), moved.join(", "), news.then);
            writeln!(out, "  {}", plain(&line))?;
        }
        Ok(())
    }
}

fn name(node: &Node) -> String {
    let name = full_name(&node.project, &node.image);
    format!("{name} {}", node.reference.short())
}

fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// What becomes of it; what counts and is held by nothing is about to be built.
fn then(image: &ImageUpdates, chain: Option<&Stands>, state: &State, runs: bool, now: Timestamp) -> String {
    let way = chain.and_then(in_the_way);
    if let Some(then) = follows(image, Told::Record, now) {
        // That a job of its own is queued is said already.
        let way = way.filter(|way| image.held.is_none() && !way.ends_with(" is queued"));
        return way.map_or_else(|| then.clone(), |way| format!("{then}; {way}"));
    }
    if let Some(way) = way {
        return way;
    }
    match state.live(&image.project, &image.reference).next() {
        Some(job) => format!("waits for job {} of the same ref", job.id),
        None if runs => "about to be built again".to_owned(),
        None => "built again when a daemon runs".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, PackageCheck, load};
    use crate::model::{
        Check, CheckTrouble, CommitId, Digest, Evidence, ImageName, ImageRef, PackageUpdate, Packages, RefName, Seen,
        Standing,
    };
    use crate::reconcile::Ours;
    use std::time::Duration;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn images_that_are_looked_into_are_counted_and_told() {
        let now = Timestamp::UNIX_EPOCH + 1000 * MINUTE;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.toml");
        let toml =
            "workdir = 'w'\n[projects.a]\nremote = 'h:a'\n[projects.a.image]\nrelease = ['registry.invalid/a:1']\n";
        std::fs::write(&path, toml).unwrap();
        let mut config = load(&path, &Overrides::default()).unwrap().config;
        let project = ProjectName::new("a").unwrap();
        config.projects.get_mut(&project).unwrap().images[0].update.packages = PackageCheck::Auto;
        let digest = Digest::new(format!("sha256:{}", "1".repeat(64))).unwrap();
        let commit = CommitId::new("a".repeat(40)).unwrap();
        let node = Node {
            project: project.clone(),
            reference: RefName::new("refs/heads/main").unwrap(),
            image: ImageName::new("a").unwrap(),
        };
        let standing = Standing {
            job: Some(crate::model::JobId(1)),
            commit: commit.clone(),
            id: None,
            digest: Some(digest.clone()),
            released: vec![ImageRef::parse("registry.invalid/a:1").unwrap()],
            bases: Vec::new(),
            verified: now - 100 * MINUTE,
            evidence: Evidence::Record,
            layers: Vec::new(),
            since: Timestamp::UNIX_EPOCH,
            wave: None,
            alike: BTreeSet::new(),
        };
        let mut state = State::default();
        let seen = Seen {
            refs: [(node.reference.clone(), commit)].into(),
            ..Seen::default()
        };
        state.projects.insert(project, seen);
        state.updates.standings.insert(node.clone(), standing);
        let view = |state: &State, only: Option<&ProjectName>, runs: bool| {
            let ours = Ours::of(state, &config);
            UpdatesView::new(state, &config, &Chains::new(state, &config, &ours), only, runs, now)
        };
        let print = |state: &State, runs: bool| {
            let mut out = Vec::new();
            let view = view(state, None, runs).unwrap();
            view.print(&mut out, runs, Style::plain(), now).unwrap();
            String::from_utf8(out).unwrap()
        };
        let first = print(&state, true);
        assert!(
            first.starts_with("\nUpdates: 1 image looked at; no good check yet, next in 4h"),
            "{first}"
        );

        let update = PackageUpdate {
            name: "openssl".to_owned(),
            old: Some("1".to_owned()),
            new: Some("2".to_owned()),
        };
        let found = Packages {
            image: digest,
            checked: now - 5 * MINUTE,
            needed: true,
            updates: vec![update],
        };
        let trouble = CheckTrouble {
            since: now - 3 * MINUTE,
            failures: 1,
            error: "no\nspace".to_owned(),
        };
        let check = Check {
            last: Some(found),
            trouble: Some(trouble),
            next: now - MINUTE,
        };
        state.updates.packages.insert(node, check);
        let expected = "\nUpdates: 1 image looked at; last good check 5m ago, next now\n\
                        \x20 the packages of a main: no\u{fffd}space (failing since 3m ago, asked again now)\n\
                        \x20 a main: openssl 1 → 2: about to be built again\n";
        assert_eq!(print(&state, true), expected);
        let away = print(&state, false);
        assert!(
            away.contains("next when a daemon runs") && away.contains("(failing since 3m ago, asked again when a"),
            "{away}"
        );
        assert!(away.contains("1 → 2: built again when a daemon runs"), "{away}");
        let other = ProjectName::new("b").unwrap();
        assert!(view(&state, Some(&other), true).is_none());
    }
}
