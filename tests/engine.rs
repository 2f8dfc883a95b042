//! podman (and docker, where it starts) in a storage of its own: build, run, and leave nothing behind.

#![cfg(test)]

mod support;

use pipelined::config::{EngineKind, Pull, Tmpfs};
use pipelined::engine::{
    BuildRequest, Cleaned, Engine, EngineError, PullAccess, RunRequest, Scope, TestRequest, container_name,
};
use pipelined::model::{Failure, FailureKind, JobId};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::docker::Docker;
use support::podman::{BUSYBOX, Podman};
use support::scratch::Scratch;

const LONG: Duration = Duration::from_secs(60);

/// What differs between builds here.
#[derive(Default)]
struct Build<'a> {
    args: &'a [(String, OsString)],
    target: Option<&'a str>,
}

/// What differs between runs here.
struct Run<'a> {
    image: &'a str,
    env: &'a [(String, OsString)],
    network: Option<&'a str>,
    tmpfs: Tmpfs,
    engine_socket: bool,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self {
            image: BUSYBOX,
            env: &[],
            network: None,
            tmpfs: Tmpfs::Percent(50),
            engine_socket: false,
        }
    }
}

struct Bench {
    podman: Podman,
    engine: Engine,
    runner: Runner,
    dir: PathBuf,
    scratch: Scratch,
}

impl Bench {
    fn new(instance: &str) -> Self {
        let scratch = Scratch::new();
        let podman = Podman::new(&scratch);
        podman.load_busybox();
        let runner = Runner {
            supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
            marker: Marker::job(instance, JobId(1), 1),
            env: podman.env().into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
            cancel: Cancel::new(),
            grace: Duration::from_millis(300),
            log: Some((scratch.join("build.log"), 1 << 30)),
            masks: Masks::default(),
        };
        Self {
            podman,
            engine: Engine::new(EngineKind::Podman),
            runner,
            dir: scratch.mkdir("build"),
            scratch,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("build.log")).unwrap_or_default()
    }

    async fn build(&self, text: &str, how: Build<'_>) -> Result<String, Failure> {
        let file = self.dir.join("Containerfile");
        std::fs::write(&file, text).unwrap();
        let labels = BTreeMap::from([("org.example.a".to_owned(), "b c".to_owned())]);
        let scratch = self.scratch.join("tmp");
        let request = BuildRequest {
            file: &file,
            original: None,
            context: &self.dir,
            target: how.target,
            pull: Pull::Missing,
            cache: true,
            build_args: how.args,
            secrets: &[],
            labels: &labels,
            annotations: &BTreeMap::new(),
            timestamp: None,
            authfile: None,
            tags: &["localhost/t:1".to_owned(), "localhost/t:2".to_owned()],
            scratch: &scratch,
            timeout: LONG,
        };
        let result = self.engine.build(&self.runner, &request).await;
        assert!(!scratch.exists(), "temporary files are left");
        result.map(|id| id.to_string())
    }

    async fn run(&self, command: &[&str], how: Run<'_>) -> Result<(), Failure> {
        let drop = self.scratch.mkdir("drop");
        let name = container_name("p", "12345678", &self.runner.marker);
        let command: Vec<String> = command.iter().map(|c| (*c).to_owned()).collect();
        let labels = BTreeMap::from([("mine".to_owned(), "1".to_owned())]);
        let request = RunRequest {
            image: how.image,
            project: "p",
            name: &name,
            command: Some(&command),
            build: &self.dir,
            drop: &drop,
            read_only: true,
            tmpfs: how.tmpfs,
            network: how.network,
            labels: &labels,
            env: how.env,
            engine_socket: how.engine_socket,
            timeout: LONG,
        };
        self.engine.run(&self.runner, &request).await
    }

    /// A runner for the time after a cancel.
    fn later(&self) -> Runner {
        Runner {
            cancel: Cancel::new(),
            ..self.runner.clone()
        }
    }

    async fn cleanup(&self) -> Cleaned {
        let scope = Scope::Attempt(&self.runner.marker);
        self.engine.cleanup(&self.later(), scope).await.unwrap()
    }

    /// A working container of somebody else's.
    fn foreign(&self) -> String {
        let mut command = std::process::Command::new("buildah");
        let output = command
            .envs(self.podman.env())
            .args(["from", BUSYBOX])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    async fn until_logged(&self, text: &str) {
        until(text, || self.log().contains(text)).await;
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LONG, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Processes whose command line is `argv`.
fn processes(argv: &[&str]) -> Vec<i32> {
    let wanted = argv.join("\0") + "\0";
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted.as_bytes()))
        .collect()
}

/// Supervisors whose environment has this marker.
fn supervisors(marker: &str) -> Vec<i32> {
    let has = |pid: &i32, file: &str, at: usize, text: &str| {
        let content = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let mut parts = content.split(|b| *b == 0);
        match at {
            0 => parts.any(|part| part == text.as_bytes()),
            at => parts.nth(at) == Some(text.as_bytes()),
        }
    };
    let variable = format!("{}={marker}", pipelined::process::MARKER_VARIABLE);
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid| has(pid, "cmdline", 1, pipelined::process::SUPERVISE_VERB) && has(pid, "environ", 0, &variable))
        .collect()
}

#[tokio::test]
async fn knows_podman_and_what_is_not_there() {
    let bench = Bench::new("probe");
    let info = bench.engine.probe(&bench.runner).await.unwrap();
    assert!(info.version.starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(
        info.graph_root.as_deref(),
        Some(bench.scratch.join("podman/root").as_path())
    );
    assert!(!info.remote);
    let elsewhere = bench.runner.with_env([("PATH".into(), "/nowhere".into())]);
    let missing = bench.engine.probe(&elsewhere).await.unwrap_err();
    assert!(matches!(missing, EngineError::Missing { .. }), "{missing}");
    let nobody = [("DOCKER_HOST".into(), "unix:///nowhere/docker.sock".into())];
    let down = Engine::new(EngineKind::Docker)
        .probe(&bench.runner.with_env(nobody))
        .await;
    assert!(matches!(down, Err(EngineError::NotRunning { .. })), "{down:?}");
}

#[tokio::test]
async fn builds_with_args_labels_and_tags() {
    let bench = Bench::new("build");
    let text = format!("FROM {BUSYBOX} AS one\nARG SECRET\nRUN echo got-$SECRET > /x\nFROM one\nRUN false\n");
    let args = [("SECRET".to_owned(), OsString::from("a b\n\"c"))];
    let id = bench
        .build(
            &text,
            Build {
                args: &args,
                target: Some("one"),
            },
        )
        .await
        .unwrap();
    assert!(id.starts_with("sha256:"));
    let inspect = |format: &str| bench.podman.run(&["image", "inspect", "--format", format, &id]);
    assert_eq!(inspect("{{index .Labels \"org.example.a\"}}"), "b c");
    assert_eq!(inspect("{{.RepoTags}}"), "[localhost/t:1 localhost/t:2]");
    assert!(bench.log().contains("--build-arg=SECRET"));
    // The mark is no part of the cache's key, and of nothing in the image.
    let mut again = Bench { ..bench };
    again.runner.marker = Marker::job("build", JobId(2), 1);
    let same = again
        .build(
            &text,
            Build {
                args: &args,
                target: Some("one"),
            },
        )
        .await
        .unwrap();
    assert_eq!(same, id);
    assert!(again.log().contains("Using cache"));
    let history = again.podman.run(&["history", "--no-trunc", &id]);
    assert!(!history.contains("pipelined"), "{history}");
    again
        .engine
        .tag(&again.runner, pipelined::model::Step::Build, &id, "localhost/t:3")
        .await
        .unwrap();

    let failure = again
        .build(&format!("FROM {BUSYBOX}\nRUN exit 7\n"), Build::default())
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed);
    assert!(failure.message.contains("exited with 7"), "{failure}");
    let failure = again.build("FRUM x\n", Build::default()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed);
    assert_eq!(again.podman.working_containers(), Vec::<String>::new());
}

#[tokio::test]
async fn pulls_as_the_policy_says() {
    let bench = Bench::new("pull");
    let pull = async |base: &str, policy| {
        let bases = [base.to_owned()];
        bench
            .engine
            .pull_bases(
                &bench.runner,
                &bases,
                policy,
                &PullAccess::new(bench.scratch.join("pull")),
                LONG,
            )
            .await
            .map(|pulled| {
                assert!(pulled[0].name == base && !pulled[0].info.diff_ids.is_empty());
                let only_here = pulled[0].only_here.as_ref().map(|failure| failure.kind);
                let unasked = base.starts_with("127") && policy == Pull::Newer;
                assert_eq!(only_here, unasked.then_some(FailureKind::Errored));
            })
            .map_err(|f| f.kind)
    };
    bench.podman.run(&["tag", BUSYBOX, "127.0.0.1:1/busybox:1"]);
    for policy in [Pull::Newer, Pull::Always, Pull::Missing, Pull::Never] {
        assert_eq!(pull(BUSYBOX, policy).await, Ok(()), "{policy:?}");
    }
    assert_eq!(pull("127.0.0.1:1/busybox:1", Pull::Missing).await, Ok(()));
    assert_eq!(pull("127.0.0.1:1/busybox:1", Pull::Never).await, Ok(()));
    assert!(!bench.log().contains("podman pull"));
    assert_eq!(pull("127.0.0.1:1/busybox:1", Pull::Newer).await, Ok(()));
    assert_eq!(
        pull("127.0.0.1:1/busybox:1", Pull::Always).await,
        Err(FailureKind::Errored)
    );
    assert_eq!(
        pull("127.0.0.1:1/nothing", Pull::Missing).await,
        Err(FailureKind::Errored)
    );
    assert_eq!(
        pull("localhost/nothing", Pull::Missing).await,
        Err(FailureKind::Errored)
    );
    assert_eq!(pull("localhost/nothing", Pull::Never).await, Err(FailureKind::Failed));
}

#[tokio::test]
async fn runs_and_tells_how_it_ended() {
    let bench = Bench::new("run");
    std::fs::write(bench.dir.join("in"), "from build\n").unwrap();
    let env = [("WORD".to_owned(), OsString::from("hunter2"))];
    let script = "cp /build/in /drop/out && echo word-$WORD && touch /tmp/x && ! touch /x && stat -c mode-%a /tmp";
    bench
        .run(
            &["sh", "-c", script],
            Run {
                env: &env,
                ..Run::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(std::fs::read(bench.scratch.join("drop/out")).unwrap(), b"from build\n");
    let log = bench.log();
    assert!(log.contains("word-hunter2") && log.contains("mode-1777"), "{log}");
    assert!(!log.lines().next().unwrap().contains("hunter2"));

    let failed = bench.run(&["sh", "-c", "exit 9"], Run::default()).await.unwrap_err();
    assert_eq!(
        (failed.kind, failed.message.contains("exited with 9")),
        (FailureKind::Failed, true)
    );
    let failed = bench.run(&["sh", "-c", "exit 125"], Run::default()).await.unwrap_err();
    assert_eq!(failed.kind, FailureKind::Failed, "{failed}");
    let failed = bench.run(&["no-such-command"], Run::default()).await.unwrap_err();
    assert_eq!(failed.kind, FailureKind::Failed, "{failed}");
    let errored = bench
        .run(
            &["true"],
            Run {
                image: "localhost/nothing",
                ..Run::default()
            },
        )
        .await
        .unwrap_err();
    assert_eq!(errored.kind, FailureKind::Errored, "{errored}");
    let errored = bench
        .run(
            &["true"],
            Run {
                network: Some("nonsense"),
                ..Run::default()
            },
        )
        .await
        .unwrap_err();
    assert_eq!(errored.kind, FailureKind::Errored, "{errored}");
    bench
        .run(
            &["sh", "-c", "df -m /tmp"],
            Run {
                tmpfs: Tmpfs::Bytes(3 << 20),
                ..Run::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(bench.podman.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn tests_what_was_built_and_tells_how_it_ended() {
    let bench = Bench::new("test");
    let text = format!("FROM {BUSYBOX}\nRUN echo inside > /inside\nENTRYPOINT [\"false\"]\n");
    let id = bench.build(&text, Build::default()).await.unwrap();
    let env = [("WORD".to_owned(), OsString::from("hunter2"))];
    let test = async |script: &str, image: &str, timeout| {
        let command = ["sh", "-c", script].map(str::to_owned);
        let request = TestRequest {
            image,
            project: "p",
            name: &container_name("p", "12345678", &bench.runner.marker),
            command: &command,
            network: "none",
            env: &env,
            timeout,
        };
        bench.engine.test(&bench.runner, &request).await
    };
    let script = "cat /inside && echo word-$WORD && touch /x && ! ls -d /build /drop && \
                  test $(ls /sys/class/net) = lo && echo fine";
    test(script, &id, LONG).await.unwrap();
    let log = bench.log();
    assert!(log.contains("word-hunter2\n") && log.contains("\nfine\n"), "{log}");
    assert!(log.contains(" test: $ podman run") && !log.lines().any(|l| l.starts_with("===") && l.contains("hunter2")));
    let failed = test("exit 9", &id, LONG).await.unwrap_err();
    assert_eq!(failed.kind, FailureKind::Failed);
    assert!(
        failed.message.starts_with("test: the container exited with 9"),
        "{failed}"
    );
    let errored = test("true", "localhost/nothing", LONG).await.unwrap_err();
    assert_eq!(errored.kind, FailureKind::Errored, "{errored}");
    assert_eq!(bench.podman.containers(), Vec::<String>::new());
    let endless = test("trap '' TERM; while :; do sleep 0.1; done", &id, Duration::from_secs(2));
    assert_eq!(endless.await.unwrap_err().kind, FailureKind::TimedOut);
    assert_eq!(bench.cleanup().await.containers, 1);
    assert_eq!(bench.podman.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn the_socket_is_mounted_only_when_asked_and_there() {
    let mut bench = Bench::new("socket");
    let path = bench.scratch.join("podman.sock");
    let host = format!("unix://{}", path.display());
    let plain = bench.runner.clone();
    bench.runner.env.push(("CONTAINER_HOST".into(), host.into()));
    let failed = bench
        .run(
            &["true"],
            Run {
                engine_socket: true,
                ..Run::default()
            },
        )
        .await
        .unwrap_err();
    assert_eq!(failed.kind, FailureKind::Failed);
    assert!(failed.message.contains("podman.socket"), "{failed}");
    bench.runner = plain;
}

#[tokio::test]
async fn a_cancelled_build_leaves_nothing_and_others_alone() {
    let bench = Bench::new("cancel");
    let foreign = bench.foreign();
    let text = format!(
        "FROM {BUSYBOX}\nRUN echo first\nRUN trap '' TERM; (trap '' TERM; setsid sleep 7001) & echo up; \
         while :; do sleep 0.1; done\n"
    );
    let (result, ()) = tokio::join!(bench.build(&text, Build::default()), async {
        bench.until_logged("\nup\n").await;
        bench.runner.cancel.ask();
    });
    assert_eq!(result.unwrap_err().kind, FailureKind::Cancelled);
    let cleaned = bench.cleanup().await;
    assert!(cleaned.working >= 1, "{cleaned:?}");
    assert_eq!(processes(&["sleep", "7001"]), Vec::<i32>::new());
    assert_eq!(bench.podman.working_containers(), [foreign]);
    let begin = Instant::now();
    assert_eq!(bench.cleanup().await, Cleaned::default());
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_build_whose_supervisor_is_killed_leaves_nothing() {
    // As the daemon is, so that the sweep finds what the supervisor was above of.
    pipelined::process::become_subreaper().unwrap();
    let bench = Bench::new("nosup");
    let mut records = Vec::new();
    let text = format!("FROM {BUSYBOX}\nRUN trap '' TERM; echo up; sleep 7004; true\n");
    let (result, ()) = tokio::join!(bench.build(&text, Build::default()), async {
        bench.until_logged("\nup\n").await;
        for entry in std::fs::read_dir(bench.scratch.join("tmp")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            records.push(Path::new("/run/runc").join(format!("buildah-{name}")));
        }
        for pid in supervisors("nosup.1.1") {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    });
    assert_eq!(result.unwrap_err().kind, FailureKind::Errored);
    assert!(bench.cleanup().await.working >= 1);
    assert_eq!(processes(&["sleep", "7004"]), Vec::<i32>::new());
    assert!(!records.is_empty());
    assert!(records.iter().all(|record| !record.exists()), "{records:?}");
    assert_eq!(bench.podman.working_containers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_build_whose_supervisor_and_engine_are_killed_leaves_nothing_after_the_next_start() {
    let bench = Bench::new("killed");
    let foreign = bench.foreign();
    let text = format!("FROM {BUSYBOX}\nRUN echo first\nRUN trap '' TERM; echo up; sleep 7002; true\n");
    let file = bench.dir.join("Containerfile");
    std::fs::write(&file, &text).unwrap();
    let marker = bench.scratch.write("marker", "");
    // As the daemon would call it, but with nobody above who would end what is left.
    let mut podman = bench
        .podman
        .command()
        .env("TMPDIR", bench.scratch.path())
        .args(["build", "--pull=never"])
        .arg(format!("--secret=id=pipelined-killed.5.1,src={}", marker.display()))
        .arg(&bench.dir)
        .stdout(std::fs::File::create(bench.scratch.join("build.log")).unwrap())
        .spawn()
        .unwrap();
    bench.until_logged("\nup\n").await;
    podman.kill().unwrap();
    podman.wait().unwrap();
    until("the RUN to be there", || !processes(&["sleep", "7002"]).is_empty()).await;

    let other = Scope::Instance("kill");
    assert_eq!(bench.engine.cleanup(&bench.runner, other).await, Ok(Cleaned::default()));
    let own = Scope::Instance("killed");
    let cleaned = bench.engine.cleanup(&bench.runner, own).await.unwrap();
    assert!(cleaned.processes >= 1 && cleaned.working >= 1, "{cleaned:?}");
    assert_eq!(processes(&["sleep", "7002"]), Vec::<i32>::new());
    assert_eq!(bench.podman.working_containers(), [foreign]);
}

#[tokio::test]
async fn a_run_that_is_cut_off_leaves_nothing_and_others_alone() {
    let bench = Bench::new("cutrun");
    bench.podman.run(&["create", "--name", "foreign", BUSYBOX, "true"]);
    let script = "trap '' TERM; echo up; sleep 7003; true";
    let command = ["sh", "-c", script];
    let (result, ()) = tokio::join!(bench.run(&command, Run::default()), async {
        bench.until_logged("\nup\n").await;
        bench.runner.cancel.ask();
    });
    assert_eq!(result.unwrap_err().kind, FailureKind::Cancelled);
    let cleaned = bench.cleanup().await;
    assert_eq!(cleaned.containers, 1);
    assert_eq!(bench.podman.containers(), ["foreign"]);
    assert_eq!(processes(&["sleep", "7003"]), Vec::<i32>::new());
}

#[tokio::test]
async fn docker_builds_and_runs_too() {
    let scratch = Scratch::new();
    let Some(docker) = Docker::start(&scratch) else {
        eprintln!("dockerd does not start here: nothing is tested");
        return;
    };
    let mut bench = Bench::new("docker");
    bench.engine = Engine::new(EngineKind::Docker);
    bench
        .runner
        .env
        .push(("DOCKER_HOST".into(), docker.host.clone().into()));
    bench.runner.env.push(("DOCKER_CONFIG".into(), scratch.path().into()));
    let info = bench.engine.probe(&bench.runner).await.unwrap();
    assert!(!info.remote);
    let busybox = "FROM scratch\nCOPY busybox /bin/sh\n";
    std::fs::copy("/bin/busybox", bench.dir.join("busybox")).unwrap();
    let id = bench.build(busybox, Build::default()).await.unwrap();
    let failure = bench
        .build("FROM localhost/t:1\nRUN [\"/nothing\"]\n", Build::default())
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed);
    let run = async |script: &str| {
        let command = ["sh", "-c", script];
        let result = bench.run(
            &command,
            Run {
                image: &id,
                network: Some("none"),
                ..Run::default()
            },
        );
        result.await.map_err(|f| f.kind)
    };
    assert_eq!(run("echo x > /drop/y").await, Ok(()));
    assert_eq!(run("exit 9").await, Err(FailureKind::Failed));
    let bases = ["localhost/t:1".to_owned(), "localhost/no:1".to_owned()];
    let access = PullAccess::new(bench.scratch.join("pull"));
    let pull = |n: usize| {
        bench
            .engine
            .pull_bases(&bench.runner, &bases[n..=n], Pull::Missing, &access, LONG)
    };
    assert_eq!(pull(0).await.unwrap()[0].info.id.as_str(), id);
    assert_eq!(pull(1).await.map_err(|f| f.kind), Err(FailureKind::Errored));
    let (result, ()) = tokio::join!(run("echo up; while :; do :; done"), async {
        bench.until_logged("\nup\n").await;
        bench.runner.cancel.ask();
    });
    assert_eq!(result, Err(FailureKind::Cancelled));
    assert_eq!(bench.cleanup().await.containers, 1);
}
