//! What builds, and how registries are spoken to.
//!
//! Pure. It must never leave it open which of two credentials is used.

use super::notes::Notes;
use super::raw_engine::{RawEngine, RawKaniko, RawRegistry};
use super::reader::At;
use super::surroundings::Doubt;
use super::{Diagnostic, EngineKind, Kaniko, RegistryLogin, RegistrySettings};
use std::collections::BTreeMap;
use std::ops::Range;

/// The engine, and kaniko where that is what builds. An engine may be mentioned and wrong.
pub(super) fn engine(
    written: Option<&At<RawEngine>>,
    is_mentioned: bool,
    raw: Option<RawKaniko>,
    notes: &Notes<'_>,
) -> (EngineKind, Option<Kaniko>) {
    let at = match (written.map(|at| at.value), written) {
        (Some(RawEngine::Kaniko), Some(at)) => at,
        (Some(RawEngine::Of(kind)), _) => return (kind, unused(raw, notes)),
        _ if is_mentioned => return (EngineKind::Podman, None),
        _ => return (EngineKind::Podman, unused(raw, notes)),
    };
    if !raw.as_ref().is_some_and(|raw| raw.has_image) {
        let error = Diagnostic::error(at.span.clone(), "kaniko needs the image of its executor");
        notes.push_missing("image", error.help("add [kaniko] with image = \"REFERENCE\""));
    }
    let Some(raw) = raw else {
        return (EngineKind::Podman, None);
    };
    let kaniko = Kaniko {
        image: raw.image.unwrap_or_default(),
        cache_repo: raw.cache_repo,
        snapshot_mode: raw.snapshot_mode,
        flags: raw.flags,
    };
    (raw.engine.unwrap_or(EngineKind::Podman), Some(kaniko))
}

fn unused(raw: Option<RawKaniko>, notes: &Notes<'_>) -> Option<Kaniko> {
    if let Some(raw) = raw {
        let warning = Diagnostic::warning(raw.key, "[kaniko] is not used: the engine is another one");
        notes.push(warning.help("write engine = \"kaniko\" at the top of the file, or leave the table out"));
    }
    None
}

/// Every registry by its host.
pub(super) fn registries(
    written: Vec<(At<String>, RawRegistry)>,
    notes: &Notes<'_>,
    doubts: &mut Vec<Doubt>,
) -> BTreeMap<String, RegistrySettings> {
    let mut settings = BTreeMap::new();
    let mut places: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for (host, raw) in written {
        if let Some(first) = places.insert(host.value.clone(), host.span.clone()) {
            let message = format!("the registry {} is here twice", host.value);
            let line = notes.line(first.start);
            notes
                .push(Diagnostic::error(host.span.clone(), message).help(format!("the other table is in line {line}")));
        }
        let registry = registry(raw, &host.span, notes, doubts);
        settings.insert(host.value, registry);
    }
    settings
}

fn registry(raw: RawRegistry, host: &Range<usize>, notes: &Notes<'_>, doubts: &mut Vec<Doubt>) -> RegistrySettings {
    if raw.has_username != raw.has_password_file {
        let (has, lacks) = if raw.has_username {
            ("username", "password_file")
        } else {
            ("password_file", "username")
        };
        let error = Diagnostic::error(host.clone(), format!("this registry has `{has}` and no `{lacks}`"));
        notes.push_missing(lacks, error.help("a login takes both"));
    }
    if let Some(authfile) = raw
        .authfile
        .as_ref()
        .filter(|_| raw.has_username || raw.has_password_file)
    {
        let message = "this registry has both an `authfile` and a login of its own";
        notes.push(Diagnostic::error(authfile.span.clone(), message).help("leave one of them out"));
    }
    let insecure = raw.insecure.is_some_and(|at| at.value);
    if let Some(ca_file) = raw.ca_file.as_ref().filter(|_| insecure) {
        let warning = Diagnostic::warning(ca_file.span.clone(), "with `insecure` no certificate is looked at");
        notes.push(warning.help("leave one of the two keys out"));
    }
    let secrets = [&raw.authfile, &raw.password_file].into_iter().flatten();
    doubts.extend(secrets.cloned().map(Doubt::Secret));
    doubts.extend(raw.ca_file.iter().cloned().map(Doubt::Certificates));
    let login = match (raw.authfile, raw.username, raw.password_file) {
        (Some(file), ..) => RegistryLogin::AuthFile(file.value),
        (None, Some(username), Some(password_file)) => RegistryLogin::Password {
            username: username.value,
            password_file: password_file.value,
        },
        _ => RegistryLogin::Engine,
    };
    RegistrySettings {
        login,
        insecure,
        ca_file: raw.ca_file.map(|at| at.value),
    }
}
