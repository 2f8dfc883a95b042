//! Git's protocol as far as refs go: packets in, refs out. Pure.
//!
//! Formats are those of gitprotocol-common(5), gitprotocol-pack(5) and gitprotocol-v2(5). Bytes come from anyone: what
//! is not exactly as the formats say is an error, and no error may ever look like a repository without refs.

use super::refs::{RefList, RefListBuilder, Rubbish};
use gix_packetline::PacketLineRef;
use gix_packetline::decode::{Stream, streaming};

/// What is asked of servers that speak protocol v2, and what we say we are.
const AGENT: &str = concat!("agent=pipelined/", env!("CARGO_PKG_VERSION"));

/// Why bytes are not what a git server sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not packets, or they end in the middle.
    #[error("it sent {0:?}, which is no git packet")]
    Packet(String),
    /// A packet that does not belong there.
    #[error("it sent {0:?}")]
    Line(String),
    /// Less than a whole answer.
    #[error("its answer is cut off after {0} bytes")]
    Cut(usize),
    /// More than a whole answer.
    #[error("something follows its answer: {0:?}")]
    Trailing(String),
    /// The server's own words.
    #[error("{0}")]
    Server(String),
}

impl From<Rubbish> for WireError {
    fn from(rubbish: Rubbish) -> Self {
        Self::Line(rubbish.0)
    }
}

/// The hash function of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFormat {
    /// 40 hex digits.
    Sha1,
    /// 64 hex digits.
    Sha256,
}

impl ObjectFormat {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Sha1 => 40,
            Self::Sha256 => 64,
        }
    }
}

/// How a server introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertisement {
    /// Protocol v2, and `ls-refs` is among its commands: refs are to be asked for.
    V2(ObjectFormat),
    /// Protocol v0 or v1: these are the refs already.
    Refs(RefList),
}

/// Finds where a section of packets ends, over bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Section {
    at: usize,
}

impl Section {
    /// Where the bytes behind the first flush packet begin, once it is there. `bytes` are those of the last call and more.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, WireError> {
        while let Some((line, rest)) = next(&bytes[self.at.min(bytes.len())..])? {
            self.at = bytes.len() - rest.len();
            if line == PacketLineRef::Flush {
                return Ok(Some(self.at));
            }
        }
        Ok(None)
    }
}

/// The request for branches and tags, in protocol v2.
pub fn ls_refs(format: ObjectFormat) -> Vec<u8> {
    let mut request = Vec::new();
    let mut line = |text: &str| {
        // Four hex digits of a length that counts themselves and the newline.
        request.extend(format!("{:04x}{text}\n", text.len() + 5).into_bytes());
    };
    line("command=ls-refs");
    line(AGENT);
    line(&format!("object-format={}", format.as_str()));
    request.extend(b"0001");
    let mut line = |text: &str| request.extend(format!("{:04x}{text}\n", text.len() + 5).into_bytes());
    line("peel");
    line("symrefs");
    line("ref-prefix refs/heads/");
    line("ref-prefix refs/tags/");
    request.extend(b"0000");
    request
}

/// Reads the whole answer to [`ls_refs`]. An empty repository answers with a flush packet and nothing else.
pub fn parse_refs(answer: &[u8], format: ObjectFormat) -> Result<RefList, WireError> {
    let mut list = RefListBuilder::default();
    let mut rest = answer;
    loop {
        let (line, behind) = next(rest)?.ok_or(WireError::Cut(answer.len()))?;
        match line {
            PacketLineRef::Flush if behind.is_empty() => return Ok(list.finish()),
            PacketLineRef::Flush => return Err(WireError::Trailing(Rubbish::new(behind).0)),
            PacketLineRef::Data(data) => ref_line(&mut list, text(data)?, format)?,
            PacketLineRef::Delimiter | PacketLineRef::ResponseEnd => {
                return Err(WireError::Line("a packet of another command".to_owned()));
            }
        }
        rest = behind;
    }
}

/// `HASH SP NAME *(SP ATTRIBUTE)`; of the attributes only `peeled:HASH` matters here.
fn ref_line(list: &mut RefListBuilder, line: &[u8], format: ObjectFormat) -> Result<(), WireError> {
    let rubbish = || WireError::from(Rubbish::new(line));
    let mut words = line.split(|b| *b == b' ');
    let hash = words.next().unwrap_or_default();
    let name = words.next().ok_or_else(rubbish)?;
    let is_hash = hash.len() == format.digits();
    if !is_hash && hash != b"unborn" {
        return Err(rubbish());
    }
    // The prefixes are a hint that a server may ignore.
    if !is_hash || !is_followed(name) {
        return Ok(());
    }
    list.add(name, hash).ok_or_else(rubbish)?;
    for attribute in words {
        if let Some(peeled) = attribute.strip_prefix(b"peeled:") {
            list.add_peeled(name, peeled).ok_or_else(rubbish)?;
        }
    }
    Ok(())
}

/// Reads a whole advertisement: one section, and with http before v2 a section that names the service before it.
pub fn parse_advertisement(answer: &[u8]) -> Result<Advertisement, WireError> {
    let cut = || WireError::Cut(answer.len());
    let mut first = next(answer)?.ok_or_else(cut)?;
    if let PacketLineRef::Data(data) = first.0
        && data.starts_with(b"# service=")
    {
        let (flush, behind) = next(first.1)?.ok_or_else(cut)?;
        if flush != PacketLineRef::Flush {
            return Err(WireError::Line(
                "no flush packet behind the name of the service".to_owned(),
            ));
        }
        first = next(behind)?.ok_or_else(cut)?;
    }
    match first {
        (PacketLineRef::Data(data), behind) => match text(data)? {
            b"version 2" => capabilities(answer.len(), behind),
            b"version 1" => advertised_refs(answer.len(), None, behind),
            line => advertised_refs(answer.len(), Some(line), behind),
        },
        // Nothing at all: what is not a repository to a v0 server is told otherwise.
        (PacketLineRef::Flush, b"") => Ok(Advertisement::Refs(RefList::default())),
        _ => Err(WireError::Line("a packet that begins no advertisement".to_owned())),
    }
}

fn capabilities(whole: usize, mut rest: &[u8]) -> Result<Advertisement, WireError> {
    let mut format = ObjectFormat::Sha1;
    let mut lists_refs = false;
    loop {
        let (line, behind) = next(rest)?.ok_or(WireError::Cut(whole))?;
        rest = behind;
        match line {
            PacketLineRef::Flush if !lists_refs => {
                return Err(WireError::Line("capabilities without ls-refs".to_owned()));
            }
            PacketLineRef::Flush if rest.is_empty() => return Ok(Advertisement::V2(format)),
            PacketLineRef::Flush => return Err(WireError::Trailing(Rubbish::new(rest).0)),
            PacketLineRef::Data(data) => match text(data)? {
                b"ls-refs" => lists_refs = true,
                line if line.starts_with(b"ls-refs=") => lists_refs = true,
                line => {
                    if let Some(name) = line.strip_prefix(b"object-format=") {
                        format = object_format(name)?;
                    }
                }
            },
            PacketLineRef::Delimiter | PacketLineRef::ResponseEnd => {
                return Err(WireError::Line("a packet that is no capability".to_owned()));
            }
        }
    }
}

fn advertised_refs<'a>(whole: usize, first: Option<&'a [u8]>, mut rest: &'a [u8]) -> Result<Advertisement, WireError> {
    let mut list = RefListBuilder::default();
    let mut digits = None;
    let mut pending = first;
    loop {
        let line = match pending.take() {
            Some(line) => line,
            None => {
                let (line, behind) = next(rest)?.ok_or(WireError::Cut(whole))?;
                rest = behind;
                match line {
                    PacketLineRef::Flush if rest.is_empty() => return Ok(Advertisement::Refs(list.finish())),
                    PacketLineRef::Flush => return Err(WireError::Trailing(Rubbish::new(rest).0)),
                    PacketLineRef::Data(data) => text(data)?,
                    PacketLineRef::Delimiter | PacketLineRef::ResponseEnd => {
                        return Err(WireError::Line("a packet that is no ref".to_owned()));
                    }
                }
            }
        };
        if line.starts_with(b"shallow ") {
            continue;
        }
        let rubbish = || WireError::from(Rubbish::new(line));
        let space = line.iter().position(|b| *b == b' ').ok_or_else(rubbish)?;
        let (hash, name) = (&line[..space], &line[space + 1..]);
        // Capabilities follow the first name, behind a zero byte.
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        let is_hash = matches!(space, 40 | 64) && hash.iter().all(u8::is_ascii_hexdigit);
        if !is_hash || *digits.get_or_insert(space) != space {
            return Err(rubbish());
        }
        if is_followed(name) {
            list.add(name, hash).ok_or_else(rubbish)?;
        }
    }
}

fn object_format(name: &[u8]) -> Result<ObjectFormat, WireError> {
    match name {
        b"sha1" => Ok(ObjectFormat::Sha1),
        b"sha256" => Ok(ObjectFormat::Sha256),
        _ => Err(Rubbish::new(name).into()),
    }
}

fn is_followed(name: &[u8]) -> bool {
    name.starts_with(b"refs/heads/") || name.starts_with(b"refs/tags/")
}

/// The first packet and what is behind it; none if it is not all there.
fn next(bytes: &[u8]) -> Result<Option<(PacketLineRef<'_>, &[u8])>, WireError> {
    match streaming(bytes) {
        Ok(Stream::Complete { line, bytes_consumed }) => Ok(Some((line, &bytes[bytes_consumed..]))),
        Ok(Stream::Incomplete { .. }) => Ok(None),
        Err(_) => Err(WireError::Packet(Rubbish::new(bytes).0)),
    }
}

/// A packet's text without its newline; what a server complains of is an error.
fn text(data: &[u8]) -> Result<&[u8], WireError> {
    let line = data.strip_suffix(b"\n").unwrap_or(data);
    match line.strip_prefix(b"ERR ") {
        Some(words) => Err(WireError::Server(words_for_people(words))),
        None => Ok(line),
    }
}

fn words_for_people(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(&words[..words.len().min(300)]);
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    /// `.` is a flush packet, `|` a delimiter, all else a line.
    fn packets(lines: &[&str]) -> Vec<u8> {
        let packet = |line: &&str| match *line {
            "." => "0000".to_owned(),
            "|" => "0001".to_owned(),
            line => format!("{:04x}{line}\n", line.len() + 5),
        };
        lines.iter().map(packet).collect::<String>().into_bytes()
    }

    fn names(list: &RefList) -> Vec<(String, &str)> {
        list.refs
            .iter()
            .map(|(name, commit)| (name.to_string(), &commit.as_str()[..1]))
            .collect()
    }

    fn refs(lines: &[&str]) -> Result<RefList, WireError> {
        parse_refs(&packets(lines), ObjectFormat::Sha1)
    }

    #[test]
    fn an_answer_of_v2() {
        let list = refs(&[
            &format!("{A} refs/tags/v1 peeled:{B}"),
            &format!("{A} HEAD symref-target:refs/heads/main"),
            "unborn HEAD symref-target:refs/heads/main",
            &format!("{B} refs/heads/main"),
            &format!("{B} refs/heads/link symref-target:refs/heads/main"),
            &format!("{A} refs/pull/1/head"),
            &format!("{A} refs/heads/../x"),
            ".",
        ])
        .unwrap();
        let expected = [
            ("refs/heads/link", "b"),
            ("refs/heads/main", "b"),
            ("refs/tags/v1", "b"),
        ];
        assert_eq!(names(&list), expected.map(|(n, c)| (n.to_owned(), c)));
        assert_eq!(list.odd, ["refs/heads/../x"]);
        assert_eq!(refs(&["."]).unwrap(), RefList::default());
        let long = "c".repeat(64);
        let sha256 = packets(&[&format!("{long} refs/heads/main"), "."]);
        assert_eq!(names(&parse_refs(&sha256, ObjectFormat::Sha256).unwrap())[0].1, "c");
        assert!(parse_refs(&sha256, ObjectFormat::Sha1).is_err());
    }

    #[test]
    fn nothing_but_a_whole_answer_counts() {
        let main = format!("{A} refs/heads/main");
        let main = main.as_str();
        for bad in [
            &[][..],
            &[main],
            &[".", "."],
            &[".", main, "."],
            &[main, "|", "."],
            &["<html>", "."],
            &[A, "."],
            &["unborn", "."],
            &[&format!("{A}a refs/heads/main"), "."],
            &[&format!("{} refs/heads/main", "A".repeat(40)), "."],
            &[&format!("{A} refs/tags/x peeled:b"), "."],
        ] {
            assert!(refs(bad).is_err(), "{bad:?}");
        }
        for bad in [
            &b""[..],
            b"0",
            b"000",
            b"<html>",
            b"0003",
            b"fff",
            b"ffff",
            b"0009aa",
            b"\r\n0000",
        ] {
            assert!(parse_refs(bad, ObjectFormat::Sha1).is_err(), "{bad:?}");
            assert!(parse_advertisement(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            refs(&["ERR access denied\u{1b}[2J"]),
            Err(WireError::Server("access denied [2J".to_owned()))
        );
    }

    #[test]
    fn advertisements() {
        let v2 = [
            "version 2",
            "agent=git/2.47",
            "ls-refs=unborn",
            "fetch=shallow",
            "object-format=sha256",
            ".",
        ];
        let service = ["# service=git-upload-pack", "."];
        let with_service: Vec<&str> = service.iter().chain(&v2).copied().collect();
        for lines in [&v2[..], &with_service] {
            let read = parse_advertisement(&packets(lines)).unwrap();
            assert_eq!(read, Advertisement::V2(ObjectFormat::Sha256));
        }
        let first = format!("{A} HEAD\0multi_ack symref=HEAD:refs/heads/main object-format=sha1");
        let (main, tag, peeled) = (
            format!("{A} refs/heads/main"),
            format!("{A} refs/tags/v1"),
            format!("{B} refs/tags/v1^{{}}"),
        );
        let v0 = [&first, main.as_str(), &tag, &peeled, &format!("shallow {A}"), "."].map(str::to_owned);
        let v0: Vec<&str> = v0.iter().map(String::as_str).collect();
        let v1: Vec<&str> = ["version 1"].iter().chain(&v0).copied().collect();
        let http: Vec<&str> = service.iter().chain(&v0).copied().collect();
        for lines in [v0, v1, http] {
            let Advertisement::Refs(list) = parse_advertisement(&packets(&lines)).unwrap() else {
                panic!("{lines:?}")
            };
            let expected = [("refs/heads/main", "a"), ("refs/tags/v1", "b")];
            assert_eq!(names(&list), expected.map(|(n, c)| (n.to_owned(), c)));
        }
        let empty = format!("{} capabilities^{{}}\0multi_ack", "0".repeat(40));
        for lines in [&[empty.as_str(), "."][..], &["."]] {
            let read = parse_advertisement(&packets(lines)).unwrap();
            assert_eq!(read, Advertisement::Refs(RefList::default()));
        }
        for bad in [
            &["version 2", "fetch", "."][..],
            &["version 2", "ls-refs"],
            &["version 2", "ls-refs", "object-format=md5", "."],
            &["version 2", "ls-refs", ".", "."],
            &["# service=git-upload-pack"],
            &["# service=git-upload-pack", "."],
            &["# service=git-upload-pack", &main, "."],
            &[&main],
            &[&main, ".", &main],
            &[&main, &format!("{} refs/heads/x", "c".repeat(64)), "."],
            &["ERR no such repository"],
        ] {
            assert!(parse_advertisement(&packets(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_request_is_one_that_git_takes() {
        let request = ls_refs(ObjectFormat::Sha1);
        let text = String::from_utf8(request.clone()).unwrap();
        assert!(text.starts_with("0014command=ls-refs\n"), "{text}");
        let mut section = Section::default();
        assert_eq!(section.end(&request).unwrap(), Some(request.len()));
    }

    proptest! {
        #[test]
        fn a_section_ends_at_the_same_place_however_it_comes(cut in 0usize..60, more in "[ -~]{0,9}") {
            let mut bytes = packets(&["version 2", "ls-refs", "."]);
            let end = bytes.len();
            bytes.extend(more.bytes());
            let mut section = Section::default();
            let cut = cut.min(bytes.len());
            let early = section.end(&bytes[..cut]).unwrap();
            prop_assert_eq!(early, (cut >= end).then_some(end));
            if early.is_none() {
                prop_assert_eq!(section.end(&bytes).unwrap(), Some(end));
            }
        }

        #[test]
        fn no_cut_answer_is_taken(lines in proptest::collection::vec(0u8..30, 1..5), cut in 0usize..400) {
            let lines: Vec<String> = lines.iter().map(|n| format!("{A} refs/heads/{n}")).chain([".".to_owned()]).collect();
            let whole = packets(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            let cut = cut.min(whole.len() - 1);
            prop_assert!(parse_refs(&whole[..cut], ObjectFormat::Sha1).is_err());
            prop_assert!(parse_advertisement(&whole[..cut]).is_err());
            prop_assert!(parse_refs(&whole, ObjectFormat::Sha1).is_ok());
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_refs(&bytes, ObjectFormat::Sha1);
            let _ = parse_advertisement(&bytes);
            let _ = Section::default().end(&bytes);
        }
    }
}
