//! The refs of a repository on this machine, read from its files.
//!
//! The answer is that of `git ls-remote --heads --tags`, and a look at a repository where nothing has changed reads no
//! ref at all. A ref must never be taken for deleted because it was just being packed, and whatever is odd (a reftable,
//! a broken ref, hidden refs, a repository of another user) is left to git. Nothing here writes.

mod format;
mod loose;
mod memory;
mod objects;
mod place;
mod read;
mod stop;
mod survey;
#[cfg(test)]
mod tests;
mod watch;

pub(super) use memory::Memory;
pub(super) use place::local_path;
pub(super) use watch::{RefWatch, WatchError};

use super::reply::{Digest, Missed, Reply};
use crate::git::refs::RefList;
use place::{Approach, Repository, trouble};
use read::read;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};
use stop::{Odd, Stop};
use survey::Survey;
use xxhash_rust::xxh3::Xxh3;

/// How often refs that change while they are read are read again, with twice the pause each time: 127 ms in all.
const TRIES: u32 = 8;

/// The digest of a list: of its names and commits, whoever told them (see [`Memory::learned`]).
pub(super) fn digest(list: &RefList) -> Digest {
    let mut hash = Xxh3::new();
    for (name, commit) in &list.refs {
        hash.update(name.as_bytes());
        hash.update(b"\0");
        hash.update(commit.as_str().as_bytes());
        hash.update(b"\n");
    }
    for name in &list.odd {
        hash.update(name.as_bytes());
        hash.update(b"\n");
    }
    Digest(hash.digest128())
}

/// Looks at the repository that git would enter for a path. Blocks for as long as its file system does.
///
/// `known` is the digest of the last list. After [`Missed::Unable`] git must be asked; when its answer is good,
/// [`Memory::learned`] takes the digest of its list, and the next look tells by itself when nothing has changed.
pub(super) fn look(path: &Path, memory: &mut Memory, known: Option<Digest>) -> Result<Reply, Missed> {
    let approach = Approach::of(path);
    let repository = Repository::find(path)?;
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(1 << (attempt - 1)));
        }
        match once(&repository, memory, known) {
            Ok(Some(reply)) => {
                if reply == Reply::Unchanged && repository.is_at_hand() {
                    memory.rest(approach, repository);
                }
                return Ok(reply);
            }
            Ok(None) => {}
            Err(Stop::Io(error)) if error.kind() == ErrorKind::NotFound => {}
            Err(Stop::Io(error)) => return Err(trouble(path, &error)),
            Err(Stop::Odd(Odd::Covered(why))) => return Err(Missed::Unable(why.to_owned())),
            Err(Stop::Odd(Odd::Uncovered(why))) => {
                memory.give_up();
                return Err(Missed::Unable(why.to_owned()));
            }
        }
    }
    memory.give_up();
    Err(Missed::Unable("refs that change all the time".to_owned()))
}

/// Whether [`look`] would find nothing new, told by a few `stat`s on a file system of this machine's own, which keeps
/// nobody waiting. If not, nothing is known: look.
pub(super) fn glance(path: &Path, memory: &mut Memory, known: Option<Digest>) -> bool {
    let fingerprint = memory.at_rest().and_then(|(rest, entries)| {
        let same = rest.approach == Approach::of(path);
        same.then(|| Survey::glance(&rest.repository, entries).ok()).flatten()
    });
    fingerprint.is_some_and(|fingerprint| memory.trusts(fingerprint, known))
}

/// None if so much changed meanwhile that a ref may have been missed.
fn once(repository: &Repository, memory: &mut Memory, known: Option<Digest>) -> Result<Option<Reply>, Stop> {
    let glance = match memory.entries() {
        Some(entries) => Some(Survey::glance(repository, entries)?),
        None => None,
    };
    if glance.is_some_and(|fingerprint| memory.trusts(fingerprint, known)) {
        return Ok(Some(Reply::Unchanged));
    }
    let before = Survey::take(repository)?;
    if memory.trusts(before.fingerprint, known) {
        memory.keep(before.entries);
        return Ok(Some(Reply::Unchanged));
    }
    memory.begin(before.fingerprint, Instant::now());
    if before.links {
        return Err(Odd::Uncovered("symbolic links among the refs").into());
    }
    if repository.stranger.is_some() && !memory.accepts(repository.identity) {
        return Err(Odd::Covered("a repository of another user").into());
    }
    let list = read(repository, before.loose())?;
    if !Survey::take(repository)?.confirms(&before) {
        return Ok(None);
    }
    let digest = digest(&list);
    memory.learned(digest);
    Ok(Some(if known == Some(digest) {
        Reply::Unchanged
    } else {
        Reply::Refs { list, digest }
    }))
}
