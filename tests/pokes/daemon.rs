//! From a release to whoever is told of it, through restarts, with all that people see.

use crate::common::{Bench, MAIN, SCRATCH, text};
use crate::support::jobs::wait_outcome;
use crate::support::scratch::{SOON, wait_for_state};
use crate::support::servers::scripted::{Act, Server, answer};
use crate::{body, form, header, signed_by_openssl};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TOKEN: &str = "glptt-of-the-app";
const SECRET: &str = "secret-of-the-hook";
const PAGE: &str = "https://gitlab.example.org/group/app/-/pipelines/257";

/// A project whose image is released into the engine's storage, with these pokes.
fn bench(pokes: &str) -> Bench {
    let bench = Bench::new(SCRATCH);
    bench.scratch.write("token", format!("{TOKEN}\n"));
    bench.scratch.write("secret", format!("{SECRET}\n"));
    let dir = bench.scratch.path().display().to_string();
    let pokes = pokes.replace("DIR", &dir);
    bench.config(
        "",
        &format!("image = {{ release = 'localhost/p:1', poke = [{pokes}] }}\n"),
    );
    bench
}

fn gitlab(server: &Server) -> String {
    let url = server.url("");
    format!(
        "{{ gitlab = {{ url = '{url}', project = 'group/app', ref = 'main', token_file = 'DIR/token', \
         variables = {{ BASE = '${{BUILD_IMAGE}}' }} }} }}"
    )
}

fn hook(server: &Server) -> String {
    format!(
        "{{ webhook = {{ url = '{}', secret_file = 'DIR/secret' }} }}",
        server.url("/hook?key=of-the-url")
    )
}

fn log(bench: &Bench) -> String {
    text(&bench.site.log)
}

/// Waits for so many requests.
#[track_caller]
fn wait_requests(bench: &Bench, server: &Server, count: usize) {
    wait_for_state(&format!("{count} requests"), SOON, || {
        let requests = server.requests().len();
        (requests >= count)
            .then_some(())
            .ok_or_else(|| format!("{requests}\n{}", log(bench)))
    });
}

/// What `explain` says of the pokes of main.
fn explained(bench: &Bench) -> Vec<Value> {
    let all = bench.site.json(&["explain", "p", "main", "--json"]);
    all["refs"][0]["pokes"].as_array().unwrap().clone()
}

/// Waits until `explain` says this of all of them.
#[track_caller]
fn wait_explained(bench: &Bench, state: &str) -> Vec<Value> {
    wait_for_state(state, SOON, || {
        let pokes = explained(bench);
        let all = !pokes.is_empty() && pokes.iter().all(|poke| poke["last"]["state"] == state);
        all.then_some(pokes.clone()).ok_or_else(|| {
            // Each question is a process.
            std::thread::sleep(std::time::Duration::from_millis(200));
            format!("{pokes:#?}\n{}", log(bench))
        })
    })
}

fn said(bench: &Bench, args: &[&str]) -> String {
    let output = bench.site.cli(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// No secret is in what is kept, logged or shown.
#[track_caller]
fn assert_no_secret(bench: &Bench) {
    let mut all = vec![log(bench)];
    let mut dirs = vec![bench.site.workdir.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.symlink_metadata().unwrap() {
                meta if meta.is_dir() => dirs.push(path),
                meta if meta.is_file() => all.push(text(&path)),
                _ => {}
            }
        }
    }
    for args in [
        &["status", "--json"][..],
        &["status"],
        &["explain", "p"],
        &["explain", "p", "--json"],
        &["images"],
        &["images", "--json"],
        &["config"],
    ] {
        all.push(said(bench, args));
    }
    for shown in all {
        for secret in [TOKEN, SECRET, "of-the-url"] {
            assert!(!shown.contains(secret), "{secret} is in\n{shown}");
        }
    }
}

fn is_openssl_there() -> bool {
    Path::new("/usr/bin/openssl").exists()
}

#[test]
fn a_release_is_told_of_although_nobody_listens_and_the_daemon_dies() {
    let server = Server::start(|number, request| {
        // Both are away twice.
        let status = if number < 4 { "503 Away" } else { "201 Created" };
        let page = if request.starts_with("POST /api/") { PAGE } else { "" };
        Act::Answer(answer(status, "", &serde_json::json!({ "web_url": page }).to_string()))
    });
    let bench = bench(&format!("{}, {}", gitlab(&server), hook(&server)));
    let commit = bench.push("first");
    let mut daemon = bench.site.start();
    wait_requests(&bench, &server, 2);
    let waiting = wait_explained(&bench, "waiting");
    assert_eq!(waiting.len(), 2, "{waiting:#?}");
    daemon.kill_9();
    drop(daemon);
    let first = server.requests().len();
    assert!(first < 6, "{first} requests already");
    let told = said(&bench, &["explain", "p"]);
    assert!(told.contains("not told of job 1 yet") && told.contains("503"), "{told}");
    // What a person sees meanwhile.
    let told = said(&bench, &["status"]);
    assert!(
        told.contains("Pokes that were not taken (send them again: pipelined poke):")
            && told.contains("it answers 503"),
        "{told}"
    );

    let daemon = bench.site.start();
    let pokes = wait_explained(&bench, "delivered");
    wait_outcome(&bench.site, &commit, "succeeded");
    let requests = server.requests();
    assert_eq!(bench.site.json(&["status", "--json"])["pokes"], serde_json::json!([]));
    let id = bench.podman.run(&["inspect", "--format={{.Id}}", "localhost/p:1"]);
    let hooks: Vec<&String> = requests
        .iter()
        .filter(|r| r.starts_with("POST /hook?key=of-the-url "))
        .collect();
    let forms: Vec<&String> = requests
        .iter()
        .filter(|r| r.starts_with("POST /api/v4/projects/group%2Fapp/"))
        .collect();
    assert_eq!(hooks.len() + forms.len(), requests.len());
    // At least once, and with the same number each time.
    assert!(hooks.len() >= 2 && forms.len() >= 2, "{requests:#?}");
    for hook in &hooks {
        assert_eq!(
            header(hook, "x-pipelined-delivery"),
            header(hooks[0], "x-pipelined-delivery")
        );
        assert_eq!(body(hook), body(hooks[0]));
        if is_openssl_there() {
            let signed = signed_by_openssl(SECRET, body(hook));
            assert_eq!(header(hook, "x-hub-signature-256"), Some(signed.as_str()));
        }
    }
    let event: Value = serde_json::from_str(body(hooks[0])).unwrap();
    assert_eq!(
        (&event["commit"], &event["ref"]),
        (&Value::from(commit), &Value::from(MAIN))
    );
    assert_eq!(event["digest"], format!("sha256:{id}"), "{event}");
    assert_eq!(event["references"], serde_json::json!(["localhost/p:1"]));
    let sent = form(body(forms[0]));
    assert_eq!(sent[0], ("token".to_owned(), TOKEN.to_owned()));
    assert_eq!(sent[2], ("variables[BASE]".to_owned(), "localhost/p:1".to_owned()));
    let [gitlab, hook] = pokes.as_slice() else {
        panic!("{pokes:#?}")
    };
    assert_eq!(
        (&gitlab["place"]["kind"], &gitlab["last"]["web_url"]),
        (&"gitlab".into(), &PAGE.into())
    );
    assert_eq!(
        (&hook["place"]["kind"], &hook["last"]["status"]),
        (&"webhook".into(), &201.into())
    );
    let told = said(&bench, &["explain", "p"]);
    assert!(told.contains(&format!("answered 201: {PAGE}")), "{told}");
    assert!(said(&bench, &["images"]).contains("pokes     gitlab group/app main at http://127.0.0.1"));

    // Nobody is told twice, and each of other content.
    let before = server.requests().len();
    let other = bench.push("second");
    assert!(bench.site.cli(&["poll", "p"]).status.success());
    wait_outcome(&bench.site, &other, "succeeded");
    wait_requests(&bench, &server, before + 2);
    wait_explained(&bench, "delivered");
    let new = server.requests().split_off(before);
    assert_eq!(new.len(), 2, "{new:#?}");
    let second = new.iter().find(|request| request.starts_with("POST /hook")).unwrap();
    let event: Value = serde_json::from_str(body(second)).unwrap();
    assert_eq!(event["commit"], other);
    assert_ne!(
        header(second, "x-pipelined-delivery"),
        header(hooks[0], "x-pipelined-delivery")
    );
    assert_no_secret(&bench);
    drop(daemon);
}

#[test]
fn a_refusal_is_seen_and_not_repeated() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = is_mended.clone();
    let server = Server::start(move |_, request| {
        if mended.load(Ordering::SeqCst) {
            return Act::Answer(answer("201 Created", "", "{}"));
        }
        let said = serde_json::json!({ "message": format!("401 Unauthorized: {}", body(request)) });
        Act::Answer(answer("401 Unauthorized", "", &said.to_string()))
    });
    let bench = bench(&gitlab(&server));
    bench.push("first");
    let daemon = bench.site.start();
    let pokes = wait_explained(&bench, "rejected");
    assert_eq!(pokes[0]["last"]["attempts"], 1);
    drop(daemon);
    for _ in 0..2 {
        let status = bench.site.json(&["status", "--json"]);
        let trouble = &status["pokes"][0];
        assert_eq!(trouble["last"]["state"], "rejected", "{status}");
        let error = trouble["last"]["error"].as_str().unwrap();
        assert!(error.starts_with("it answers 401: 401 Unauthorized"), "{error}");
        for args in [&["status"][..], &["explain", "p"], &["images"]] {
            let told = said(&bench, args);
            assert!(
                told.contains("rejected job 1") && told.contains("401 Unauthorized"),
                "{told}"
            );
        }
        // As it still is after another start.
        let daemon = bench.site.start();
        wait_explained(&bench, "rejected");
        drop(daemon);
    }
    assert_eq!(server.requests().len(), 1);
    let log = log(&bench);
    assert!(log.contains("ERROR") && log.contains("a poke was rejected"), "{log}");

    // Until a person has mended it, and wants it sent again.
    is_mended.store(true, Ordering::SeqCst);
    let daemon = bench.site.start();
    let wrong = bench.site.cli(&["poke", "q"]);
    assert_eq!(wrong.status.code(), Some(1));
    let error = String::from_utf8(wrong.stderr).unwrap();
    assert!(error.contains("q is no released image"), "{error}");
    let told = said(&bench, &["poke", "p"]);
    assert!(
        told.contains("p main: gitlab group/app main at http") && told.contains("is told of job 1 again\n"),
        "{told}"
    );
    let pokes = wait_explained(&bench, "delivered");
    assert_eq!(pokes[0]["last"]["attempts"], 1);
    assert_eq!(server.requests().len(), 2);
    assert_eq!(bench.site.json(&["status", "--json"])["pokes"], serde_json::json!([]));
    // There is nothing more to be sent.
    assert_eq!(bench.site.json(&["poke", "--json"]), serde_json::json!({ "pokes": [] }));
    assert_eq!(said(&bench, &["poke"]), "everybody has taken what they were told\n");
    drop(daemon);
    assert_no_secret(&bench);
}
