//! Against a server that says what it is told to say, however odd.

use super::*;
use proptest::prelude::*;
use tokio::io::duplex;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        first_byte: Duration::from_secs(5),
        whole: Duration::from_secs(5),
        size: 1 << 20,
    }
}

fn packets(lines: &[&str]) -> Vec<u8> {
    let packet = |line: &&str| match *line {
        "." => "0000".to_owned(),
        line => format!("{:04x}{line}\n", line.len() + 5),
    };
    lines.iter().map(packet).collect::<String>().into_bytes()
}

fn hello() -> Vec<u8> {
    packets(&["version 2", "agent=x", "ls-refs", "object-format=sha1", "."])
}

fn refs() -> Vec<u8> {
    packets(&[&format!("{A} refs/heads/main"), "."])
}

fn v0() -> Vec<u8> {
    packets(&[&format!("{A} HEAD\0agent=x"), &format!("{A} refs/heads/main"), "."])
}

/// What the client made of it, and all that it said. Each answer is sent `step` bytes at a time: the first at once, the
/// next when the client has said a flush packet.
async fn talk(
    answers: &[Vec<u8>],
    step: usize,
    memory: Memory,
    known: Option<Digest>,
) -> (Result<(Reply, Memory), Trouble>, Vec<u8>) {
    let (mut client, mut server) = duplex(64);
    let serve = async move {
        let mut heard = Vec::new();
        for (index, answer) in answers.iter().enumerate() {
            while index > 0 && !heard.ends_with(b"00000000") {
                if server.read_buf(&mut heard).await.unwrap() == 0 {
                    return heard;
                }
            }
            let (mut reading, mut writing) = tokio::io::split(&mut server);
            let write = async {
                for piece in answer.chunks(step) {
                    // The client may have heard enough.
                    if writing.write_all(piece).await.is_err() {
                        break;
                    }
                }
            };
            tokio::pin!(write);
            loop {
                tokio::select! {
                    biased;
                    () = &mut write => break,
                    // An early request is read while we talk, or both would wait.
                    count = reading.read_buf(&mut heard) => if count.unwrap() == 0 { break },
                }
            }
        }
        let _ = server.shutdown().await;
        let _ = server.read_to_end(&mut heard).await;
        heard
    };
    let ask = async move {
        let answer = converse(&mut client, b"hi", memory, known, &limits()).await;
        drop(client);
        answer
    };
    tokio::join!(ask, serve)
}

fn v2() -> Memory {
    Memory(Some(ObjectFormat::Sha1))
}

#[tokio::test]
async fn the_same_answer_by_every_way() {
    for step in [1, 7, 1000] {
        let (answer, said) = talk(&[hello(), refs()], step, Memory::default(), None).await;
        let (reply, learned) = answer.unwrap();
        let Reply::Refs { list, digest } = reply.clone() else {
            panic!("{reply:?}")
        };
        assert_eq!(list.refs.len(), 1);
        assert_eq!(learned, v2());
        assert_eq!(
            said,
            [b"hi".to_vec(), ls_refs(ObjectFormat::Sha1), b"0000".to_vec()].concat()
        );

        // The request goes out at once, and the hello may differ.
        let other_hello = packets(&["version 2", "session-id=7", "ls-refs=unborn", "."]);
        let (answer, early) = talk(&[[other_hello, refs()].concat()], step, v2(), Some(digest)).await;
        assert_eq!(answer.unwrap(), (Reply::Unchanged, v2()));
        assert_eq!(early, said);
        let (answer, _) = talk(&[hello(), refs()], step, v2(), Some(Digest(1))).await;
        assert_eq!(answer.unwrap(), (reply, v2()));

        let (answer, said) = talk(&[v0()], step, Memory::default(), None).await;
        let (reply, learned) = answer.unwrap();
        let Reply::Refs { list: old, digest } = reply else {
            panic!("{reply:?}")
        };
        assert_eq!((old, learned), (list, Memory::default()));
        assert_eq!(said, b"hi0000");
        let (answer, _) = talk(&[v0()], step, Memory::default(), Some(digest)).await;
        assert_eq!(answer.unwrap().0, Reply::Unchanged);
    }
}

#[tokio::test]
async fn a_server_that_changed_is_noticed() {
    // It was v2 and is v0: its refs are there already, whatever it says to the early request.
    let complaint = [v0(), packets(&["ERR upload-pack: protocol error"])].concat();
    let (answer, _) = talk(&[complaint], 1000, v2(), None).await;
    let (reply, learned) = answer.unwrap();
    assert!(matches!(reply, Reply::Refs { list, .. } if list.refs.len() == 1));
    assert_eq!(learned, Memory::default());
    let sha256 = packets(&["version 2", "ls-refs", "object-format=sha256", "."]);
    for answer in [sha256, packets(&["ERR unknown"]), Vec::new()] {
        let (answer, _) = talk(&[answer], 1000, v2(), None).await;
        assert!(answer.unwrap_err().may_be_a_changed_server());
    }
}

#[tokio::test]
async fn nothing_but_a_whole_answer_is_an_answer() {
    let second = |bytes: &[u8]| vec![hello(), bytes.to_vec()];
    for (answers, memory) in [
        (vec![Vec::new()], Memory::default()),
        (vec![b"<html>".to_vec()], Memory::default()),
        (vec![hello()], Memory::default()),
        (vec![[hello(), refs()].concat()], Memory::default()),
        (second(b""), v2()),
        (second(b"000"), Memory::default()),
        (second(&refs()[..20]), v2()),
        (second(&[refs(), refs()].concat()), v2()),
    ] {
        let (answer, _) = talk(&answers, 1000, memory, None).await;
        assert!(matches!(answer, Err(Trouble::Wire(_))), "{answers:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_complaint_is_told_in_the_server_s_words() {
    let complaint = || packets(&["ERR no such thing"]);
    for (answers, memory) in [
        (vec![complaint()], Memory::default()),
        (vec![complaint()], v2()),
        (vec![hello(), complaint()], Memory::default()),
        (vec![[hello(), complaint()].concat()], v2()),
    ] {
        let (answer, _) = talk(&answers, 7, memory, None).await;
        let said = WireError::Server("no such thing".to_owned());
        assert!(
            matches!(&answer, Err(Trouble::Wire(words)) if *words == said),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn silence_and_endless_talk_end() {
    let (mut client, _server) = duplex(64);
    let short = Limits {
        first_byte: Duration::from_millis(20),
        size: 100,
        ..limits()
    };
    let answer = converse(&mut client, b"", Memory::default(), None, &short).await;
    assert!(matches!(answer, Err(Trouble::Silent(_))), "{answer:?}");
    // A server that does not even listen.
    let answer = converse(&mut client, &[b'x'; 100], Memory::default(), None, &short).await;
    assert!(matches!(answer, Err(Trouble::Silent(_))), "{answer:?}");

    let (mut client, mut server) = duplex(64);
    let line = packets(&[&format!("{A} refs/heads/main")]);
    let endless = tokio::spawn(async move { while server.write_all(&line).await.is_ok() {} });
    let answer = converse(&mut client, b"", Memory::default(), None, &short).await;
    assert!(matches!(answer, Err(Trouble::TooLong(100))), "{answer:?}");
    drop(client);
    endless.await.unwrap();
}

proptest! {
    #[test]
    fn no_cut_is_an_answer(cut in 0usize..200, step in 1usize..90, remembered: bool) {
        let whole = [hello(), refs()].concat();
        let cut = cut.min(whole.len() - 1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let memory = if remembered { v2() } else { Memory::default() };
        let (answer, _) = runtime.block_on(talk(&[whole[..cut].to_vec()], step, memory, None));
        prop_assert!(matches!(answer, Err(Trouble::Wire(_))), "{:?}", answer);
    }
}
