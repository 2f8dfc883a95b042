//! How it is found out whether there is something new below an image, with `[defaults.image.update]` merged in.
//!
//! Pure. An image's own value wins, key by key.

use super::notes::Notes;
use super::raw_update::RawUpdate;
use super::{Diagnostic, PackageCheck, Update};

/// What is meant.
pub(super) fn update(own: RawUpdate, defaults: &RawUpdate) -> Update {
    let fallback = Update::default();
    let RawUpdate {
        base,
        packages,
        every,
        quiet,
        timeout,
        network,
        tags,
    } = own;
    Update {
        base: base
            .or_else(|| defaults.base.clone())
            .map_or(fallback.base, |b| b.value),
        packages: packages
            .or_else(|| defaults.packages.clone())
            .map_or(fallback.packages, |p| p.value),
        every: every.or(defaults.every).unwrap_or(fallback.every),
        quiet: quiet.or(defaults.quiet).unwrap_or(fallback.quiet),
        timeout: timeout.or(defaults.timeout).unwrap_or(fallback.timeout),
        network: network.or_else(|| defaults.network.clone()).or(fallback.network),
        tags: tags
            .or_else(|| defaults.tags.clone())
            .map_or(fallback.tags, |t| t.value),
    }
}

/// What an image that is not released asks for in vain. Of `[defaults]` nothing is said: they are for others too.
pub(super) fn judge_update(own: &RawUpdate, notes: &Notes<'_>) {
    let base = own.base.as_ref().filter(|base| base.value).map(|base| &base.span);
    let packages = own.packages.as_ref().filter(|p| p.value != PackageCheck::Off);
    let tags = own.tags.as_ref().filter(|tags| !tags.value.is_empty());
    let vain = [
        ("base", base),
        ("packages", packages.map(|p| &p.span)),
        ("tags", tags.map(|t| &t.span)),
    ];
    for (key, span) in vain {
        if let Some(span) = span {
            let warning = Diagnostic::warning(
                span.clone(),
                format!("`{key}` has no effect: only released images are looked at"),
            );
            notes.push(warning.help("add `release`, or leave this key out"));
        }
    }
}
