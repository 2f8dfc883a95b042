//! Promise 7: `build.log` is whole, live and bounded; the daemon's own log is as it was asked for.

#![cfg(test)]

mod support;

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::daemon::{Site, build_log};
use support::jobs::{supervisors, wait_outcome};
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for};

const MAIN: &str = "refs/heads/main";
const LINE: &[u8] = b"a line of a build that has very much to say, again and again and again\n";
const MANY: usize = 200_000_000;

/// The most memory that a process has had at once, in KiB.
fn peak(pid: nix::unistd::Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[test]
fn two_hundred_megabytes_live_and_limited() {
    let scratch = Scratch::new();
    let path = scratch.path().display();
    let line = std::str::from_utf8(LINE).unwrap().trim_end();
    // Each stamp is written right before the line that it belongs to.
    scratch.script(
        "loud",
        &format!("yes '{line}' | head -c {MANY}\necho\necho loud is done"),
    );
    let stamps = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo stamp $(date +%s%N); sleep 0.02; done; echo last words";
    scratch.script("stamps", stamps);
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("f", "1")]);
    let config = |more: &str| {
        format!(
            "interval = \"100ms\"\n{more}\n[projects.p]\nremote = \"{path}/repo\"\nprepare_callback = \"{path}/loud\"\n\
             success_callback = \"{path}/stamps\"\n"
        )
    };
    let site = Site::new(&scratch, &config(""));
    let daemon = site.start();
    let tmp = site.job_dir("p", MAIN, &format!("{}.tmp", short(&commit)));
    let mut of_supervisor = 0;
    wait_for("the step to be over", SOON, || {
        let peaks = supervisors(&site.workdir).into_iter().filter_map(peak);
        of_supervisor = peaks.chain([of_supervisor]).max()?;
        let log = std::fs::metadata(tmp.join("build.log")).ok()?;
        (log.len() > u64::try_from(MANY).unwrap()).then_some(())
    });
    // Followed from the beginning to the end, over the rename.
    let mut follow = site
        .command(&["log", "p", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut followed = follow.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        followed.read_to_end(&mut bytes).map(|_| bytes)
    });
    // As people see it: how old a stamp is when it is first seen.
    let (mut seen, mut late) = (0, Duration::ZERO);
    let log = tmp.join("build.log");
    let end = Instant::now() + SOON;
    let mut file = wait_for("the log", SOON, || std::fs::File::open(&log).ok());
    let mut tail = String::new();
    let skip = u64::try_from(MANY).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(skip)).unwrap();
    while seen < 20 && Instant::now() < end {
        let mut more = Vec::new();
        file.read_to_end(&mut more).unwrap();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        tail += &String::from_utf8_lossy(&more);
        let stamps: Vec<u64> = tail
            .lines()
            .filter_map(|l| l.strip_prefix("stamp ")?.parse().ok())
            .collect();
        if seen > 0 || stamps.len() < 20 {
            for stamp in stamps.iter().skip(seen) {
                late = late.max(now.saturating_sub(Duration::from_nanos(*stamp)));
            }
        }
        seen = stamps.len();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(seen, 20, "{tail}");
    let dir = site.wait_built("p", MAIN, &commit);
    let of_daemon = peak(daemon.pid()).unwrap();
    println!("latest stamp after {late:?}; peaks: daemon {of_daemon} KiB, supervisor {of_supervisor} KiB");
    assert!(late < Duration::from_secs(1), "a line was seen after {late:?}");
    assert!(
        of_daemon < 40_000 && of_supervisor < 40_000,
        "{of_daemon} {of_supervisor}"
    );
    assert!(of_supervisor > 0);

    let whole = std::fs::read(dir.join("build.log")).unwrap();
    assert!(follow.wait().unwrap().success());
    assert!(
        reader.join().unwrap().unwrap() == whole,
        "what was followed is not what is there"
    );
    let begin = whole.windows(LINE.len()).position(|w| w == LINE).unwrap();
    assert!(
        whole[..begin].ends_with(b"loud\n"),
        "the header of the step comes right before"
    );
    let payload = &whole[begin..begin + MANY];
    let intact = payload.chunks(LINE.len()).all(|line| LINE.starts_with(line));
    assert!(intact && payload.len() == MANY, "the payload was changed");
    assert!(
        whole[begin + MANY..].starts_with(b"\nloud is done\n==="),
        "nothing else is between"
    );
    assert!(build_log(&dir).contains("\nlast words\n"));

    // With a limit the log is cut, says so, and the job goes on.
    site.write_config(&config("log_limit = \"1MB\""));
    assert!(site.cli(&["reload"]).status.success());
    let commit = repo.commit(&[("f", "2")]);
    let dir = site.wait_built("p", MAIN, &commit);
    let log = build_log(&dir);
    assert!((1_000_000..1_010_000).contains(&log.len()), "{}", log.len());
    assert!(log.contains("bytes left out"));
}

#[test]
fn the_daemons_own_log() {
    let scratch = Scratch::new();
    let path = scratch.path().display().to_string();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("f", "1")]);
    let project = format!("[projects.p]\nremote = \"{path}/repo\"\n");
    let logs = scratch.mkdir("logs");
    for day in 1..=5 {
        std::fs::write(logs.join(format!("pipelined.2020-01-0{day}.log")), "old\n").unwrap();
    }
    let json = "log_format = \"json\"\n";
    let site = Site::new(
        &scratch,
        &format!("{json}log_dir = \"{path}/logs\"\nlog_keep = 3\n{project}"),
    );
    let daemon = site.start();
    wait_outcome(&site, &commit, "succeeded");
    let is_json = |text: &str| {
        assert!(text.lines().count() >= 3, "{text}");
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(value["level"].is_string() && value["message"].is_string(), "{line}");
        }
    };
    is_json(&daemon.log());
    assert!(daemon.log().contains("\"timestamp\""));
    let files = || -> Vec<String> {
        let entries = std::fs::read_dir(&logs).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let there = wait_for("old files to go", SOON, || Some(files()).filter(|f| f.len() <= 3));
    let newest = there.last().unwrap();
    assert!(!newest.contains("2020"), "{there:?}");
    is_json(&std::fs::read_to_string(logs.join(newest)).unwrap());
    drop(daemon);

    // journald has its own clock; a file has not.
    for (format, stamp) in [("text", "Z  INFO"), ("json", "\"timestamp\"")] {
        std::fs::remove_file(&site.log).unwrap();
        let quiet = Site::new(&scratch, "").with_env([("JOURNAL_STREAM", "8:1234")]);
        quiet.write_config(&format!(
            "log_format = \"{format}\"\nlog_dir = \"{path}/logs\"\n{project}"
        ));
        let daemon = quiet.start();
        let log = daemon.log();
        assert!(log.contains("started") && !log.contains(stamp), "{log}");
        assert!(
            log.lines().all(|line| line.starts_with("<6>")),
            "no level for journald: {log}"
        );
        let file = std::fs::read_to_string(logs.join(files().last().unwrap())).unwrap();
        assert!(file.contains(stamp), "{file}");
        drop(daemon);
    }
}
