//! Which variables a template may name.
//!
//! It exists so that a typo in a tag is found when the file is read. It must never call a variable unknown that could
//! still turn up: an env file may define any.

use super::EnvLayer;
use super::keys::nearest_of;
use crate::model::{CALLBACK_VARIABLES, JOB_VARIABLES};

/// Whether a template of a project with these layers may name it.
pub(super) fn is_known(name: &str, layers: &[EnvLayer], inherited: &dyn Fn(&str) -> bool) -> bool {
    if CALLBACK_VARIABLES.contains(&name) {
        return false;
    }
    JOB_VARIABLES.contains(&name)
        || layers.iter().any(|layer| match layer {
            EnvLayer::File(_) => true,
            EnvLayer::Table(table) => table.contains_key(name),
        })
        || inherited(name)
}

/// The name that was probably meant.
pub(super) fn nearest<'a>(name: &str, layers: &'a [EnvLayer]) -> Option<&'a str> {
    let own = layers.iter().filter_map(|layer| match layer {
        EnvLayer::Table(table) => Some(table.keys().map(String::as_str)),
        EnvLayer::File(_) => None,
    });
    let known = JOB_VARIABLES.iter().copied().chain(own.flatten());
    nearest_of(known, name)
}
