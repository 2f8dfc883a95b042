//! What a look at a remote means: which refs are ours, and what first sight of one brings.

use crate::config::{Initial, Pattern, Project};
use crate::model::{RefKind, RefName};

/// Whether the project follows the ref.
pub fn is_selected(project: &Project, reference: &RefName) -> bool {
    any_matches(&project.branches, &project.tags, reference)
}

/// The project's patterns in one comparable text.
pub fn selection(project: &Project) -> String {
    // Lists of strings: there is nothing in them that JSON cannot hold.
    serde_json::to_string(&(&project.branches, &project.tags)).unwrap_or_default()
}

/// Whether the patterns that [`selection`] wrote down follow the ref.
pub(super) fn selected_by(selection: &str, reference: &RefName) -> bool {
    serde_json::from_str::<(Vec<Pattern>, Vec<Pattern>)>(selection)
        .is_ok_and(|(branches, tags)| any_matches(&branches, &tags, reference))
}

fn any_matches(branches: &[Pattern], tags: &[Pattern], reference: &RefName) -> bool {
    let patterns = match reference.kind() {
        RefKind::Branch => branches,
        RefKind::Tag => tags,
    };
    patterns.iter().any(|pattern| pattern.matches(reference.short()))
}

/// Why a ref that was there before we looked is not built, or none if it is.
pub(super) fn skip_at_first_sight(project: &Project, reference: &RefName) -> Option<&'static str> {
    match (project.initial, reference.kind()) {
        (Initial::All, _) | (Initial::Heads, RefKind::Branch) => None,
        (Initial::Heads, RefKind::Tag) => {
            Some("older than the watch: tags that are there at first are not built (initial = \"heads\")")
        }
        (Initial::None, _) => Some("older than the watch: what is there at first is not built (initial = \"none\")"),
    }
}
