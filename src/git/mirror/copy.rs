//! A checkout gets objects of its own: copied, never linked or borrowed.
//!
//! Copying all of a mirror's packs is quicker than packing one commit's objects anew, needs no process, and costs no
//! space on a file system that can share blocks. What a mirror holds beyond the commit is little, as it is packed anew
//! when it grows.

use super::stale::is_half;
use crate::model::CommitId;
use crate::process::Cancel;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// What a checkout is given.
pub(in crate::git) struct Gift<'a> {
    /// The mirror.
    pub mirror: &'a Path,
    /// The `.git` of the checkout, just made.
    pub git_dir: &'a Path,
    /// To be kept as [`Gift::reference`].
    pub commit: &'a CommitId,
    /// A full name.
    pub reference: &'a str,
    /// `HASH NAME` lines.
    pub tags: &'a [u8],
    /// Stops the copying between two files.
    pub cancel: &'a Cancel,
}

impl Gift<'_> {
    /// Copies the objects and where history is cut off, then writes the refs.
    pub(in crate::git) fn give(&self) -> io::Result<()> {
        self.copy(&self.mirror.join("objects"), &self.git_dir.join("objects"))?;
        match fs::copy(self.mirror.join("shallow"), self.git_dir.join("shallow")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            result => drop(result?),
        }
        let mut refs = format!("{} {}\n", self.commit, self.reference).into_bytes();
        refs.extend(self.tags);
        fs::write(self.git_dir.join("packed-refs"), refs)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            if self.cancel.is_asked() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            // What is in `info` is about this very repository.
            if is_half(&source) || entry.file_name() == "info" {
                continue;
            }
            if entry.file_type()?.is_dir() {
                match fs::create_dir(&target) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                    _ => self.copy(&source, &target)?,
                }
            } else {
                fs::copy(&source, &target)?;
                if source.extension().is_some_and(|e| e == "idx") {
                    self.check_pack(&source)?;
                }
            }
        }
        Ok(())
    }

    /// A pack that is cut off, or gone, would be in the checkout's way even where git found all that it needed
    /// elsewhere. Both files end in digests: an index in its pack's and its own, a pack in its own (gitformat-pack).
    fn check_pack(&self, index: &Path) -> io::Result<()> {
        let digest = self.commit.as_str().len() / 2;
        let (named, found) = (tail(index, 2 * digest)?, tail(&index.with_extension("pack"), digest)?);
        match named.starts_with(&found) {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a pack does not match its index",
            )),
        }
    }
}

/// The last bytes of a file, which must have so many.
fn tail(path: &Path, length: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-i64::try_from(length).map_err(io::Error::other)?))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
