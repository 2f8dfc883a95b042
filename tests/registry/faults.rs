//! Whatever goes wrong at whichever request: a release ends well after all, or with an error and the tag where it was.

use crate::common::*;
use crate::support::scratch::Scratch;
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::hostile::{Hostile, Manner};
use crate::support::servers::registry::Registry;
use pipelined::registry::RegistryError;
use rstest::rstest;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn zeros() -> String {
    format!("sha256:{}", "0".repeat(64))
}

/// A fault at every request of a release: once, so that a retry goes well, and from there on for ever.
#[rstest]
#[case(Fault::Drop)]
#[case(Fault::Lose)]
#[case(Fault::Garble)]
#[case(Fault::Twist)]
#[case(Fault::Answer(500, String::new()))]
#[case(Fault::Answer(429, "Retry-After: 0\r\n".to_owned()))]
#[case(Fault::Answer(400, String::new()))]
#[case(Fault::Answer(201, String::new()))]
#[case(Fault::Digest(zeros()))]
#[case(Fault::NoDigest)]
#[tokio::test]
async fn a_tag_never_moves_before_its_content(#[case] fault: Fault) {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let (runner, registries) = (runner(&scratch), open(&[proxy.host()]));
    let old = archive(&scratch, &Image::new("old").write(&scratch, "old")).await;
    let new = archive(&scratch, &Image::new("new").write(&scratch, "new")).await;
    let counted = reference(&format!("{}/counted:1", proxy.host()));
    release(&registries, &runner, &new, &counted).await.unwrap();
    let requests = proxy.requests().len();
    assert!(requests > 10, "{:?}", proxy.requests());
    let mut run = 0;
    for (at, once) in (0..requests).flat_map(|at| [(at, true), (at, false)]) {
        // Each of these takes all of the retries; a third of the places is enough to see it.
        if !once && at % 3 != 0 {
            continue;
        }
        run += 1;
        let name = format!("run{run}");
        let target = reference(&format!("{}/{name}:1", proxy.host()));
        proxy.set(|_| None);
        let before = release(&registries, &runner, &old, &target).await.unwrap();
        proxy.forget();
        let mean = fault.clone();
        proxy.set(move |r| (r.number == at || (!once && r.number > at)).then(|| mean.clone()));
        let result = release(&registries, &runner, &new, &target).await;
        let what = format!("{fault:?} at {at}, once: {once}: {result:?}\n{:#?}", proxy.requests());
        let place = format!("{}/{name}:1", registry.host());
        let now = seen_plain(&place).unwrap();
        // What was moved may still be an error: the answer that says so was lost, or is not to be believed.
        let moved = now == new.manifest().digest.as_str();
        assert!(moved || now == before.digest.as_str(), "{what}");
        assert!(moved || result.is_err(), "{what}");
        if moved {
            // Whatever was said on the way, all of it is there.
            assert_eq!(brought_home(&scratch, &place).0, new.manifest().bytes, "{what}");
        }
        let passing = matches!(fault, Fault::Drop | Fault::Lose | Fault::NoDigest)
            || matches!(fault, Fault::Answer(500 | 429, _));
        assert!(!(once && passing) || result.is_ok(), "{what}");
    }
}

#[tokio::test]
async fn a_registry_that_tells_lies() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let (runner, registries) = (runner(&scratch), open(&[proxy.host()]));
    let archive = archive(&scratch, &Image::new("lies").write(&scratch, "a")).await;
    let target = reference(&format!("{}/lies:1", proxy.host()));
    let pushed = registries.push(&runner, &archive, &target, None, &quiet).await.unwrap();
    let at = target.with_digest(pushed.digest.clone());
    let lied = |error: RegistryError| {
        assert!(matches!(error, RegistryError::Lied { .. }), "{error}");
        assert!(error.to_string().contains(&zeros()), "{error}");
    };
    // It says that the tag is elsewhere after it was moved.
    let heads = AtomicUsize::new(0);
    proxy.set(move |r| {
        let second = r.is("HEAD", "/manifests/1") && heads.fetch_add(1, Ordering::SeqCst) == 1;
        second.then(|| Fault::Digest(zeros()))
    });
    lied(registries.tag(&runner, &pushed, &target, &quiet).await.unwrap_err());
    proxy.set(|r| r.is("HEAD", "/manifests/").then(|| Fault::Digest(zeros())));
    lied(registries.head(&runner, &at).await.unwrap_err());
    proxy.set(|r| r.is("GET", "/manifests/").then(|| Fault::Digest(zeros())));
    lied(registries.manifest(&runner, &target).await.unwrap_err());
    proxy.set(|r| r.is("", "").then_some(Fault::Drop).or(Some(Fault::NoDigest)));
    // Without a digest the bytes are what counts.
    let head = registries.head(&runner, &target).await.unwrap().unwrap();
    assert_eq!(head.digest, pushed.digest);
    // Rubbish in place of a digest.
    proxy.set(|r| r.is("HEAD", "").then(|| Fault::Digest("x".to_owned())));
    let error = registries.head(&runner, &target).await.unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn who_hangs_is_left() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let (runner, registries) = (runner(&scratch), open_with(&[proxy.host()], short_deadlines()));
    let archive = archive(&scratch, &Image::new("hangs").write(&scratch, "a")).await;
    let target = reference(&format!("{}/hangs:1", proxy.host()));
    for (method, part) in [
        ("HEAD", "/blobs/"),
        ("POST", ""),
        ("PUT", "/blobs/"),
        ("PUT", "/manifests/"),
    ] {
        proxy.set(move |r| r.is(method, part).then_some(Fault::Hang));
        let error = registries
            .push(&runner, &archive, &target, None, &quiet)
            .await
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::TimedOut { .. }),
            "{method} {part}: {error}"
        );
    }
    // A cancel ends it at once.
    let begin = Instant::now();
    let cancel = runner.cancel.clone();
    let push = registries.push(&runner, &archive, &target, None, &quiet);
    let (result, ()) = tokio::join!(push, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.ask();
    });
    assert!(matches!(result, Err(RegistryError::Cancelled)));
    assert!(begin.elapsed() < Duration::from_millis(1000));
}

#[tokio::test]
async fn what_is_no_registry() {
    let scratch = Scratch::new();
    let runner = runner(&scratch);
    for manner in [
        Manner::Silent,
        Manner::Trickle,
        Manner::Rubbish,
        Manner::HangUp,
        Manner::Flood,
    ] {
        let server = Hostile::start(manner);
        let url = server.http_url();
        let host = url
            .strip_prefix("http://")
            .unwrap()
            .split('/')
            .next()
            .unwrap()
            .to_owned();
        let registries = open_with(std::slice::from_ref(&host), short_deadlines());
        let begin = Instant::now();
        let image = reference(&format!("{host}/a:1"));
        let error = registries.manifest(&runner, &image).await.unwrap_err();
        assert!(
            begin.elapsed() < short_deadlines().call + Duration::from_secs(5),
            "{manner:?}: {error}"
        );
        assert!(!error.to_string().is_empty());
    }
}

#[tokio::test]
async fn who_wants_to_be_left_alone() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let proxy = Faults::start(registry.port(), |r| {
        let headers = "Retry-After: 1\r\nratelimit-limit: 100;w=21600\r\nratelimit-remaining: 7;w=21600\r\n";
        (r.number == 0).then(|| Fault::Answer(429, headers.to_owned()))
    });
    let (runner, registries) = (runner(&scratch), open(&[proxy.host()]));
    let image = reference(&format!("{}/busy:1", proxy.host()));
    let begin = Instant::now();
    // A short pause is waited for.
    assert_eq!(registries.head(&runner, &image).await.unwrap(), None);
    assert!(begin.elapsed() >= Duration::from_millis(990));
    let limits = registries.limits();
    assert_eq!((limits[0].limit, limits[0].remaining), (100, 7));
    assert_eq!(limits[0].window, Some(Duration::from_secs(21600)));
    assert_eq!(registries.pauses(), []);
    // A long one is an error, without a request, for whatever is asked of that host.
    proxy.forget();
    proxy.set(|_| Some(Fault::Answer(503, "Retry-After: 600\r\n".to_owned())));
    for _ in 0..3 {
        let error = registries.head(&runner, &image).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::Throttled { until: Some(_), .. }),
            "{error}"
        );
        assert!(error.to_string().contains(" until 20"), "{error}");
    }
    assert_eq!(proxy.requests().len(), 1);
    assert_eq!(registries.pauses()[0].host, proxy.host());
}
