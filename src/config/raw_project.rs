//! What is written in `[projects.NAME]` and `[defaults]`.
//!
//! It must never fill in a default, and never look at another project.

use super::keys::{DEFAULTS, IMAGE, PROJECT, RSYNC, RUN};
use super::notes::Notes;
use super::reader::{At, Node, Table};
use super::text::{self, Mistake};
use super::values::{
    boolean, choice, command, env, image_names, labels, list, parsed, patterns, positive, pull, template, tmpfs,
};
use super::{Diagnostic, Initial, Pattern, Pull, Tmpfs, remote};
use crate::model::{Template, is_job_variable};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    pub(super) prepare_callback: Option<At<Vec<String>>>,
    pub(super) success_callback: Option<At<Vec<String>>>,
    pub(super) error_callback: Option<At<Vec<String>>>,
    /// Whether there is an `image`, right or wrong.
    pub(super) has_image: bool,
    pub(super) image: Option<RawImage>,
    pub(super) run: Option<At<RawRun>>,
    pub(super) rsync: Option<At<RawRsync>>,
}

/// `image`
#[derive(Debug, Default)]
pub(super) struct RawImage {
    pub(super) file: Option<PathBuf>,
    pub(super) context: Option<PathBuf>,
    pub(super) target: Option<String>,
    pub(super) pull: Option<Pull>,
    pub(super) cache: Option<bool>,
    pub(super) build_args: Templates,
    pub(super) labels: Templates,
    pub(super) tags: Option<Vec<At<Template>>>,
}

/// `run`
#[derive(Debug, Default)]
pub(super) struct RawRun {
    pub(super) command: Option<Vec<String>>,
    pub(super) read_only: Option<bool>,
    pub(super) tmpfs: Option<Tmpfs>,
    pub(super) network: Option<String>,
    pub(super) labels: Templates,
    pub(super) env: Templates,
    pub(super) engine_socket: Option<At<bool>>,
}

/// `rsync`
#[derive(Debug, Default)]
pub(super) struct RawRsync {
    pub(super) destination: Option<At<Template>>,
    /// Whether `destination` is there, right or wrong.
    pub(super) has_destination: bool,
    pub(super) delete: Option<bool>,
    pub(super) checksum: Option<bool>,
    pub(super) preserve: Option<bool>,
    pub(super) include: Option<Vec<String>>,
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
        Self {
            remote: remote.map(|r| r.value),
            ..Self::read_shared(table, base)
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
            prepare_callback: table.read_at("prepare_callback", command),
            success_callback: table.read_at("success_callback", command),
            error_callback: table.read_at("error_callback", command),
            has_image: table.mentions("image"),
            image: table.read("image", RawImage::read),
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

impl RawImage {
    fn read<'a>(node: &'a Node<'a>, notes: &'a Notes<'a>) -> Option<Self> {
        let table = Table::open(node, IMAGE, notes)?;
        let inner = |node, notes| parsed(node, notes, text::inner_path);
        Some(Self {
            file: table.read("file", inner),
            context: table.read("context", inner),
            target: table.read("target", |n, notes| parsed(n, notes, text::word)),
            pull: table.read("pull", pull),
            cache: table.read("cache", boolean),
            build_args: table
                .read("build_args", |n, notes| env(n, notes, template))
                .unwrap_or_default(),
            labels: table.read("labels", labels).unwrap_or_default(),
            tags: table.read("tags", image_names),
        })
    }
}

impl RawRun {
    fn read<'a>(node: &'a Node<'a>, notes: &'a Notes<'a>) -> Option<Self> {
        let table = Table::open(node, RUN, notes)?;
        Some(Self {
            command: table.read("command", command),
            read_only: table.read("read_only", boolean),
            tmpfs: table.read("tmpfs", tmpfs),
            network: table.read("network", |n, notes| parsed(n, notes, text::word)),
            labels: table.read("labels", labels).unwrap_or_default(),
            env: table
                .read("env", |n, notes| env(n, notes, template))
                .unwrap_or_default(),
            engine_socket: table.read_at("engine_socket", boolean),
        })
    }
}

impl RawRsync {
    fn read<'a>(node: &'a Node<'a>, notes: &'a Notes<'a>) -> Option<Self> {
        let table = Table::open(node, RSYNC, notes)?;
        let filter = |text: &str| match text {
            "" => Err(Mistake::new("an empty pattern matches nothing")),
            _ => Ok(text.to_owned()),
        };
        Some(Self {
            destination: table.read_at("destination", |n, notes| parsed(n, notes, destination)),
            has_destination: table.mentions("destination"),
            delete: table.read("delete", boolean),
            checksum: table.read("checksum", boolean),
            preserve: table.read("preserve", boolean),
            include: table
                .read("include", |n, notes| list(n, notes, filter))
                .map(|i| i.into_iter().map(|f| f.value).collect()),
        })
    }
}

/// Where rsync copies to: what begins with a variable is only known when a job runs.
fn destination(text: &str) -> Result<Template, Mistake> {
    let template = template(text)?;
    let literal = text.split('$').next().unwrap_or_default();
    if text.is_empty() {
        return Err(Mistake::new("the destination is empty"));
    }
    if literal.starts_with('-') {
        return Err(Mistake::new(
            "the destination begins with `-` and would be taken for an option",
        ));
    }
    if !text.starts_with(['/', '$']) && !text.contains(':') {
        return Err(Mistake::new(
            "the destination must be an absolute path, `host:path` or `rsync://…`",
        ));
    }
    Ok(template)
}

/// The keys of a project are those of `[defaults]` and the remote.
const _: () = assert!(PROJECT.len() == DEFAULTS.len() + 1);
