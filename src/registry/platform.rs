//! The image for one platform, out of all that a reference may have.

use super::manifest::{Descriptor, Manifest, Parsed, Platform};
use super::session::Session;
use super::{Registries, RegistryError};
use crate::model::{ImageRef, platform};
use crate::process::Runner;

impl Registries {
    /// The manifest of one image, for `linux/amd64` and the like, by way of an index if there is one; none if that has
    /// nothing for the platform. A manifest that stands alone is taken for any: only its config says what it is for.
    pub async fn manifest_for(
        &self,
        runner: &Runner,
        image: &ImageRef,
        platform: &str,
    ) -> Result<Option<Manifest>, RegistryError> {
        let top = self.manifest(runner, image).await?;
        let Parsed::Index { manifests } = &top.parsed else {
            return Ok(Some(top));
        };
        let Some(entry) = for_platform(manifests, platform) else {
            return Ok(None);
        };
        let child = image.with_digest(entry.digest.clone());
        let manifest = self.manifest(runner, &child).await?;
        match manifest.parsed {
            Parsed::Image { .. } => Ok(Some(manifest)),
            Parsed::Index { .. } => Err(Session::new(&self.0, runner, image, "pull")
                .protocol(format!("{child} is an index within an index, which is not supported"))),
        }
    }
}

/// Whether two platforms are the same. `linux/arm64/v8` is `linux/arm64` and `linux/amd64/v1` is `linux/amd64`: nobody
/// agrees on whether to write these. Which 32-bit arm it is, engines do not tell always: without a variant it may be any.
pub fn same_platform(one: &str, other: &str) -> bool {
    let (one, other) = (Parts::of(one), Parts::of(other));
    one.machine == other.machine
        && (one.variant == other.variant || one.is_arm() && (one.variant.is_none() || other.variant.is_none()))
}

/// The entry of an index for a platform. Signatures and attestations stand in an index as platforms that do not exist. If
/// several may be meant, it is the one that says so, then the newest variant; one without any platform is meant if it is
/// alone.
pub fn for_platform<'a>(manifests: &'a [Descriptor], wanted: &str) -> Option<&'a Descriptor> {
    if let [only] = manifests
        && only.platform.as_ref().is_none_or(|platform| platform.os.is_empty())
    {
        return Some(only);
    }
    let written = |entry: &'a Descriptor| Some((text(entry.platform.as_ref()?), entry));
    let fitting = manifests
        .iter()
        .filter_map(written)
        .filter(|(name, _)| same_platform(name, wanted));
    // Of equals the first is taken, as engines do.
    let rank = |name: &str| {
        let variant = Parts::of(name).variant;
        (variant == Parts::of(wanted).variant, variant.map(str::to_owned))
    };
    let best = fitting.rev().max_by_key(|(name, _)| rank(name));
    best.map(|(_, entry)| entry)
}

fn text(of: &Platform) -> String {
    platform(&of.os, &of.architecture, of.variant.as_deref())
}

struct Parts<'a> {
    machine: (&'a str, &'a str),
    variant: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(platform: &'a str) -> Self {
        let mut parts = platform.split('/');
        let machine = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let usual = match machine.1 {
            "arm64" => "v8",
            "amd64" => "v1",
            _ => "",
        };
        Self {
            machine,
            variant: parts.next().filter(|variant| *variant != usual),
        }
    }

    fn is_arm(&self) -> bool {
        self.machine.1 == "arm"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;
    use rstest::rstest;

    #[rstest]
    #[case("linux/amd64", "linux/amd64", true)]
    #[case("linux/amd64", "linux/amd64/v1", true)]
    #[case("linux/amd64", "linux/amd64/v3", false)]
    #[case("linux/arm64", "linux/arm64/v8", true)]
    #[case("linux/arm64", "linux/arm64/v9", false)]
    #[case("linux/arm64", "linux/arm/v8", false)]
    #[case("linux/arm", "linux/arm/v7", true)]
    #[case("linux/arm/v6", "linux/arm/v7", false)]
    #[case("linux/amd64", "windows/amd64", false)]
    #[case("linux/amd64", "unknown/unknown", false)]
    #[case("", "linux/amd64", false)]
    fn platforms_by_many_names(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        assert_eq!(same_platform(one, other), same);
        assert_eq!(same_platform(other, one), same);
    }

    fn entry(at: usize, platform: &str) -> Descriptor {
        let mut parts = platform.split('/').map(str::to_owned);
        Descriptor {
            media_type: super::super::manifest::OCI_MANIFEST.to_owned(),
            digest: Digest::new(format!("sha256:{at:064}")).unwrap(),
            size: 1,
            platform: (!platform.is_empty()).then(|| Platform {
                os: parts.next().unwrap_or_default(),
                architecture: parts.next().unwrap_or_default(),
                variant: parts.next(),
            }),
            urls: Vec::new(),
        }
    }

    #[rstest]
    #[case(&[], "linux/amd64", None)]
    #[case(&["linux/arm64/v8", "linux/amd64"], "linux/amd64", Some(1))]
    #[case(&["linux/arm64/v8", "linux/amd64"], "linux/arm64", Some(0))]
    #[case(&["linux/arm64/v8"], "linux/amd64", None)]
    #[case(&["linux/amd64", "linux/amd64"], "linux/amd64", Some(0))]
    #[case(&["unknown/unknown", "linux/amd64", "unknown/unknown"], "linux/amd64", Some(1))]
    #[case(&["unknown/unknown"], "linux/amd64", None)]
    #[case(&["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm", Some(1))]
    #[case(&["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm/v6", Some(2))]
    #[case(&["linux/arm", "linux/arm/v7"], "linux/arm/v6", Some(0))]
    #[case(&["linux/amd64/v3", "linux/amd64"], "linux/amd64", Some(1))]
    #[case(&[""], "linux/amd64", Some(0))]
    #[case(&["", "linux/amd64"], "linux/amd64", Some(1))]
    #[case(&["", ""], "linux/amd64", None)]
    fn chooses(#[case] there: &[&str], #[case] wanted: &str, #[case] chosen: Option<usize>) {
        let entries: Vec<_> = there.iter().enumerate().map(|(at, name)| entry(at, name)).collect();
        assert_eq!(for_platform(&entries, wanted), chosen.map(|at| &entries[at]));
    }
}
