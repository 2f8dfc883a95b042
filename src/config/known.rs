//! Which names `depends_on` may have, over all projects.
//!
//! It exists because projects are resolved one by one. It must know what is written badly too, so that one mistake is not
//! told again wherever its name stands.

use super::keys::nearest_of;
use super::raw_need::Need;
use super::raw_project::RawProject;
use super::reader::At;
use super::resolve_image::only_image;
use crate::model::{ImageName, ProjectName};
use std::collections::{BTreeMap, BTreeSet};

/// Every project that is written, enabled or not, right or wrong, with its images.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<ProjectName, BTreeSet<ImageName>>);

impl Known {
    /// Of a file.
    pub(super) fn of(projects: &[(At<ProjectName>, RawProject)]) -> Self {
        let images = |name: &ProjectName, project: &RawProject| {
            let mut images: BTreeSet<ImageName> = project.images.keys().cloned().collect();
            if images.is_empty() && project.has_image {
                images.insert(only_image(name));
            }
            images
        };
        let known = projects
            .iter()
            .map(|(name, project)| (name.value.clone(), images(&name.value, project)));
        Self(known.collect())
    }

    /// The project of this name.
    pub(super) fn project(&self, name: &str) -> Option<&ProjectName> {
        let name = ProjectName::new(name).ok()?;
        self.0.get_key_value(&name).map(|(project, _)| project)
    }

    /// The images of a project; none if there is no such project.
    pub(super) fn images(&self, project: &ProjectName) -> Option<&BTreeSet<ImageName>> {
        self.0.get(project)
    }

    /// The entry that was probably meant where there may stand an image of this project, any project, or any image.
    pub(super) fn nearest(&self, wrong: &Need, own: impl Iterator<Item = String>) -> Option<String> {
        let wrong = wrong.to_string();
        let projects = self.0.keys().map(ToString::to_string);
        let all = self
            .0
            .iter()
            .flat_map(|(project, images)| images.iter().map(move |image| format!("{project}/{image}")));
        // A bare name is more likely a bare one, though a long one allows for more mistakes.
        let bare: Vec<String> = own.chain(projects).collect();
        let whole: Vec<String> = all.collect();
        let (first, second) = if wrong.contains('/') {
            (whole, bare)
        } else {
            (bare, whole)
        };
        let near = |words: &[String]| nearest_of(words.iter().map(String::as_str), &wrong).map(str::to_owned);
        near(&first).or_else(|| near(&second))
    }
}
