//! What a job knows of an image before it builds the first one: its Containerfile, and its references.
//!
//! It reads the checkout and nothing else, so that a mistake in the last image is found before an hour goes into the
//! first. It must never ask an engine or a registry. A file may have megabytes: it is read on a thread of its own, as all
//! of the daemon waits for whoever computes.

use super::env::JobEnv;
use super::render::{render, render_all};
use super::select::Candidate;
use crate::config::{Image, Pattern, Project};
use crate::containerfile::{Base, bases, declared_args, final_base, is_predefined_arg, names_a_platform};
use crate::engine::{find_containerfile, find_context};
use crate::model::{Failure, ImageRef, RefName, Step, Template};
use crate::process::Runner;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Values of ARGs, by their names.
pub(super) type Arguments = BTreeMap<String, OsString>;

/// No Containerfile is that long.
const LONGEST_CONTAINERFILE: u64 = 16 << 20;

/// An image with its templates filled in.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    pub image: &'a Image,
    /// Its Containerfile, without links.
    pub file: PathBuf,
    /// The same as people know it: seen from the checkout.
    pub shown: PathBuf,
    /// What stands in it; what is not UTF-8 has been replaced.
    pub text: Arc<str>,
    /// Why its bases are not replaced by exactly those that were found; none if they are.
    pub unpinned: Option<&'static str>,
    /// Whether labels may be put into it.
    pub takes_labels: bool,
    /// The ARGs that it declares.
    declared: BTreeSet<String>,
    /// The directory that is sent to the build, without links.
    pub context: PathBuf,
    /// The values that its ARGs may take.
    pub arguments: Arc<Arguments>,
    /// The images that it builds FROM, by the names that stand there.
    pub bases: BTreeSet<String>,
    /// The one that its last stage stands on, if it is one.
    pub final_base: Option<String>,
    /// Of its config.
    pub fingerprint: String,
    /// What the config has it say of itself.
    pub labels: BTreeMap<String, String>,
    /// Names in the engine's storage.
    pub tags: Vec<String>,
    pub staging: Option<ImageRef>,
    /// Where it is released on refs that release.
    pub release: Vec<ImageRef>,
}

/// Finds and reads everything that one image of the project needs.
pub(super) async fn prepare<'a>(
    runner: &Runner,
    env: &JobEnv,
    project: &Project,
    image: &'a Image,
    checkout: &Path,
    releases: bool,
) -> Result<Prepared<'a>, Failure> {
    let file = find_containerfile(checkout, image)?;
    let shown = file.strip_prefix(checkout).unwrap_or(&file).to_owned();
    let arguments = Arc::new(arguments(runner, env, image)?);
    let (path, name, known, target) = (
        file.clone(),
        shown.clone(),
        Arc::clone(&arguments),
        image.target.clone(),
    );
    let content = aside(move || read(&path, &name, &known, target.as_deref())).await??;
    let mut named = BTreeSet::new();
    for base in content.bases {
        match base {
            Base::Image(name) => {
                named.insert(name);
            }
            Base::Unresolved(text) => runner.note(
                Step::Pull,
                &format!("cannot tell which image {text} is: left to the engine"),
            ),
        }
    }
    let text_of = |template: &Template| render(runner, env, template);
    let reference = |key: &str, template: &Template| {
        let text = text_of(template)?;
        ImageRef::parse(&text).map_err(|error| {
            let hint = match template.variables().any(|name| name == "BUILD_REF_NAME") {
                true => " (BUILD_REF_SLUG is the ref's name as references can hold it)",
                false => "",
            };
            Failure::failed(format!("{}: {key}: {error}{hint}", image.name))
        })
    };
    // The engine gets it as it is written: it has its own idea of where a name without a registry belongs.
    let tag = |template: &Template| reference("tags", template).and_then(|_| text_of(template));
    let released = image.release.iter().map(|template| reference("release", template));
    let release = match releases {
        true => released.collect::<Result<_, _>>()?,
        // Only names by which others of the project may know it: on this ref nobody needs to be right about them.
        false => released.filter_map(Result::ok).collect(),
    };
    Ok(Prepared {
        image,
        context: find_context(checkout, image)?,
        bases: named,
        final_base: content.final_base,
        fingerprint: image.fingerprint(&project.env),
        labels: render_all(runner, env, &image.labels)?,
        tags: image.tags.iter().map(tag).collect::<Result<_, _>>()?,
        staging: image
            .staging
            .as_ref()
            .map(|text| reference("staging", text))
            .transpose()?,
        release,
        unpinned: content.unpinned,
        takes_labels: content.takes_labels,
        declared: content.declared,
        text: content.text,
        file,
        shown,
        arguments,
    })
}

/// What stands in a Containerfile.
struct Content {
    text: Arc<str>,
    unpinned: Option<&'static str>,
    takes_labels: bool,
    bases: Vec<Base>,
    final_base: Option<String>,
    declared: BTreeSet<String>,
}

/// Computes on a thread of its own what may take long.
pub(super) async fn aside<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let computed = tokio::task::spawn_blocking(compute).await;
    computed.map_err(|error| Failure::errored(format!("cannot read a Containerfile: {error}")))
}

/// The value of an ARG, as the reader of Containerfiles asks for it.
pub(super) fn argument(arguments: &Arguments) -> impl Fn(&str) -> Option<String> {
    |name| arguments.get(name).map(|value| value.to_string_lossy().into_owned())
}

fn read(file: &Path, shown: &Path, arguments: &Arguments, target: Option<&str>) -> Result<Content, Failure> {
    let bytes = bytes(file, shown)?;
    let text = String::from_utf8_lossy(&bytes);
    let is_utf8 = text.as_bytes() == bytes;
    let argument = argument(arguments);
    Ok(Content {
        // podman gives files of this name to the C preprocessor first.
        takes_labels: is_utf8 && file.extension().is_none_or(|extension| extension != "in"),
        unpinned: match (is_utf8, names_a_platform(&text)) {
            (false, _) => Some("it is not UTF-8"),
            (true, true) => Some("a FROM asks for a platform"),
            (true, false) => None,
        },
        bases: bases(&text, &argument, target).into_iter().collect(),
        final_base: final_base(&text, &argument, target),
        declared: declared_args(&text).into_iter().collect(),
        text: text.into(),
    })
}

fn bytes(file: &Path, shown: &Path) -> Result<Vec<u8>, Failure> {
    let shown = shown.display();
    let length = std::fs::metadata(file).map_or(0, |m| m.len());
    if length > LONGEST_CONTAINERFILE {
        return Err(Failure::failed(format!(
            "{shown} has {length} bytes: that is no Containerfile"
        )));
    }
    std::fs::read(file).map_err(|e| Failure::errored(format!("cannot read {shown}: {e}")))
}

/// `build_args` win over what the job's environment has.
pub(super) fn arguments(runner: &Runner, env: &JobEnv, image: &Image) -> Result<Arguments, Failure> {
    let own = "BUILD_IMAGE_NAME".to_owned();
    let public = env.public.iter().chain([&own]);
    let mut arguments: Arguments = public
        .filter_map(|name| Some((name.clone(), runner.variable(name)?)))
        .collect();
    let given = render_all(runner, env, &image.build_args)?;
    arguments.extend(given.into_iter().map(|(name, value)| (name, value.into())));
    Ok(arguments)
}

impl Prepared<'_> {
    /// Of the values that its ARGs may take, those that it declares, and those that every build may take: proxies.
    pub fn declared(&self) -> Vec<(String, OsString)> {
        let wanted = |name: &str| self.declared.contains(name) || is_predefined_arg(name);
        let known = self.arguments.iter().filter(|(name, _)| wanted(name));
        known.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// As the choice of images sees it.
    pub fn candidate(&self) -> Candidate<'_> {
        let tags = self.tags.iter().filter_map(|tag| ImageRef::parse(tag).ok());
        Candidate {
            image: self.image,
            bases: self
                .bases
                .iter()
                .filter_map(|base| ImageRef::parse(base).ok())
                .collect(),
            names: tags
                .chain(self.staging.clone())
                .chain(self.release.iter().cloned())
                .collect(),
        }
    }

    /// Where it is released on this ref: nowhere if the ref is not one that releases. `default` is the branch that the
    /// remote's HEAD points at.
    pub fn targets(&self, reference: &RefName, default: Option<&RefName>) -> BTreeSet<ImageRef> {
        match releases_on(self.image.release_refs.as_deref(), reference, default) {
            true => self.release.iter().cloned().collect(),
            false => BTreeSet::new(),
        }
    }
}

/// Whether an image is released on a ref, by its `release_refs` and the branch that the remote's HEAD points at.
pub fn releases_on(patterns: Option<&[Pattern]>, reference: &RefName, default: Option<&RefName>) -> bool {
    match patterns {
        Some(patterns) => patterns.iter().any(|pattern| pattern.matches(reference.short())),
        None => default == Some(reference),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_refs_release() {
        let name = |name: &str| RefName::new(name).unwrap();
        let (main, dev, tag) = (name("refs/heads/main"), name("refs/heads/dev"), name("refs/tags/v1"));
        let patterns = ["main", "v*"].map(|p| Pattern::new(p).unwrap());
        assert!(releases_on(Some(&patterns), &main, None));
        assert!(releases_on(Some(&patterns), &tag, Some(&main)));
        assert!(!releases_on(Some(&patterns), &dev, Some(&dev)));
        assert!(!releases_on(Some(&[]), &main, Some(&main)));
        assert!(releases_on(None, &main, Some(&main)));
        assert!(!releases_on(None, &dev, Some(&main)));
        assert!(!releases_on(None, &tag, Some(&main)));
        assert!(!releases_on(None, &main, None));
    }
}
