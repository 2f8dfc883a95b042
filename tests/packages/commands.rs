//! Commands of the user's: what they say, and what is never taken for "no update".

use crate::common::{Bench, COMMIT, block_on};
use crate::support::podman::BUSYBOX;
use pipelined::model::{CommitId, Job, JobId, JobState, Outcome, ProjectName, Reason, RefName};
use std::path::Path;

fn job() -> Job {
    Job {
        atomic: None,
        wave: JobId(0),
        id: JobId(3),
        project: ProjectName::new("p").unwrap(),
        reference: RefName::new(b"refs/heads/main".to_vec()).unwrap(),
        commit: CommitId::new(COMMIT).unwrap(),
        number: 7,
        reason: Reason::NewCommit,
        cause: String::new(),
        place: 3,
        created: jiff::Timestamp::UNIX_EPOCH,
        state: JobState::Done(Outcome::Succeeded),
        attempts: 1,
        note: String::new(),
        failure: None,
        rebuild: None,
    }
}

#[test]
fn a_command_says_it_by_its_exit_code_or_its_file() {
    let mut bench = Bench::new();
    let image = bench.local(BUSYBOX);
    let write = |text: &str| format!("printf '{text}' >\"$PIPELINED_UPDATE_RESULT\"");
    let good: &[(String, bool, &[&str])] = &[
        ("exit 0".to_owned(), false, &[]),
        ("exit 100".to_owned(), true, &[]),
        ("exit 101".to_owned(), true, &[]),
        (write("NO_UPGRADE_NEEDED\\n"), false, &[]),
        (write("UPGRADE_NEEDED"), true, &[]),
        (
            format!("{}; exit 100", write("UPGRADE_NEEDED\\nopenssl 3.0.1 3.0.2\\n")),
            true,
            &["openssl 3.0.1 3.0.2"],
        ),
    ];
    for (script, needed, updates) in good {
        bench.script(script);
        assert_eq!(
            bench.found(&image),
            (*needed, updates.iter().map(|u| (*u).to_owned()).collect()),
            "{script}"
        );
    }
    let bad: &[(String, &str)] = &[
        (
            "echo oops >&2; exit 7".to_owned(),
            "exited with 7: 0 is no update, 100 and 101 are some (oops): see update-check.log",
        ),
        ("exit 1".to_owned(), "exited with 1"),
        ("exit 125".to_owned(), "exited with 125"),
        ("exit 126".to_owned(), "exited with 126"),
        ("exit 127".to_owned(), "exited with 127"),
        ("sh -c 'kill -KILL $$'; exit $?".to_owned(), "exited with 137"),
        (write("NO_UPGRADE_NEEDED") + "; exit 7", "exited with 7"),
        (
            write("NO_UPGRADE_NEEDED") + "; exit 100",
            "its result is NO_UPGRADE_NEEDED",
        ),
        (write(""), "neither"),
        (write("maybe"), "neither"),
        (write("NO_UPGRADE_NEEDED\\nopenssl 1 2"), "there is more in it"),
        ("mkdir \"$PIPELINED_UPDATE_RESULT\"".to_owned(), "not a regular file"),
        ("mkfifo \"$PIPELINED_UPDATE_RESULT\"".to_owned(), "not a regular file"),
        (
            "ln -s /etc/hostname \"$PIPELINED_UPDATE_RESULT\"".to_owned(),
            "cannot be read",
        ),
        (
            "yes | head -c 2000000 >\"$PIPELINED_UPDATE_RESULT\"".to_owned(),
            "more than 1048576 bytes",
        ),
    ];
    for (script, words) in bad {
        bench.script(script);
        let error = bench.error(&image);
        assert!(error.contains(words), "{script}: {error}");
        assert!(!error.contains("build.log"), "{script}: {error}");
    }
    bench.command(&["no-such-command"]);
    assert!(bench.error(&image).contains("cannot be started in this image"));
    let log = bench.log();
    let headers = log
        .lines()
        .filter(|line| line.contains("update check: p refs/heads/main app: "));
    assert_eq!(headers.count(), good.len() + bad.len() + 1, "{log}");
    assert!(
        log.contains("oops\n") && log.contains("1 update: openssl 3.0.1 → 3.0.2"),
        "{log}"
    );
}

#[test]
fn the_container_has_few_rights_and_nothing_of_the_host() {
    let mut bench = Bench::new();
    let image = bench.build("odd", "USER 1234\nENTRYPOINT [\"/bin/false\"]\n");
    bench.script(
        "id -u; grep -E '^(NoNewPrivs|CapBnd|CapEff)' /proc/self/status; grep pipelined /proc/mounts; \
         touch /written /bin/written && echo writable; chown 5 /written && echo chown; \
         mknod /null c 1 3 || echo no mknod; mount -t tmpfs t /mnt || echo no mount; exit 100",
    );
    assert!(bench.found(&image).0);
    let log = bench.log();
    for line in [
        "\n0\n",
        "NoNewPrivs:\t1",
        "\nwritable\n",
        "\nchown\n",
        "\nno mknod\n",
        "\nno mount\n",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    // CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID.
    assert!(log.contains("CapBnd:\t00000000000000eb"), "{log}");
    assert_eq!(log.matches(" /run/pipelined-update ").count(), 1, "{log}");

    // What it starts is limited: a fork bomb is an error or an end, and not the end of the machine.
    bench.script("i=0; while [ $i -lt 600 ]; do sleep 5 & i=$((i+1)); done; exit 100");
    assert!(!block_on(bench.look(&image)).is_ok_and(|found| !found.needed));
}

#[test]
fn the_project_is_seen_as_a_test_sees_it_and_secrets_are_masked() {
    let secret = "hunter2-is-secret";
    let scratch = tempfile::tempdir().unwrap();
    let env_file = scratch.path().join("env");
    std::fs::write(&env_file, format!("TOKEN={secret}\n")).unwrap();
    let project = format!("env = {{ SHOWN = 'shown-value' }}\nenv_file = {env_file:?}\n");
    let mut bench = Bench::empty(&project);
    bench.podman.load_busybox();
    let image = bench.local(BUSYBOX);
    bench.script(
        "env | sort; [ \"$TOKEN\" = hunter2-is-secret ] && echo has it; \
         printf 'UPGRADE_NEEDED\\nopenssl 1 2\\n' >$PIPELINED_UPDATE_RESULT",
    );
    assert!(bench.found(&image).0);
    let log = bench.log();
    for line in [
        "SHOWN=shown-value\n",
        "TOKEN=***\n",
        "\nhas it\n",
        "BUILD_IMAGE=localhost/busybox:latest\n",
        "BUILD_IMAGE_NAME=app\n",
        "PIPELINED_UPDATE_RESULT=/run/pipelined-update/result\n",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains("BUILD_COMMIT"), "{log}");
    // The job that released it is on record, and then its variables are there too.
    let found = block_on(bench.look_with(&image, Some(bench.dir.clone()), Some(&job())));
    assert!(found.unwrap().needed);
    let log = bench.log();
    for line in [format!("BUILD_COMMIT={COMMIT}\n"), "BUILD_NUMBER=7\n".to_owned()] {
        assert!(log.contains(&line), "{line}: {log}");
    }
    bench.script("echo the token $TOKEN is wrong; exit 3");
    let error = bench.error(&image);
    assert!(error.contains("(the token *** is wrong)"), "{error}");
    assert!(!bench.log().contains(secret), "{}", bench.log());

    std::fs::remove_file(&env_file).unwrap();
    let error = bench.error(&image);
    assert!(error.contains("cannot read the env_file"), "{error}");
    assert!(
        bench.log().contains("update check: error: cannot read the env_file"),
        "{}",
        bench.log()
    );
}

#[test]
fn without_a_directory_there_is_no_log_and_the_error_says_it() {
    let mut bench = Bench::new();
    let image = bench.local(BUSYBOX);
    let gone = bench.scratch.join("gone");
    for dir in [None, Some(gone.clone())] {
        bench.script("echo oops; exit 7");
        let error = block_on(bench.look_with(&image, dir.clone(), None))
            .unwrap_err()
            .message;
        assert!(error.ends_with("(oops)"), "{error}");
        bench.script("exit 100");
        assert!(block_on(bench.look_with(&image, dir, None)).unwrap().needed);
    }
    assert!(!gone.exists() && bench.log().is_empty());
}

#[test]
fn a_log_that_floods_ends_at_its_limit_and_is_turned() {
    let mut bench = Bench::new();
    bench.tools.log_limit = 200_000;
    let image = bench.local(BUSYBOX);
    bench.script("yes flood | head -c 5000000; exit 100");
    let size = |name: &str| Path::new(&bench.dir).join(name).metadata().map_or(0, |m| m.len());
    for _ in 0..3 {
        assert!(bench.found(&image).0);
        assert!(size("update-check.log") < 210_000, "{}", size("update-check.log"));
        assert!(bench.log().trim_end().ends_with("update check: updates"));
    }
    assert!(size("update-check.log.1") > 190_000);
}
