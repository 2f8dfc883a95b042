//! An image in a tar file, as engines and kaniko write them.
//!
//! It exists so that an image reaches a registry without the engine that made it. Nothing is unpacked: blobs are read from
//! where they are in the file. The file may have been made by a build's own commands, so everything in it is checked: a
//! blob is what its digest says, or the archive is refused.

mod docker;
mod members;
mod oci;
mod region;

use super::manifest::{Descriptor, Manifest, Parsed};
use super::{RegistryError, limits, words};
use crate::process::Runner;
use hyper::body::Bytes;
use members::Members;
use nix::fcntl::OFlag;
use region::Region;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tokio::sync::mpsc::Sender;

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// An image that can be pushed: manifests, and blobs that are where they are.
#[derive(Debug)]
pub struct Archive {
    top: Manifest,
    /// Of an index.
    children: Vec<Manifest>,
    blobs: Vec<Blob>,
    /// Layers that we compressed; goes with the archive.
    _scratch: Option<TempDir>,
}

/// A blob in a file.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    descriptor: Descriptor,
    path: PathBuf,
    file: Arc<File>,
    offset: u64,
}

/// What makes an archive of no use.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("{0}")]
    Said(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn unfit<T>(why: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit::Said(why.into()))
}

/// Ends the work of a thread whose result nobody waits for any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Archive {
    /// Reads and checks all of an archive. Layers that are not compressed are compressed into a directory of their own in
    /// `scratch`, which goes with the result.
    pub async fn open(runner: &Runner, path: &Path, scratch: &Path) -> Result<Self, RegistryError> {
        let stop = StopOnDrop(Arc::default());
        let (file, dir, stopped) = (path.to_owned(), scratch.to_owned(), Arc::clone(&stop.0));
        let work = tokio::task::spawn_blocking(move || Self::read(&file, &dir, stopped));
        let read = tokio::select! {
            biased;
            () = runner.cancel.asked() => return Err(RegistryError::Cancelled),
            read = work => read,
        };
        let wrong = |why: String| RegistryError::Archive {
            path: path.to_owned(),
            why,
        };
        match read {
            Ok(Ok(archive)) => Ok(archive),
            Ok(Err(Unfit::Said(why))) => Err(wrong(why)),
            Ok(Err(Unfit::Io(error))) => Err(wrong(words::plain(&error.to_string()))),
            Err(_) => Err(wrong("the thread that read it died".to_owned())),
        }
    }

    /// The manifest of the image, or its index.
    pub fn manifest(&self) -> &Manifest {
        &self.top
    }

    /// The image's config, as JSON; none of an index.
    pub async fn config_blob(&self) -> Result<Option<Vec<u8>>, RegistryError> {
        let Some(digest) = self.top.config_digest() else {
            return Ok(None);
        };
        let Some(blob) = self.blobs.iter().find(|blob| blob.descriptor.digest == *digest) else {
            return Ok(None);
        };
        blob.whole(limits::CONFIG).await.map(Some)
    }

    pub(super) fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// What an index lists comes before it.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.children.iter().chain([&self.top])
    }

    fn read(path: &Path, scratch: &Path, stop: Arc<AtomicBool>) -> Result<Self, Unfit> {
        let source = Source::open(path, stop)?;
        let mut seen = BTreeSet::new();
        let mut archive = if source.members.has("manifest.json") {
            docker::read(&source, scratch)?
        } else if source.members.has("index.json") {
            oci::read(&source)?
        } else {
            return unfit("it has neither a manifest.json nor an index.json, so it is no image");
        };
        archive.blobs.retain(|blob| seen.insert(blob.descriptor.digest.clone()));
        Ok(archive)
    }
}

/// An archive that is being read.
struct Source {
    path: PathBuf,
    file: Arc<File>,
    members: Members,
    stop: Arc<AtomicBool>,
}

impl Source {
    fn open(path: &Path, stop: Arc<AtomicBool>) -> Result<Self, Unfit> {
        // Neither a link to another place nor a pipe without an end.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
        let data = file.metadata()?;
        if !data.is_file() {
            return unfit("it is no file");
        }
        let members = Members::read(&file, data.len())?;
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            members,
            stop,
        })
    }

    /// Where a file of this name is.
    fn region(&self, name: &str) -> Result<Region, Unfit> {
        let Some((offset, size)) = self.members.file(name)? else {
            return unfit(format!("{name:?} is not in it"));
        };
        Ok(Region::new(
            Arc::clone(&self.file),
            offset,
            size,
            Arc::clone(&self.stop),
        ))
    }

    /// All of a small file.
    fn small(&self, name: &str, limit: u64) -> Result<Vec<u8>, Unfit> {
        let mut region = self.region(name)?;
        if region.len() > limit {
            return unfit(format!("{name:?} is longer than {limit} bytes"));
        }
        let mut bytes = Vec::new();
        region.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn blob(&self, descriptor: Descriptor, region: &Region) -> Blob {
        Blob {
            descriptor,
            path: self.path.clone(),
            file: Arc::clone(&self.file),
            offset: region.offset(),
        }
    }
}

impl Blob {
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// All of a small one.
    async fn whole(&self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let size = self.descriptor.size;
        if size > limit {
            let what = format!("{} in {}", self.descriptor.digest, self.path.display());
            return Err(RegistryError::TooBig { what, limit });
        }
        let mut region = Region::new(Arc::clone(&self.file), self.offset, size, Arc::default());
        let work = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            region.read_to_end(&mut bytes).map(|_| bytes)
        });
        let why = match work.await {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(error)) => words::plain(&error.to_string()),
            Err(_) => "the thread that read it died".to_owned(),
        };
        let path = self.path.clone();
        Err(RegistryError::Archive { path, why })
    }

    /// Sends all of it.
    pub async fn feed(&self, pipe: Sender<Bytes>) -> Result<(), RegistryError> {
        let size = self.descriptor.size;
        let mut region = Region::new(Arc::clone(&self.file), self.offset, size, Arc::default());
        let work = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; CHUNK];
            loop {
                match region.read(&mut buffer)? {
                    0 => return Ok(()),
                    n => {
                        if pipe.blocking_send(Bytes::copy_from_slice(&buffer[..n])).is_err() {
                            // The request that wanted it is over.
                            return Ok(());
                        }
                    }
                }
            }
        });
        let wrong = |why: String| RegistryError::Archive {
            path: self.path.clone(),
            why,
        };
        match work.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(wrong(words::plain(&std::io::Error::to_string(&error)))),
            Err(_) => Err(wrong("the thread that read it died".to_owned())),
        }
    }
}

/// The blobs that an image's manifest names.
fn named(manifest: &Manifest) -> Vec<&Descriptor> {
    match &manifest.parsed {
        Parsed::Image { config, layers } => layers.iter().chain([config]).collect(),
        Parsed::Index { .. } => Vec::new(),
    }
}
