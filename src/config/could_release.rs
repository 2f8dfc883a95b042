//! Whether an image could be released as a reference, as far as its config tells without a job.
//!
//! It exists to find out what may have to be built first while nothing has been checked out yet. It must never say no
//! where yes is possible: a yes too many costs a wait, a no too many builds on what is old.

use super::{EnvLayer, Image, Project};
use crate::model::{ImageRef, RefKind, RefName, is_job_variable, mask_url};

/// What stands for any text in a template that was filled in. No reference can hold it.
const ANY: char = '\0';

/// A release reference as far as it is known without a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// This one.
    Exactly(ImageRef),
    /// One that has some text, or none, in some places.
    Like(String),
}

impl Expected {
    /// The reference, if all of it is known.
    pub fn exactly(&self) -> Option<&ImageRef> {
        match self {
            Self::Exactly(target) => Some(target),
            Self::Like(_) => None,
        }
    }

    /// Whether it could come to be this one.
    pub fn could_be(&self, target: &ImageRef) -> bool {
        match self {
            Self::Exactly(own) => own == target,
            Self::Like(pattern) => ways_to_write(target).iter().any(|way| matches(pattern, way)),
        }
    }
}

impl Image {
    /// Where a job of this ref could release it; `project` is its own. Which ref is the default branch is not asked:
    /// without `release_refs` it could be any branch.
    pub fn expected(&self, project: &Project, reference: &RefName) -> Vec<Expected> {
        let is_released = match &self.release_refs {
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(reference.short())),
            // Of a HEAD that points elsewhere nothing is released.
            None => reference.kind() == RefKind::Branch,
        };
        let releases = self.release.iter().filter(|_| is_released);
        let value = |name: &str| Some(self.known(project, reference, name).unwrap_or_else(|| ANY.to_string()));
        let filled = releases.filter_map(|template| template.render(value).ok());
        filled
            .filter_map(|text| match text.contains(ANY) {
                true => Some(Expected::Like(text)),
                // What is no reference fails its job.
                false => ImageRef::parse(&text).ok().map(Expected::Exactly),
            })
            .collect()
    }

    /// The value that a variable has in every job of the ref; none if that cannot be told.
    fn known(&self, project: &Project, reference: &RefName, name: &str) -> Option<String> {
        let short = || reference.short().to_string();
        match name {
            "CI" => Some("true".to_owned()),
            "CI_PROJECT_NAME" | "BUILD_PROJECT" => Some(project.name.to_string()),
            "CI_COMMIT_REF_NAME" | "BUILD_REF_NAME" => Some(short()),
            "CI_COMMIT_REF_SLUG" | "BUILD_REF_SLUG" => Some(reference.slug()),
            "CI_COMMIT_BRANCH" if reference.kind() == RefKind::Branch => Some(short()),
            "CI_COMMIT_TAG" if reference.kind() == RefKind::Tag => Some(short()),
            "BUILD_REF" => Some(reference.to_string()),
            "BUILD_REF_TYPE" => Some(reference.kind().as_str().to_owned()),
            "BUILD_REMOTE" => Some(mask_url(&project.remote)),
            "BUILD_IMAGE_NAME" => Some(self.name.to_string()),
            _ if is_job_variable(name) => None,
            _ => of_tables(&project.env, name),
        }
    }
}

/// What the env tables say, unless a file that comes after them may say something else.
fn of_tables(layers: &[EnvLayer], name: &str) -> Option<String> {
    for layer in layers.iter().rev() {
        match layer {
            EnvLayer::File(_) => return None,
            EnvLayer::Table(table) => {
                if let Some(value) = table.get(name) {
                    return Some(value.clone());
                }
            }
        }
    }
    // The daemon may have it from its own environment.
    None
}

/// Every text that is read as this reference.
fn ways_to_write(target: &ImageRef) -> Vec<String> {
    let (registry, repository) = (target.registry(), target.repository());
    let mut names = vec![format!("{registry}/{repository}")];
    if registry == "docker.io" {
        let hosts = ["docker.io/", "index.docker.io/", "registry-1.docker.io/", ""];
        let paths = [Some(repository), repository.strip_prefix("library/")];
        let all = hosts.iter().flat_map(|host| {
            let paths = paths.iter().flatten();
            paths.map(move |path| format!("{host}{path}"))
        });
        names = all.collect();
    }
    let tag = target.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = target.digest().map(|digest| format!("@{digest}")).unwrap_or_default();
    let mut ends = vec![format!("{tag}{digest}")];
    if tag == ":latest" && digest.is_empty() {
        ends.push(String::new());
    }
    let all = names
        .iter()
        .flat_map(|name| ends.iter().map(move |end| format!("{name}{end}")));
    // Not every one of them is: without a host, the path may begin as one does.
    all.filter(|way| ImageRef::parse(way).is_ok_and(|meant| meant == *target))
        .collect()
}

/// Whether a text is the pattern with some text, or none, for each [`ANY`].
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // The first place where a part fits leaves the most to those after it.
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
impl Project {
    /// Whether a job of this ref could release something as `target`.
    pub(crate) fn could_release(&self, reference: &RefName, target: &ImageRef) -> bool {
        let expected = self.images.iter().flat_map(|image| image.expected(self, reference));
        expected.into_iter().any(|expected| expected.could_be(target))
    }
}

#[cfg(test)]
mod tests;
