//! What is known of images, and how they come into the storage and out of it: with a real registry as the other side.

#![cfg(test)]

mod support;

use pipelined::config::{EngineKind, Pull};
use pipelined::engine::{BuildRequest, Engine, ImageInfo, PullAccess, RegistryAccess};
use pipelined::model::{Digest, Failure, FailureKind, ImageRef, JobId, Step};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::docker::Docker;
use support::podman::{BUSYBOX, BUSYBOX_CONTAINERFILE, Podman, busybox_context};
use support::scratch::Scratch;
use support::servers::child::{Server, free_port};
use support::servers::http::make_certificates;

const LONG: Duration = Duration::from_secs(60);

/// docker's registry on loopback.
struct Registry {
    host: String,
    ca_file: PathBuf,
    authfile: PathBuf,
    _server: Server,
}

impl Registry {
    /// With TLS of an authority of its own, and a password.
    fn closed(scratch: &Scratch) -> Self {
        let dir = scratch.mkdir("closed");
        make_certificates(&dir, 1);
        let output = Command::new("htpasswd")
            .args(["-Bbn", "me", "hunter2"])
            .output()
            .unwrap();
        std::fs::write(dir.join("htpasswd"), output.stdout).unwrap();
        let d = dir.display();
        let tls = format!(", tls: {{certificate: {d}/server.crt, key: {d}/server.key}}");
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {d}/htpasswd}}}}\n");
        Self::start(&dir, &tls, &auth)
    }

    /// Plain http for everybody.
    fn open(scratch: &Scratch) -> Self {
        Self::start(&scratch.mkdir("open"), "", "")
    }

    fn start(dir: &Path, tls: &str, auth: &str) -> Self {
        let port = free_port();
        let d = dir.display();
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {d}/data}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"{tls}}}\n{auth}"
        );
        std::fs::write(dir.join("registry.yml"), text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(dir.join("registry.yml"));
        let mut server = Server::start(&mut command, &dir.join("log"));
        server.wait_until_accepting(port);
        let host = format!("127.0.0.1:{port}");
        let authfile = dir.join("auth.json");
        // me:hunter2
        std::fs::write(
            &authfile,
            format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6aHVudGVyMg=="}}}}}}"#),
        )
        .unwrap();
        Self {
            host,
            ca_file: dir.join("ca.crt"),
            authfile,
            _server: server,
        }
    }
}

struct Bench {
    podman: Podman,
    engine: Engine,
    runner: Runner,
    scratch: Scratch,
}

/// What differs between builds here.
#[derive(Default)]
struct Build<'a> {
    original: Option<&'a Path>,
    secrets: &'a [(String, PathBuf)],
    annotations: BTreeMap<String, String>,
    timestamp: Option<i64>,
    tag: &'a [String],
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let podman = Podman::new(&scratch);
        podman.load_busybox();
        let runner = Runner {
            masks: Masks::default(),
            supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
            marker: Marker::job("images", JobId(1), 1),
            env: podman.env().into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
            cancel: Cancel::new(),
            grace: Duration::from_millis(300),
            log: Some((scratch.join("build.log"), 1 << 30)),
        };
        Self {
            podman,
            engine: Engine::new(EngineKind::Podman),
            runner,
            scratch,
        }
    }

    /// docker in place of podman; none where dockerd does not start.
    fn docker() -> Option<(Self, Docker)> {
        let mut bench = Self::new();
        let docker = Docker::start(&bench.scratch)?;
        bench.engine = Engine::new(EngineKind::Docker);
        let config = bench.scratch.mkdir("docker-config");
        bench.runner.env.extend([
            ("DOCKER_HOST".into(), docker.host.clone().into()),
            ("DOCKER_CONFIG".into(), config.into()),
        ]);
        Some((bench, docker))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("build.log")).unwrap_or_default()
    }

    async fn build(&self, file: &Path, context: &Path, how: Build<'_>) -> Result<Digest, Failure> {
        let request = BuildRequest {
            file,
            original: how.original,
            context,
            target: None,
            pull: Pull::Missing,
            cache: true,
            build_args: &[],
            secrets: how.secrets,
            labels: &BTreeMap::new(),
            annotations: &how.annotations,
            timestamp: how.timestamp,
            authfile: None,
            tags: how.tag,
            scratch: &self.scratch.join("tmp"),
            timeout: LONG,
        };
        self.engine.build(&self.runner, &request).await
    }

    async fn inspect(&self, name: &str) -> Option<ImageInfo> {
        self.engine.inspect_image(&self.runner, Step::Pull, name).await.unwrap()
    }

    /// The names of the files in an image.
    fn files(&self, engine: &str, id: &Digest) -> String {
        let run = |args: &[&str]| {
            let mut command = Command::new(engine);
            command.envs(self.runner.env.clone()).args(args);
            let output = command.output().unwrap();
            assert!(
                output.status.success(),
                "{args:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            output.stdout
        };
        run(&["create", "--name", "files", id.as_str(), "sh"]);
        let archive = self.scratch.join("files.tar");
        run(&["export", "--output", archive.to_str().unwrap(), "files"]);
        run(&["rm", "files"]);
        let listed = Command::new("tar").arg("tf").arg(&archive).output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    }
}

/// The manifest of the only image in an OCI archive, and its digest.
fn manifest(archive: &Path) -> (String, serde_json::Value) {
    let file = |name: &str| {
        let output = Command::new("tar").arg("xOf").arg(archive).arg(name).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let digest = file("index.json")["manifests"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let manifest = file(&format!("blobs/{}", digest.replace(':', "/")));
    (digest, manifest)
}

#[tokio::test]
async fn tells_what_an_image_is_and_that_there_is_none() {
    let bench = Bench::new();
    let info = bench.inspect(BUSYBOX).await.unwrap();
    assert_eq!(bench.inspect(info.id.as_str()).await.unwrap(), info);
    assert_eq!((info.platform(), info.diff_ids.len()), ("linux/amd64", 2));
    assert_eq!(bench.inspect("localhost/nothing").await, None);
    // Settings that cannot be read, and a service that is not there.
    let nonsense = bench.scratch.write("nonsense.conf", "[engine]\nruntime = 5\n");
    let broken: [[(OsString, OsString); 1]; 2] = [
        [("CONTAINERS_CONF".into(), nonsense.into())],
        [("CONTAINER_HOST".into(), "unix:///nowhere".into())],
    ];
    for settings in broken {
        let runner = bench.runner.with_env(settings);
        let asked = bench
            .engine
            .inspect_image(&runner, Step::Pull, "localhost/nothing")
            .await;
        assert_eq!(asked.map_err(|f| f.kind), Err(FailureKind::Errored));
    }
    bench.engine.remove_image(&bench.runner, &info.id).await;
    assert_eq!(bench.inspect(BUSYBOX).await, None);
    bench.engine.remove_image(&bench.runner, &info.id).await;
}

/// Pushes an index with this platform's image and a strange one; its digest.
fn push_index(bench: &Bench, name: &str, strange: &str) -> Digest {
    let podman = &bench.podman;
    let context = bench.scratch.mkdir("strange");
    std::fs::write(
        context.join("Containerfile"),
        format!("FROM scratch\nCOPY Containerfile /{strange}\n"),
    )
    .unwrap();
    let other = podman.run(&[
        "build",
        "--quiet",
        "--arch=s390x",
        "--timestamp=1",
        context.to_str().unwrap(),
    ]);
    let own = podman.run(&["image", "inspect", "--format={{.Id}}", BUSYBOX]);
    podman.run(&["manifest", "create", "index", &format!("containers-storage:{own}")]);
    podman.run(&[
        "manifest",
        "add",
        "--arch=s390x",
        "index",
        &format!("containers-storage:{other}"),
    ]);
    let to = format!("docker://{name}");
    podman.run(&["manifest", "push", "--all", "--tls-verify=false", "index", &to]);
    podman.run(&["manifest", "rm", "index"]);
    let digest = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false", "--format={{.Digest}}", &to])
        .output()
        .unwrap();
    Digest::new(String::from_utf8(digest.stdout).unwrap().trim()).unwrap()
}

#[tokio::test]
async fn the_digest_of_a_tag_comes_first_also_when_only_the_index_moved() {
    let (bench, puller) = (Bench::new(), Bench::new());
    let registry = Registry::open(&bench.scratch);
    let name = format!("{}/multi:1", registry.host);
    let mut access = PullAccess::new(puller.scratch.join("pull"));
    let insecure = RegistryAccess {
        insecure: true,
        ca_file: None,
    };
    access.registries.insert(registry.host.clone(), insecure);
    let pull = async |policy| {
        let pulled = puller
            .engine
            .pull_bases(&puller.runner, std::slice::from_ref(&name), policy, &access, LONG);
        pulled.await.unwrap().remove(0)
    };
    // Not what it was built here as: a storage that only knows what it has pulled.
    puller.podman.run(&["rmi", BUSYBOX]);
    let first = push_index(&bench, &name, "one");
    let pulled = pull(Pull::Missing).await;
    let used = pulled.used();
    assert_eq!(used.digests.first(), Some(&first), "{used:?}");
    assert_eq!(used.digests.len(), 2, "{used:?}");
    assert_eq!(used.reference, Some(ImageRef::parse(&name).unwrap()));
    assert_eq!(used.diff_ids, bench.inspect(BUSYBOX).await.unwrap().diff_ids);

    let second = push_index(&bench, &name, "two");
    assert_ne!(first, second);
    assert_eq!(pull(Pull::Missing).await, pulled);
    let again = pull(Pull::Newer).await;
    assert_eq!(again.info.id, pulled.info.id);
    assert_eq!(again.used().digests.first(), Some(&second), "{:?}", again.used());
    assert!(puller.log().contains("--tls-verify=false"));
    assert!(!puller.scratch.join("pull").exists());

    let by_digest = ImageRef::parse(&name).unwrap().with_digest(first);
    let info = puller
        .engine
        .pull_ref(&puller.runner, Step::Test, &by_digest, &access, LONG)
        .await
        .unwrap();
    assert_eq!(info.id, again.info.id);
}

#[tokio::test]
async fn pulls_from_a_registry_with_a_password_and_an_authority_of_its_own() {
    let bench = Bench::new();
    let registry = Registry::closed(&bench.scratch);
    let name = format!("{}/a/b:1", registry.host);
    let certificates = bench.scratch.mkdir("certificates");
    std::fs::copy(&registry.ca_file, certificates.join("ca.crt")).unwrap();
    bench.podman.run(&[
        "push",
        &format!("--cert-dir={}", certificates.display()),
        "--creds=me:hunter2",
        BUSYBOX,
        &name,
    ]);
    let trusted = RegistryAccess {
        insecure: false,
        ca_file: Some(registry.ca_file.clone()),
    };
    let access = |authfile: bool, settings: RegistryAccess| {
        let mut access = PullAccess::new(bench.scratch.join("pull"));
        access.authfile = authfile.then(|| registry.authfile.clone());
        access.registries.insert(registry.host.clone(), settings);
        access
    };
    let pull = async |access: PullAccess| {
        let bases = [name.clone()];
        let pulled = bench
            .engine
            .pull_bases(&bench.runner, &bases, Pull::Always, &access, LONG)
            .await;
        assert!(!bench.scratch.join("pull").exists());
        pulled.map(|_| ()).map_err(|f| f.kind)
    };
    let errored = Err(FailureKind::Errored);
    assert_eq!(pull(access(true, RegistryAccess::default())).await, errored);
    assert_eq!(pull(access(false, trusted.clone())).await, errored);
    assert_eq!(pull(access(true, trusted)).await, Ok(()));
    let insecure = RegistryAccess {
        insecure: true,
        ca_file: None,
    };
    assert_eq!(pull(access(true, insecure)).await, Ok(()));
    assert!(!bench.log().contains("hunter2"));
}

#[tokio::test]
async fn the_same_content_at_another_time_gives_the_same_digest() {
    let bench = Bench::new();
    let mut digests = Vec::new();
    let mut began = Vec::new();
    for (context, year) in [("one", "2001"), ("two", "2011")] {
        let dir = bench.scratch.mkdir(context);
        busybox_context(&dir);
        let sub = bench.scratch.mkdir(format!("{context}/sub"));
        std::fs::write(sub.join("file"), "content").unwrap();
        let text = format!(
            "{BUSYBOX_CONTAINERFILE}COPY sub /sub\nCOPY sub/file /x/\nRUN date > /dev/null; mkdir -p /a; echo b > /a/c\n"
        );
        let file = dir.join("Containerfile");
        std::fs::write(&file, text).unwrap();
        for path in [&dir, &sub, &sub.join("file"), &dir.join("busybox")] {
            let touched = Command::new("touch")
                .arg("-d")
                .arg(format!("{year}-01-01"))
                .arg(path)
                .status();
            assert!(touched.unwrap().success());
        }
        // The second build is in another second.
        let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        while began.contains(&now()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.push(now());
        // A layer in the cache has the times of an earlier build.
        bench.build(&file, &dir, Build::default()).await.unwrap();
        let how = Build {
            annotations: BTreeMap::from([("org.example.a".to_owned(), "b".to_owned())]),
            timestamp: Some(1_600_000_000),
            ..Build::default()
        };
        let id = bench.build(&file, &dir, how).await.unwrap();
        let archive = bench.scratch.join(format!("{context}.tar"));
        // What an attempt that was cut off has left is written over.
        std::fs::write(&archive, "half").unwrap();
        bench
            .engine
            .save(&bench.runner, Step::Release, &id, &archive, LONG)
            .await
            .unwrap();
        let (digest, manifest) = manifest(&archive);
        assert_eq!(manifest["config"]["digest"], id.as_str());
        assert_eq!(manifest["annotations"]["org.example.a"], "b");
        for layer in manifest["layers"].as_array().unwrap() {
            assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
        }
        digests.push(digest);
    }
    assert_eq!(digests[0], digests[1]);
    assert!(bench.log().contains("without the layer cache"));
}

#[tokio::test]
async fn what_was_saved_can_be_loaded() {
    let bench = Bench::new();
    let id = bench.inspect(BUSYBOX).await.unwrap().id;
    let archive = bench.scratch.join("a b.tar");
    let step = Step::Release;
    bench
        .engine
        .save(&bench.runner, step, &id, &archive, LONG)
        .await
        .unwrap();
    bench.podman.run(&["rmi", "--force", BUSYBOX]);
    assert_eq!(
        bench.engine.load(&bench.runner, step, &archive, LONG).await,
        Ok(id.clone())
    );
    // As the executor writes it: docker's form, with a name.
    bench.podman.run(&["tag", id.as_str(), "r.io/x:1"]);
    let named = bench.scratch.join("named.tar");
    bench
        .podman
        .run(&["save", "--output", named.to_str().unwrap(), "r.io/x:1"]);
    bench.podman.run(&["rmi", "--force", id.as_str()]);
    assert_eq!(bench.engine.load(&bench.runner, step, &named, LONG).await, Ok(id));
    std::fs::write(&archive, "no archive").unwrap();
    let failure = bench
        .engine
        .load(&bench.runner, step, &archive, LONG)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored);
    let nothing = Digest::new(format!("sha256:{}", "0".repeat(64))).unwrap();
    let failure = bench
        .engine
        .save(&bench.runner, step, &nothing, &archive, LONG)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored);
}

#[tokio::test]
async fn a_secret_reaches_the_run_and_nothing_else() {
    let bench = Bench::new();
    let dir = bench.scratch.mkdir("context");
    let file = bench.scratch.write(
        "context/Containerfile",
        format!("FROM {BUSYBOX}\nRUN --mount=type=secret,id=TOKEN wc -c < /run/secrets/TOKEN > /length\nRUN ! ls /run/secrets/TOKEN && echo length-$(cat /length)\n"),
    );
    let secrets = [("TOKEN".to_owned(), bench.scratch.write("a secret", "hunter2"))];
    let how = || Build {
        secrets: &secrets,
        ..Build::default()
    };
    let id = bench.build(&file, &dir, how()).await.unwrap();
    let log = bench.log();
    assert!(log.contains("length-7") && !log.contains("hunter2"), "{log}");
    let history = bench.podman.run(&["history", "--no-trunc", id.as_str()]);
    assert!(!history.contains("hunter2"), "{history}");
    let odd = [("TOKEN".to_owned(), bench.scratch.write("a,src=b", "x"))];
    let how = Build {
        secrets: &odd,
        ..Build::default()
    };
    let failure = bench.build(&file, &dir, how).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed);
    assert!(failure.message.contains("comma"), "{failure}");
}

/// The context has `keep`, `own` and `other`; what is ignored is in the ignore file of the context (`other`) or in
/// that beside the Containerfile (`own`).
fn ignoring(bench: &Bench, beside: bool) -> (PathBuf, PathBuf, PathBuf) {
    let dir = bench.scratch.mkdir("context");
    for name in ["keep", "own", "other", "busybox"] {
        bench.scratch.write(format!("context/{name}"), name);
    }
    std::fs::copy("/bin/busybox", dir.join("sh")).unwrap();
    std::fs::set_permissions(dir.join("sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.scratch.write("context/.dockerignore", "other\n");
    let original = bench.scratch.write("context/Build.file", "FROM localhost/not-pinned\n");
    let ignore = dir.join("Build.file.dockerignore");
    match beside {
        true => std::fs::write(ignore, "own\n").unwrap(),
        false => drop(std::fs::remove_file(ignore)),
    }
    let file = bench
        .scratch
        .write("rewritten/Containerfile", "FROM scratch\nCOPY . /x/\nCOPY sh /bin/sh\n");
    (dir, original, file)
}

#[tokio::test]
async fn a_rewritten_file_is_built_with_the_ignore_files_of_the_original() {
    let bench = Bench::new();
    for (beside, kept, ignored) in [(false, "own", "other"), (true, "other", "own")] {
        let (dir, original, file) = ignoring(&bench, beside);
        let how = Build {
            original: Some(&original),
            ..Build::default()
        };
        let id = bench.build(&file, &dir, how).await.unwrap();
        let files = bench.files("podman", &id);
        let has = |name: &str| files.lines().any(|line| line == format!("x/{name}"));
        assert!(has("keep") && has(kept) && !has(ignored), "{beside}: {files}");
    }
}

#[tokio::test]
async fn docker_says_what_it_cannot_do_and_does_the_rest() {
    let Some((mut bench, _docker)) = Bench::docker() else {
        eprintln!("dockerd does not start here: nothing is tested");
        return;
    };
    let (dir, original, file) = ignoring(&bench, true);
    let tags = ["localhost/t:1".to_owned()];
    let how = || Build {
        original: Some(&original),
        tag: &tags,
        ..Build::default()
    };
    let id = bench.build(&file, &dir, how()).await.unwrap();
    let info = bench.inspect("localhost/t:1").await.unwrap();
    assert_eq!(
        (info.id.clone(), info.platform(), info.diff_ids.len()),
        (id.clone(), "linux/amd64", 2)
    );
    assert_eq!(bench.inspect("localhost/nothing:1").await, None);
    let files = bench.files("docker", &id);
    assert!(files.contains("x/keep"), "{files}");
    let archive = bench.scratch.join("image.tar");
    bench
        .engine
        .save(&bench.runner, Step::Release, &id, &archive, LONG)
        .await
        .unwrap();
    bench.engine.remove_image(&bench.runner, &id).await;
    let loaded = bench.engine.load(&bench.runner, Step::Test, &archive, LONG).await;
    assert_eq!(loaded, Ok(id));

    let secrets = [("S".to_owned(), bench.scratch.write("s", "hunter2"))];
    let with_secret = || Build {
        secrets: &secrets,
        timestamp: Some(1_600_000_000),
        ..Build::default()
    };
    // The classic builder, since somebody wants it.
    let plain = bench.runner.clone();
    bench.runner.env.push(("DOCKER_BUILDKIT".into(), "0".into()));
    let failure = bench.build(&file, &dir, with_secret()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed);
    assert!(failure.message.contains("buildx"), "{failure}");
    let timed = Build {
        timestamp: Some(1),
        ..Build::default()
    };
    bench.build(&file, &dir, timed).await.unwrap();
    assert!(bench.log().contains("classic builder cannot set times"));
    // The client of this version has BuildKit built in.
    bench.runner = plain;
    let path = OsString::from("/usr/bin:/bin:/usr/sbin:/sbin");
    bench.runner.env.push(("PATH".into(), path));
    bench.build(&file, &dir, with_secret()).await.unwrap();

    let registry = Registry::closed(&bench.scratch);
    let mut access = PullAccess::new(bench.scratch.join("pull"));
    access.authfile = Some(registry.authfile.clone());
    let name = format!("{}/nothing:1", registry.host);
    let bases = [name];
    let failure = bench
        .engine
        .pull_bases(&bench.runner, &bases, Pull::Always, &access, LONG)
        .await;
    assert_eq!(failure.unwrap_err().kind, FailureKind::Errored);
    assert!(!bench.scratch.join("pull").exists());
}
