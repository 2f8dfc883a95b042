//! Whole questions over http and git://, to a server that sends whatever the fuzzer likes, in pieces.
//!
//! Nothing may panic or outlive its deadline, and nothing but a whole answer may be taken for a list of refs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipelined::git::{Asker, Limits, Memory, Question, Reply};
use pipelined::process::{Cancel, Marker, Runner, Supervisor};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

const PATIENCE: Duration = Duration::from_millis(300);

struct World {
    runtime: Runtime,
    asker: Asker,
    runner: Runner,
    /// What the next connections are sent.
    answers: Arc<Mutex<Vec<Vec<u8>>>>,
    port: u16,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(world());
}

fn world() -> World {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
    let shared = answers.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = shared.lock().unwrap().pop().unwrap_or_default();
            // What the client does to the connection is its own affair.
            let _ = serve(stream.unwrap(), &answer);
        }
    });
    // No command of the user's world may be started but git's look at its config.
    let runner = Runner {
        supervisor: Supervisor::new(std::env::var_os("PIPELINED").expect("PIPELINED is the binary")),
        marker: Marker::service("fuzz"),
        env: vec![("GIT_CONFIG_COUNT".into(), "0".into())],
        cancel: Cancel::new(),
        grace: Duration::from_millis(100),
        log: None,
    };
    let asker = Asker::new("/".into(), runner.clone(), std::env::temp_dir(), None);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    World { runtime, asker, runner, answers, port }
}

fn serve(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let _ = stream.read(&mut [0; 4096])?;
    for piece in answer.chunks(answer.len() / 2 + 1) {
        stream.write_all(piece)?;
        stream.flush()?;
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    WORLD.with_borrow(|world| {
        // An http head and body of the fuzzer's own, or a fine head before it.
        let fine = |kind: &str| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nContent-Length: {}\r\n\r\n",
                bytes.len()
            );
            [head.as_bytes(), bytes].concat()
        };
        let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
        let answers = match first % 3 {
            0 => vec![fine("result"), fine("advertisement")],
            1 => vec![rest.to_vec(), rest.to_vec()],
            _ => vec![fine("advertisement"), rest.to_vec()],
        };
        for scheme in ["http", "git"] {
            *world.answers.lock().unwrap() = if scheme == "git" { vec![bytes.to_vec(); 2] } else { answers.clone() };
            let question = Question::new(&format!("{scheme}://127.0.0.1:{}/x", world.port), Vec::new());
            let limits = Limits::new(PATIENCE, 1 << 16);
            let begin = Instant::now();
            let reply = world.runtime.block_on(async {
                // What only git could ask is not asked here: each would be a process.
                world.asker.ask_here(&world.runner, &question, &limits, &mut Memory::default(), None).await
            });
            assert!(begin.elapsed() < PATIENCE * 4, "it outlived its deadline: {reply:?}");
            if let Ok(Reply::Refs { list, .. }) = reply {
                assert!(list.refs.is_sorted_by(|a, b| a.0 < b.0), "a name twice, or out of order");
                assert!(bytes.windows(4).any(|w| w == b"0000"), "a list of refs out of nothing");
            }
        }
    });
});
