//! Which file is built, in which context. Neither may lie outside of the checkout, whatever links it holds: a
//! repository must not be able to read the daemon's machine.

use crate::config::Image;
use crate::model::Failure;
use std::path::{Path, PathBuf};

/// The Containerfile of an image, without links in its path: as configured, else `Containerfile`, else `Dockerfile`.
pub fn find_containerfile(checkout: &Path, image: &Image) -> Result<PathBuf, Failure> {
    let file = match &image.file {
        Some(file) => file.as_path(),
        None => ["Containerfile", "Dockerfile"]
            .map(Path::new)
            .into_iter()
            .find(|name| checkout.join(name).symlink_metadata().is_ok())
            .ok_or_else(|| {
                Failure::failed(
                    "the repository has neither Containerfile nor Dockerfile at its top: add one, or name \
                     another with `file`",
                )
            })?,
    };
    let path = inside(checkout, file)?;
    if !is(&path, std::fs::Metadata::is_file) {
        return Err(Failure::failed(format!("{} is not a regular file", file.display())));
    }
    Ok(path)
}

/// The build context of an image, without links in its path.
pub fn find_context(checkout: &Path, image: &Image) -> Result<PathBuf, Failure> {
    let path = inside(checkout, &image.context)?;
    if !is(&path, std::fs::Metadata::is_dir) {
        return Err(Failure::failed(format!(
            "the context {} is not a directory",
            image.context.display()
        )));
    }
    Ok(path)
}

fn is(path: &Path, kind: impl Fn(&std::fs::Metadata) -> bool) -> bool {
    path.metadata().is_ok_and(|m| kind(&m))
}

fn inside(checkout: &Path, path: &Path) -> Result<PathBuf, Failure> {
    let root = checkout
        .canonicalize()
        .map_err(|e| Failure::errored(format!("cannot open the checkout {}: {e}", checkout.display())))?;
    let outside = || Failure::failed(format!("{} leads out of the repository", path.display()));
    let found = match root.join(path).canonicalize() {
        Ok(found) => found,
        Err(_) if path.is_absolute() || path.components().any(|c| c == std::path::Component::ParentDir) => {
            return Err(outside());
        }
        Err(e) => {
            return Err(Failure::failed(format!(
                "there is no {} in the repository ({e})",
                path.display()
            )));
        }
    };
    if found.starts_with(&root) {
        Ok(found)
    } else {
        Err(outside())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Pull;
    use crate::model::FailureKind;
    use std::os::unix::fs::symlink;

    fn image(file: Option<&str>, context: &str) -> Image {
        Image {
            name: crate::model::ImageName::new("a").unwrap(),
            watch: Vec::new(),
            depends_on: Vec::new(),
            upstreams: Default::default(),
            chain: crate::config::Chain::Rolling,
            secrets: Default::default(),
            source_date_epoch: false,
            test: None,
            test_network: "none".to_owned(),
            staging: None,
            release: Vec::new(),
            release_refs: None,
            update: crate::config::Update::default(),
            schedule: None,
            poke: Vec::new(),
            file: file.map(PathBuf::from),
            context: context.into(),
            target: None,
            pull: Pull::Missing,
            cache: true,
            build_args: Default::default(),
            labels: Default::default(),
            tags: Vec::new(),
        }
    }

    #[test]
    fn prefers_containerfile_and_stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("build");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "").unwrap();
        let find = |file: Option<&str>| find_containerfile(&root, &image(file, "."));
        let message = |file: Option<&str>| {
            let failure = find(file).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Failed);
            failure.message
        };
        assert!(message(None).contains("neither"));
        std::fs::write(root.join("Dockerfile"), "").unwrap();
        assert!(find(None).unwrap().ends_with("Dockerfile"));
        std::fs::write(root.join("Containerfile"), "").unwrap();
        assert!(find(None).unwrap().ends_with("Containerfile"));
        symlink("../Containerfile", root.join("sub/link")).unwrap();
        assert!(find(Some("sub/link")).unwrap().ends_with("build/Containerfile"));

        symlink("../secret", root.join("out")).unwrap();
        symlink("..", root.join("up")).unwrap();
        for bad in ["out", "up/secret", "../secret", "/etc/passwd", "../nothing"] {
            assert!(message(Some(bad)).contains("leads out"), "{bad}");
        }
        assert!(message(Some("nothing")).contains("there is no"));
        assert!(message(Some("sub")).contains("regular"));
        nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(message(Some("fifo")).contains("regular"));

        assert!(find_context(&root, &image(None, "sub")).unwrap().ends_with("sub"));
        assert!(find_context(&root, &image(None, "up")).is_err());
        assert!(find_context(&root, &image(None, "Dockerfile")).is_err());
    }
}
