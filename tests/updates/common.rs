//! A registry behind a proxy that counts, a place on it, and what checks are made with.

use crate::made::Repository;
use crate::support::podman::Podman;
use crate::support::repo::GIT_ENV;
use crate::support::scratch::Scratch;
use crate::support::servers::faults::Faults;
use crate::support::servers::registry::Registry;
use jiff::Timestamp;
use pipelined::config::{EngineKind, RegistrySettings};
use pipelined::engine::Engine;
use pipelined::git::{Asker, Mirrors};
use pipelined::model::{BaseKey, CheckError, Compared, Digest, ImageRef, JobId, Look, Used};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use pipelined::registry::{Deadlines, Registries};
use pipelined::updates::{Tools, look_at_base};
use pipelined::workdir::{Layout, Trash};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

/// Dropped in this order.
pub struct Bench {
    pub tools: Tools,
    /// What a project adds to the environment: which storage podman uses.
    pub env: Vec<(OsString, OsString)>,
    pub proxy: Faults,
    pub registry: Registry,
    pub scratch: Scratch,
}

impl Bench {
    pub fn new() -> Self {
        let scratch = Scratch::new();
        let registry = Registry::start(&scratch);
        let proxy = Faults::start(registry.port(), |_| None);
        let tools = tools(&scratch, &[proxy.host()]);
        Self {
            tools,
            env: Vec::new(),
            proxy,
            registry,
            scratch,
        }
    }

    /// With a podman of its own, which must be dropped before this.
    pub fn with_podman() -> (Self, Podman) {
        let mut bench = Self::new();
        let podman = Podman::new(&bench.scratch);
        bench.env = podman.env().into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        (bench, podman)
    }

    /// A reference as checks know it: by the proxy.
    pub fn reference(&self, text: &str) -> ImageRef {
        ImageRef::parse(&format!("{}/{text}", self.proxy.host())).unwrap()
    }

    /// The same place, past the proxy.
    pub fn repository(&self, name: &str) -> Repository {
        Repository {
            port: self.registry.port(),
            name: name.to_owned(),
        }
    }

    /// Looks at `base:1`.
    pub async fn look(&self, used: &[Used], known: Option<&Look>) -> Result<(Digest, Vec<Compared>), CheckError> {
        self.look_at(self.reference("base:1"), used, known).await
    }

    pub async fn look_at(
        &self,
        reference: ImageRef,
        used: &[Used],
        known: Option<&Look>,
    ) -> Result<(Digest, Vec<Compared>), CheckError> {
        let project = None;
        self.look_key(BaseKey { reference, project }, used, known).await
    }

    pub async fn look_key(
        &self,
        key: BaseKey,
        used: &[Used],
        known: Option<&Look>,
    ) -> Result<(Digest, Vec<Compared>), CheckError> {
        // As the daemon does it: on a task of its own.
        let (tools, used, known, env) = (self.tools.clone(), used.to_vec(), known.cloned(), self.env.clone());
        let task = tokio::spawn(async move { look_at_base(&tools, &key, &used, known.as_ref(), env).await });
        task.await.unwrap()
    }

    /// Looks at `base:1` for one use of it, which is not there any more as it was.
    pub async fn look_once(&self, used: &Used) -> Compared {
        let (head, compared) = self.look(std::slice::from_ref(used), None).await.unwrap();
        assert!(!used.is_at(&head));
        let [compared] = <[Compared; 1]>::try_from(compared).unwrap();
        assert_eq!(compared.used, used.key());
        compared
    }

    /// What was asked of the registry since the last time, without the part of the path that is the same for all.
    pub fn asked(&self) -> Vec<String> {
        let requests = self.proxy.requests();
        self.proxy.forget();
        let word = |path: &str| match path.rsplit_once("/manifests/") {
            Some((_, name)) if name.starts_with("sha256:") => "manifest".to_owned(),
            Some((_, name)) => name.to_owned(),
            None if path.contains("/blobs/") => "blob".to_owned(),
            None => path.to_owned(),
        };
        requests
            .iter()
            .map(|request| format!("{} {}", request.method, word(&request.path)))
            .collect()
    }
}

/// As it would be remembered.
pub fn seen((head, compared): (Digest, Vec<Compared>)) -> Look {
    Look {
        head,
        since: Timestamp::UNIX_EPOCH,
        checked: Timestamp::UNIX_EPOCH,
        compared,
    }
}

/// These hosts speak plain http, and podman has a storage as the environment says.
pub fn tools(scratch: &Scratch, hosts: &[String]) -> Tools {
    let insecure = RegistrySettings {
        insecure: true,
        ..RegistrySettings::default()
    };
    let settings = hosts.iter().map(|host| (host.clone(), insecure.clone())).collect();
    let deadlines = Deadlines {
        pause: Duration::from_secs(2),
        retry: Duration::from_millis(10),
        ..Deadlines::default()
    };
    let dirs = [
        ("HOME", "home"),
        ("XDG_RUNTIME_DIR", "runtime"),
        ("XDG_CONFIG_HOME", "config"),
        ("DOCKER_CONFIG", "docker"),
    ];
    let mut env: Vec<_> = dirs.map(|(name, dir)| (name.into(), scratch.join(dir).into())).into();
    env.push(("REGISTRY_AUTH_FILE".into(), "".into()));
    // podman insists on it where it is named.
    scratch.write("docker/config.json", "{}");
    env.extend(GIT_ENV.map(|(name, value)| (name.into(), value.into())));
    let runner = Runner {
        masks: Masks::default(),
        supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
        marker: Marker::job("updates-test", JobId(1), 1),
        env,
        cancel: Cancel::new(),
        grace: Duration::from_millis(300),
        log: None,
    };
    let layout = Layout::new(scratch.mkdir("work"));
    let trash = Trash::open(layout.trash()).unwrap();
    Tools {
        registries: Registries::with_deadlines(settings, deadlines),
        engine: Arc::new(Engine::new(EngineKind::Podman)),
        mirrors: Mirrors::new(layout.mirrors(), move |path| trash.discard(path)),
        asker: Asker::new(scratch.path().to_owned(), runner.clone(), scratch.join("ssh"), None),
        layout,
        runner,
        log_limit: 1 << 20,
    }
}
