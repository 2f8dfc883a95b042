//! What a transport is given, and what it brings home.

use crate::git::list::ListError;
use crate::git::refs::RefList;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128;

/// What one question may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// From the request to the first byte of its answer.
    pub first_byte: Duration,
    /// For the whole question, whatever it takes.
    pub whole: Duration,
    /// Bytes of one answer.
    pub size: u64,
}

/// The digest of an answer's bytes, by which the next one is known to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub u128);

/// What a transport brings home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The answer is byte for byte the one that is known. It was not parsed.
    Unchanged,
    /// Another answer.
    Refs {
        /// All branches and tags.
        list: RefList,
        /// Of the answer.
        digest: Digest,
    },
}

/// Why a transport brings nothing home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// The remote's trouble, or the network's: asking by git would meet the same.
    Error(ListError),
    /// What this process cannot do, and git perhaps can. For people: a phrase, masked.
    Unable(String),
}

impl Limits {
    /// A server that is there lets itself be connected to, and begins to answer, long before it is done with a long
    /// answer.
    pub fn new(whole: Duration, size: u64) -> Self {
        Self {
            connect: whole.min(Duration::from_secs(10)),
            first_byte: whole.min(Duration::from_secs(30)),
            whole,
            size,
        }
    }
}

impl Digest {
    /// Of these bytes.
    pub(in crate::git) fn of(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes))
    }
}

impl From<ListError> for Missed {
    fn from(error: ListError) -> Self {
        Self::Error(error)
    }
}
