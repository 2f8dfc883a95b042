//! Promise 1, on disk: the record is whole, is ours, and is never replaced.

mod chains;
mod pokes;
mod updates;

use jiff::Timestamp;
use pipelined::model::{
    BaseUsed, CommitId, Content, Digest, Failure, ImageName, ImageRef, ImageResult, ImageStatus, Job, JobId, JobState,
    Outcome, PlannedRelease, ProjectName, Reason, RefName, ReleasePlan, ReleaseStage, Seen, Step, Write,
};
use pipelined::store::{DATABASE, JobFilter, Lock, LockError, Store, StoreError};
use proptest::prelude::*;
use rstest::rstest;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/databases/v1.db")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn commit(digits: &str) -> CommitId {
    CommitId::new(format!("{digits:0<40}")).unwrap()
}

fn reference(short: &[u8]) -> RefName {
    RefName::new([b"refs/heads/", short].concat()).unwrap()
}

fn project() -> ProjectName {
    ProjectName::new("p").unwrap()
}

fn job(id: i64, short: &[u8], digits: &str, state: JobState) -> Job {
    Job {
        atomic: None,
        wave: JobId(id),
        id: JobId(id),
        project: project(),
        reference: reference(short),
        commit: commit(digits),
        number: id,
        reason: if id % 2 == 0 { Reason::Manual } else { Reason::NewCommit },
        cause: format!("cause {id}"),
        place: id,
        created: at(id),
        state,
        attempts: 0,
        note: format!("note {id}"),
        failure: None,
        rebuild: None,
    }
}

fn queued(id: i64, short: &[u8], digits: &str) -> Job {
    job(id, short, digits, JobState::Queued { not_before: None })
}

fn put(job: &Job) -> Write {
    Write::Job {
        job: job.clone(),
        lasting: true,
    }
}

fn record(store: &mut Store, writes: &[Write]) -> Vec<String> {
    let begun = store.commit(writes, at(100), &|_, _, _| true).unwrap();
    begun.into_iter().map(|attempt| attempt.dir).collect()
}

/// A job in each state, the first attempt of each that has run, and a tip.
fn content() -> (Vec<Job>, Vec<Write>) {
    let failure = (Step::Pull, Failure::errored("the registry is \"away\""));
    let mut states = vec![
        JobState::Queued { not_before: None },
        JobState::Queued {
            not_before: Some(at(30)),
        },
        JobState::Running { cancelling: false },
        JobState::Running { cancelling: true },
    ];
    states.extend(Outcome::ALL.map(JobState::Done));
    let jobs: Vec<Job> = (1..)
        .zip(states)
        .map(|(id, state)| {
            let failed = matches!(state, JobState::Done(Outcome::Errored));
            Job {
                attempts: u32::from(failed),
                failure: failed.then(|| failure.clone()),
                ..job(id, format!("b{id}\"'%ü").as_bytes(), &format!("{id:08x}"), state)
            }
        })
        .collect();
    let mut writes = vec![
        Write::Selection {
            project: project(),
            selection: r#"[["*"],[]]"#.to_owned(),
        },
        Write::Ref {
            project: project(),
            reference: reference(b"odd-\xff"),
            commit: Some(commit("1")),
        },
    ];
    for job in &jobs {
        if !job.is_queued() {
            writes.extend([
                put(&queued(job.id.0, job.reference.short(), &job.commit.as_str()[..8])),
                Write::Attempt(job.id),
            ]);
        }
        if !job.is_live() {
            writes.push(Write::AttemptEnd {
                job: job.id,
                failure: job.failure.clone(),
                image_id: Some("sha256:1".to_owned()),
                images: Vec::new(),
                void: false,
            });
        }
        writes.push(put(job));
    }
    (jobs, writes)
}

/// Writes the fixture anew; only for as long as no release has the schema.
fn regenerate_the_fixture() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    record(&mut store, &content().1);
    store.note_poll(&project(), Some("no route"), at(50)).unwrap();
    drop(store);
    fs::create_dir_all(fixture().parent().unwrap()).unwrap();
    fs::copy(dir.path().join(DATABASE), fixture()).unwrap();
}

/// A workdir with a copy of the old database.
fn old() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(fixture(), dir.path().join(DATABASE)).unwrap();
    dir
}

#[test]
fn what_the_first_version_wrote_is_read() {
    if std::env::var_os("REGENERATE").is_some() {
        regenerate_the_fixture();
    }
    let dir = old();
    let mut store = Store::open(dir.path()).unwrap();
    let (jobs, _) = content();
    let records = store.jobs(&JobFilter::default()).unwrap();
    assert_eq!(records.iter().map(|r| r.job.clone()).collect::<Vec<_>>(), jobs);
    for record in &records {
        assert_eq!(record.finished.is_some(), !record.job.is_live());
        assert_eq!(record.attempts.len(), usize::from(!record.job.is_queued()));
        assert!(
            record
                .attempts
                .iter()
                .all(|a| a.ended.is_some() != record.job.is_live() && a.failure == record.job.failure)
        );
    }
    let state = store.load_state().unwrap();
    assert_eq!(state.next_id, 12);
    assert_eq!(
        state.jobs.values().collect::<Vec<_>>(),
        jobs.iter().filter(|j| j.is_live()).collect::<Vec<_>>()
    );
    let seen = Seen {
        refs: BTreeMap::from([(reference(b"odd-\xff"), commit("1"))]),
        selection: Some(r#"[["*"],[]]"#.to_owned()),
        last_number: 11,
    };
    assert_eq!(state.projects, BTreeMap::from([(project(), seen)]));
    let trouble = &store.remote_troubles().unwrap()[&project()];
    assert_eq!((trouble.since, trouble.error.as_str()), (at(50), "no route"));
    assert_eq!(store.instance().len(), 12);
    // And it goes on.
    record(&mut store, &[put(&queued(12, b"main", "c")), Write::Attempt(JobId(12))]);
    assert_eq!(Store::open_read(dir.path()).unwrap().load_state().unwrap().next_id, 13);
}

/// Every file of a workdir that holds a record, by name.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        // The index of the log is SQLite's scratch, and an empty log is none.
        .filter(|(name, bytes)| !(name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty()))
        .collect()
}

#[rstest]
fn a_newer_database_is_refused_and_left_alone(#[values(true, false)] in_the_log: bool) {
    let from = old();
    let connection = rusqlite::Connection::open(from.path().join(DATABASE)).unwrap();
    connection.pragma_update(None, "user_version", 7).unwrap();
    let dir = tempfile::tempdir().unwrap();
    if in_the_log {
        // As a crash of that newer version would leave it: its last words are in the log only.
        fs::copy(
            from.path().join("pipelined.db-wal"),
            dir.path().join("pipelined.db-wal"),
        )
        .unwrap();
    } else {
        connection
            .pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()))
            .unwrap();
    }
    fs::copy(from.path().join(DATABASE), dir.path().join(DATABASE)).unwrap();
    let before = files(dir.path());
    assert_eq!(before.len(), 1 + usize::from(in_the_log));
    for refused in [Store::open(dir.path()), Store::open_read(dir.path())] {
        let error = refused.unwrap_err();
        assert!(
            matches!(error, StoreError::Newer { found: 7, known: 4, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("schema 7, this one knows 4"), "{error}");
    }
    assert_eq!(files(dir.path()), before);
}

#[rstest]
#[case::a_page_of_rubbish(|bytes: &mut Vec<u8>| bytes[4096 * 3..4096 * 4].fill(0xa5))]
#[case::rubbish_in_the_header(|bytes: &mut Vec<u8>| bytes[16..100].fill(0xa5))]
#[case::the_schema_is_gone(|bytes: &mut Vec<u8>| bytes[100..4096].fill(0))]
#[case::cut_off(|bytes: &mut Vec<u8>| bytes.truncate(4096 * 3))]
#[case::cut_off_within_a_page(|bytes: &mut Vec<u8>| bytes.truncate(4096 * 2 + 17))]
#[case::only_the_magic_is_left(|bytes: &mut Vec<u8>| bytes.truncate(16))]
#[case::empty(|bytes: &mut Vec<u8>| bytes.clear())]
#[case::text(|bytes: &mut Vec<u8>| *bytes = b"dear diary, there is not a database here\n".to_vec())]
fn a_damaged_database_is_refused_and_left_alone(#[case] damage: fn(&mut Vec<u8>)) {
    let dir = old();
    let path = dir.path().join(DATABASE);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("the file was left as it is"), "{error}");
    assert_eq!(files(dir.path()), BTreeMap::from([(DATABASE.to_owned(), bytes)]));
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(DATABASE);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE jobs (id)").unwrap();
    drop(connection);
    let before = files(dir.path());
    let error = Store::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("another program's database"), "{error}");
    assert!(Store::open_read(dir.path()).is_err());
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_log_without_its_database_is_not_played_into_a_new_one() {
    let from = old();
    let mut store = Store::open(from.path()).unwrap();
    record(&mut store, &[put(&queued(12, b"main", "c"))]);
    let dir = tempfile::tempdir().unwrap();
    fs::copy(
        from.path().join("pipelined.db-wal"),
        dir.path().join("pipelined.db-wal"),
    )
    .unwrap();
    let before = files(dir.path());
    let error = Store::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("pipelined.db-wal is damaged"), "{error}");
    assert_eq!(files(dir.path()), before);
}

#[test]
fn what_a_crash_left_in_the_log_is_found() {
    let from = old();
    let mut store = Store::open(from.path()).unwrap();
    record(&mut store, &[put(&queued(12, b"main", "c"))]);
    let dir = tempfile::tempdir().unwrap();
    for name in [DATABASE, "pipelined.db-wal"] {
        fs::copy(from.path().join(name), dir.path().join(name)).unwrap();
    }
    assert_eq!(
        Store::open(dir.path()).unwrap().load_state().unwrap(),
        store.load_state().unwrap()
    );
}

#[test]
fn there_is_nothing_to_read_before_the_first_daemon() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open_read(dir.path()), Err(StoreError::Missing { .. })));
    assert_eq!(files(dir.path()), BTreeMap::new());
}

#[test]
fn one_may_read_while_the_daemon_writes() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Store::open(dir.path()).unwrap();
    let reader = Store::open_read(dir.path()).unwrap();
    for id in 1..4 {
        record(&mut writer, &[put(&queued(id, b"main", "c"))]);
        assert_eq!(reader.load_state().unwrap(), writer.load_state().unwrap());
    }
    // A reader that goes away takes nothing along.
    drop(reader);
    record(&mut writer, &[put(&queued(4, b"main", "c"))]);
    assert_eq!(Store::open_read(dir.path()).unwrap().load_state().unwrap().next_id, 5);
}

#[test]
fn no_file_of_the_record_can_be_read_by_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    record(&mut store, &[put(&queued(1, b"main", "c"))]);
    let _reader = Store::open_read(dir.path()).unwrap();
    for name in [DATABASE, "pipelined.db-wal", "pipelined.db-shm"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn all_of_a_decision_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    record(&mut store, &[put(&queued(1, b"main", "c"))]);
    let before = store.load_state().unwrap();
    let writes = [
        put(&queued(2, b"dev", "d")),
        Write::Ref {
            project: project(),
            reference: reference(b"dev"),
            commit: Some(commit("d")),
        },
        Write::Attempt(JobId(1)),
        Write::Attempt(JobId(99)),
    ];
    assert!(store.commit(&writes, at(1), &|_, _, _| true).is_err());
    assert_eq!(store.load_state().unwrap(), before);
    assert!(store.jobs(&JobFilter::default()).unwrap()[0].attempts.is_empty());
    // The next one is not hurt by it.
    assert_eq!(record(&mut store, &writes[..3]), ["c0000000"]);
}

#[test]
fn an_outcome_is_never_changed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let failed = job(1, b"main", "c", JobState::Done(Outcome::Failed));
    record(&mut store, &[put(&failed)]);
    record(
        &mut store,
        &[
            put(&job(1, b"main", "c", JobState::Done(Outcome::Succeeded))),
            put(&queued(1, b"main", "c")),
        ],
    );
    assert_eq!(store.job(JobId(1)).unwrap().unwrap().job, failed);
}

#[test]
fn a_directory_for_each_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut attempt = |id, short: &[u8], digits| {
        record(
            &mut store,
            &[put(&queued(id, short, digits)), Write::Attempt(JobId(id))],
        )
    };
    assert_eq!(attempt(1, b"main", "aaaaaaaa1111"), ["aaaaaaaa"]);
    assert_eq!(attempt(1, b"main", "aaaaaaaa1111"), ["aaaaaaaa.2"]);
    assert_eq!(attempt(2, b"main", "aaaaaaaa1111"), ["aaaaaaaa.3"]);
    // Elsewhere nothing collides.
    assert_eq!(attempt(3, b"dev", "aaaaaaaa1111"), ["aaaaaaaa"]);
    // Two commits of a ref with the same beginning are told apart from then on.
    assert_eq!(attempt(4, b"main", "aaaaaaaa2222"), ["aaaaaaaa2222"]);
    assert_eq!(attempt(5, b"main", "aaaaaaaa22223"), ["aaaaaaaa22223000"]);
    assert_eq!(attempt(6, b"main", "aaaaaaaa1111"), ["aaaaaaaa1111.4"]);
}

#[test]
fn a_name_that_is_taken_on_disk_is_passed_over_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let writes = [put(&queued(1, b"main", "aaaaaaaa")), Write::Attempt(JobId(1))];
    let taken = ["aaaaaaaa", "aaaaaaaa.2"];
    let begun = store
        .commit(&writes, at(1), &|_, _, name| !taken.contains(&name))
        .unwrap();
    assert_eq!((begun[0].n, begun[0].dir.as_str()), (1, "aaaaaaaa.3"));
    assert_eq!(record(&mut store, &writes), ["aaaaaaaa.4"]);
}

/// Every byte that git allows.
fn short_name() -> impl Strategy<Value = Vec<u8>> {
    let allowed: Vec<u8> = (0x21..=0xff).filter(|b| !b"./~^:?*[\\{\x7f".contains(b)).collect();
    prop::collection::vec(prop::sample::select(allowed), 1..100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_ref_name_comes_back_byte_for_byte(names in prop::collection::btree_set(short_name(), 1..30)) {
        let names: Vec<RefName> = names.iter().map(|short| reference(short)).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let writes: Vec<Write> = (1..)
            .zip(&names)
            .flat_map(|(id, name)| {
                let tip = Write::Ref { project: project(), reference: name.clone(), commit: Some(commit("c")) };
                [put(&Job { reference: name.clone(), ..queued(id, b"x", "c") }), tip]
            })
            .collect();
        record(&mut store, &writes);
        let state = store.load_state().unwrap();
        prop_assert_eq!(state.jobs.values().map(|job| &job.reference).collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
        prop_assert_eq!(store.refs(&project()).unwrap().into_keys().collect::<Vec<_>>(), names);
    }
}

#[test]
fn a_second_daemon_is_refused_and_told_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!Lock::is_held(dir.path()));
    let lock = Lock::take(dir.path()).unwrap();
    assert!(Lock::is_held(dir.path()));
    let error = Lock::take(dir.path()).unwrap_err();
    let told = format!(
        "another pipelined (pid {}) works in {}",
        std::process::id(),
        dir.path().display()
    );
    assert_eq!(error.to_string(), told);
    drop(lock);
    assert!(!Lock::is_held(dir.path()));
    Lock::take(dir.path()).unwrap();
}

#[test]
fn asking_for_a_daemon_is_not_in_the_way_of_one() {
    let dir = tempfile::tempdir().unwrap();
    drop(Lock::take(dir.path()).unwrap());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                Lock::is_held(dir.path());
            }
        });
        let refused = (0..500).filter(|_| Lock::take(dir.path()).is_err()).count();
        over.store(true, Ordering::Relaxed);
        assert_eq!(refused, 0);
    });
}

#[test]
fn the_lock_of_a_killed_daemon_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("pipelined.toml");
    fs::write(&config, "workdir = \".\"\n[projects]\n").unwrap();
    let mut holder = Command::new(env!("CARGO_BIN_EXE_pipelined"))
        .args(["run", "--config"])
        .arg(&config)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("started")));
    match Lock::take(dir.path()) {
        Err(LockError::InUse { pid, .. }) => assert_eq!(pid, holder.id().to_string()),
        other => panic!("{other:?}"),
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    Lock::take(dir.path()).unwrap();
}

fn digest(n: u8) -> Digest {
    Digest::new(format!("sha256:{}", format!("{n:02x}").repeat(32))).unwrap()
}

fn image(status: ImageStatus, n: u8, released: &[&str]) -> ImageResult {
    ImageResult {
        alike: [digest(n + 4)].into(),
        image: ImageName::new("app").unwrap(),
        status,
        note: "why \"so\"".to_owned(),
        fingerprint: "f".to_owned(),
        id: Some(digest(n)),
        digest: Some(digest(n + 1)),
        bases: vec![BaseUsed {
            name: "debian:12".to_owned(),
            reference: ImageRef::parse("debian:12").ok(),
            digests: vec![digest(n + 2)],
            id: None,
            diff_ids: vec![digest(n + 3)],
            platform: None,
            sibling: None,
            needed: None,
        }],
        released: released.iter().map(|r| ImageRef::parse(r).unwrap()).collect(),
    }
}

fn ended(job: i64, images: Vec<ImageResult>, void: bool) -> Write {
    Write::AttemptEnd {
        job: JobId(job),
        failure: None,
        image_id: None,
        images,
        void,
    }
}

#[test]
fn what_became_of_images_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let good = image(ImageStatus::Released, 1, &["r.io/a:1", "r.io/a:2"]);
    let bad = image(ImageStatus::Failed, 20, &[]);
    for (id, result) in [(1, &good), (2, &bad)] {
        let job = queued(id, b"main", &format!("{id}"));
        record(
            &mut store,
            &[
                put(&job),
                Write::Attempt(job.id),
                ended(id, vec![result.clone()], false),
            ],
        );
    }
    let key = (reference(b"main"), ImageName::new("app").unwrap());
    let last = store.last_good(&project()).unwrap();
    assert_eq!(last.keys().collect::<Vec<_>>(), [&key]);
    assert_eq!((last[&key].job, &last[&key].result), (JobId(1), &good));
    let images = store.images(None).unwrap();
    let [(Some(newest_good), newest)] = images.as_slice() else {
        panic!("{images:?}")
    };
    assert_eq!((&newest_good.result, &newest.result), (&good, &bad));
    assert_eq!(store.images_of_job(JobId(2)).unwrap()[0].result, bad);
    let releases = store.releases(&good.released).unwrap();
    assert_eq!(
        releases.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["r.io/a:1", "r.io/a:2"]
    );
    assert!(releases.values().all(|r| r.job == JobId(1) && r.digest == digest(2)));
}

#[test]
fn a_newer_release_is_not_overwritten_by_an_older_job() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    for (id, n) in [(2, 20), (1, 1)] {
        let job = queued(id, format!("b{id}").as_bytes(), "c");
        let result = image(ImageStatus::Released, n, &["r.io/a:1"]);
        record(
            &mut store,
            &[put(&job), Write::Attempt(job.id), ended(id, vec![result], false)],
        );
    }
    let releases = store.releases(&[ImageRef::parse("r.io/a:1").unwrap()]).unwrap();
    let release = releases.values().next().unwrap();
    assert_eq!((release.job, &release.digest), (JobId(2), &digest(21)));
}

#[test]
fn a_release_that_has_begun_goes_on_in_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut job = queued(1, b"main", "aaaaaaaa");
    let plan = ReleasePlan {
        stage: ReleaseStage::Moving,
        images: vec![PlannedRelease {
            result: image(ImageStatus::Built, 1, &[]),
            content: Content::Archive(".release/app.tar".to_owned()),
            targets: vec![ImageRef::parse("r.io/a:1").unwrap()],
        }],
        others: vec![image(ImageStatus::Failed, 9, &[])],
        failure: Some((Step::Test, Failure::failed("no"))),
        ..ReleasePlan::default()
    };
    let releasing = Write::Releasing {
        job: job.id,
        plan: plan.clone(),
    };
    record(&mut store, &[put(&job), Write::Attempt(job.id), releasing]);
    assert_eq!(store.load_state().unwrap().releasing, [(job.id, plan.clone())].into());
    let begin = |store: &mut Store, there: bool| {
        let writes = [Write::Attempt(JobId(1))];
        let begun = store.commit(&writes, at(1), &|_, _, _| !there).unwrap();
        (begun[0].n, begun[0].dir.clone(), begun[0].resume.clone())
    };
    assert_eq!(begin(&mut store, true), (2, "aaaaaaaa".to_owned(), Some(plan.clone())));
    assert_eq!(begin(&mut store, true), (3, "aaaaaaaa".to_owned(), Some(plan)));
    // Somebody has removed the directory: there is nothing to go on with.
    assert_eq!(begin(&mut store, false), (4, "aaaaaaaa.2".to_owned(), None));
    // An end of the job is the end of its plan.
    let again = Write::Releasing {
        job: job.id,
        plan: ReleasePlan::default(),
    };
    record(&mut store, std::slice::from_ref(&again));
    record(&mut store, &[ended(1, Vec::new(), true)]);
    assert!(store.release_plans().unwrap().is_empty());
    record(&mut store, &[again]);
    job.state = JobState::Done(Outcome::Cancelled);
    record(&mut store, &[put(&job)]);
    assert!(store.release_plans().unwrap().is_empty());
}
