//! What a repository's own config says about how its refs are to be read.
//!
//! Only what is certainly harmless is taken: everything else is git's to understand. Hidden refs and reftables depend on
//! nothing that the fingerprint does not cover; of what is unknown here, that is unknown too.

use super::place::{Repository, there};
use super::stop::{Odd, Stop};
use bstr::ByteSlice;
use gix_config::File;
use gix_config::file::Metadata;
use gix_hash::Kind;

/// Extensions that change nothing about refs, or that [`object_format`] understands.
const EXTENSIONS: [&str; 6] = [
    "noop",
    "noop-v1",
    "preciousobjects",
    "worktreeconfig",
    "objectformat",
    "refstorage",
];

/// The hash of a repository, by its `config` and `config.worktree`.
pub(super) fn object_format(repository: &Repository) -> Result<Kind, Stop> {
    let mut kind = Kind::Sha1;
    for config in [
        &repository.common_dir.join("config"),
        &repository.git_dir.join("config.worktree"),
    ] {
        if let Some(text) = there(std::fs::read(config))? {
            kind = understand(&text)?.unwrap_or(kind);
        }
    }
    Ok(kind)
}

fn understand(text: &[u8]) -> Result<Option<Kind>, Odd> {
    let config = File::from_bytes_no_includes(text, Metadata::api(), Default::default())
        .map_err(|_| Odd::Uncovered("an odd config file"))?;
    for section in config.sections() {
        let header = section.header();
        let name = header.name().to_ascii_lowercase();
        match name.as_slice() {
            b"include" | b"includeif" => return Err(Odd::Uncovered("a config that includes others")),
            b"extensions" => {
                if section
                    .value_names()
                    .any(|key| !EXTENSIONS.contains(&key.to_ascii_lowercase().as_str()))
                {
                    return Err(Odd::Uncovered("an extension of the repository's format"));
                }
            }
            _ => {
                if section.value_names().any(|key| key.eq_ignore_ascii_case("hiderefs")) {
                    return Err(Odd::Covered("hidden refs"));
                }
            }
        }
    }
    let value = |key: &str| config.string(key).map(|value| value.to_ascii_lowercase());
    let version = value("core.repositoryformatversion").unwrap_or_else(|| b"0".to_vec());
    let (format, storage) = (value("extensions.objectformat"), value("extensions.refstorage"));
    match version.as_slice() {
        b"0" if format.is_some() || storage.is_some() => {
            return Err(Odd::Uncovered("an extension of a format that has none"));
        }
        b"0" | b"1" => {}
        _ => return Err(Odd::Uncovered("an unknown version of the repository's format")),
    }
    match storage.as_deref().map(ByteSlice::as_bstr) {
        None => {}
        Some(files) if files == "files" => {}
        Some(reftable) if reftable == "reftable" => return Err(Odd::Covered("refs in a reftable")),
        Some(_) => return Err(Odd::Uncovered("an unknown storage of refs")),
    }
    match format.as_deref() {
        None => Ok(None),
        Some(b"sha1") => Ok(Some(Kind::Sha1)),
        Some(b"sha256") => Ok(Some(Kind::Sha256)),
        Some(_) => Err(Odd::Uncovered("an unknown hash")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_harmless_and_leaves_the_rest_to_git() {
        for (text, expected) in [
            ("", Ok(None)),
            ("[core]\n\trepositoryformatversion = 0\n\tbare = true\n", Ok(None)),
            (
                "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = SHA256\n",
                Ok(Some(Kind::Sha256)),
            ),
            (
                "[core]\nrepositoryformatversion=1\n[Extensions]\nrefStorage=files\nworktreeConfig",
                Ok(None),
            ),
            (
                "[remote \"hideRefs\"]\n\turl = hideRefs # hideRefs\n[alias]\n\tx = \"[include]\"",
                Ok(None),
            ),
            (
                "[core]\n\trepositoryformatversion = 2\n",
                Err(Odd::Uncovered("an unknown version of the repository's format")),
            ),
            (
                "[extensions]\n\tobjectFormat = sha256\n",
                Err(Odd::Uncovered("an extension of a format that has none")),
            ),
            (
                "[core]\nrepositoryformatversion = 1\n[extensions]\nrefstorage = reftable",
                Err(Odd::Covered("refs in a reftable")),
            ),
            (
                "[core]\nrepositoryformatversion = 1\n[extensions]\nobjectformat = sha3",
                Err(Odd::Uncovered("an unknown hash")),
            ),
            (
                "[core]\nrepositoryformatversion = 1\n[extensions]\npartialClone = o",
                Err(Odd::Uncovered("an extension of the repository's format")),
            ),
            (
                "[transfer]\n\tHIDErefs = refs/heads/secret\n",
                Err(Odd::Covered("hidden refs")),
            ),
            (
                "[uploadpack] hideRefs = refs/heads/secret\n",
                Err(Odd::Covered("hidden refs")),
            ),
            (
                "[include]\n\tpath = other\n",
                Err(Odd::Uncovered("a config that includes others")),
            ),
            (
                "[includeIf \"gitdir:/\"]\n\tpath = other\n",
                Err(Odd::Uncovered("a config that includes others")),
            ),
            ("[core\n", Err(Odd::Uncovered("an odd config file"))),
        ] {
            assert_eq!(understand(text.as_bytes()), expected, "{text}");
        }
    }
}
