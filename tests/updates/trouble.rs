//! A registry that is down, throttles, or lost the image: an error of the check, and never "nothing new".

use crate::common::Bench;
use crate::made::Made;
use crate::support::servers::faults::Fault;
use jiff::{SignedDuration, Timestamp};
use pipelined::model::CheckError;
use rstest::rstest;

/// A base that has moved, so that there is something to find out.
async fn moved(bench: &Bench, used_by_kaniko: bool) -> Result<(), CheckError> {
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let old = Made::new(&["a", "b"]);
    let digest = repository.push(&old);
    let mut new = old.clone();
    new.created = "2027-01-01T00:00:00Z".to_owned();
    repository.push(&new);
    let used = match used_by_kaniko {
        true => old.used_by_kaniko(&reference, &digest),
        false => old.used(&reference, &[&digest]),
    };
    bench.asked();
    let (_, compared) = bench.look(&[used], None).await?;
    assert!(compared[0].same, "{compared:?}");
    Ok(())
}

#[track_caller]
fn is_plain(error: &CheckError) {
    assert!(!error.message.is_empty() && !error.message.contains('\n'), "{error:?}");
}

/// Whatever goes wrong for good at whichever request, there is no answer.
#[rstest]
#[case(Fault::Drop)]
#[case(Fault::Lose)]
#[case(Fault::Truncate)]
#[case(Fault::Twist)]
#[case(Fault::Digest(format!("sha256:{}", "0".repeat(64))))]
#[case(Fault::Answer(200, String::new()))]
#[case(Fault::Answer(400, String::new()))]
#[case(Fault::Answer(401, String::new()))]
#[case(Fault::Answer(403, String::new()))]
#[case(Fault::Answer(500, String::new()))]
#[tokio::test]
async fn a_fault_at_any_request(#[case] fault: Fault, #[values(false, true)] kaniko: bool) {
    let bench = Bench::new();
    moved(&bench, kaniko).await.unwrap();
    let requests = bench.proxy.requests().len();
    assert_eq!(requests, 5, "{:?}", bench.asked());
    for at in 0..requests {
        let mean = fault.clone();
        bench
            .proxy
            .set(move |request| (request.number >= at).then(|| mean.clone()));
        let looked = moved(&bench, kaniko).await;
        // A HEAD has no body that could be cut or changed, and blobs are known by their own digest alone.
        let harmless = match (&fault, bench.proxy.requests().get(at)) {
            (Fault::Truncate | Fault::Twist, Some(request)) => request.method == "HEAD",
            (Fault::Digest(_), Some(request)) => request.path.contains("/blobs/"),
            _ => false,
        };
        match looked {
            Err(error) => is_plain(&error),
            Ok(()) => assert!(harmless, "{fault:?} at {at}"),
        }
    }
    bench.proxy.set(|_| None);
    moved(&bench, kaniko).await.unwrap();
}

#[rstest]
#[case(429)]
#[case(503)]
#[tokio::test]
async fn a_registry_that_wants_to_be_left_alone(#[case] status: u16) {
    let bench = Bench::new();
    let repository = bench.repository("base");
    let image = Made::new(&["a"]);
    let digest = repository.push(&image);
    let used = [image.used(&bench.reference("base:1"), &[&digest])];
    bench
        .proxy
        .set(move |_| Some(Fault::Answer(status, "Retry-After: 3600\r\n".to_owned())));
    let error = bench.look(&used, None).await.unwrap_err();
    is_plain(&error);
    let wait = error.not_before.unwrap().duration_since(Timestamp::now());
    assert!(
        wait > SignedDuration::from_mins(55) && wait < SignedDuration::from_mins(61),
        "{error:?}"
    );
    assert_eq!(bench.asked().len(), 1, "and it is left alone");
    // Others of it fail without asking, and say the same.
    let other = bench
        .look_at(bench.reference("other:1"), &used, None)
        .await
        .unwrap_err();
    assert_eq!(other.not_before, error.not_before);
    assert_eq!(bench.asked().len(), 0);
}

#[tokio::test]
async fn a_tag_that_was_deleted() {
    let bench = Bench::new();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let image = Made::new(&["a"]);
    let digest = repository.push(&image);
    let used = image.used(&reference, &[&digest]);
    bench.look(std::slice::from_ref(&used), None).await.unwrap();
    repository.delete(&digest);
    for used in [
        vec![used.clone()],
        vec![image.used_by_kaniko(&reference, &digest)],
        Vec::new(),
    ] {
        let error = bench.look(&used, None).await.unwrap_err();
        assert!(
            error.message.contains("no ") && error.message.contains("base:1"),
            "{error:?}"
        );
        assert_eq!(error.not_before, None);
    }
}

/// A registry that cannot be reached at all is asked again, and is an error then.
#[tokio::test]
async fn a_registry_that_is_down() {
    let bench = Bench::new();
    let image = Made::new(&["a"]);
    let used = [image.used(&bench.reference("base:1"), &[&image.digest()])];
    let Bench {
        tools,
        proxy,
        registry,
        scratch,
        ..
    } = bench;
    let key = pipelined::model::BaseKey {
        reference: pipelined::model::ImageRef::parse(&format!("{}/base:1", proxy.host())).unwrap(),
        project: None,
    };
    drop((proxy, registry));
    let error = pipelined::updates::look_at_base(&tools, &key, &used, None, Vec::new())
        .await
        .unwrap_err();
    assert!(error.message.contains("cannot be reached"), "{error:?}");
    drop(scratch);
}

#[tokio::test]
async fn a_look_that_is_cancelled() {
    let bench = Bench::new();
    let image = Made::new(&["a"]);
    let digest = bench.repository("base").push(&image);
    let used = [image.used(&bench.reference("base:1"), &[&digest])];
    let gate = crate::support::servers::faults::Gate::default();
    let held = gate.clone();
    bench.proxy.set(move |_| Some(Fault::Hold(held.clone())));
    let cancel = bench.tools.runner.cancel.clone();
    let cancelling = tokio::task::spawn_blocking(move || {
        gate.wait_came();
        cancel.ask();
    });
    let error = bench.look(&used, None).await.unwrap_err();
    cancelling.await.unwrap();
    assert_eq!(error.message, "cancelled");
}

/// What is no image of any kind that we know.
#[rstest]
#[case("{}")]
#[case(r#"{"schemaVersion":1,"fsLayers":[]}"#)]
#[case("<html>")]
#[tokio::test]
async fn a_manifest_that_is_none(#[case] body: &'static str) {
    let scratch = crate::support::scratch::Scratch::new();
    let bytes = body.as_bytes();
    let digest = crate::made::sha256(bytes);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\
         Docker-Content-Digest: {digest}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    let server = serve(answer, body);
    let tools = crate::common::tools(&scratch, std::slice::from_ref(&server));
    let reference = pipelined::model::ImageRef::parse(&format!("{server}/base:1")).unwrap();
    let image = Made::new(&["a"]);
    let used = [image.used(&reference, &[&image.digest()])];
    let key = pipelined::model::BaseKey {
        reference,
        project: None,
    };
    let error = pipelined::updates::look_at_base(&tools, &key, &used, None, Vec::new())
        .await
        .unwrap_err();
    is_plain(&error);
}

/// Says the same to everybody, for as long as the test's process lives.
fn serve(head: String, body: &'static str) -> String {
    use std::io::{Read, Write};
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let host = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 8 << 10];
            let count = stream.read(&mut buffer).unwrap_or(0);
            let head_only = buffer[..count].starts_with(b"HEAD");
            // A client of TLS finds that this is none.
            let _ = stream.write_all(head.as_bytes());
            if !head_only {
                let _ = stream.write_all(body.as_bytes());
            }
        }
    });
    host
}
