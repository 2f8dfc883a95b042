//! Servers are asked no more than they must be, and left alone when they say so.

use crate::common::{count, of, project, wait_trouble};
use crate::support::daemon::Site;
use crate::support::scratch::{SOON, Scratch, wait_for, wait_for_state};
use crate::support::servers::scripted::{Act, Server, answer, good};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Times between requests.
fn gaps(times: &[Instant]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Waits until the server had so many requests that begin so.
#[track_caller]
fn wait_requests(server: &Server, begin: &str, count: usize) -> Vec<Instant> {
    wait_for_state(&format!("{count} requests {begin}"), SOON, || {
        let times = server.times(begin);
        (times.len() >= count)
            .then(|| times.clone())
            .ok_or_else(|| times.len().to_string())
    })
}

#[test]
fn three_hundred_remotes_of_one_server_are_spread() {
    let scratch = Scratch::new();
    let server = Server::start(|_, request| {
        std::thread::sleep(ms(4));
        good(request)
    });
    let names: Vec<String> = (0..300).map(|n| format!("p{n:03}")).collect();
    let mut toml = "interval = '1500ms'\npolls_per_host = 3\n[defaults]\ninitial = 'none'\n".to_owned();
    for name in &names {
        toml += &project(name, &server.url(&format!("/{name}")), "");
    }
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    let first = wait_requests(&server, "GET /p", 300);
    let length = first[299] - first[0];
    assert!(length > ms(900), "all were asked within {length:?}");
    // Of the rounds behind it none is a herd either.
    wait_requests(&server, "POST /p", 600);
    let posts = server.times("POST /p");
    let most = |times: &[Instant]| {
        let within = |begin: &Instant| {
            times
                .iter()
                .filter(|at| (*begin..*begin + ms(150)).contains(*at))
                .count()
        };
        times.iter().map(within).max().unwrap()
    };
    assert!(
        most(&posts) <= 120,
        "{} of 300 within a tenth of the interval",
        most(&posts)
    );
    assert!(server.busiest() <= 3, "{} at once", server.busiest());
    assert!(server.connections() <= 6, "{} connections", server.connections());

    // The same config again is nobody's reason to be asked sooner.
    let reload = Instant::now();
    assert!(site.cli(&["reload"]).status.success());
    let since = |begin| {
        server
            .times("POST /p")
            .into_iter()
            .filter(|at| *at >= begin)
            .collect::<Vec<_>>()
    };
    wait_for("a round", SOON, || (since(reload).len() >= 300).then_some(()));
    assert!(most(&since(reload)) <= 120, "{} after the reload", most(&since(reload)));
    for name in &names {
        assert!(server.times(&format!("GET /{name}/")).len() == 1, "{name} began again");
    }
    // To look now is a person's to say; also then each in its turn.
    assert!(site.cli(&["poll"]).status.success());
    wait_for("another round", SOON, || (since(reload).len() >= 750).then_some(()));
    assert!(server.busiest() <= 3, "{} at once", server.busiest());
    assert_eq!(count(&site, "failed"), 0, "{}", daemon.log());
}

#[test]
fn one_question_for_all_who_share_a_remote_and_each_has_its_interval() {
    let scratch = Scratch::new();
    let server = Server::start(|_, request| good(request));
    let mut toml = "interval = '200ms'\n[defaults]\ninitial = 'none'\n".to_owned();
    for name in ["a", "b", "c"] {
        toml += &project(name, &server.url("/shared"), "");
    }
    toml += &project("alone", &server.url("/alone"), "");
    toml += &project("seldom", &server.url("/seldom"), "interval = '1h'");
    toml += &project("often", &server.url("/often"), "interval = '50ms'");
    let site = Site::new(&scratch, &toml);
    let _daemon = site.start();
    wait_requests(&server, "POST /alone/", 9);
    let [shared, alone, seldom, often] =
        ["shared", "alone", "seldom", "often"].map(|name| server.times(&format!("POST /{name}/")).len());
    assert!(shared.abs_diff(alone) <= 2, "{shared} for three, {alone} for one");
    assert!(
        often >= 2 * alone && seldom == 1,
        "{often} often, {seldom} seldom, {alone} else"
    );
    for name in ["a", "b", "c"] {
        assert!(of(&site, name)["refs"][0].is_object(), "{name} has not seen the answer");
    }
    // Who joins does not make it two questions, who leaves does not end it.
    let toml = toml
        .replace("[projects.b]", "[projects.d]")
        .replace("/alone\"", "/shared\"");
    site.write_config(&toml);
    assert!(site.cli(&["reload"]).status.success());
    let begin = Instant::now();
    wait_for("more looks", SOON, || {
        let times = server.times("POST /shared/");
        (times.iter().filter(|at| **at > begin).count() >= 6).then_some(())
    });
    let since = begin.elapsed().as_millis() / 200;
    let times = server
        .times("POST /shared/")
        .into_iter()
        .filter(|at| *at > begin)
        .count();
    assert!(times as u128 <= since + 2, "{times} in {since} intervals");
    wait_for("the new one", SOON, || {
        of(&site, "d")["refs"][0].is_object().then_some(())
    });
}

#[test]
fn what_fails_is_asked_less_and_less_often_until_it_is_over() {
    let scratch = Scratch::new();
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    let server = Server::start(move |_, request| {
        if is_broken.load(Ordering::SeqCst) {
            Act::Answer(answer("500 Oh no", "", ""))
        } else {
            good(request)
        }
    });
    let toml = "interval = '100ms'\n[defaults]\ninitial = 'none'\n".to_owned() + &project("p", &server.url("/p"), "");
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    wait_requests(&server, "POST /p/", 3);
    broken.store(true, Ordering::SeqCst);
    let trouble = wait_trouble(&site, "p", "500");
    // One handshake for each failing look; the first request of all is not one.
    let times = wait_requests(&server, "GET /p/", 7);
    let gaps = gaps(&times[1..]);
    for (gap, least) in gaps.iter().zip([80, 170, 340, 680, 850]) {
        assert!(*gap >= ms(least), "{gaps:?}");
    }
    assert!(gaps[4] < ms(2000), "it is given up: {gaps:?}");
    let text = wait_for_state("the next look to be told", SOON, || {
        let text = String::from_utf8(site.cli(&["status"]).stdout).unwrap();
        text.contains("; asked again ").then(|| text.clone()).ok_or(text)
    });
    assert!(
        text.contains("p: cannot be asked since ") && text.contains("500"),
        "{text}"
    );
    let now = of(&site, "p")["trouble"].clone();
    assert_eq!((&now["since"], &now["error"]), (&trouble["since"], &trouble["error"]));
    broken.store(false, Ordering::SeqCst);
    assert!(site.cli(&["poll", "p"]).status.success());
    wait_for("recovery", SOON, || of(&site, "p")["trouble"].is_null().then_some(()));
    let posts = server.times("POST /p/").len();
    let begin = Instant::now();
    wait_requests(&server, "POST /p/", posts + 5);
    assert!(
        begin.elapsed() < ms(1500),
        "the old interval is not back: {:?}",
        begin.elapsed()
    );
    let log = daemon.log();
    assert_eq!(log.matches("cannot ask the remote").count(), 1, "{log}");
    assert_eq!(log.matches("the remote answers again").count(), 1, "{log}");
}

#[test]
fn a_server_that_wants_to_be_left_alone_is() {
    let scratch = Scratch::new();
    let busy = Arc::new(AtomicBool::new(false));
    let is_busy = Arc::clone(&busy);
    let server = Server::start(move |_, request| {
        if is_busy.load(Ordering::SeqCst) {
            Act::Answer(answer("429 Too Many Requests", "Retry-After: 3\r\n", ""))
        } else {
            good(request)
        }
    });
    let other = Server::start(|_, request| good(request));
    let mut toml = "interval = '100ms'\npolls_per_host = 1\n[defaults]\ninitial = 'none'\n".to_owned();
    for name in ["a", "b", "c"] {
        toml += &project(name, &server.url(&format!("/{name}")), "");
    }
    // Another name for another host.
    toml += &project("other", &other.other_url("/other"), "");
    let site = Site::new(&scratch, &toml);
    let _daemon = site.start();
    for name in ["a", "b", "c", "other"] {
        let server = if name == "other" { &other } else { &server };
        wait_requests(server, &format!("POST /{name}/"), 2);
    }
    busy.store(true, Ordering::SeqCst);
    let refused = wait_for("a refusal", SOON, || {
        ["a", "b", "c"]
            .into_iter()
            .find(|name| of(&site, name)["trouble"].is_object())
    });
    let error = of(&site, refused)["trouble"]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("too busy") && error.contains("3s"), "{error}");
    busy.store(false, Ordering::SeqCst);
    let last = *server.times("").last().unwrap();
    // A person may insist, and then it is that remote alone.
    let insisted = if refused == "a" { "b" } else { "a" };
    assert!(site.cli(&["poll", insisted]).status.success());
    let all = server.times("").len();
    wait_for("the look that was asked for", SOON, || {
        (server.times("").len() > all - 1).then_some(())
    });
    let times = wait_for("more looks", SOON, || {
        let times = server.times("");
        (times.iter().filter(|at| **at > last).count() >= 6).then_some(times)
    });
    let later: Vec<Duration> = times.iter().filter(|at| **at > last).map(|at| *at - last).collect();
    assert!(later[0] < ms(2000), "the poll was not made at once: {later:?}");
    assert!(later[1] >= ms(2950), "asked before the time it named: {later:?}");
    assert!(later[5] < ms(6000), "{later:?}");
    wait_for("recovery", SOON, || {
        of(&site, refused)["trouble"].is_null().then_some(())
    });
    // Meanwhile another host was asked as ever.
    let slow = gaps(&other.times("POST /other/")).into_iter().max().unwrap();
    assert!(slow < ms(1100), "another host waited {slow:?}");
}
