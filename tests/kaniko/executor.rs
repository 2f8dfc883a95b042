//! kaniko's executor as a container: the real one when PIPELINED_TEST_KANIKO_IMAGE names an archive of it, or an image
//! that can be pulled; and always a stand-in that is strict about flags, mounts and files.

use crate::support;
use crate::support::executor::{self, EXECUTOR};
use crate::support::podman::{BUSYBOX_CONTAINERFILE, Podman, busybox_context};
use crate::support::scratch::{SOON, Scratch, wait_for};
use crate::support::servers::http::make_certificates;
use pipelined::config::{EngineKind, SnapshotMode};
use pipelined::engine::{Engine, KanikoBuilt, KanikoRequest, RegistryAccess, Scope, container_name};
use pipelined::model::{Failure, FailureKind, ImageRef, JobId, Step};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

const REAL: &str = "PIPELINED_TEST_KANIKO_IMAGE";

struct Bench {
    podman: Podman,
    engine: Engine,
    runner: Runner,
    context: PathBuf,
    scratch: Scratch,
}

/// What differs between builds here.
struct Build<'a> {
    executor: &'a str,
    file: PathBuf,
    original: Option<&'a Path>,
    build_args: &'a [(String, OsString)],
    secrets: &'a [(String, PathBuf)],
    push: bool,
    auth_json: Option<&'a str>,
    registries: BTreeMap<String, RegistryAccess>,
    cache_repo: Option<ImageRef>,
    flags: &'a [String],
    timeout: Duration,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let podman = Podman::new(&scratch);
        podman.load_busybox();
        let runner = Runner {
            supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
            marker: Marker::job("kaniko", JobId(1), 1),
            env: podman.env().into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
            cancel: Cancel::new(),
            grace: Duration::from_millis(300),
            masks: Masks::default(),
            log: Some((scratch.join("build.log"), 1 << 30)),
        };
        executor::load(&podman, &scratch);
        Self {
            podman,
            engine: Engine::new(EngineKind::Podman),
            runner,
            context: scratch.mkdir("context"),
            scratch,
        }
    }

    fn plain(&self, text: &str) -> Build<'static> {
        let file = self.context.join("Containerfile");
        std::fs::write(&file, text).unwrap();
        Build {
            executor: EXECUTOR,
            file,
            original: None,
            build_args: &[],
            secrets: &[],
            push: false,
            auth_json: None,
            registries: BTreeMap::new(),
            cache_repo: None,
            flags: &[],
            timeout: SOON,
        }
    }

    async fn build(&self, how: &Build<'_>) -> Result<KanikoBuilt, Failure> {
        let labels = BTreeMap::from([("org.example.a".to_owned(), "b c".to_owned())]);
        let scratch = self.scratch.join("tmp");
        let request = KanikoRequest {
            executor: how.executor,
            project: "p",
            name: &container_name("p", "12345678", &self.runner.marker),
            file: &how.file,
            original: how.original,
            context: &self.context,
            target: None,
            cache_repo: how.cache_repo.as_ref(),
            snapshot_mode: Some(SnapshotMode::Redo),
            build_args: how.build_args,
            labels: &labels,
            secrets: how.secrets,
            destination: &ImageRef::parse("127.0.0.1:5999/staging/a:1").unwrap(),
            push: how.push,
            auth_json: how.auth_json,
            registries: &how.registries,
            flags: how.flags,
            out: &self.scratch.join("out"),
            scratch: &scratch,
            timeout: how.timeout,
        };
        let result = self.engine.build_kaniko(&self.runner, &request).await;
        assert!(!scratch.exists(), "temporary files are left");
        result
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("build.log")).unwrap_or_default()
    }

    /// A line for each argument, as the executor saw them.
    fn out(&self, name: &str) -> String {
        std::fs::read_to_string(self.scratch.join("out").join(name)).unwrap_or_default()
    }

    fn later(&self) -> Runner {
        Runner {
            cancel: Cancel::new(),
            ..self.runner.clone()
        }
    }
}

#[tokio::test]
async fn the_executor_gets_what_it_needs_and_no_more() {
    let bench = Bench::new();
    let certificates = bench.scratch.mkdir("ca");
    make_certificates(&certificates, 1);
    let build_args = [
        ("TOKEN".to_owned(), OsString::from("hunter2 and\nmore")),
        ("DOCKER_CONFIG".to_owned(), OsString::from("/elsewhere")),
    ];
    let secrets = [("S".to_owned(), bench.scratch.write("a secret", "12345"))];
    let original = bench.context.join("Build.file");
    std::fs::write(bench.context.join("Build.file.dockerignore"), "ignored\n").unwrap();
    let trusted = RegistryAccess {
        insecure: false,
        ca_file: Some(certificates.join("ca.crt")),
    };
    let insecure = RegistryAccess {
        insecure: true,
        ca_file: None,
    };
    let how = Build {
        file: bench.scratch.write("rewritten", "FROM scratch\nCOPY . /\n#! pretend\n"),
        original: Some(&original),
        build_args: &build_args,
        secrets: &secrets,
        push: true,
        auth_json: Some(r#"{"auths":{"127.0.0.1:5999":{"auth":"eDp5"}}}"#),
        registries: BTreeMap::from([
            ("127.0.0.1:5999".to_owned(), trusted),
            ("127.0.0.1:5998".to_owned(), insecure),
        ]),
        cache_repo: Some(ImageRef::parse("127.0.0.1:5999/cache").unwrap()),
        flags: &["--single-snapshot".to_owned()],
        ..bench.plain("")
    };
    let built = bench
        .build(&how)
        .await
        .unwrap_or_else(|e| panic!("{e}: {}", bench.log()));
    let KanikoBuilt::Pushed(digest) = built else {
        panic!("{built:?}")
    };
    assert!(digest.hex().ends_with("07"), "{digest}");
    let argv = bench.out("argv");
    for flag in [
        "--context=dir:///workspace",
        "--dockerfile=/pipelined/Containerfile",
        "--destination=127.0.0.1:5999/staging/a:1",
        "--digest-file=/out/digest",
        "--label=org.example.a=b c",
        "--snapshot-mode=redo",
        "--cache=true",
        "--cache-repo=127.0.0.1:5999/cache",
        "--insecure-registry=127.0.0.1:5998",
        "--skip-tls-verify-registry=127.0.0.1:5998",
        "--registry-certificate=127.0.0.1:5999=/certs/1.crt",
        "--build-arg=TOKEN",
        "--single-snapshot",
    ] {
        assert!(argv.lines().any(|line| line == flag), "{flag} is not in\n{argv}");
    }
    assert_eq!(bench.out("args"), "TOKEN=hunter2 and\nmore\nDOCKER_CONFIG=/elsewhere\n");
    assert_eq!(bench.out("secrets").trim(), "5");
    assert_eq!(bench.out("ignore"), "ignored\n");
    assert_eq!(bench.out("config.json"), how.auth_json.unwrap());
    let log = bench.log();
    assert!(
        !argv.contains("hunter2") && !log.contains("hunter2") && !log.contains("eDp5"),
        "{log}"
    );
    assert_eq!(bench.podman.containers(), Vec::<String>::new());

    let too_many = r#"{"auths":{"127.0.0.1:5999":{"auth":"eDp5"},"elsewhere.io":{"auth":"eDp5"}}}"#;
    let how = Build {
        auth_json: Some(too_many),
        ..how
    };
    assert_eq!(bench.build(&how).await.unwrap_err().kind, FailureKind::Failed);
    assert!(bench.log().contains("elsewhere.io, which is not needed"));
}

#[tokio::test]
async fn without_a_push_there_is_an_archive_that_can_be_loaded() {
    let bench = Bench::new();
    let how = bench.plain("FROM scratch\n");
    let built = bench
        .build(&how)
        .await
        .unwrap_or_else(|e| panic!("{e}: {}", bench.log()));
    let KanikoBuilt::Archive(path) = built else {
        panic!("{built:?}")
    };
    let argv = bench.out("argv");
    assert!(argv.contains("--dockerfile=/workspace/Containerfile\n"), "{argv}");
    let id = bench.engine.load(&bench.runner, Step::Test, &path, SOON).await.unwrap();
    let name = "127.0.0.1:5999/staging/a:1";
    let info = bench
        .engine
        .inspect_image(&bench.runner, Step::Test, name)
        .await
        .unwrap();
    assert_eq!(info.unwrap().id, id);
    let version = bench.engine.kaniko_version(&bench.runner, EXECUTOR).await.unwrap();
    assert!(version.contains("v0.0.1"), "{version}");
    let other = bench
        .engine
        .kaniko_version(&bench.runner, support::podman::BUSYBOX)
        .await;
    assert_eq!(other.unwrap_err().kind, FailureKind::Errored);
}

#[tokio::test]
async fn its_end_is_told_apart() {
    let bench = Bench::new();
    let kind = async |text: &str| {
        let failure = bench.build(&bench.plain(text)).await.unwrap_err();
        (failure.kind, failure.message)
    };
    let (failed, message) = kind("FROM scratch\n#! exit 7\n").await;
    assert_eq!(
        (failed, message.contains("exited with 7")),
        (FailureKind::Failed, true),
        "{message}"
    );
    // The engine's own code for its own trouble.
    assert_eq!(kind("FROM scratch\n#! exit 125\n").await.0, FailureKind::Failed);
    let (failed, message) = kind("FROM scratch\n#! exit 1\n").await;
    assert_eq!(
        (failed, message.contains("registry")),
        (FailureKind::Failed, true),
        "{message}"
    );
    let (errored, message) = kind("FROM scratch\n#! forget\n").await;
    assert_eq!(
        (errored, message.contains("image.tar")),
        (FailureKind::Errored, true),
        "{message}"
    );

    let unknown = Build {
        flags: &["--no-such-flag".to_owned()],
        ..bench.plain("FROM scratch\n")
    };
    assert_eq!(bench.build(&unknown).await.unwrap_err().kind, FailureKind::Failed);
    assert!(bench.log().contains("unknown flag: --no-such-flag"));
    for executor in ["127.0.0.1:1/executor:1", "localhost/nothing:1"] {
        let away = Build {
            executor,
            ..bench.plain("FROM scratch\n")
        };
        assert_eq!(
            bench.build(&away).await.unwrap_err().kind,
            FailureKind::Errored,
            "{executor}"
        );
    }
    // A stage of the past must not be taken for this build's result.
    assert_eq!(bench.out("image.tar"), "");
    assert_eq!(bench.podman.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_cut_off_is_found_and_removed() {
    let bench = Bench::new();
    let hang = Build {
        timeout: Duration::from_secs(3),
        ..bench.plain("FROM scratch\n#! hang\n")
    };
    let scope = Scope::Attempt(&bench.runner.marker);
    assert_eq!(bench.build(&hang).await.unwrap_err().kind, FailureKind::TimedOut);
    let cleaned = bench.engine.cleanup(&bench.later(), scope).await.unwrap();
    assert_eq!(cleaned.containers, 1);
    let hang = bench.plain("FROM scratch\n#! hang\n");
    std::fs::remove_file(bench.scratch.join("build.log")).unwrap();
    let (result, ()) = tokio::join!(bench.build(&hang), async {
        while !bench.log().contains("\nup\n") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bench.runner.cancel.ask();
    });
    assert_eq!(result.unwrap_err().kind, FailureKind::Cancelled);
    let cleaned = bench.engine.cleanup(&bench.later(), scope).await.unwrap();
    assert_eq!(cleaned.containers, 1);
    wait_for("the container to be gone", SOON, || {
        bench.podman.containers().is_empty().then_some(())
    });
}

#[tokio::test]
async fn the_real_executor_builds_an_image_that_runs() {
    let Some(image) = std::env::var_os(REAL).filter(|v| !v.is_empty()) else {
        eprintln!("kaniko: only the stand-in was tested, since {REAL} is not set");
        return;
    };
    let bench = Bench::new();
    let image = image.into_string().unwrap();
    eprintln!("kaniko: the real executor is tested: {image}");
    let executor = match Path::new(&image).is_file() {
        true => {
            let loaded = bench
                .engine
                .load(&bench.runner, Step::Build, Path::new(&image), SOON)
                .await;
            loaded.unwrap().to_string()
        }
        false => image,
    };
    busybox_context(&bench.context);
    let build_args = [("TOKEN".to_owned(), OsString::from("a b"))];
    let text = format!("{BUSYBOX_CONTAINERFILE}ARG TOKEN\nRUN echo got-$TOKEN > /got\nCMD [\"cat\", \"/got\"]\n");
    let how = Build {
        executor: &executor,
        build_args: &build_args,
        timeout: Duration::from_secs(300),
        ..bench.plain(&text)
    };
    let built = bench
        .build(&how)
        .await
        .unwrap_or_else(|e| panic!("{e}: {}", bench.log()));
    let KanikoBuilt::Archive(path) = built else {
        panic!("{built:?}")
    };
    let id = bench.engine.load(&bench.runner, Step::Test, &path, SOON).await.unwrap();
    assert_eq!(bench.podman.run(&["run", "--rm", id.as_str()]), "got-a b");
    let label = bench.podman.run(&[
        "image",
        "inspect",
        "--format={{index .Labels \"org.example.a\"}}",
        id.as_str(),
    ]);
    assert_eq!(label, "b c");
    assert!(!bench.log().contains("TOKEN=a b"));
    let failing = Build {
        executor: &executor,
        ..bench.plain(&format!("{BUSYBOX_CONTAINERFILE}RUN exit 7\n"))
    };
    let failure = bench.build(&failing).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed);
    assert!(failure.message.contains("exited with 7"), "{failure}");
}

#[test]
fn doctor_tells_whether_executor_and_files_of_registries_are_here() {
    let bench = Bench::new();
    let password = bench.scratch.write("password", "hunter2");
    let doctor = |image: &str| {
        let config = bench.scratch.write(
            "pipelined.toml",
            format!(
                "workdir = 'work'\nengine = 'kaniko'\n[kaniko]\nimage = '{image}'\n\
                 [registries.'open.example']\ninsecure = true\n\
                 [registries.'fine.example']\nusername = 'me'\npassword_file = '{password}'\n\
                 [registries.'bad.example']\nauthfile = '{password}'\nca_file = '{password}.crt'\n\
                 [registries.'unit.example']\nauthfile = '$CREDENTIALS_DIRECTORY/auth.json'\n\
                 [projects.p]\nremote = '/nowhere'\n",
                password = password.display()
            ),
        );
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pipelined"))
            .args(["doctor", "--json", "-c"])
            .arg(config)
            .envs(bench.podman.env())
            .env_remove("CREDENTIALS_DIRECTORY")
            .output()
            .unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"));
        let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        findings
    };
    let about = |findings: &[serde_json::Value], about: &str| -> Vec<(String, String)> {
        let found = findings.iter().filter(|f| f["about"] == about);
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        found.map(|f| (text(&f["level"]), text(&f["text"]))).collect()
    };
    let findings = doctor(EXECUTOR);
    let [(level, text)] = &about(&findings, "kaniko")[..] else {
        panic!("{findings:?}")
    };
    assert!(level == "ok" && text.contains("v0.0.1"), "{text}");
    let engine = about(&findings, "engine");
    assert!(
        engine.iter().any(|(_, text)| text.starts_with("podman version ")),
        "{engine:?}"
    );
    let registries = about(&findings, "registries");
    let expected = [
        ("bad", "bad.example: ca_file: cannot read "),
        ("ok", "fine.example: password_file can be read"),
        (
            "bad",
            "unit.example: authfile: $CREDENTIALS_DIRECTORY/auth.json cannot be found",
        ),
    ];
    assert_eq!(registries.len(), expected.len(), "{registries:?}");
    for ((level, text), (expected, words)) in registries.iter().zip(expected) {
        assert!(level == expected && text.starts_with(words), "{level} {text}");
    }
    for (image, level) in [("localhost/nothing:1", "warn"), ("localhost/busybox:latest", "bad")] {
        let kaniko = about(&doctor(image), "kaniko");
        assert_eq!(kaniko[0].0, level, "{kaniko:?}");
    }
}
