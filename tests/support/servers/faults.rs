//! A proxy in front of a registry, which does to single requests what a test says.
//!
//! Each request has a connection of its own, so that what is counted does not depend on who keeps connections.

use crate::support::scratch::{SOON, wait_for};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as a script sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// From 0, over all requests.
    pub number: usize,
    /// GET, say.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Of its `Authorization`; empty if it has none.
    pub authorization: String,
    /// Bytes of its body.
    pub length: usize,
}

impl Request {
    /// Whether it is of this method and has this in its path.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before the registry hears of it.
    Drop,
    /// The registry does what is asked, and the answer is lost.
    Lose,
    /// Nothing is ever said.
    Hang,
    /// This is the answer, with these whole lines of headers; the registry does not hear of it.
    Answer(u16, String),
    /// The answer has half of its body.
    Truncate,
    /// The answer comes, with this digest.
    Digest(String),
    /// The answer comes without a digest.
    NoDigest,
    /// Half of the body of the answer, and then nothing.
    Stall,
    /// The last byte of the answer is another.
    Twist,
    /// The registry gets the request, and its body is another.
    Garble,
    /// The registry hears of it when the gate is open, if the client is there still.
    Hold(Gate),
}

/// Holds requests up until a test opens it. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    open: AtomicBool,
    came: AtomicUsize,
}

impl Gate {
    /// Lets pass what waits, and all that comes.
    pub fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
    }

    /// Whether a request stands before it, or has.
    pub fn came(&self) -> bool {
        self.0.came.load(Ordering::SeqCst) > 0
    }

    /// Waits until a request stands before it.
    #[track_caller]
    pub fn wait_came(&self) {
        wait_for("a request that is held up", SOON, || self.came().then_some(()));
    }
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Gate {}

type Script = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

struct Shared {
    port: u16,
    script: Mutex<Box<Script>>,
    requests: Mutex<Vec<Request>>,
    /// Bytes of clients, and bytes to them.
    received: AtomicU64,
    sent: AtomicU64,
    stop: AtomicBool,
}

/// It and its connections end when it is dropped.
pub struct Faults {
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl Faults {
    /// In front of what listens on a port.
    pub fn start(upstream: u16, script: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            port: upstream,
            script: Mutex::new(Box::new(script)),
            requests: Mutex::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let all = Arc::clone(&shared);
        let listener = std::thread::spawn(move || {
            let mut clients = Vec::new();
            for stream in socket.incoming() {
                if all.stop.load(Ordering::SeqCst) {
                    break;
                }
                let (stream, all) = (stream.unwrap(), Arc::clone(&all));
                // What a client does to the connection is its own affair.
                clients.push(std::thread::spawn(move || drop(serve(&all, stream))));
            }
            for client in clients {
                client.join().unwrap();
            }
        });
        Self {
            port,
            shared,
            listener: Some(listener),
        }
    }

    /// Passes everything on from now on, unless the script says otherwise.
    pub fn set(&self, script: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// As references and the config name it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Every request until now.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many of these there were.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.requests().iter().filter(|r| r.is(method, part)).count()
    }

    /// Bytes that clients have sent and got, of whatever was said on their connections.
    pub fn traffic(&self) -> (u64, u64) {
        let Shared { received, sent, .. } = &*self.shared;
        (received.load(Ordering::SeqCst), sent.load(Ordering::SeqCst))
    }

    /// Begins to count anew.
    pub fn forget(&self) {
        self.shared.requests.lock().unwrap().clear();
        self.shared.received.store(0, Ordering::SeqCst);
        self.shared.sent.store(0, Ordering::SeqCst);
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Shared {
    fn say(&self, client: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
        self.sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        client.write_all(bytes)
    }
}

fn serve(all: &Shared, mut client: TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        // As Go's servers do to who begins with TLS.
        if bytes.first() == Some(&0x16) {
            return all.say(&mut client, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
        if !more(all, &mut client, &mut bytes)? {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let header = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.to_owned())
    };
    let length: usize = header("content-length").map_or(0, |l| l.parse().unwrap());
    assert_eq!(header("transfer-encoding"), None, "a body without a length");
    let mut words = text.split(' ');
    let request = {
        let mut requests = all.requests.lock().unwrap();
        let request = Request {
            number: requests.len(),
            method: words.next().unwrap().to_owned(),
            path: words.next().unwrap().to_owned(),
            authorization: header("authorization").unwrap_or_default(),
            length,
        };
        requests.push(request.clone());
        request
    };
    let fault = all.script.lock().unwrap()(&request);
    match &fault {
        Some(Fault::Drop) => return client.shutdown(Shutdown::Both),
        Some(Fault::Hang) => return wait_for_end(all, &mut client),
        _ => {}
    }
    while bytes.len() < head + length {
        if !more(all, &mut client, &mut bytes)? {
            return Ok(());
        }
    }
    if let Some(Fault::Hold(gate)) = &fault {
        gate.0.came.fetch_add(1, Ordering::SeqCst);
        while !gate.0.open.load(Ordering::SeqCst) {
            if !more(all, &mut client, &mut Vec::new())? {
                return Ok(());
            }
        }
    }
    if let Some(Fault::Answer(status, headers)) = &fault {
        let answer = format!("HTTP/1.1 {status} Scripted\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
        return all.say(&mut client, answer.as_bytes());
    }
    if fault == Some(Fault::Garble) {
        bytes[head..].iter_mut().for_each(|b| *b ^= 1);
    }
    let mut answer = ask(all.port, &text, &bytes[head..head + length])?;
    if let Some(last) = answer.last_mut().filter(|_| fault == Some(Fault::Twist)) {
        *last ^= 1;
    }
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let (mut head, body) = (String::from_utf8_lossy(&answer[..split]).into_owned(), &answer[split..]);
    let half = &body[..body.len() / 2];
    match fault {
        Some(Fault::Lose) => return client.shutdown(Shutdown::Both),
        Some(Fault::Truncate) => {
            all.say(&mut client, head.as_bytes())?;
            return all.say(&mut client, half);
        }
        Some(Fault::Stall) => {
            all.say(&mut client, head.as_bytes())?;
            all.say(&mut client, half)?;
            return wait_for_end(all, &mut client);
        }
        Some(Fault::Digest(digest)) => head = without_digest(&head, &format!("Docker-Content-Digest: {digest}\r\n")),
        Some(Fault::NoDigest) => head = without_digest(&head, ""),
        _ => {}
    }
    all.say(&mut client, head.as_bytes())?;
    all.say(&mut client, body)
}

fn without_digest(head: &str, instead: &str) -> String {
    let is = |line: &&str| !line.to_lowercase().starts_with("docker-content-digest:");
    let kept: String = head.split_inclusive("\r\n").filter(is).collect();
    kept.replacen("\r\n", &format!("\r\n{instead}"), 1)
}

/// The whole answer of the registry.
fn ask(port: u16, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    server.set_read_timeout(Some(SOON))?;
    // The token is between the client and us.
    let keep = |line: &&str| {
        let line = line.to_lowercase();
        !line.starts_with("connection:") && !line.starts_with("authorization: bearer")
    };
    let head: String = head.split_inclusive("\r\n").filter(keep).collect();
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes())?;
    server.write_all(body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}

fn wait_for_end(all: &Shared, client: &mut TcpStream) -> std::io::Result<()> {
    while more(all, client, &mut Vec::new())? {}
    Ok(())
}

/// Waits a moment for bytes of the client; false when it has hung up, or we stop.
fn more(all: &Shared, client: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut buffer = [0; 64 << 10];
    match client.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(n) => {
            all.received.fetch_add(n as u64, Ordering::SeqCst);
            bytes.extend_from_slice(&buffer[..n]);
            Ok(true)
        }
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(!all.stop.load(Ordering::SeqCst))
        }
        Err(e) => Err(e),
    }
}
