//! Where webhooks are taken by TCP: opened at the start, moved by a reload, closed with the daemon.
//!
//! It must never give up an address that is served before there is another one, unless both cannot be had at once.

use crate::api::{self, Command, Hooks, Secret};
use crate::config::{Config, SecretFile};
use crate::model::Sender;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// No secret is that long.
const SECRET_LIMIT: u64 = 64 << 10;

/// Why hooks are not taken somewhere.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for webhooks: {}", advice(source))]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program does, end it or change `listen`",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address, change `listen`",
        io::ErrorKind::PermissionDenied => "ports below 1024 are not for everybody, change `listen`",
        _ => "change `listen`, or leave it out",
    }
}

/// The door, open or not.
pub(super) struct Listening {
    hooks: Arc<Hooks>,
    ask: mpsc::Sender<Command>,
    open: Option<Open>,
}

struct Open {
    /// As the config has it; a port 0 is any.
    wanted: SocketAddr,
    at: SocketAddr,
    closing: CancellationToken,
    served: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl Listening {
    /// Closed; the secrets are those of the config.
    pub fn new(ask: mpsc::Sender<Command>, config: &Config) -> Self {
        Self {
            hooks: Arc::new(Hooks::new(secrets(config))),
            ask,
            open: None,
        }
    }

    /// What all doors share.
    pub fn hooks(&self) -> Arc<Hooks> {
        self.hooks.clone()
    }

    /// Where, if anywhere.
    pub fn at(&self) -> Option<SocketAddr> {
        self.open.as_ref().map(|open| open.at)
    }

    /// Other secrets, from the next hook on.
    pub fn set_secrets(&self, config: &Config) {
        self.hooks.set_secrets(secrets(config));
    }

    /// Opens the door there, or closes it. If it cannot be opened, it stays where it is.
    pub async fn listen(&mut self, wanted: Option<SocketAddr>) -> Result<(), ListenError> {
        if self.open.as_ref().map(|open| open.wanted) == wanted {
            return Ok(());
        }
        let Some(address) = wanted else {
            self.close().await;
            return Ok(());
        };
        let mut bound = bind(address);
        if let (Err(error), Some(old)) = (&bound, self.at())
            && error.kind() == io::ErrorKind::AddrInUse
            && old.port() == address.port()
        {
            // Maybe by ourselves: 0.0.0.0 and 127.0.0.1 cannot be had at once.
            let before = self.open.as_ref().map(|open| open.wanted);
            self.close().await;
            bound = bind(address);
            if bound.is_err()
                && let Ok(again) = bind(old)
            {
                self.serve(before.unwrap_or(old), old, again);
            }
        }
        let failed = |source| ListenError { address, source };
        let listener = bound.map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        self.close().await;
        self.serve(address, at, listener);
        tracing::info!(address = %at, "taking webhooks");
        Ok(())
    }

    fn serve(&mut self, wanted: SocketAddr, at: SocketAddr, listener: TcpListener) {
        let closing = CancellationToken::new();
        let served = api::listen(listener, self.ask.clone(), self.hooks(), closing.clone());
        self.open = Some(Open {
            wanted,
            at,
            closing,
            served: tokio::spawn(served),
        });
    }

    /// Afterwards the address is free.
    async fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        open.closing.cancel();
        if let Err(error) = (&mut open.served).await {
            tracing::debug!(%error, "the door for webhooks");
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// The way to the secrets: their files are read for each hook, as they may change.
fn secrets(config: &Config) -> impl Fn(Sender) -> Secret + Send + Sync + 'static {
    let files: BTreeMap<Sender, SecretFile> = config.hooks.clone();
    move |sender| match files.get(&sender) {
        None => Secret::Missing,
        Some(file) => match secret(file) {
            Ok(secret) => Secret::Is(secret),
            Err(why) => Secret::Unreadable(format!("{}: {why}", file.as_path().display())),
        },
    }
}

/// All of the file but its last newline.
fn secret(file: &SecretFile) -> Result<Vec<u8>, String> {
    let path = file.resolve().map_err(|error| error.to_string())?;
    let mut bytes = read(&path).map_err(|error| error.to_string())?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    match bytes.is_empty() {
        true => Err("there is nothing in it".to_owned()),
        false => Ok(bytes),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe in its place must not hold us up.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(SECRET_LIMIT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > SECRET_LIMIT {
        true => Err(io::Error::other("it is too long")),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::scratch::Scratch;

    #[test]
    fn a_secret_is_a_file_but_its_last_newline() {
        let scratch = Scratch::new();
        for (text, meant) in [
            ("word", Ok(&b"word"[..])),
            ("word\n", Ok(b"word")),
            ("word\r\n", Ok(b"word")),
            (" word\n\n", Ok(b" word\n")),
            ("", Err("there is nothing in it")),
            ("\n", Err("there is nothing in it")),
        ] {
            let file = SecretFile::new(scratch.write("secret", text));
            let meant = meant.map(<[u8]>::to_vec).map_err(str::to_owned);
            assert_eq!(secret(&file), meant, "{text:?}");
        }
        let long = SecretFile::new(scratch.write("long", "x".repeat(70_000)));
        assert!(secret(&long).is_err());
        assert_eq!(
            secret(&SecretFile::new(scratch.mkdir("d"))),
            Err("it is no file".to_owned())
        );
    }
}
