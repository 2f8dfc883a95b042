//! One poke over a connection: what is sent, and what is made of the answer.

use crate::support::scratch::Scratch;
use crate::support::servers::scripted::{Act, Server, answer};
use crate::{body, form, header, signed_by_openssl};
use jiff::Timestamp;
use pipelined::config::{PokeTarget, SecretFile};
use pipelined::model::{
    CommitId, Digest, ImageName, ImageRef, JobId, Node, Poke, PokeAnswer, PokeError, PokeId, PokeKind, PokePlace,
    ProjectName, RefName, Template,
};
use pipelined::poke::Sender;
use std::os::unix::fs::symlink;

const TOKEN: &str = "glptt-0123/456+789";

fn poke() -> Poke {
    let references = ["r.io/ruby:1", "r.io/ruby:latest"].map(|r| ImageRef::parse(r).unwrap());
    Poke {
        id: PokeId(7),
        node: Node {
            project: ProjectName::new("ruby").unwrap(),
            reference: RefName::new(b"refs/heads/m\xc3\xa4in".to_vec()).unwrap(),
            image: ImageName::new("slim").unwrap(),
        },
        job: JobId(12),
        commit: CommitId::new("ab".repeat(20)).unwrap(),
        wave: JobId(11),
        image: references[0].clone(),
        references: references.to_vec(),
        digest: Digest::new(format!("sha256:{}", "1".repeat(64))).ok(),
        place: PokePlace {
            kind: PokeKind::Webhook,
            url: "https://h/".to_owned(),
            project: None,
            reference: None,
            key: "k".to_owned(),
        },
        since: Timestamp::UNIX_EPOCH,
        attempts: 0,
        next: Timestamp::UNIX_EPOCH,
        error: None,
        end: None,
    }
}

struct Bench {
    scratch: Scratch,
    sender: Sender,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let scratch = Scratch::new();
        scratch.write("token", format!("{TOKEN}\n"));
        Self {
            scratch,
            sender: Sender::default(),
            runtime: runtime.unwrap(),
        }
    }

    fn gitlab(&self, url: &str) -> PokeTarget {
        let template = |text: &str| Template::new(text).unwrap();
        PokeTarget::Gitlab {
            url: url.to_owned(),
            project: "group/sub/app".to_owned(),
            reference: "ma/in".to_owned(),
            token_file: SecretFile::new(self.scratch.join("token")),
            variables: [
                ("BASE".to_owned(), template("$BUILD_IMAGE@$BUILD_IMAGE_DIGEST")),
                (
                    "WHAT".to_owned(),
                    template("$BUILD_PROJECT/$BUILD_IMAGE_NAME $BUILD_REF_NAME"),
                ),
            ]
            .into(),
        }
    }

    fn hook(&self, url: String, secret: Option<&str>) -> PokeTarget {
        let secret_file = secret.map(|secret| SecretFile::new(self.scratch.write("hook", secret)));
        PokeTarget::Webhook { url, secret_file }
    }

    fn send(&self, target: &PokeTarget) -> Result<PokeAnswer, PokeError> {
        self.runtime.block_on(self.sender.send(&poke(), target))
    }
}

/// A server that always answers this.
fn server(status: &'static str, headers: &'static str, body: &str) -> Server {
    let body = body.to_owned();
    Server::start(move |_, _| Act::Answer(answer(status, headers, &body)))
}

#[test]
fn a_pipeline_is_triggered_as_gitlab_wants_it() {
    let bench = Bench::new();
    let page = "https://gitlab.example.org/group/app/-/pipelines/257";
    let server = server("201 Created", "", &format!(r#"{{"id":257,"web_url":"{page}"}}"#));
    let answer = bench.send(&bench.gitlab(&server.url("/gitlab"))).unwrap();
    assert_eq!((answer.status, answer.web_url.as_deref()), (201, Some(page)));
    let requests = server.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    let first = request.lines().next().unwrap();
    assert_eq!(
        first,
        "POST /gitlab/api/v4/projects/group%2Fsub%2Fapp/trigger/pipeline HTTP/1.1"
    );
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let image = format!("r.io/ruby:1@sha256:{}", "1".repeat(64));
    let expected = [
        pair("token", TOKEN),
        pair("ref", "ma/in"),
        pair("variables[BASE]", &image),
        pair("variables[WHAT]", "ruby/slim mäin"),
    ];
    assert_eq!(form(body(request)), expected);
    let head = request.split_once("\r\n\r\n").unwrap().0;
    assert!(!head.contains("glptt"), "the token is in the body alone: {head}");
    assert_eq!(
        header(request, "content-type"),
        Some("application/x-www-form-urlencoded")
    );
}

#[test]
fn a_webhook_is_told_all_and_can_tell_that_it_was_us() {
    let bench = Bench::new();
    let server = server("200 OK", "", "thanks");
    let secret = "hook secret";
    let answer = bench.send(&bench.hook(server.url("/x?y=1"), Some(secret))).unwrap();
    assert_eq!(
        (answer.status, answer.text.as_str(), answer.web_url),
        (200, "thanks", None)
    );
    bench.send(&bench.hook(server.url("/bare"), None)).unwrap();
    let requests = server.requests();
    let told: serde_json::Value = serde_json::from_str(body(&requests[0])).unwrap();
    let expected = serde_json::json!({
        "event": "released", "delivery": 7, "project": "ruby", "ref": "refs/heads/mäin", "commit": "ab".repeat(20),
        "image_name": "slim", "image": "r.io/ruby:1", "references": ["r.io/ruby:1", "r.io/ruby:latest"],
        "digest": format!("sha256:{}", "1".repeat(64)), "job": 12, "wave": 11,
    });
    assert_eq!(told, expected);
    for request in &requests {
        assert_eq!(header(request, "x-pipelined-event"), Some("released"));
        assert_eq!(header(request, "x-pipelined-delivery"), Some("7"));
        assert_eq!(header(request, "content-type"), Some("application/json"));
    }
    let signed = signed_by_openssl(secret, body(&requests[0]));
    assert_eq!(header(&requests[0], "x-hub-signature-256"), Some(signed.as_str()));
    assert_eq!(header(&requests[1], "x-hub-signature-256"), None);
}

#[test]
fn a_refusal_is_final_and_does_not_give_the_token_away() {
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let bench = Bench::new();
        // Some servers say in their complaint what they were told.
        let server = Server::start(move |_, request| {
            let echo = format!("{} and {TOKEN}", body(request));
            Act::Answer(answer(status, "", &serde_json::json!({ "message": echo }).to_string()))
        });
        let error = bench.send(&bench.gitlab(&server.url(""))).unwrap_err();
        assert!(error.rejected, "{error:?}");
        let said = error.message;
        assert!(
            said.starts_with(&format!("it answers {}: token=***&", &status[..3])),
            "{said}"
        );
        for part in ["glptt", "456", "0123"] {
            assert!(!said.contains(part), "{said}");
        }
    }
}

#[test]
fn a_short_token_is_no_word_of_an_answer_either() {
    let bench = Bench::new();
    bench.scratch.write("token", "x7\n");
    let server = server("201 Created", "", "you are x7");
    let answer = bench.send(&bench.gitlab(&server.url(""))).unwrap();
    assert_eq!(answer.text, "you are ***");
}

#[test]
fn what_may_go_better_later_is_no_refusal() {
    let bench = Bench::new();
    for status in ["429 Too Many Requests", "500 Oh", "502 Bad Gateway", "503 Away"] {
        let server = server(status, "Retry-After: 100\r\n", "<html>");
        let before = Timestamp::now();
        let error = bench.send(&bench.gitlab(&server.url(""))).unwrap_err();
        assert!(!error.rejected, "{error:?}");
        let wait = error.not_before.unwrap().duration_since(before).as_secs();
        assert!((99..130).contains(&wait), "{wait}");
    }
    // Nothing listens there any more.
    let gone = server("200 OK", "", "").url("");
    let error = bench.send(&bench.gitlab(&gone)).unwrap_err();
    assert!(!error.rejected && error.message.contains("refused"), "{error:?}");
    // Hangs up without a word, and in the middle of one.
    for said in ["", "HTTP/1.1 503 Away\r\nContent-Length: 100\r\n\r\nha"] {
        let server = Server::start(move |_, _| Act::HangUp(said.to_owned()));
        let error = bench.send(&bench.gitlab(&server.url(""))).unwrap_err();
        assert!(!error.rejected, "{error:?}");
    }
    let garbage = Server::start(|_, _| Act::HangUp("SSH-2.0-OpenSSH\r\n\r\n".to_owned()));
    let error = bench.send(&bench.gitlab(&garbage.url(""))).unwrap_err();
    assert!(!error.rejected, "{error:?}");
}

#[test]
fn no_redirect_takes_a_secret_elsewhere() {
    let bench = Bench::new();
    let other = server("201 Created", "", "{}");
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let location = other.url("/elsewhere");
        let first = Server::start(move |_, _| Act::Answer(answer(status, &format!("Location: {location}\r\n"), "")));
        for target in [bench.gitlab(&first.url("")), bench.hook(first.url("/"), Some("secret"))] {
            let error = bench.send(&target).unwrap_err();
            assert!(error.rejected, "{error:?}");
        }
    }
    assert_eq!(other.requests(), [""; 0]);
}

#[test]
fn endless_answers_are_cut() {
    let bench = Bench::new();
    let large = "x".repeat(5 << 20);
    let good = server("200 OK", "", &large);
    let answer = bench.send(&bench.hook(good.url("/"), None)).unwrap();
    assert_eq!(answer.text.len(), 500);
    // Nobody reads the rest.
    bench.runtime.block_on(good.wait_until_closed());
    let bad = server("403 No", "", &large);
    let error = bench.send(&bench.hook(bad.url("/"), None)).unwrap_err();
    assert!(error.rejected && error.message.len() < 400, "{}", error.message.len());
    bench.runtime.block_on(bad.wait_until_closed());
    // Its words are cut off, and it was taken all the same.
    let cut = Server::start(|_, _| Act::HangUp("HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nha".to_owned()));
    assert_eq!(bench.send(&bench.hook(cut.url("/"), None)).unwrap().status, 201);
}

#[test]
fn a_secret_that_cannot_be_read_is_tried_again() {
    let bench = Bench::new();
    let server = server("201 Created", "", "{}");
    let path = bench.scratch.join("token");
    let fails = |why: &str| {
        let error = bench.send(&bench.gitlab(&server.url(""))).unwrap_err();
        assert!(!error.rejected && error.message.contains(why), "{why}: {error:?}");
    };
    let large = "x".repeat(70_000);
    for (why, text) in [
        ("it is empty", &b""[..]),
        ("it is empty", b"\n"),
        ("it is not UTF-8", b"\xff\n"),
        ("it is too long", large.as_bytes()),
    ] {
        std::fs::write(&path, text).unwrap();
        fails(why);
    }
    std::fs::remove_file(&path).unwrap();
    fails("No such file");
    symlink(bench.scratch.path(), &path).unwrap();
    fails("it is no file");
    assert_eq!(server.requests(), [""; 0], "nothing goes out without its secret");
}
