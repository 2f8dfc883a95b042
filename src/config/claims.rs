//! Who moves which reference, over all projects.
//!
//! It exists so that two images never take turns in overwriting each other. It must only speak of references that are
//! surely the same, and never of a disabled project's.

use super::notes::Notes;
use super::reader::At;
use super::{Diagnostic, reference};
use crate::model::{ImageName, ImageRef, ProjectName, Template};
use std::collections::BTreeMap;
use std::ops::Range;

/// Where an image goes.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) project: ProjectName,
    pub(super) image: ImageName,
    pub(super) staging: Option<At<Template>>,
    pub(super) release: Vec<At<Template>>,
}

/// What is the same exactly if the reference is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Literal(ImageRef),
    /// A template of a project, for any one of its jobs.
    Of(ProjectName, String),
}

impl Place {
    /// None where the same text means something else for each image.
    fn of(project: &ProjectName, template: &Template) -> Option<Self> {
        if let Some(reference) = reference::literal(template) {
            return Some(Self::Literal(reference));
        }
        let differs = template.variables().any(|name| name.starts_with("BUILD_IMAGE"));
        // One way to write it, of `$NAME` and `${NAME}`.
        let text = template.render(|name| Some(format!("${{{name}}}"))).ok()?;
        (!differs).then(|| Self::Of(project.clone(), text))
    }

    /// For a message: a template may hold more than a name.
    fn shown(&self) -> String {
        match self {
            Self::Literal(reference) => format!("`{reference}`"),
            Self::Of(..) => "this reference".to_owned(),
        }
    }
}

/// Notes every reference that is claimed twice.
pub(super) fn judge(claims: &[Claim], notes: &Notes<'_>) {
    let mut taken: BTreeMap<Place, (&Claim, &Range<usize>)> = BTreeMap::new();
    for claim in claims {
        for release in &claim.release {
            let Some(place) = Place::of(&claim.project, &release.value) else {
                continue;
            };
            let shown = place.shown();
            let Some((first, span)) = taken.get(&place) else {
                taken.insert(place, (claim, &release.span));
                continue;
            };
            let same = first.project == claim.project && first.image == claim.image;
            let error = if same {
                let message = format!("this image is released as {shown} twice");
                Diagnostic::error(release.span.clone(), message).help("leave one of them out")
            } else {
                let message = format!(
                    "two images are released as {shown}: {} and {}",
                    named(first),
                    named(claim)
                );
                Diagnostic::error(release.span.clone(), message).help(other_place(span, &release.span, notes))
            };
            notes.push(error);
        }
    }
    for claim in claims {
        let Some(staging) = &claim.staging else { continue };
        let place = Place::of(&claim.project, &staging.value);
        if let Some((place, (by, span))) = place.and_then(|p| taken.get_key_value(&p)) {
            let same = by.project == claim.project && by.image == claim.image;
            let by = if same { "it".to_owned() } else { named(by) };
            let message = format!(
                "{} is staged at {}, where {by} is released",
                named(claim),
                place.shown()
            );
            let help = format!(
                "what is staged is not tested yet; {}",
                other_place(span, &staging.span, notes)
            );
            notes.push(Diagnostic::error(staging.span.clone(), message).help(help));
        }
    }
}

fn named(claim: &Claim) -> String {
    format!("image `{}` of project {}", claim.image, claim.project)
}

fn other_place(first: &Range<usize>, second: &Range<usize>, notes: &Notes<'_>) -> String {
    if first == second {
        "both have it from [defaults]: put a variable into it, as in ${BUILD_PROJECT}".to_owned()
    } else {
        format!("the other one is in line {}", notes.line(first.start))
    }
}
