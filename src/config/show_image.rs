//! An image printed back, as a part of `show`.
//!
//! It must never print a credential, wherever in the table it hides.

use super::secret::mask_text;
use super::show::{command, duration, templates};
use super::{Chain, Cron, Image, PackageCheck, PokeTarget, Pull, Update};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Serialize)]
pub(super) struct ShownImage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a Path>,
    context: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    pull: Pull,
    cache: bool,
    tags: Vec<&'a str>,
    watch: Vec<&'a str>,
    depends_on: Vec<String>,
    chain: Chain,
    source_date_epoch: OrOff<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Vec<String>>,
    test_network: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    staging: Option<&'a str>,
    release: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_refs: Option<Vec<&'a str>>,
    schedule: OrOff<&'a str>,
    update: ShownUpdate<'a>,
    build_args: BTreeMap<&'a str, String>,
    labels: BTreeMap<&'a str, String>,
    secrets: BTreeMap<&'a str, ShownSecret<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    poke: Vec<ShownPoke<'a>>,
}

#[derive(Serialize)]
struct ShownUpdate<'a> {
    /// Not where it goes without saying and has no effect, which would be warned about when it is read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<bool>,
    packages: OrOff<ShownCheck>,
    every: String,
    quiet: String,
    timeout: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    tags: Vec<&'a str>,
}

/// `"auto"` or a command.
#[derive(Serialize)]
#[serde(untagged)]
enum ShownCheck {
    Word(&'static str),
    Command(Vec<String>),
}

/// A value, or `false`.
#[derive(Serialize)]
#[serde(untagged)]
enum OrOff<T> {
    Off(bool),
    Is(T),
}

impl<T> From<Option<T>> for OrOff<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Off(false), Self::Is)
    }
}

#[derive(Serialize)]
struct ShownSecret<'a> {
    file: &'a Path,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ShownPoke<'a> {
    Gitlab {
        url: String,
        project: &'a str,
        #[serde(rename = "ref")]
        reference: &'a str,
        token_file: &'a Path,
        variables: BTreeMap<&'a str, String>,
    },
    Webhook {
        url: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        secret_file: Option<&'a Path>,
    },
}

fn shown_poke(target: &PokeTarget) -> ShownPoke<'_> {
    match target {
        PokeTarget::Gitlab {
            url,
            project,
            reference,
            token_file,
            variables,
        } => ShownPoke::Gitlab {
            url: mask_text(url),
            project,
            reference,
            token_file: token_file.as_path(),
            variables: templates(variables),
        },
        PokeTarget::Webhook { url, secret_file } => ShownPoke::Webhook {
            url: mask_text(url),
            secret_file: secret_file.as_ref().map(super::SecretFile::as_path),
        },
    }
}

pub(super) fn image(image: &Image) -> ShownImage<'_> {
    // Taken apart in full, so that a new key cannot be forgotten here.
    let Image {
        name: _,
        file,
        context,
        target,
        pull,
        cache,
        build_args,
        labels,
        tags,
        watch,
        depends_on,
        upstreams,
        chain,
        secrets,
        source_date_epoch,
        test,
        test_network,
        staging,
        release,
        release_refs,
        update,
        schedule,
        poke,
    } = image;
    ShownImage {
        file: file.as_deref(),
        context,
        target: target.as_deref(),
        pull: *pull,
        cache: *cache,
        tags: tags.iter().map(|t| t.as_str()).collect(),
        watch: watch.iter().map(super::Pattern::as_str).collect(),
        depends_on: depends_on
            .iter()
            .map(|name| name.to_string())
            .chain(upstreams.iter().map(ToString::to_string))
            .collect(),
        chain: *chain,
        source_date_epoch: source_date_epoch.then_some("commit").into(),
        test: test.as_deref().map(command),
        test_network,
        staging: staging.as_ref().map(|t| t.as_str()),
        release: release.iter().map(|t| t.as_str()).collect(),
        release_refs: release_refs
            .as_ref()
            .map(|refs| refs.iter().map(super::Pattern::as_str).collect()),
        schedule: schedule.as_ref().map(Cron::as_str).into(),
        update: shown_update(update, !release.is_empty()),
        build_args: templates(build_args),
        labels: templates(labels),
        secrets: secrets
            .iter()
            .map(|(name, file)| (name.as_str(), ShownSecret { file: file.as_path() }))
            .collect(),
        poke: poke.iter().map(shown_poke).collect(),
    }
}

fn shown_update(update: &Update, is_released: bool) -> ShownUpdate<'_> {
    let Update {
        base,
        packages,
        every,
        quiet,
        timeout,
        network,
        tags,
    } = update;
    ShownUpdate {
        base: (is_released || !base).then_some(*base),
        packages: match packages {
            PackageCheck::Off => OrOff::Off(false),
            PackageCheck::Auto => OrOff::Is(ShownCheck::Word("auto")),
            PackageCheck::Command(argv) => OrOff::Is(ShownCheck::Command(command(argv))),
        },
        every: duration(*every),
        quiet: duration(*quiet),
        timeout: duration(*timeout),
        network: network.as_deref(),
        tags: tags.iter().map(super::Pattern::as_str).collect(),
    }
}
