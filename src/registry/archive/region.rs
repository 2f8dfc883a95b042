//! Part of a file, and hashing what is read or written.

use super::super::manifest::Hash;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many bytes from here on. A file that ends before is an error, and no end.
pub(super) struct Region {
    file: Arc<File>,
    begin: u64,
    at: u64,
    length: u64,
    stop: Arc<AtomicBool>,
}

impl Region {
    pub fn new(file: Arc<File>, offset: u64, length: u64, stop: Arc<AtomicBool>) -> Self {
        Self {
            file,
            begin: offset,
            at: 0,
            length,
            stop,
        }
    }

    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn offset(&self) -> u64 {
        self.begin
    }

    /// The first bytes, without reading on.
    pub fn peek(&self) -> Result<[u8; 4]> {
        let mut bytes = [0; 4];
        let length = self.length.min(4) as usize;
        self.file.read_exact_at(&mut bytes[..length], self.begin)?;
        Ok(bytes)
    }
}

impl Read for Region {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::other("nobody waits for it any more"));
        }
        let wanted = (self.length - self.at).min(buffer.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        match self.file.read_at(&mut buffer[..wanted], self.begin + self.at)? {
            0 => Err(Error::new(ErrorKind::UnexpectedEof, "it ends in the middle")),
            n => {
                self.at += n as u64;
                Ok(n)
            }
        }
    }
}

/// Hashes and counts what passes.
pub(super) struct Hashing<T> {
    pub inner: T,
    pub hash: Hash,
    pub count: u64,
}

impl<T> Hashing<T> {
    pub fn new(inner: T) -> Self {
        let hash = Hash::sha256();
        Self { inner, hash, count: 0 }
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.count += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }
}
