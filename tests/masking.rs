//! Promise 7: values of an env_file are in no log, no error, no answer and no record, however a step prints them.

#![cfg(test)]

mod support;

use pipelined::model::{FailureKind, JobId, Step};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::daemon::{Site, build_log};
use support::jobs::wait_outcome;
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for};

const LONG: Duration = Duration::from_secs(60);
const MAIN: &str = "refs/heads/main";
/// What is secret, as the env file has it, and what stands nowhere else.
const TOKEN: &str = "tok-5f3a/9c\"e7 d1?";
const WORD: &str = "correct-horse";
/// TOKEN, WORD: whole, in base64, percent-encoded and as JSON has it.
const FORMS: [&str; 6] = [
    TOKEN,
    WORD,
    "dG9rLTVmM2EvOWMiZTcgZDE_",
    "Y29ycmVjdC1ob3JzZQ",
    "tok-5f3a%2F9c%22e7%20d1%3F",
    "tok-5f3a/9c\\\"e7 d1?",
];

fn runner(dir: &Path, values: &[&str]) -> Runner {
    Runner {
        supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
        marker: Marker::job("masking", JobId(1), 1),
        env: Vec::new(),
        cancel: Cancel::new(),
        grace: Duration::from_millis(300),
        log: Some((dir.join("build.log"), 1 << 30)),
        masks: Masks::new(values).unwrap(),
    }
}

fn sh(script: &str) -> Vec<OsString> {
    ["sh", "-c", script].map(OsString::from).to_vec()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let below = entries.flat_map(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => files(&entry.path()),
        kind if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    });
    below.collect()
}

#[track_caller]
fn assert_clean(what: &str, bytes: &[u8]) {
    for form in FORMS {
        let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
        assert!(!found, "{form} is in {what}: {}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn an_env_files_values_are_nowhere() {
    let scratch = Scratch::new();
    let path = scratch.path().display();
    scratch.write("secret.env", format!("TOKEN={TOKEN}\nWORD={WORD}\nTINY=1\n"));
    // In pieces with pauses, on both streams, encoded, and at the very end.
    scratch.script(
        "prints",
        "printf 'pieces '; for i in $(echo $WORD | sed 's/./& /g'); do printf %s \"$i\"; sleep 0.02; done; echo\n\
         echo \"whole $TOKEN\" >&2; printf %s \"$TOKEN\" | base64; printf %s \"$WORD\" | base64 | tr -d =; echo $TINY\n\
         echo 'tok-5f3a%2F9c%22e7%20d1%3F tok-5f3a/9c\\\"e7 d1? dG9rLTVmM2EvOWMiZTcgZDE_'\n\
         rm \"${0%/*}/$WORD\"; printf 'end %s' \"$TOKEN\"",
    );
    // There when the config is read, and gone when it is to be started.
    scratch.script(WORD, "");
    scratch.script(
        "fails",
        &format!("echo told: $BUILD_ERROR > {path}/told\necho $WORD\nexit 1"),
    );
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("f", "1")]);
    let site = Site::new(
        &scratch,
        &format!(
            "interval = \"100ms\"\n[projects.p]\nremote = \"{path}/repo\"\nenv_file = \"{path}/secret.env\"\n\
             prepare_callback = \"{path}/prints\"\n\
             success_callback = [\"{path}/{WORD}\", '{TOKEN}', 'tail']\nerror_callback = \"{path}/fails\"\n"
        ),
    );
    let daemon = site.start();
    wait_outcome(&site, &commit, "failed");
    let dir = site.job_dir("p", MAIN, &format!("{}.tmp", short(&commit)));
    wait_for("the error callback", SOON, || {
        scratch.join("told").metadata().ok().filter(|m| m.len() > 0)
    });
    let status = site.json(&["status", "p", "--json"]).to_string();
    drop(daemon);
    let log = build_log(&dir);
    let printed = "pieces ***\nwhole ***\n***\n***\n1\n*** *** ***\nend ***\n===";
    assert!(log.contains(printed), "{log}");
    assert!(log.contains("'***' tail"), "{log}");
    let told = std::fs::read_to_string(scratch.join("told")).unwrap();
    assert!(told.contains("cannot start") && told.contains("***"), "{told}");
    let seen = files(&site.workdir);
    assert!(seen.iter().any(|f| f.ends_with("pipelined.db")) && seen.iter().any(|f| f.ends_with("build.json")));
    for file in seen.iter().chain([&site.log, &scratch.join("told")]) {
        assert_clean(&file.display().to_string(), &std::fs::read(file).unwrap());
    }
    assert_clean("status", status.as_bytes());
}

#[test]
fn secrets_that_cannot_be_masked_are_not_given_to_steps() {
    let scratch = Scratch::new();
    let path = scratch.path().display();
    let long = "long-secret ".repeat(6000);
    scratch.write("secret.env", format!("LONG={}\n", long.trim()));
    scratch.script("fails", &format!("echo \"<$LONG> $BUILD_ERROR\" > {path}/told"));
    let repo = Repo::new(scratch.join("repo"));
    repo.commit(&[("f", "1")]);
    let site = Site::new(
        &scratch,
        &format!(
            "retry.attempts = 1\n[projects.p]\nremote = \"{path}/repo\"\nenv_file = \"{path}/secret.env\"\n\
             error_callback = \"{path}/fails\"\n"
        ),
    );
    let _daemon = site.start();
    let told = wait_for("the error callback", SOON, || {
        std::fs::read_to_string(scratch.join("told"))
            .ok()
            .filter(|t| t.ends_with('\n'))
    });
    assert!(
        told.starts_with("<> ") && told.contains("too long to be masked"),
        "{told}"
    );
}

/// git and ssh quote what they are told to use: in errors, and in the reason why git asks.
#[test]
fn what_polls_say_is_clean_also() {
    let scratch = Scratch::new();
    let ssh = "/nowhere/s3cret-ab12";
    let variant = "variant-cd34";
    let secret = scratch.write("secret.env", format!("GIT_SSH={ssh}\n"));
    let other = scratch.write("other.env", format!("GIT_SSH_VARIANT={variant}\n"));
    let project = |name: &str, more: &str| format!("[projects.{name}]\nremote = 'ssh://127.0.0.1:9/{name}'\n{more}\n");
    let toml = "interval = '100ms'\n".to_owned()
        + &project("secret", &format!("env_file = '{}'", secret.display()))
        + &project("other", &format!("env_file = '{}'", other.display()))
        + &project("open", "env = { GIT_SSH = '/nowhere/public' }");
    let site = Site::new(&scratch, &toml).with_env([("HOME", scratch.mkdir("home"))]);
    let daemon = site.start();
    let status = wait_for("the polls to fail", SOON, || {
        let output = site.cli(&["status", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let all = ["/secret: ", "/other: ", "/nowhere/public"]
            .iter()
            .all(|word| text.contains(word));
        all.then_some(text)
    });
    let plan = site.cli(&["plan", "--json"]);
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(plan.contains("/nowhere/public"), "{plan}");
    for (what, text) in [("status", status), ("plan", plan), ("the daemon's log", daemon.log())] {
        assert!(text.contains("***"), "{what} has no secret to be masked: {text}");
        assert!(
            !text.contains("s3cret-ab12") && !text.contains(variant),
            "{what}: {text}"
        );
    }
}

#[tokio::test]
async fn a_flood_is_as_it_was_but_for_the_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), &[TOKEN, WORD, "a-line-that-never-comes"]);
    // The lines have lengths that cut the secret at every place of a chunk.
    let script =
        format!("yes 'a line of {WORD} and correct-hors' | head -c 100000000; echo; head -c 3000000 /dev/zero");
    let begin = Instant::now();
    assert_eq!(
        runner
            .logged(Step::Build, &sh(&script), dir.path(), LONG)
            .await
            .unwrap(),
        0
    );
    let took = begin.elapsed();
    let log = std::fs::read(dir.path().join("build.log")).unwrap();
    let start = log.iter().position(|b| *b == b'\n').unwrap() + 1;
    let line = format!("a line of {WORD} and correct-hors\n");
    let masked = b"a line of *** and correct-hors\n";
    let (lines, rest) = (100_000_000 / line.len(), 100_000_000 % line.len());
    println!("{lines} secrets in 100 MB took {took:?}");
    let (body, tail) = log[start..].split_at(lines * masked.len());
    assert!(body.chunks(masked.len()).all(|l| l == masked), "a line was changed");
    let cut = line[..rest].replace(WORD, "***");
    let mut expected = format!("{cut}\n").into_bytes();
    expected.resize(expected.len() + 3_000_000, 0);
    assert!(tail == expected, "the end was changed");
}

#[tokio::test]
async fn the_limit_counts_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = runner(dir.path(), &[WORD]);
    runner.log = Some((dir.path().join("build.log"), 100_000));
    let script = format!("yes {WORD} | head -n 20000");
    assert_eq!(
        runner
            .logged(Step::Build, &sh(&script), dir.path(), LONG)
            .await
            .unwrap(),
        0
    );
    let log = std::fs::read_to_string(dir.path().join("build.log")).unwrap();
    // 20,000 lines of 4 bytes fit.
    assert_eq!(log.matches("***\n").count(), 20_000);
    assert!(!log.contains("bytes left out"), "{}", log.len());
}

#[tokio::test]
async fn a_line_is_there_at_once_also_with_masks() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), &[TOKEN, WORD, "stamps-and-more"]);
    let script = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo stamp $(date +%s%N); sleep 0.02; done";
    let path = dir.path().join("build.log");
    let argv = sh(script);
    let watch = async {
        let (mut seen, mut late) = (0, Vec::new());
        while seen < 20 {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap();
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            let stamps: Vec<u64> = whole
                .lines()
                .filter_map(|l| l.strip_prefix("stamp ")?.parse().ok())
                .collect();
            late.extend(
                stamps
                    .iter()
                    .skip(seen)
                    .map(|s| now.saturating_sub(Duration::from_nanos(*s))),
            );
            seen = stamps.len();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        late.sort_unstable();
        late
    };
    let (code, late) = tokio::join!(runner.logged(Step::Build, &argv, dir.path(), LONG), watch);
    assert_eq!(code.unwrap(), 0);
    // The median: a busy machine may hold up one of them.
    assert!(late[10] < Duration::from_millis(100), "{late:?}");
}

#[tokio::test]
async fn captured_errors_are_masked_and_data_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), &[WORD]);
    let script = format!("echo {WORD}; echo fatal: {WORD} is wrong >&2; exit 1");
    let done = runner
        .capture(Step::Pull, &sh(&script), dir.path(), LONG, 1000)
        .await
        .unwrap();
    assert_eq!(
        (done.stdout.as_slice(), done.last_words()),
        (format!("{WORD}\n").as_bytes(), "fatal: *** is wrong")
    );
    let failure = runner
        .logged(Step::Prepare, &[format!("/nowhere/{WORD}").into()], dir.path(), LONG)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed);
    assert!(failure.message.contains("/nowhere/***"), "{failure}");
}

#[tokio::test]
async fn as_many_secrets_as_there_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let values: Vec<String> = (0..900).map(|n| format!("{n:04}-value-{n:020}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut runner = runner(dir.path(), &values);
    runner.env = vec![("V".into(), values[899].into())];
    // More than a pipe takes; and nothing of it is the command's.
    let script = "cat; echo \"<$V>\"; tr '\\0' ' ' < /proc/$PPID/cmdline | grep -c valu[e]";
    assert_eq!(
        runner.logged(Step::Build, &sh(script), dir.path(), LONG).await.unwrap(),
        1
    );
    let log = std::fs::read_to_string(dir.path().join("build.log")).unwrap();
    assert!(log.contains("\n<***>\n0\n"), "{log}");
}

#[test]
fn a_daemon_that_dies_before_all_is_said_starts_nothing() {
    let scratch = Scratch::new();
    for said in [
        &b""[..],
        &[9, 0],
        &[9, 0, 0, 0, 5, 0, 0, 0, b'a', b'b'],
        &[255; 8],
        &[1, 0, 0, 0, 7],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pipelined"))
            .args(["supervise", "60000", "100", "0", "1000", "touch"])
            .arg(scratch.join("started"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(said).unwrap();
        assert!(!child.wait().unwrap().success(), "{said:?}");
        assert!(!scratch.join("started").exists(), "{said:?}");
    }
}
