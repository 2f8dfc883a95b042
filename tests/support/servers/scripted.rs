//! A server that answers as a test says, to the byte.

use crate::support::scratch::{SOON, wait_for};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What it does upon a request.
pub enum Act {
    /// Answers, and keeps the connection.
    Answer(String),
    /// Answers, and hangs up.
    HangUp(String),
    /// Says this much, and then nothing for ever.
    Stop(String),
    /// Says this much, and then a byte now and then for ever.
    Trickle(String),
}

type Script = dyn Fn(usize, &str) -> Act + Send + Sync;

struct Shared {
    script: Box<Script>,
    requests: Mutex<Vec<String>>,
    times: Mutex<Vec<Instant>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    busy: AtomicUsize,
    busiest: AtomicUsize,
    stop: AtomicBool,
}

/// It and its connections end when it is dropped.
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    /// `script` is given the number of the request, from 0, and its text.
    pub fn start(script: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            times: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            busiest: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let all = Arc::clone(&shared);
        let listener = std::thread::spawn(move || {
            let mut clients = Vec::new();
            for stream in socket.incoming() {
                if all.stop.load(Ordering::SeqCst) {
                    break;
                }
                all.connections.fetch_add(1, Ordering::SeqCst);
                all.open.fetch_add(1, Ordering::SeqCst);
                let (stream, all) = (stream.unwrap(), Arc::clone(&all));
                clients.push(std::thread::spawn(move || {
                    // What a client does to the connection is its own affair.
                    let _ = serve(&all, stream);
                    all.open.fetch_sub(1, Ordering::SeqCst);
                }));
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

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Another origin than that of [`Server::url`].
    pub fn other_url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    pub fn https_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// The text of each request until now.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The method of each request until now.
    pub fn methods(&self) -> Vec<String> {
        let method = |r: &String| r.split(' ').next().unwrap().to_owned();
        self.requests().iter().map(method).collect()
    }

    /// When each request came whose text begins so, say `POST /a.git/`.
    pub fn times(&self, begin: &str) -> Vec<Instant> {
        let requests = self.shared.requests.lock().unwrap();
        let times = self.shared.times.lock().unwrap();
        let all = requests.iter().zip(times.iter());
        all.filter(|(text, _)| text.starts_with(begin))
            .map(|(_, at)| *at)
            .collect()
    }

    /// How many requests were in the script's hands at once, at most.
    pub fn busiest(&self) -> usize {
        self.shared.busiest.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until the server has hung up on everyone, while the client's thread stands still and sees none of it.
    pub fn wait_unseen_until_closed(&self) {
        wait_for("connections to be closed", SOON, || (self.open() == 0).then_some(()));
    }

    /// Waits until no connection is left, while the client goes on.
    pub async fn wait_until_closed(&self) {
        let end = Instant::now() + SOON;
        while self.open() > 0 {
            assert!(Instant::now() < end, "{} connections are still open", self.open());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn serve(all: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut bytes = Vec::new();
    while read_some(all, &mut stream, &mut bytes)? {
        let Some(length) = whole(&bytes) else { continue };
        let request = String::from_utf8_lossy(&bytes[..length]).into_owned();
        bytes.drain(..length);
        let number = {
            let mut requests = all.requests.lock().unwrap();
            requests.push(request.clone());
            all.times.lock().unwrap().push(Instant::now());
            requests.len() - 1
        };
        let busy = all.busy.fetch_add(1, Ordering::SeqCst) + 1;
        all.busiest.fetch_max(busy, Ordering::SeqCst);
        let act = (all.script)(number, &request);
        all.busy.fetch_sub(1, Ordering::SeqCst);
        match act {
            Act::Answer(text) => stream.write_all(text.as_bytes())?,
            Act::HangUp(text) => return stream.write_all(text.as_bytes()),
            Act::Stop(text) => {
                stream.write_all(text.as_bytes())?;
                while read_some(all, &mut stream, &mut bytes)? {}
                return Ok(());
            }
            Act::Trickle(text) => {
                stream.write_all(text.as_bytes())?;
                while read_some(all, &mut stream, &mut bytes)? {
                    stream.write_all(b"0")?;
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The length of the first request, once it is all there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text.lines().find_map(|l| l.strip_prefix("content-length: "));
    let length = head + length.map_or(0, |l| l.parse::<usize>().unwrap());
    (bytes.len() >= length).then_some(length)
}

/// Waits a moment for bytes of the client; false when it has hung up, or we stop.
fn read_some(all: &Shared, stream: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(n) => {
            bytes.extend_from_slice(&buffer[..n]);
            Ok(true)
        }
        Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
            Ok(!all.stop.load(Ordering::SeqCst))
        }
        Err(e) => Err(e),
    }
}

/// An answer with its length; `headers` are whole lines.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

pub const ADVERTISEMENT: &str = "Content-Type: application/x-git-upload-pack-advertisement\r\n";
pub const RESULT: &str = "Content-Type: application/x-git-upload-pack-result\r\n";

/// `.` is a flush packet, all else a line.
pub fn packets(lines: &[&str]) -> String {
    let packet = |line: &&str| match *line {
        "." => "0000".to_owned(),
        line => format!("{:04x}{line}\n", line.len() + 5),
    };
    lines.iter().map(packet).collect()
}

/// How a server of protocol v2 greets.
pub fn greeting() -> String {
    let lines = [
        "# service=git-upload-pack",
        ".",
        "version 2",
        "ls-refs",
        "object-format=sha1",
        ".",
    ];
    answer("200 OK", ADVERTISEMENT, &packets(&lines))
}

pub const COMMIT: &str = "1111111111111111111111111111111111111111";

/// One branch.
pub fn result() -> String {
    answer("200 OK", RESULT, &packets(&[&format!("{COMMIT} refs/heads/main"), "."]))
}

/// Whatever a good server would answer.
pub fn good(request: &str) -> Act {
    Act::Answer(if request.starts_with("POST") {
        result()
    } else {
        greeting()
    })
}
