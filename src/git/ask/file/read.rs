//! All branches and tags of a repository, read once.
//!
//! The loose refs are read before the packed ones: `git pack-refs` puts a ref into `packed-refs` before it removes the
//! loose file, and `git update-ref -d` takes it out of there first. So a loose ref that has just vanished is in the
//! `packed-refs` that is read next, or deleted, and each value is one that the ref had meanwhile.

use super::format::object_format;
use super::loose::{self, Loose};
use super::objects::{Objects, Unreadable};
use super::place::{Repository, read_line, there};
use super::stop::{Odd, Stop};
use crate::git::refs::RefList;
use crate::model::{CommitId, RefName};
use bstr::ByteSlice;
use gix_hash::{Kind, ObjectId};
use gix_ref::packed;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// As git has it: a chain of symbolic refs that is longer leads nowhere.
const CHAIN: usize = 5;

const OUTSIDE: Odd = Odd::Uncovered("a ref that stands for one that is no branch or tag");

impl From<Unreadable> for Stop {
    fn from(_: Unreadable) -> Self {
        // It may come back: an alternate that was not mounted, say.
        Odd::Uncovered("a ref whose object is missing").into()
    }
}

/// Reads them. `files` are the names of the loose ones.
pub(super) fn read<'a>(repository: &Repository, files: impl Iterator<Item = &'a [u8]>) -> Result<RefList, Stop> {
    let kind = object_format(repository)?;
    check_head(repository, kind)?;
    let mut loose = HashMap::new();
    for name in files {
        if let Some(content) = there(read_line(&repository.common_dir.join(OsStr::from_bytes(name))))? {
            let found = loose::parse(&content, kind).ok_or(Odd::Covered("a broken ref"))?;
            loose.insert(name, found);
        }
    }
    let text = there(std::fs::read(repository.common_dir.join("packed-refs")))?.unwrap_or_default();
    let packed = Packed::parse(&text, kind).ok_or(Odd::Covered("a packed-refs file that is odd"))?;
    list(&loose, &packed, &mut Objects::open(&repository.common_dir, kind)?)
}

/// With another HEAD this is no repository to git.
fn check_head(repository: &Repository, kind: Kind) -> Result<(), Stop> {
    match loose::parse(&read_line(&repository.git_dir.join("HEAD"))?, kind) {
        Some(Loose::Id(_)) => Ok(()),
        Some(Loose::Symbolic(target)) if target.starts_with(b"refs/") => Ok(()),
        _ => Err(Odd::Covered("an odd HEAD").into()),
    }
}

/// The branches and tags in `packed-refs`.
struct Packed<'a> {
    refs: BTreeMap<&'a [u8], (ObjectId, Option<ObjectId>)>,
    /// How names begin that need no peeled value if they have none.
    peeled: Option<&'static [u8]>,
}

impl<'a> Packed<'a> {
    fn parse(text: &'a [u8], kind: Kind) -> Option<Self> {
        let header = text.lines().next().filter(|line| line.starts_with(b"#"));
        let says = |word: &str| header.is_some_and(|line| line.fields().any(|said| said == word.as_bytes()));
        let peeled: Option<&[u8]> = match (says("fully-peeled"), says("peeled")) {
            (true, _) => Some(b""),
            (false, true) => Some(b"refs/tags/"),
            (false, false) => None,
        };
        let mut refs = BTreeMap::new();
        for entry in packed::Iter::new(text, kind).ok()? {
            let entry = entry.ok()?;
            if is_listed(entry.name.as_bstr()) {
                let peeled = entry.object.map(|_| entry.object());
                refs.insert(entry.name.as_bstr().as_bytes(), (entry.target(), peeled));
            }
        }
        Some(Self { refs, peeled })
    }
}

fn is_listed(name: &[u8]) -> bool {
    name.starts_with(b"refs/heads/") || name.starts_with(b"refs/tags/")
}

fn list(loose: &HashMap<&[u8], Loose>, packed: &Packed, objects: &mut Objects) -> Result<RefList, Stop> {
    let mut refs: BTreeMap<RefName, CommitId> = BTreeMap::new();
    let mut add = |name: &[u8], id: ObjectId| {
        let name = RefName::new(name).map_err(|_| Odd::Covered("a ref whose name git does not allow"))?;
        let commit = CommitId::new(id.to_string()).map_err(|_| Odd::Covered("an odd hash"))?;
        refs.insert(name, commit);
        Ok::<_, Stop>(())
    };
    for (name, (id, peeled)) in &packed.refs {
        if loose.contains_key(name) {
            continue;
        }
        let end = match peeled {
            Some(end) => *end,
            None if packed.peeled.is_some_and(|begin| name.starts_with(begin)) => *id,
            None => objects.peel(*id)?,
        };
        add(name, end)?;
    }
    for name in loose.keys() {
        if let Some(id) = resolve(name, loose, packed)? {
            add(name, objects.peel(id)?)?;
        }
    }
    Ok(RefList {
        refs: refs.into_iter().collect(),
        odd: Vec::new(),
    })
}

/// The object of a loose ref; none if it is symbolic and leads nowhere, which git leaves out.
fn resolve(name: &[u8], loose: &HashMap<&[u8], Loose>, packed: &Packed) -> Result<Option<ObjectId>, Stop> {
    let mut name = name;
    for _ in 0..CHAIN {
        match loose.get(name) {
            Some(Loose::Id(id)) => return Ok(Some(*id)),
            Some(Loose::Symbolic(target)) if is_listed(target) => name = target,
            Some(Loose::Symbolic(_)) => return Err(OUTSIDE.into()),
            None => return Ok(packed.refs.get(name).map(|(id, _)| *id)),
        }
    }
    Ok(None)
}
