//! Where an image may come to be released, before a job has filled in its templates.

use super::{Image, Project};
use crate::config::reference;
use crate::model::{ImageRef, RefName};

/// A release reference as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// This one.
    Exactly(ImageRef),
    /// It cannot be told.
    Any,
}

impl Expected {
    /// The reference, if it is known.
    pub fn exactly(&self) -> Option<&ImageRef> {
        match self {
            Self::Exactly(target) => Some(target),
            Self::Any => None,
        }
    }

    /// Whether it may come to be this one.
    pub fn could_be(&self, target: &ImageRef) -> bool {
        match self {
            Self::Exactly(own) => own == target,
            Self::Any => true,
        }
    }
}

impl Image {
    /// Its release references for a job of a ref.
    pub fn expected(&self, _: &Project, _: &RefName) -> Vec<Expected> {
        let of = |template| reference::literal(template).map_or(Expected::Any, Expected::Exactly);
        self.release.iter().map(of).collect()
    }
}
