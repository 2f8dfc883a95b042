//! An image printed back, as a part of `show`.
//!
//! It must never print a credential, wherever in the table it hides.

use super::show::{command, templates};
use super::{Image, Pull};
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
    depends_on: Vec<&'a str>,
    source_date_epoch: Epoch,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Vec<String>>,
    test_network: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    staging: Option<&'a str>,
    release: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_refs: Option<Vec<&'a str>>,
    build_args: BTreeMap<&'a str, String>,
    labels: BTreeMap<&'a str, String>,
    secrets: BTreeMap<&'a str, ShownSecret<'a>>,
}

/// `false` or `"commit"`.
#[derive(Serialize)]
#[serde(untagged)]
enum Epoch {
    Off(bool),
    Of(&'static str),
}

#[derive(Serialize)]
struct ShownSecret<'a> {
    file: &'a Path,
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
        secrets,
        source_date_epoch,
        test,
        test_network,
        staging,
        release,
        release_refs,
        update: _,
        schedule: _,
    } = image;
    ShownImage {
        file: file.as_deref(),
        context,
        target: target.as_deref(),
        pull: *pull,
        cache: *cache,
        tags: tags.iter().map(|t| t.as_str()).collect(),
        watch: watch.iter().map(super::Pattern::as_str).collect(),
        depends_on: depends_on.iter().map(|name| name.as_str()).collect(),
        source_date_epoch: if *source_date_epoch {
            Epoch::Of("commit")
        } else {
            Epoch::Off(false)
        },
        test: test.as_deref().map(command),
        test_network,
        staging: staging.as_ref().map(|t| t.as_str()),
        release: release.iter().map(|t| t.as_str()).collect(),
        release_refs: release_refs
            .as_ref()
            .map(|refs| refs.iter().map(super::Pattern::as_str).collect()),
        build_args: templates(build_args),
        labels: templates(labels),
        secrets: secrets
            .iter()
            .map(|(name, file)| (name.as_str(), ShownSecret { file: file.as_path() }))
            .collect(),
    }
}
