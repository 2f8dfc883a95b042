//! What is written in `[projects.NAME.image]`, `[projects.NAME.images.NAME]` and `[defaults.image]`.
//!
//! It must never fill in a default, and never look at another image.

use super::keys::{IMAGE, SECRET};
use super::notes::Notes;
use super::raw_need::{Need, need};
use super::raw_poke::{RawPoke, pokes};
use super::raw_project::Templates;
use super::raw_update::{RawUpdate, schedule};
use super::reader::{At, Node, Table, entries};
use super::text::{self, Mistake, template};
use super::values::{boolean, choice, command, env, kept, labels, list, parsed, patterns, pull, refuse};
use super::{Chain, Cron, Diagnostic, Pattern, Pull, SecretFile, reference, watch};
use crate::model::{ImageName, Template};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every image of a project, by its name.
pub(super) type RawImages = BTreeMap<ImageName, At<RawImage>>;

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
    pub(super) watch: Option<Vec<Pattern>>,
    pub(super) depends_on: Option<Vec<At<Need>>>,
    pub(super) chain: Option<At<Chain>>,
    pub(super) secrets: BTreeMap<String, At<SecretFile>>,
    pub(super) source_date_epoch: Option<At<bool>>,
    pub(super) test: Option<Vec<String>>,
    pub(super) test_network: Option<String>,
    pub(super) staging: Option<At<Template>>,
    pub(super) release: Option<Vec<At<Template>>>,
    pub(super) release_refs: Option<Vec<Pattern>>,
    pub(super) update: RawUpdate,
    /// None in it: no schedule, whatever `[defaults.image]` says.
    pub(super) schedule: Option<Option<Cron>>,
    pub(super) poke: Option<At<Vec<RawPoke>>>,
}

impl RawImage {
    pub(super) fn read<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<Self> {
        let table = Table::open(node, IMAGE, notes)?;
        let inner = |node, notes| parsed(node, notes, text::inner_path);
        let word = |node, notes| parsed(node, notes, text::word);
        Some(Self {
            file: table.read("file", inner),
            context: table.read("context", inner),
            target: table.read("target", word),
            pull: table.read("pull", pull),
            cache: table.read("cache", boolean),
            build_args: table
                .read("build_args", |n, notes| env(n, notes, template))
                .unwrap_or_default(),
            labels: table.read("labels", labels).unwrap_or_default(),
            tags: table.read("tags", references),
            watch: table
                .read("watch", |n, notes| list(n, notes, watch::pattern))
                .map(|list| list.into_iter().map(|p| p.value).collect()),
            depends_on: table.read("depends_on", |n, notes| list(n, notes, need)),
            chain: table.read_at("chain", |n, notes| {
                choice(n, notes, &[("rolling", Chain::Rolling), ("atomic", Chain::Atomic)])
            }),
            secrets: table
                .read("secrets", |n, notes| secrets(n, base, notes))
                .unwrap_or_default(),
            source_date_epoch: table.read_at("source_date_epoch", source_date_epoch),
            test: table.read("test", command),
            test_network: table.read("test_network", word),
            staging: table.read_at("staging", |n, notes| parsed(n, notes, reference::template)),
            release: table.read("release", references),
            release_refs: table.read("release_refs", patterns),
            update: table.read("update", RawUpdate::read).unwrap_or_default(),
            schedule: table.read("schedule", schedule),
            poke: table.read_at("poke", |n, notes| pokes(n, base, notes)),
        })
    }
}

/// `[projects.NAME.images]`
pub(super) fn images<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<RawImages> {
    let mut images = RawImages::new();
    for (key, node) in entries(node, notes)? {
        let span = key.span();
        let name = match image_name(key.get_ref()) {
            Ok(name) => Some(name),
            Err(mistake) => refuse(span.clone(), mistake, notes),
        };
        // Read even when its name is bad, to find the mistakes in it.
        let image = RawImage::read(node, base, notes);
        if let Some(name) = name {
            // Known to the others also when it is bad.
            let value = image.unwrap_or_default();
            images.insert(name, At { value, span });
        }
    }
    Some(images)
}

pub(super) fn image_name(text: &str) -> Result<ImageName, Mistake> {
    ImageName::new(text).map_err(|_| {
        Mistake::new("this cannot be the name of an image")
            .help("use 1 to 128 of A-Z a-z 0-9 _ - . and do not begin with . or -")
    })
}

fn references(node: &Node<'_>, notes: &Notes<'_>) -> Option<Vec<At<Template>>> {
    list(node, notes, reference::template)
}

/// `secrets = { NAME = { file = "…" } }`
fn secrets<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<BTreeMap<String, At<SecretFile>>> {
    let mut secrets = BTreeMap::new();
    for (key, node) in entries(node, notes)? {
        let name = key.get_ref();
        let fine = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.is_empty() || !name.chars().all(fine) {
            let mistake = Mistake::new("this cannot be the name of a secret").help("use A-Z a-z 0-9 _ - .");
            refuse::<()>(key.span(), mistake, notes);
        }
        if node.get_ref().as_str().is_some() {
            let mistake = Mistake::new("a secret is a table that names a file").help("write { file = \"PATH\" }");
            refuse::<()>(node.span(), mistake, notes);
            continue;
        }
        let Some(table) = Table::open(node, SECRET, notes) else {
            continue;
        };
        if !table.mentions("file") {
            let missing = Diagnostic::error(key.span(), "this secret has no `file`");
            notes.push_missing("file", missing.help("add the path of the file that holds it"));
        }
        if let Some(file) = table.read_at("file", |n, notes| parsed(n, notes, |t| text::secret_file(t, base))) {
            secrets.insert(name.to_string(), file);
        }
    }
    Some(secrets)
}

/// `"commit"`, or `false` where `[defaults.image]` says so.
fn source_date_epoch(node: &Node<'_>, notes: &Notes<'_>) -> Option<bool> {
    let value = node.get_ref();
    let meant = match (value.as_bool(), value.as_str()) {
        (Some(false), _) => Ok(false),
        (_, Some("commit")) => Ok(true),
        _ => Err(Mistake::new("expected \"commit\" or false")),
    };
    kept(meant, node, notes)
}
