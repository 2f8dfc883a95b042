//! The record of pokes: what is to be delivered comes back, and of what has ended enough is kept for people.

use super::*;
use pipelined::model::{Node, Poke, PokeAnswer, PokeEnd, PokeId, PokeKind, PokeOutcome, PokePlace};

fn poke(id: i64, key: &str) -> Poke {
    let image = ImageRef::parse("r.io/a:1").unwrap();
    Poke {
        id: PokeId(id),
        node: Node {
            project: project(),
            // No text, as names of refs may be.
            reference: reference(b"\xff"),
            image: ImageName::new("app").unwrap(),
        },
        job: JobId(3),
        commit: commit("a"),
        wave: JobId(2),
        references: vec![image.clone()],
        image,
        digest: Digest::new(format!("sha256:{id:064x}")).ok(),
        place: PokePlace {
            kind: PokeKind::Gitlab,
            url: "https://h".to_owned(),
            project: Some("g/a".to_owned()),
            reference: Some("main".to_owned()),
            key: key.to_owned(),
        },
        since: at(id),
        attempts: 1,
        next: at(id + 2),
        error: Some("it answers 503".to_owned()),
        end: None,
    }
}

fn ended_as(poke: Poke, how: PokeOutcome) -> Poke {
    let end = Some(PokeEnd { at: at(900), how });
    Poke { end, ..poke }
}

fn delivered(poke: Poke) -> Poke {
    let answer = PokeAnswer {
        status: 201,
        text: "{\"id\":1}".to_owned(),
        web_url: Some("https://h/1".to_owned()),
    };
    ended_as(poke, PokeOutcome::Delivered(answer))
}

fn record(store: &mut Store, pokes: &[Poke]) {
    let writes: Vec<Write> = pokes.iter().map(|poke| Write::Poke(Box::new(poke.clone()))).collect();
    store.commit(&writes, at(0), &|_, _, _| true).unwrap();
}

fn ids(pokes: &[Poke]) -> Vec<i64> {
    pokes.iter().map(|poke| poke.id.0).collect()
}

#[test]
fn what_is_to_be_delivered_comes_back_and_what_has_ended_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let state = store.load_state().unwrap();
    assert_eq!((state.pokes.len(), state.next_poke), (0, 1));
    record(&mut store, &[poke(1, "k"), poke(2, "l"), poke(3, "k")]);
    let again = Poke {
        attempts: 2,
        ..poke(2, "l")
    };
    record(&mut store, &[again.clone(), delivered(poke(3, "k"))]);
    let state = Store::open_read(dir.path()).unwrap().load_state().unwrap();
    let expected = [poke(1, "k"), again].map(|poke| (poke.id, poke));
    assert_eq!((state.pokes, state.next_poke), (expected.into(), 4));
    let all = store.pokes(Some(&project())).unwrap();
    assert_eq!(ids(&all), [3, 2, 1]);
    assert_eq!(all[0], delivered(poke(3, "k")));
    assert_eq!(store.pokes(Some(&ProjectName::new("q").unwrap())).unwrap(), []);
    assert_eq!(store.pokes(None).unwrap(), all);
}

#[test]
fn the_last_of_each_place_are_kept_and_the_last_that_was_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    record(
        &mut store,
        &[delivered(poke(1, "l")), delivered(poke(2, "k")), poke(3, "k")],
    );
    for id in 4..=20 {
        record(&mut store, &[ended_as(poke(id, "k"), PokeOutcome::Rejected)]);
    }
    let kept = ids(&store.pokes(None).unwrap());
    assert_eq!(kept, [20, 19, 18, 17, 16, 3, 2, 1], "what waits is never pruned");
    // No number is used twice, not after all of that.
    assert_eq!(store.load_state().unwrap().next_poke, 21);
    for id in 21..=30 {
        record(&mut store, &[delivered(poke(id, "k"))]);
    }
    assert_eq!(ids(&store.pokes(None).unwrap()), [30, 29, 28, 27, 26, 3, 1]);
}

#[test]
fn what_no_version_of_ours_writes_is_told_of_pokes() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    record(&mut store, &[poke(1, "k")]);
    let connection = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    connection.execute("UPDATE pokes SET known = '{}'", []).unwrap();
    let error = store.load_state().unwrap_err().to_string();
    assert!(error.contains("poke"), "{error}");
}
