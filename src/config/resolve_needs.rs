//! What `depends_on` means: images of the same project, which are built before, and things of other projects.
//!
//! Pure. A name is first that of an image of the same project, then that of a project. It must never judge circles among
//! projects: what is built on what in the end is known only when everything is checked out.

use super::order::{Needs, order};
use super::raw_image::RawImages;
use super::raw_need::Need;
use super::reader::At;
use super::resolve_project::Scope;
use super::{Diagnostic, Upstream};
use crate::model::{ImageName, ProjectName};
use std::collections::{BTreeMap, BTreeSet};

/// More names than these do not help.
const MOST_LISTED: usize = 20;

/// Names of images for a help text.
pub(super) fn listed_images<'a>(names: impl Iterator<Item = &'a ImageName>) -> String {
    let mut names: Vec<_> = names.take(MOST_LISTED + 1).map(|name| format!("`{name}`")).collect();
    if let Some(last) = names.get_mut(MOST_LISTED) {
        "…".clone_into(last);
    }
    format!("its images: {}", names.join(", "))
}

/// What an image depends on.
#[derive(Debug, Default)]
pub(super) struct ImageNeeds {
    /// Images of its project, with the places where they are written.
    siblings: Vec<At<ImageName>>,
    /// Things of other projects.
    pub(super) upstreams: BTreeSet<Upstream>,
}

impl ImageNeeds {
    /// Images of its project, by name.
    pub(super) fn depends_on(&self) -> Vec<ImageName> {
        let names: BTreeSet<_> = self.siblings.iter().map(|n| n.value.clone()).collect();
        names.into_iter().collect()
    }
}

/// What one entry means.
enum Meant {
    Itself,
    Sibling(ImageName),
    Upstream(Upstream),
}

/// Whose entries are looked at.
struct Reader<'a> {
    project: &'a ProjectName,
    /// Those of the project that an entry may mean; none for the project's own `depends_on`.
    images: Option<&'a RawImages>,
    scope: &'a Scope<'a>,
}

impl Reader<'_> {
    fn is_sibling(&self, name: &ImageName) -> bool {
        self.images.is_some_and(|images| images.contains_key(name))
    }

    /// What an entry means; or what is wrong with it, as a message and a help text.
    fn meant(&self, need: &Need) -> Result<Meant, (String, String)> {
        let known = self.scope.known;
        let sibling_or = |image: &ImageName| match self.images {
            Some(_) => Meant::Sibling(image.clone()),
            None => Meant::Itself,
        };
        match need {
            Need::Name(name) if self.is_sibling(name) => Ok(Meant::Sibling(name.clone())),
            Need::Name(name) => match known.project(name.as_str()) {
                Some(project) if project == self.project => Ok(Meant::Itself),
                Some(project) => Ok(Meant::Upstream(Upstream {
                    project: project.clone(),
                    image: None,
                })),
                None if self.images.is_some() => Err((
                    format!("`{name}` is neither an image of project {} nor a project", self.project),
                    self.help(need),
                )),
                None => Err((format!("there is no project `{name}`"), self.help(need))),
            },
            Need::Of(project, image) => match known.images(project) {
                None => Err((format!("there is no project `{project}`"), self.help(need))),
                Some(images) if !images.contains(image) => Err((
                    format!("`{image}` is no image of project {project}"),
                    match images.is_empty() {
                        true => format!("it has no images: write `{project}` for the project itself"),
                        false => self.help(need),
                    },
                )),
                Some(_) if project == self.project => Ok(sibling_or(image)),
                Some(_) => Ok(Meant::Upstream(Upstream {
                    project: project.clone(),
                    image: Some(image.clone()),
                })),
            },
        }
    }

    /// The entry that was probably meant, or what there is.
    fn help(&self, wrong: &Need) -> String {
        let own = self.images.into_iter().flatten().map(|(name, _)| name.to_string());
        if let Some(meant) = self.scope.known.nearest(wrong, own) {
            return format!("did you mean `{meant}`?");
        }
        let images = match wrong {
            Need::Of(project, _) => self
                .scope
                .known
                .images(project)
                .map(|images| listed_images(images.iter())),
            Need::Name(_) => self.images.map(|images| listed_images(images.keys())),
        };
        images.unwrap_or_else(|| "write the name of a project, or PROJECT/IMAGE".to_owned())
    }
}

/// What a project's own `depends_on` means.
pub(super) fn of_project(project: &ProjectName, written: &[At<Need>], scope: &Scope<'_>) -> BTreeSet<Upstream> {
    let reader = Reader {
        project,
        images: None,
        scope,
    };
    let mut upstreams = BTreeSet::new();
    for need in written {
        let error = |message: String, help: String| Diagnostic::error(need.span.clone(), message).help(help);
        match reader.meant(&need.value) {
            Ok(Meant::Upstream(upstream)) => {
                upstreams.insert(upstream);
            }
            Ok(Meant::Itself | Meant::Sibling(_)) => {
                let help = "leave it out; what an image of it depends on is said by the image's own `depends_on`";
                scope
                    .notes
                    .push(error(format!("project {project} depends on itself"), help.to_owned()));
            }
            Err((message, help)) => scope.notes.push(error(message, help)),
        }
    }
    upstreams
}

/// What each image's `depends_on` means, its own or that of `[defaults.image]`.
pub(super) fn of_images(
    project: &ProjectName,
    written: &RawImages,
    defaults: Option<&Vec<At<Need>>>,
    scope: &Scope<'_>,
) -> BTreeMap<ImageName, ImageNeeds> {
    let reader = Reader {
        project,
        images: Some(written),
        scope,
    };
    let mut all = BTreeMap::new();
    for (name, image) in written {
        let mut needs = ImageNeeds::default();
        for need in image.value.depends_on.as_ref().or(defaults).into_iter().flatten() {
            let error = |message: String, help: String| Diagnostic::error(need.span.clone(), message).help(help);
            match reader.meant(&need.value) {
                Ok(Meant::Upstream(upstream)) => {
                    needs.upstreams.insert(upstream);
                }
                Ok(Meant::Sibling(sibling)) if sibling != *name => needs.siblings.push(At {
                    value: sibling,
                    span: need.span.clone(),
                }),
                Ok(Meant::Itself | Meant::Sibling(_)) => {
                    let message = format!("image `{name}` of project {project} depends on itself");
                    scope.notes.push(error(message, "leave the name out".to_owned()));
                }
                Err((message, help)) => scope.notes.push(error(message, help)),
            }
        }
        all.insert(name.clone(), needs);
    }
    all
}

/// The names of a project's images, each after those that it depends on; circles among them are noted.
pub(super) fn build_order(
    project: &ProjectName,
    all: &BTreeMap<ImageName, ImageNeeds>,
    scope: &Scope<'_>,
) -> Vec<ImageName> {
    let needs: Needs = all
        .iter()
        .map(|(name, needs)| (name.clone(), needs.depends_on().into_iter().collect()))
        .collect();
    let order = order(&needs);
    for cycle in &order.cycles {
        let [first, second, ..] = cycle.as_slice() else {
            continue;
        };
        let names: Vec<_> = cycle.iter().chain([first]).map(ImageName::as_str).collect();
        let message = format!(
            "images of project {project} depend on each other: {}",
            names.join(" -> ")
        );
        let place = all
            .get(first)
            .and_then(|needs| needs.siblings.iter().find(|n| n.value == *second));
        if let Some(place) = place {
            let error = Diagnostic::error(place.span.clone(), message);
            scope.notes.push(error.help("take one of these dependencies out"));
        }
    }
    order.images
}
