//! What is written in `[projects.NAME]` and `[defaults]`.
//!
//! It must never fill in a default, and never look at another project.

use super::keys::{DEFAULTS, PROJECT};
use super::notes::Notes;
use super::raw_image::{RawImage, RawImages, images};
use super::raw_need::{Need, need};
use super::raw_steps::{RawRsync, RawRun};
use super::reader::{At, Node, Table, entries};
use super::text;
use super::values::{boolean, choice, command, env, list, parsed, patterns, positive};
use super::{Diagnostic, Initial, Pattern, remote};
use crate::model::{Template, is_job_variable};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// Templates by name.
pub(super) type Templates = BTreeMap<String, At<Template>>;

/// A project's table, key by key.
#[derive(Debug, Default)]
pub(super) struct RawProject {
    pub(super) enabled: Option<bool>,
    pub(super) interval: Option<Duration>,
    pub(super) remote: Option<String>,
    pub(super) branches: Option<Vec<Pattern>>,
    pub(super) tags: Option<Vec<Pattern>>,
    pub(super) initial: Option<Initial>,
    pub(super) shallow: Option<bool>,
    pub(super) submodules: Option<bool>,
    pub(super) timeout: Option<Duration>,
    pub(super) callback_timeout: Option<Duration>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) env_file: Vec<At<PathBuf>>,
    pub(super) depends_on: Option<Vec<At<Need>>>,
    pub(super) prepare_callback: Option<At<Vec<String>>>,
    pub(super) success_callback: Option<At<Vec<String>>>,
    pub(super) error_callback: Option<At<Vec<String>>>,
    /// Whether there is an `image` or something in `images`, right or wrong.
    pub(super) has_image: bool,
    pub(super) image: Option<At<RawImage>>,
    pub(super) images: RawImages,
    pub(super) run: Option<At<RawRun>>,
    pub(super) rsync: Option<At<RawRsync>>,
}

impl RawProject {
    /// Reads `[projects.NAME]`, which must have a remote.
    pub(super) fn read<'a>(table: &Table<'a>, base: &Path, name: Range<usize>, notes: &'a Notes<'a>) -> Self {
        let remote = table.read_at("remote", |n, notes| parsed(n, notes, |t| remote::remote(t, base)));
        if !table.mentions("remote") {
            let missing = Diagnostic::error(name, "this project has no `remote`");
            notes.push_missing("remote", missing.help("add the URL or path of its git repository"));
        }
        if let Some(remote) = remote.as_ref().filter(|r| remote::has_credentials(&r.value)) {
            notes.push(
                Diagnostic::warning(remote.span.clone(), "this URL holds credentials")
                    .help("use a git credential helper, ~/.netrc or an ssh key, so that this file holds no secret"),
            );
        }
        let mut has_images = table.mentions("images");
        let images = table.read("images", |n, notes| {
            has_images = !entries(n, notes).is_some_and(DeTable::is_empty);
            images(n, base, notes)
        });
        let shared = Self::read_shared(table, base);
        if let Some(span) = table.key("images").filter(|_| table.key("image").is_some()) {
            let error = Diagnostic::error(span, "a project has either `image` or `images`");
            notes.push(error.help("move [projects.NAME.image] to [projects.NAME.images.NAME], beside the others"));
        }
        Self {
            remote: remote.map(|r| r.value),
            has_image: shared.has_image || has_images,
            images: images.unwrap_or_default(),
            ..shared
        }
    }

    /// Reads `[defaults]`.
    pub(super) fn read_defaults<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<Self> {
        Some(Self::read_shared(&Table::open(node, DEFAULTS, notes)?, base))
    }

    fn read_shared<'a>(table: &Table<'a>, base: &Path) -> Self {
        Self {
            enabled: table.read("enabled", boolean),
            interval: table.read("interval", positive),
            remote: None,
            branches: table.read("branches", patterns),
            tags: table.read("tags", patterns),
            initial: table.read("initial", |n, notes| {
                choice(
                    n,
                    notes,
                    &[
                        ("heads", Initial::Heads),
                        ("all", Initial::All),
                        ("none", Initial::None),
                    ],
                )
            }),
            shallow: table.read("shallow", boolean),
            submodules: table.read("submodules", boolean),
            timeout: table.read("timeout", positive),
            callback_timeout: table.read("callback_timeout", positive),
            env: table.read("env", variables).unwrap_or_default(),
            env_file: table
                .read("env_file", |n, notes| list(n, notes, |t| text::path(t, base)))
                .unwrap_or_default(),
            depends_on: table.read("depends_on", |n, notes| list(n, notes, need)),
            prepare_callback: table.read_at("prepare_callback", command),
            success_callback: table.read_at("success_callback", command),
            error_callback: table.read_at("error_callback", command),
            has_image: table.mentions("image"),
            image: table.read_at("image", |n, notes| RawImage::read(n, base, notes)),
            images: RawImages::new(),
            run: table.read_at("run", RawRun::read),
            rsync: table.read_at("rsync", RawRsync::read),
        }
    }
}

/// `env`: values as they are, without templates.
fn variables<'a>(node: &'a Node<'a>, notes: &'a Notes<'a>) -> Option<BTreeMap<String, String>> {
    let table = env(node, notes, |value| Ok(value.to_owned()))?;
    for (name, value) in table.iter().filter(|(name, _)| is_job_variable(name)) {
        let warning = Diagnostic::warning(value.span.clone(), format!("the value of `{name}` is never seen"));
        notes.push(warning.help("every job sets this variable itself"));
    }
    Some(table.into_iter().map(|(name, value)| (name, value.value)).collect())
}

/// The keys of a project are those of `[defaults]`, the remote and several images.
const _: () = assert!(PROJECT.len() == DEFAULTS.len() + 2);
