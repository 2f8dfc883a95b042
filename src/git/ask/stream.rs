//! The conversation with `git upload-pack` over a stream of bytes: git:// and ssh (gitprotocol-pack(5), -v2(5)).
//!
//! A server that has shown to speak v2 gets the request together with the greeting, which saves a round trip. If it
//! answers otherwise than it did, the caller asks once more from the start. An answer ends with its flush packet and
//! nothing else: the end of the stream is never the end of an answer.

use super::reply::{Digest, Limits, Reply};
use crate::git::wire::{Advertisement, ObjectFormat, Section, WireError, ls_refs, parse_advertisement, parse_refs};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// What is remembered of a server from one question to the next: that it speaks v2, and with which hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory(Option<ObjectFormat>);

impl Memory {
    /// Whether nothing is remembered.
    pub fn is_empty(self) -> bool {
        self.0.is_none()
    }
}

/// Why a conversation came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Not what a git server sends, or not all of it, or its complaint.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The stream failed.
    #[error(transparent)]
    Connection(#[from] std::io::Error),
    /// Not a byte in this time.
    #[error("nothing came within {0:?}")]
    Silent(Duration),
    /// More than this many bytes.
    #[error("more than {0} bytes came")]
    TooLong(u64),
}

impl Trouble {
    /// Whether a server that does not behave as remembered may be the reason.
    pub fn may_be_a_changed_server(&self) -> bool {
        matches!(self, Self::Wire(_) | Self::Connection(_))
    }
}

/// Asks on a fresh stream. `greeting` is what the transport wants to be said first. The caller bounds the whole.
pub(super) async fn converse<S>(
    stream: &mut S,
    greeting: &[u8],
    memory: Memory,
    known: Option<Digest>,
    limits: &Limits,
) -> Result<(Reply, Memory), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk {
        stream,
        limits,
        bytes: Vec::with_capacity(CHUNK),
    };
    let early = memory.0.map(request).unwrap_or_default();
    talk.say(&[greeting, &early].concat()).await?;
    let hello = talk.section(0, |bytes| parse_advertisement(bytes).err()).await?;
    let digest = Digest::of(&talk.bytes[..hello]);
    // Only refs are known by their digest: before v2 they come with the hello.
    let advertised = match known == Some(digest) {
        true => Err(Reply::Unchanged),
        false => match parse_advertisement(&talk.bytes[..hello])? {
            Advertisement::V2(format) => Ok(format),
            Advertisement::Refs(list) => Err(Reply::Refs { list, digest }),
        },
    };
    let format = match advertised {
        Ok(format) => format,
        Err(reply) => {
            if early.is_empty() {
                // It waits for wants. That it hangs up by itself is fine as well.
                let _ = talk.say(FLUSH).await;
            }
            return Ok((reply, Memory(None)));
        }
    };
    match memory.0 {
        Some(remembered) if remembered != format => {
            return Err(WireError::Line("another object format than before".to_owned()).into());
        }
        Some(_) => {}
        None => {
            talk.nothing_behind(hello)?;
            talk.say(&request(format)).await?;
        }
    }
    let end = talk.section(hello, |bytes| parse_refs(bytes, format).err()).await?;
    talk.nothing_behind(end)?;
    // The hello is left out: it may hold the server's id of the session.
    let answer = &talk.bytes[hello..end];
    let digest = Digest::of(answer);
    let reply = match known {
        Some(known) if known == digest => Reply::Unchanged,
        _ => Reply::Refs {
            list: parse_refs(answer, format)?,
            digest,
        },
    };
    Ok((reply, Memory(Some(format))))
}

/// In place of a command it ends the session.
const FLUSH: &[u8] = b"0000";

fn request(format: ObjectFormat) -> Vec<u8> {
    [ls_refs(format).as_slice(), FLUSH].concat()
}

/// What is asked for at once, at least; a small answer fits.
const CHUNK: usize = 8 << 10;
/// Room for a long answer grows by no more than this beyond its need.
const GROWTH: usize = 1 << 20;

struct Talk<'a, S> {
    stream: &'a mut S,
    limits: &'a Limits,
    bytes: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn say(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let said = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let silent = |_| Trouble::Silent(self.limits.first_byte);
        timeout(self.limits.first_byte, said)
            .await
            .map_err(silent)?
            .map_err(Trouble::from)
    }

    /// Reads until the section that begins at `start` is whole, and answers where it ends. A server that complains
    /// hangs up instead; `wrong` says what is wrong with what came.
    async fn section(&mut self, start: usize, wrong: impl Fn(&[u8]) -> Option<WireError>) -> Result<usize, Trouble> {
        let mut section = Section::default();
        loop {
            if let Some(end) = section.end(&self.bytes[start..])? {
                return Ok(start + end);
            }
            if self.read(self.bytes.len() == start).await? == 0 {
                let came = &self.bytes[start..];
                return Err(wrong(came).unwrap_or(WireError::Cut(came.len())).into());
            }
        }
    }

    /// Reads what there is; 0 bytes are the end.
    async fn read(&mut self, is_first: bool) -> Result<usize, Trouble> {
        if self.bytes.capacity() - self.bytes.len() < CHUNK / 2 {
            self.bytes.reserve(self.bytes.len().clamp(CHUNK, GROWTH));
        }
        let read = self.stream.read_buf(&mut self.bytes);
        let count = if is_first {
            let silent = |_| Trouble::Silent(self.limits.first_byte);
            timeout(self.limits.first_byte, read).await.map_err(silent)??
        } else {
            read.await?
        };
        if self.bytes.len() as u64 > self.limits.size {
            return Err(Trouble::TooLong(self.limits.size));
        }
        Ok(count)
    }

    fn nothing_behind(&self, end: usize) -> Result<(), Trouble> {
        match &self.bytes[end..] {
            [] => Ok(()),
            more => {
                let more = String::from_utf8_lossy(&more[..more.len().min(80)]).into_owned();
                Err(WireError::Trailing(more).into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
