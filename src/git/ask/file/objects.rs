//! What a ref's object is in the end.

use gix_hash::{Kind, ObjectId};
use gix_object::{Find, Kind as Object, TagRefIter};
use gix_odb::{Handle, Header};
use std::path::Path;

/// The objects of a repository and of its alternates. `refs/replace` does not matter, as it does not to `ls-remote`.
pub(super) struct Objects {
    handle: Handle,
    kind: Kind,
    buffer: Vec<u8>,
}

/// An object is not there, or cannot be read: what git makes of it, git knows best.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Objects {
    /// Opens them.
    pub fn open(common_dir: &Path, kind: Kind) -> Result<Self, Unreadable> {
        Ok(Self {
            handle: gix_odb::at(common_dir.join("objects"), kind).map_err(|_| Unreadable)?,
            kind,
            buffer: Vec::new(),
        })
    }

    /// The object itself, or what a tag of a tag of … stands for. All of them are there.
    pub fn peel(&mut self, mut id: ObjectId) -> Result<ObjectId, Unreadable> {
        loop {
            let header = self.handle.try_header(&id).ok().flatten().ok_or(Unreadable)?;
            if header.kind() != Object::Tag {
                return Ok(id);
            }
            let tag = self.handle.try_find(&id, &mut self.buffer).ok().flatten();
            id = TagRefIter::from_bytes(tag.ok_or(Unreadable)?.data, self.kind)
                .target_id()
                .map_err(|_| Unreadable)?;
        }
    }
}
