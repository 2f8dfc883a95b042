//! Images as files: out of the engine's storage to be released, and into it to be tested.

use super::command::Engine;
use super::inspect::digest;
use crate::config::EngineKind;
use crate::model::{Digest, Failure, Step};
use crate::process::Runner;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

impl Engine {
    /// Writes an image to a file: podman an OCI archive, docker an archive of its own. The file is made where the
    /// command runs, wherever the engine is.
    ///
    /// podman packs the layers with gzip (as 4.3 does without an option; `--uncompressed` would not), and the same
    /// image gives the same bytes each time, so the manifest in the archive is one that may go to a registry as it is.
    pub async fn save(
        &self,
        runner: &Runner,
        step: Step,
        id: &Digest,
        to: &Path,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let mut args: Vec<OsString> = vec!["save".into()];
        if self.kind == EngineKind::Podman {
            args.extend(["--format".into(), "oci-archive".into()]);
        }
        let mut output = OsString::from("--output=");
        output.push(to);
        args.extend([output, "--".into(), id.as_str().into()]);
        // podman does not write over an archive that is there, say of an attempt that was cut off.
        match std::fs::remove_file(to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::errored(format!("{step}: cannot remove {}: {e}", to.display())));
            }
            _ => {}
        }
        let code = runner.logged(step, &self.argv(args), Path::new("/"), timeout).await?;
        match code {
            0 if to.is_file() => Ok(()),
            _ => Err(Failure::errored(format!(
                "{step}: cannot save the image to {} ({} exited with {code}): see build.log",
                to.display(),
                self.program()
            ))),
        }
    }

    /// Brings the only image of an archive into the storage. Answers with its id.
    pub async fn load(
        &self,
        runner: &Runner,
        step: Step,
        archive: &Path,
        timeout: Duration,
    ) -> Result<Digest, Failure> {
        let mut input = OsString::from("--input=");
        input.push(archive);
        let argv = self.argv(["load".into(), input]);
        let answer = runner.capture(step, &argv, Path::new("/"), timeout, 1 << 20).await?;
        let said = String::from_utf8_lossy(&answer.stdout);
        let failed = |why: &str| {
            Failure::errored(format!(
                "{step}: cannot load {} into the storage of {}: {why}",
                archive.display(),
                self.program()
            ))
        };
        if !answer.success() {
            return Err(failed(answer.last_words()));
        }
        let name = loaded(&said).ok_or_else(|| failed("it did not say what was in it"))?;
        if let Some(id) = digest(name) {
            return Ok(id);
        }
        let info = self.inspect_image(runner, step, name).await?;
        info.map(|info| info.id).ok_or_else(|| failed("it is not there"))
    }
}

/// `Loaded image: NAME`, `Loaded image ID: ID`, `Loaded image(s): NAME`.
fn loaded(said: &str) -> Option<&str> {
    let line = said.lines().rev().find(|line| line.starts_with("Loaded image"))?;
    let (_, name) = line.split_once(": ")?;
    name.split(',').next().map(str::trim).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::loaded;

    #[test]
    fn finds_what_was_loaded() {
        let table = [
            ("Loaded image: localhost/a:1\n", Some("localhost/a:1")),
            (
                "x\nLoaded image(s): localhost/a:1,localhost/b:1\n",
                Some("localhost/a:1"),
            ),
            ("Loaded image ID: sha256:ab\n", Some("sha256:ab")),
            ("Loaded image: sha256:ab", Some("sha256:ab")),
            ("Loaded image: ", None),
            ("nothing", None),
        ];
        for (said, name) in table {
            assert_eq!(loaded(said), name, "{said}");
        }
    }
}
