//! What follows the build, with `[defaults]` merged into it: run and rsync.
//!
//! Pure. It must never give a project a step that it does not ask for.

use super::raw_steps::{RawRsync, RawRun};
use super::reader::At;
use super::resolve_image::only_image;
use super::resolve_needs::listed_images;
use super::templates::TemplateScope;
use super::{Diagnostic, Image, Rsync, Run, Tmpfs};
use crate::model::{ImageName, ProjectName};
use std::ops::Range;

/// The run of a project with these images.
pub(super) fn run(
    project: &ProjectName,
    images: &[Image],
    own: At<RawRun>,
    defaults: Option<&RawRun>,
    templates: &TemplateScope<'_>,
) -> Run {
    let none = RawRun::default();
    let defaults = defaults.unwrap_or(&none);
    let image = run_image(project, images, &own, defaults, templates);
    let own = own.value;
    let socket = own.engine_socket.or_else(|| defaults.engine_socket.clone());
    if let Some(at) = socket.as_ref().filter(|s| s.value) {
        let warning = Diagnostic::warning(at.span.clone(), "whoever is in this container owns the engine");
        let help = "with the engine's socket it can start any container, also one that mounts all of this machine";
        templates.scope.notes.push(warning.help(help));
    }
    Run {
        image,
        command: own.command.or_else(|| defaults.command.clone()),
        read_only: own.read_only.or(defaults.read_only).unwrap_or(true),
        tmpfs: own.tmpfs.or(defaults.tmpfs).unwrap_or(Tmpfs::Percent(50)),
        network: own.network.or_else(|| defaults.network.clone()),
        labels: templates.merge(own.labels, &defaults.labels),
        env: templates.merge(own.env, &defaults.env),
        engine_socket: socket.is_some_and(|s| s.value),
    }
}

/// Which image is run; any where there is none that can be, which is noted.
fn run_image(
    project: &ProjectName,
    images: &[Image],
    own: &At<RawRun>,
    defaults: &RawRun,
    templates: &TemplateScope<'_>,
) -> ImageName {
    let notes = templates.scope.notes;
    let named = own.value.image.as_ref().or(defaults.image.as_ref());
    match (named, images) {
        (Some(name), images) => {
            // With no image at all there is a mistake that says so.
            if !images.is_empty() && !images.iter().any(|image| image.name == name.value) {
                let message = format!("`{}` is no image of project {project}", name.value);
                let names = images.iter().map(|image| &image.name);
                notes.push(Diagnostic::error(name.span.clone(), message).help(listed_images(names)));
            }
            name.value.clone()
        }
        (None, [only]) => only.name.clone(),
        (None, images) => {
            if images.len() > 1 && !own.value.has_image && !defaults.has_image {
                let message = format!("this run of project {project} has no `image`, and there are several");
                let names = images.iter().map(|image| &image.name);
                let error = Diagnostic::error(own.span.clone(), message).help(listed_images(names));
                notes.push_missing("image", error);
            }
            only_image(project)
        }
    }
}

/// Where a project's results are copied.
pub(super) fn rsync(
    own: At<RawRsync>,
    defaults: Option<&RawRsync>,
    project: Range<usize>,
    templates: &TemplateScope<'_>,
) -> Option<Rsync> {
    let none = RawRsync::default();
    let defaults = defaults.unwrap_or(&none);
    let (span, own) = (own.span, own.value);
    if !own.has_destination && !defaults.has_destination {
        // The table of `rsync.delete = true` has no place of its own.
        let span = if span.is_empty() { project } else { span };
        let missing = Diagnostic::error(span, "this rsync has no `destination`");
        templates.scope.notes.push_missing(
            "destination",
            missing.help("add the directory, or `host:path`, to copy to"),
        );
    }
    let destination = own.destination.or_else(|| defaults.destination.clone())?;
    Some(Rsync {
        destination: templates.check(destination),
        delete: own.delete.or(defaults.delete).unwrap_or(false),
        checksum: own.checksum.or(defaults.checksum).unwrap_or(false),
        preserve: own.preserve.or(defaults.preserve).unwrap_or(false),
        include: own.include.or_else(|| defaults.include.clone()).unwrap_or_default(),
    })
}
