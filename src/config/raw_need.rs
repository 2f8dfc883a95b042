//! What is written in `depends_on`.
//!
//! It must never settle what a name means: when it is read, it is not known yet which images and projects there are.

use super::raw_image::image_name;
use super::text::Mistake;
use crate::model::{ImageName, ProjectName};
use std::fmt;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// An image of the same project, or a project: every name of a project can be that of an image.
    Name(ImageName),
    /// `PROJECT/IMAGE`
    Of(ProjectName, ImageName),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Of(project, image) => write!(f, "{project}/{image}"),
        }
    }
}

/// Reads an entry.
pub(super) fn need(text: &str) -> Result<Need, Mistake> {
    let Some((project, image)) = text.split_once('/') else {
        return image_name(text).map(Need::Name);
    };
    match (ProjectName::new(project), ImageName::new(image)) {
        (Ok(project), Ok(image)) => Ok(Need::Of(project, image)),
        _ => Err(Mistake::new("this cannot be the name of an image of another project")
            .help("write PROJECT/IMAGE, or PROJECT for all of its images")),
    }
}
