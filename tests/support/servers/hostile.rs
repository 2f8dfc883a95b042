//! A TCP server that behaves badly, for http:// and git:// clients.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What it does to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Accepts, and never says a word.
    Silent,
    /// A fine start of an answer, then a byte now and then, for ever.
    Trickle,
    /// An answer that is not git's, and the end.
    Rubbish,
    /// Half of a fine answer, and the end.
    HangUp,
    /// One branch after the other, without an end.
    Flood,
}

/// The server; it and its connections end when it is dropped.
pub struct Hostile {
    port: u16,
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
    listener: Option<JoinHandle<()>>,
}

impl Hostile {
    /// Starts it.
    pub fn start(manner: Manner) -> Self {
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(AtomicUsize::new(0));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&seen));
        let listener = std::thread::spawn(move || {
            let mut clients = Vec::new();
            for stream in socket.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                counter.fetch_add(1, Ordering::SeqCst);
                let (stream, stopped) = (stream.unwrap(), Arc::clone(&stopped));
                // What a client does to the connection is its own affair.
                clients.push(std::thread::spawn(move || drop(misbehave(manner, stream, &stopped))));
            }
            for client in clients {
                client.join().unwrap();
            }
        });
        Self {
            port,
            stop,
            seen,
            listener: Some(listener),
        }
    }

    /// An http remote.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}/repo.git", self.port)
    }

    /// A git remote.
    pub fn git_url(&self) -> String {
        format!("git://127.0.0.1:{}/repo.git", self.port)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\
                      Content-Length: 100000\r\n\r\n001e# service=git-upload-pack\n0000";

/// The old protocol: the list of refs comes with the greeting.
const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n\
                         001e# service=git-upload-pack\n0000";
const BRANCH: &[u8] = b"003e1111111111111111111111111111111111111111 refs/heads/branch";

/// Serves one connection until it ends or we stop.
fn misbehave(manner: Manner, mut stream: TcpStream, stop: &AtomicBool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    match manner {
        Manner::Silent => {}
        Manner::Trickle => {
            read_some(&mut stream)?;
            stream.write_all(HEAD)?;
        }
        Manner::Rubbish => {
            read_some(&mut stream)?;
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\0\xff<html>\n");
        }
        Manner::HangUp => {
            read_some(&mut stream)?;
            return stream.write_all(&HEAD[..HEAD.len() - 10]);
        }
        Manner::Flood => {
            let mut begin = [0; 4];
            stream.read_exact(&mut begin)?;
            if &begin == b"GET " {
                stream.write_all(ENDLESS)?;
            }
            // Whoever does not read any more must not keep us from ending.
            stream.set_write_timeout(Some(Duration::from_millis(50)))?;
            let flood = BRANCH.repeat(100);
            let mut sent = 0;
            while !stop.load(Ordering::SeqCst) {
                match stream.write(&flood[sent..]) {
                    Ok(bytes) => sent = (sent + bytes) % flood.len(),
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    while !stop.load(Ordering::SeqCst) {
        if !read_some(&mut stream)? {
            break;
        }
        if manner == Manner::Trickle {
            stream.write_all(b"0")?;
        }
    }
    Ok(())
}

/// Waits a moment for bytes of the client; false when it has hung up.
fn read_some(stream: &mut TcpStream) -> std::io::Result<bool> {
    match stream.read(&mut [0; 4096]) {
        Ok(0) => Ok(false),
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => Ok(true),
        Err(e) => Err(e),
    }
}
