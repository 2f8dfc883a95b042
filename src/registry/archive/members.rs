//! What is where in a tar file. Only headers are read.
//!
//! Not the tar crate's own walk: it takes long names into memory whatever their length.

use super::{Unfit, unfit};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use tar::{EntryType, Header, PaxExtensions};

const BLOCK: u64 = 512;
/// Entries of one archive: docker writes four for each layer.
const MOST: usize = 16 * 1024;
/// Bytes of a long name, or of a set of extensions.
const LONGEST: u64 = 64 << 10;

#[derive(Debug)]
enum Member {
    File { offset: u64, size: u64 },
    Link(String),
    Other,
}

/// The files of an archive by their names.
#[derive(Debug)]
pub(super) struct Members(BTreeMap<String, Member>);

/// What the entries before an entry say of it.
#[derive(Default)]
struct Said {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Members {
    /// Walks over `length` bytes.
    pub fn read(file: &File, length: u64) -> Result<Self, Unfit> {
        let mut members = BTreeMap::new();
        let (mut at, mut said) = (0, Said::default());
        while at + BLOCK <= length {
            let mut block = [0; BLOCK as usize];
            file.read_exact_at(&mut block, at)?;
            if block.iter().all(|b| *b == 0) {
                return Ok(Self(members));
            }
            let header = Header::from_byte_slice(&block);
            if header.cksum().ok() != Some(checksum(&block)) {
                return unfit("it is no tar archive, or is damaged");
            }
            let kind = header.entry_type();
            let size = header.entry_size().map_err(|_| bad("a size in it is no number"))?;
            let offset = at + BLOCK;
            let extends = kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions();
            let size = said.size.take().filter(|_| !extends).unwrap_or(size);
            let end = offset.checked_add(size).filter(|end| *end <= length);
            let end = end.ok_or_else(|| bad("it is cut off"))?;
            at = end.next_multiple_of(BLOCK);
            if extends {
                if size > LONGEST {
                    return unfit("a name in it is too long");
                }
                let mut bytes = vec![0; size as usize];
                file.read_exact_at(&mut bytes, offset)?;
                said.take(kind, &bytes)?;
                continue;
            }
            if kind.is_pax_global_extensions() {
                continue;
            }
            let name = said.name.take().unwrap_or_else(|| text(&header.path_bytes()));
            let link = said.link.take().or_else(|| header.link_name_bytes().map(|b| text(&b)));
            let member = match kind {
                EntryType::Regular | EntryType::Continuous => Member::File { offset, size },
                EntryType::Symlink => Member::Link(link.unwrap_or_default()),
                _ => Member::Other,
            };
            let name = plain(&name);
            if members.len() >= MOST {
                return unfit(format!("it has more than {MOST} entries"));
            }
            let is_file = !matches!(member, Member::Other);
            if members.insert(name.clone(), member).is_some() && is_file {
                return unfit(format!("{name:?} is in it twice"));
            }
        }
        if at < length {
            return unfit("it is cut off");
        }
        Ok(Self(members))
    }

    /// Whether there is an entry of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Where a file is. Docker has links from a layer to the same one of another image: one such step is taken, within the
    /// archive.
    pub fn file(&self, name: &str) -> Result<Option<(u64, u64)>, Unfit> {
        let name = plain(name);
        let found = match self.0.get(&name) {
            Some(Member::Link(to)) => self.0.get(&beside(&name, to)),
            found => found,
        };
        match found {
            None => Ok(None),
            Some(Member::File { offset, size }) => Ok(Some((*offset, *size))),
            Some(_) => unfit(format!("{name:?} in it is no file")),
        }
    }
}

impl Said {
    fn take(&mut self, kind: EntryType, bytes: &[u8]) -> Result<(), Unfit> {
        if kind.is_gnu_longname() {
            self.name = Some(text(bytes));
        } else if kind.is_gnu_longlink() {
            self.link = Some(text(bytes));
        } else {
            for extension in PaxExtensions::new(bytes) {
                let extension = extension.map_err(|_| bad("an extension in it cannot be read"))?;
                let value = extension.value_bytes();
                match extension.key_bytes() {
                    b"path" => self.name = Some(text(value)),
                    b"linkpath" => self.link = Some(text(value)),
                    b"size" => {
                        let size = text(value).parse().map_err(|_| bad("a size in it is no number"))?;
                        self.size = Some(size);
                    }
                    key if key.starts_with(b"GNU.sparse") => return unfit("it has a file with holes"),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn bad(why: &str) -> Unfit {
    Unfit::Said(why.to_owned())
}

/// The sum of the bytes, those of the sum itself taken for spaces.
fn checksum(block: &[u8; BLOCK as usize]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
    sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..])
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Without `./` before and `/` after it.
fn plain(name: &str) -> String {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    name.trim_end_matches('/').to_owned()
}

/// Where a link leads, by names alone.
fn beside(name: &str, to: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn members(bytes: &[u8]) -> Result<Members, Unfit> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Members::read(&file, bytes.len() as u64)
    }

    fn small() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in ["./a".to_owned(), "x".repeat(300), "b/c".to_owned()] {
            let mut header = Header::new_gnu();
            header.set_size(3);
            builder.append_data(&mut header, name, &b"abc"[..]).unwrap();
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "d/e", "../b/c").unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn finds_files_by_long_names_and_by_one_link() {
        let members = members(&small()).unwrap();
        for name in ["a", "./a", &"x".repeat(300), "b/c", "d/e"] {
            assert_eq!(members.file(name).unwrap().map(|f| f.1), Some(3), "{name}");
        }
        assert_eq!(members.file("d/e").unwrap(), members.file("b/c").unwrap());
        assert_eq!(members.file("e").unwrap(), None);
    }

    #[test]
    fn every_cut_is_seen_or_leaves_whole_files() {
        let bytes = small();
        for length in 1..bytes.len() {
            if let Ok(members) = members(&bytes[..length]) {
                for (offset, size) in ["a", "b/c"].iter().filter_map(|n| members.file(n).unwrap()) {
                    assert!(offset + size <= length as u64, "{length}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut at in prop::collection::vec((0usize..4096, any::<u8>()), 0..6)) {
            let mut bytes = small();
            for (at, byte) in at.drain(..) {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if let Ok(members) = members(&bytes) {
                let _ = members.file("d/e");
            }
        }
    }
}
