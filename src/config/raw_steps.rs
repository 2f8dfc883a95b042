//! What is written in `run` and `rsync`, of a project or of `[defaults]`.
//!
//! It must never fill in a default, and never look at another table.

use super::Tmpfs;
use super::keys::{RSYNC, RUN};
use super::notes::Notes;
use super::raw_image::image_name;
use super::raw_project::Templates;
use super::reader::{At, Node, Table};
use super::text::{self, Mistake, template};
use super::values::{boolean, command, env, labels, list, parsed, tmpfs};
use crate::model::{ImageName, Template};

/// `run`
#[derive(Debug, Default)]
pub(super) struct RawRun {
    pub(super) image: Option<At<ImageName>>,
    /// Whether `image` is there, right or wrong.
    pub(super) has_image: bool,
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

impl RawRun {
    pub(super) fn read<'a>(node: &'a Node<'a>, notes: &'a Notes<'a>) -> Option<Self> {
        let table = Table::open(node, RUN, notes)?;
        Some(Self {
            image: table.read_at("image", |n, notes| parsed(n, notes, image_name)),
            has_image: table.mentions("image"),
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
    pub(super) fn read<'a>(node: &'a Node<'a>, notes: &'a Notes<'a>) -> Option<Self> {
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
