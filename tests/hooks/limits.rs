//! What those get who send too much, too slowly, or to the wrong door; and what it costs everybody else.

use crate::common::*;
use crate::support::daemon::{Daemon, Site};
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const MAIN: &str = "refs/heads/main";

/// Dropped in this order.
struct Bench {
    daemon: Daemon,
    site: Site,
    repo: Repo,
    _scratch: Scratch,
}

fn start(interval: &str) -> Bench {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("file", "first")]);
    let toml = format!(
        "interval = '{interval}'\nlisten = '127.0.0.1:0'\n{}[projects.a]\nremote = {:?}\n",
        secrets(&scratch),
        repo.path()
    );
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    site.wait_built("a", MAIN, &commit);
    Bench {
        daemon,
        site,
        repo,
        _scratch: scratch,
    }
}

fn bearer() -> String {
    format!("Bearer {SECRET}")
}

#[test]
fn only_hooks_are_taken_by_tcp_and_only_by_post() {
    let bench = start("1h");
    let door = door(&bench.site);
    for (method, path, status) in [
        ("GET", "/hooks/form", 405),
        ("HEAD", "/hooks/gitlab", 405),
        ("PUT", "/hooks/form", 405),
        ("GET", "/status", 404),
        ("POST", "/reload", 404),
        ("POST", "/build", 404),
        ("POST", "/cancel", 404),
        ("POST", "/poll", 404),
        ("POST", "/hooks", 404),
        ("POST", "/hooks/nobody", 404),
        ("POST", "/hooks/form/", 404),
        ("POST", "/hooks/../status", 404),
        ("POST", "/", 404),
    ] {
        let answer = send(
            &door,
            &request(method, path, &[("authorization", &bearer())], "project=a"),
        );
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    assert_eq!(counts(&bench.site)[0], 0);
}

#[test]
fn a_hook_of_two_megabytes_is_not_read() {
    let bench = start("1h");
    let door = door(&bench.site);
    let headers = [("authorization", bearer())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let body = format!("project=a&x={}", "x".repeat(2 << 20));
    let answer = post(&door, "/hooks/form", &headers, &body);
    assert_eq!(answer.status, 413, "{answer:?}");
    // In pieces, of which nobody says how many there are.
    let mut request = b"POST /hooks/form HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..32 {
        request.extend(b"10000\r\n");
        request.extend(vec![b'x'; 0x10000]);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    assert_eq!(send(&door, &request).status, 413);
    // As curl does it, which asks first.
    let file = bench._scratch.write("body", &body);
    let curl = Command::new("curl")
        .args([
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
            "--data-binary",
        ])
        .arg(format!("@{}", file.display()))
        .arg(format!("http://{door}/hooks/form"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "413", "{curl:?}");
    // What just fits is taken.
    let fits = format!("project=a&x={}", "x".repeat((1 << 20) - 12));
    assert_eq!(post(&door, "/hooks/form", &headers, &fits).poked(), (1, 0));
    // And a head without an end is not.
    let endless = format!(
        "POST /hooks/form HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let mut stream = TcpStream::connect(&door).unwrap();
    // It may hang up before it has all of it.
    let _ = stream.write_all(endless.as_bytes());
    let answer = read_answer(stream);
    assert!(matches!(answer.status, 431 | 0), "{answer:?}");
    assert_eq!(counts(&bench.site)[0], 1);
}

#[test]
fn a_thousand_wrong_requests_slow_nobody_down() {
    let bench = start("200ms");
    let door = door(&bench.site);
    let before = asked(&bench.site);
    let begin = Instant::now();
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..1000 {
        let answer = post(&door, "/hooks/gitlab", &[("x-gitlab-token", "wrong")], "{}");
        assert!(
            answer.status != 429 || answer.head.contains("retry-after: 1"),
            "{answer:?}"
        );
        *statuses.entry(answer.status).or_insert(0_u64) += 1;
    }
    let took = begin.elapsed();
    let limit = 60 + 10 * (took.as_secs() + 1);
    assert!(
        statuses[&403] >= 60 && statuses[&403] <= limit,
        "{statuses:?} in {took:?}"
    );
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [403, 429], "{statuses:?}");
    let [accepted, refused, limited] = counts(&bench.site);
    assert_eq!((accepted, refused, limited), (0, statuses[&403], statuses[&429]));
    // Polls went on meanwhile, and a push is found by one.
    let polls = asked(&bench.site) - before;
    let expected = took.as_millis() / 200 / 3;
    assert!(u128::from(polls) >= expected, "{polls} polls in {took:?}");
    let commit = bench.repo.commit(&[("file", "second")]);
    bench.site.wait_built("a", MAIN, &commit);
    assert_eq!(
        bench.daemon.log().matches("a webhook was refused").count(),
        1,
        "{}",
        bench.daemon.log()
    );
    // The door is open again for those who know the secret.
    wait_for_state("a hook to be heard", SOON, || {
        let answer = post(&door, "/hooks/form", &[("authorization", &bearer())], "project=a");
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
    // The socket has no such limit.
    for _ in 0..100 {
        let answer = post_inside(
            &bench.site.workdir,
            "/hooks/form",
            &[("authorization", &bearer())],
            "project=a",
        );
        assert_eq!(answer.poked(), (1, 0));
    }
}

#[test]
fn who_is_slow_is_cut_off_and_keeps_nobody_out() {
    let mut bench = start("1h");
    let door = door(&bench.site);
    let begin = Instant::now();
    // As many as there may be: some say nothing, some begin a head, some a body.
    let starts = [
        "",
        "POST /hooks/form HTTP/1.1\r\nx: ",
        "POST /hooks/form HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nx",
    ];
    let mut slow: Vec<TcpStream> = Vec::new();
    for n in 0..64 {
        let mut stream = TcpStream::connect(&door).unwrap();
        stream.write_all(starts[n % starts.len()].as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        slow.push(stream);
    }
    // One that is well waits for no longer than they may.
    let commit = bench.repo.commit(&[("file", "second")]);
    let answer = post(&door, "/hooks/form", &[("authorization", &bearer())], "project=a");
    assert_eq!(answer.poked(), (1, 0));
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    bench.site.wait_built("a", MAIN, &commit);
    for stream in &mut slow {
        wait_for_state("the slow ones to be cut off", SOON, || {
            // A byte now and then does not help.
            let _ = stream.write_all(b"x");
            match stream.read(&mut [0; 512]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err("it is open".to_owned()),
                Ok(0) | Err(_) => Ok(()),
                Ok(_) => Err("it says something".to_owned()),
            }
        });
    }
    // And such a one does not keep the daemon from stopping.
    let mut stream = TcpStream::connect(&door).unwrap();
    stream.write_all(starts[2].as_bytes()).unwrap();
    let begin = Instant::now();
    bench.daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(bench.daemon.wait_exit(SOON).success());
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

/// A megabyte of the worst that fits takes no time to speak of.
#[test]
fn the_longest_hooks_are_read_quickly() {
    const LIMIT: usize = 1 << 20;
    let event = r#"{"action":"push","target":{"repository":"a","tag":"1"},"request":{"host":"r.io"}},"#;
    let envelope = event.repeat(LIMIT / event.len());
    let form = "remote=a/b&".repeat(LIMIT / 11);
    let percent = "%41".repeat(LIMIT / 3);
    let bodies = [
        format!("{{\"events\":[{}]}}", envelope.trim_end_matches(',')),
        form,
        percent,
        format!("{{\"a\":{}", "{\"a\":".repeat(LIMIT / 6)),
        format!("\"{}\"", "\\u0041".repeat(LIMIT / 6)),
    ];
    let begin = Instant::now();
    for body in &bodies {
        for sender in pipelined::model::Sender::ALL {
            for kind in ["application/json", "application/x-www-form-urlencoded"] {
                let headers = [("x-github-event", &b"push"[..]), ("content-type", kind.as_bytes())];
                let _ = pipelined::hooks::hints(sender, pipelined::hooks::Headers(&headers), body.as_bytes());
            }
        }
    }
    // 50 of them, not optimized, on a busy machine.
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}
