//! One file of a commit, without a checkout: whoever only wants to read a Containerfile need not have all of a
//! repository on disk.
//!
//! It comes out of the mirror, into which the commit is brought if it is not there. It must never follow a link out of the
//! repository, and never take what could not be read for a file that is not there.

use super::changed::{AtCommit, Look, TRIES, Tried};
use super::mirror::Held;
use crate::model::Failure;
use crate::process::Runner;
use bstr::ByteSlice;
use std::path::{Component, Path, PathBuf};

/// The longest file that is read.
const LONGEST: usize = 16 << 20;
/// The longest list of one entry, and the longest path that a link holds.
const LONGEST_PATH: usize = 64 << 10;
/// From one link to the next.
const LINKS: usize = 8;

/// The content of the first of these files that is there; none if none is. A link to another file of the commit is
/// followed; one in the path of a directory is not. With `shallow` the commit is looked for in the mirror of single
/// commits; the remote must still give it.
pub async fn file_at(
    runner: &Runner,
    wanted: &AtCommit<'_>,
    shallow: bool,
    names: &[&Path],
) -> Result<Option<Vec<u8>>, Failure> {
    let look = Look::open(runner, wanted, shallow).await?;
    let mut trouble = String::new();
    for again in TRIES {
        let held = look.hold().await?;
        match look.first_of(&held, names).await? {
            Tried::Done(found) => return Ok(found),
            Tried::Useless(why) => return Err(no_use(&why)),
            Tried::Damaged(why) => {
                look.throw_away(&held, &why, again);
                trouble = why;
            }
        }
    }
    Err(no_use(&trouble))
}

fn no_use(why: &str) -> Failure {
    Failure::errored(format!("no use of the mirror: {why}"))
}

/// An entry of a tree.
enum Entry {
    None,
    File(String),
    Link(String),
    Other,
}

impl Look<'_> {
    async fn first_of(&self, held: &Held, names: &[&Path]) -> Result<Tried<Option<Vec<u8>>>, Failure> {
        let commit = self.wanted.commit;
        let fresh = match self.ready(held).await? {
            Tried::Done(fresh) => fresh,
            Tried::Damaged(why) => return Ok(Tried::Damaged(why)),
            Tried::Useless(why) => return Ok(Tried::Useless(why)),
        };
        match self.bring(held, commit, fresh).await? {
            Tried::Done(true) => {}
            Tried::Done(false) => {
                return Err(Failure::errored(format!(
                    "the remote does not give commit {commit} any more"
                )));
            }
            Tried::Damaged(why) => return Ok(Tried::Damaged(why)),
            Tried::Useless(why) => return Ok(Tried::Useless(why)),
        }
        for name in names {
            match self.file(held, name).await? {
                Tried::Done(None) => {}
                found => return Ok(found),
            }
        }
        Ok(Tried::Done(None))
    }

    async fn file(&self, held: &Held, name: &Path) -> Result<Tried<Option<Vec<u8>>>, Failure> {
        let bad = |why: &str| Failure::failed(format!("{} {why}", name.display()));
        let mut path = plain(name).ok_or_else(|| bad("leads out of the repository"))?;
        for _ in 0..=LINKS {
            let entry = match self.entry(held, &path).await? {
                Ok(entry) => entry,
                Err(why) => return Ok(Tried::Damaged(why)),
            };
            let (blob, limit) = match &entry {
                Entry::None => return Ok(Tried::Done(None)),
                Entry::Other => return Err(bad("is not a regular file")),
                Entry::File(blob) => (blob, LONGEST),
                Entry::Link(blob) => (blob, LONGEST_PATH),
            };
            let answer = self.ask_for(held, &["cat-file", "blob", blob], limit).await?;
            if answer.truncated {
                return Err(bad("is longer than any Containerfile"));
            }
            if !answer.success() {
                let why = format!("its files cannot be read: {}", answer.last_words());
                return Ok(Tried::Damaged(why));
            }
            if let Entry::File(_) = entry {
                return Ok(Tried::Done(Some(answer.stdout)));
            }
            let to = answer.stdout.to_path().ok().map(Path::to_owned);
            let from = path.parent().unwrap_or(Path::new(""));
            let next = to.and_then(|to| plain(&from.join(to)));
            path = next.ok_or_else(|| bad("leads out of the repository"))?;
        }
        Err(bad("is a link in a circle"))
    }

    /// The error says why the mirror cannot tell.
    async fn entry(&self, held: &Held, path: &Path) -> Result<Result<Entry, String>, Failure> {
        let Some(name) = path.to_str().filter(|name| !name.is_empty()) else {
            return Ok(Ok(Entry::Other));
        };
        let args = ["ls-tree", "-z", self.wanted.commit.as_str(), "--", name];
        let answer = self.ask_for(held, &args, LONGEST_PATH).await?;
        if !answer.success() {
            return Ok(Err(format!("its trees cannot be read: {}", answer.last_words())));
        }
        // `MODE TYPE HASH<tab>PATH`
        let Some((entry, _)) = answer.stdout.split_once_str("\t") else {
            return Ok(Ok(Entry::None));
        };
        let words: Vec<&str> = entry.to_str().unwrap_or_default().split(' ').collect();
        Ok(Ok(match words.as_slice() {
            ["120000", "blob", hash] => Entry::Link((*hash).to_owned()),
            [_, "blob", hash] => Entry::File((*hash).to_owned()),
            _ => Entry::Other,
        }))
    }
}

/// A path from the top of the repository without `.` and `..`; none if it leads out.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => plain.push(name),
            Component::ParentDir if plain.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside() {
        for (path, expected) in [
            ("a", Some("a")),
            ("./a/./b", Some("a/b")),
            ("a/../b", Some("b")),
            ("", Some("")),
            ("..", None),
            ("a/../../b", None),
            ("/etc/passwd", None),
            ("a//etc", Some("a/etc")),
        ] {
            assert_eq!(plain(Path::new(path)).as_deref(), expected.map(Path::new), "{path}");
        }
    }
}
