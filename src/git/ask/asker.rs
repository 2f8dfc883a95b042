//! One question to one remote, by the way that fits it.

use super::http::{self, Http};
use super::local::{self, Local, Tell};
use super::logins::Logins;
use super::reply::{Digest, Limits, Missed, Reply};
use super::ssh::Masters;
use super::transport::Transport;
use super::{daemon, file, stream};
use crate::git::list::{ListError, ls_remote};
use crate::git::refs::RefList;
use crate::git::remote::Remote;
use crate::git::world::{Worlds, relevant};
use crate::model::mask_url;
use crate::process::{MaskError, Masks, Runner};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// `git ls-remote` processes at once.
const GIT_AT_ONCE: usize = 32;
/// A remote that only git could ask is tried by ourselves again after so many looks.
const TRY_AGAIN: u32 = 100;

/// A connection over ssh ends when nobody has asked over it for so long.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// Names and values of an environment.
type Variables = Vec<(OsString, OsString)>;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// As it is configured, with credentials.
    pub remote: String,
    /// What the projects that ask have in their own environment that git or ssh would heed.
    pub env: Variables,
    /// The names of those whose values nobody may be shown.
    pub secrets: BTreeSet<OsString>,
}

impl Question {
    /// For a project with these variables of its own.
    pub fn new(remote: &str, variables: Vec<(OsString, OsString)>) -> Self {
        Self {
            remote: remote.to_owned(),
            env: variables.into_iter().filter(|(name, _)| relevant(name)).collect(),
            secrets: BTreeSet::new(),
        }
    }

    /// The values of these, if they matter at all, may be shown to nobody.
    pub fn with_secrets(mut self, names: BTreeSet<OsString>) -> Self {
        self.secrets = names;
        self.secrets.retain(|name| relevant(name));
        self
    }

    /// Without what nobody may be shown.
    pub fn without_secrets(mut self) -> Self {
        let secrets = std::mem::take(&mut self.secrets);
        self.env.retain(|(name, _)| !secrets.contains(name));
        self
    }

    /// What the runner needs with which it is asked, for errors to tell no secrets. To be made once, and kept.
    pub fn masks(&self) -> Result<Masks, MaskError> {
        let secret = self.env.iter().filter(|(name, _)| self.secrets.contains(name));
        Masks::new(secret.map(|(_, value)| value.as_encoded_bytes()))
    }
}

/// Asks remotes; shared by all questions, cheap to clone.
#[derive(Clone)]
pub struct Asker {
    /// Where git commands run: no repository.
    cwd: PathBuf,
    worlds: Arc<Worlds>,
    http: Http,
    local: Local,
    ssh: Arc<Ssh>,
    by_git: Arc<Semaphore>,
}

/// What is remembered of a remote between two looks.
#[derive(Default)]
pub struct Memory {
    /// Why git has to ask, and for how many looks it did.
    unable: Option<(Box<str>, u32)>,
    /// What the rest is about: the remote's URL as the git config rewrites it.
    url: Box<str>,
    http: http::Memory,
    stream: stream::Memory,
    local: local::Memory,
}

impl Memory {
    /// Forgets what was about another URL.
    fn begin(&mut self, url: &str) {
        if *self.url != *url {
            *self = Self {
                url: url.into(),
                ..Self::default()
            };
        }
    }

    /// The next look is one by ourselves, whatever the last ones said.
    pub fn try_again(&mut self) {
        self.unable = None;
    }

    /// Why `git ls-remote` asks this remote, if it does.
    pub fn fallback(&self) -> Option<&str> {
        self.unable.as_ref().map(|(why, _)| why.as_ref())
    }
}

/// A derived one would print secrets.
impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asker")
    }
}

/// What connections over ssh are made with.
struct Ssh {
    /// Its commands end with the asker.
    runner: Runner,
    /// For sockets.
    dir: PathBuf,
    /// By environment.
    masters: Mutex<HashMap<Variables, Masters>>,
}

impl Asker {
    /// Runs what it must run in `cwd`, which is in no repository. Connections that are kept are processes of the
    /// `runner`, and their sockets are in `dir`. `tell` gets the remote of a repository on this machine that has
    /// changed, on a thread of its own; it must not block.
    pub fn new(cwd: PathBuf, runner: Runner, dir: PathBuf, tell: Option<Tell>) -> Self {
        let masters = Mutex::default();
        Self {
            ssh: Arc::new(Ssh { runner, dir, masters }),
            worlds: Arc::new(Worlds::new(&cwd)),
            cwd,
            http: Http::new(),
            local: Local::new(tell),
            by_git: Arc::new(Semaphore::new(GIT_AT_ONCE)),
        }
    }

    /// The socket of a connection to the remote's host that git's own ssh may use, if there is one now.
    pub async fn ssh_socket(&self, runner: &Runner, question: &Question) -> Option<PathBuf> {
        if self
            .ssh
            .masters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
        {
            return None;
        }
        let world = self.worlds.of(runner, &question.env).await.ok()?;
        let url = world.rewrite(&Remote::new(&question.remote).url);
        if Transport::of(&url) != Transport::Ssh {
            return None;
        }
        let masters = self.masters(&question.env).ok()?;
        masters.socket_if_alive(&world.ssh(), &url)
    }

    /// Ends the connections that are processes; what asks over them now gets no answer.
    pub async fn end(&self) {
        let masters = std::mem::take(&mut *self.ssh.masters.lock().unwrap_or_else(PoisonError::into_inner));
        for masters in masters.into_values() {
            masters.end().await;
        }
    }

    fn masters(&self, env: &Variables) -> Result<Masters, ListError> {
        let mut all = self.ssh.masters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(masters) = all.get(env) {
            return Ok(masters.clone());
        }
        let runner = self.ssh.runner.with_env(env.iter().cloned());
        let masters = Masters::new(runner, &self.cwd, &self.ssh.dir, IDLE)
            .map_err(|error| ListError::Command(format!("cannot make a directory for ssh's sockets: {error}")))?;
        all.insert(env.clone(), masters.clone());
        Ok(masters)
    }

    /// The user's git config may have changed.
    pub fn refresh(&self) {
        self.worlds.refresh();
    }

    /// Asks a remote for its branches and tags. If the answer is the `known` one, it is not read. An empty list means
    /// that the repository is empty, and nothing else. Errors, and what is remembered, have none of the runner's secrets.
    pub async fn ask(
        &self,
        runner: &Runner,
        question: &Question,
        limits: &Limits,
        memory: &mut Memory,
        known: Option<Digest>,
    ) -> Result<Reply, ListError> {
        let asked = self.ask_somehow(runner, question, limits, memory, known).await;
        asked.map_err(|error| error.map(|text| runner.mask(text)))
    }

    async fn ask_somehow(
        &self,
        runner: &Runner,
        question: &Question,
        limits: &Limits,
        memory: &mut Memory,
        known: Option<Digest>,
    ) -> Result<Reply, ListError> {
        let runner = runner.with_env(question.env.iter().cloned());
        let is_local = Transport::of(&memory.url) == Transport::File;
        let left_to_git = match &mut memory.unable {
            // A look at files costs nothing, and tells when git need not be asked.
            Some((_, looks)) if *looks < TRY_AGAIN && !is_local => {
                *looks += 1;
                true
            }
            _ => false,
        };
        if !left_to_git {
            let missed = self.ask_here(&runner, question, limits, memory, known).await;
            match missed {
                Ok(reply) => {
                    memory.unable = None;
                    return Ok(reply);
                }
                Err(Missed::Error(error)) => {
                    self.worlds.refresh();
                    return Err(error);
                }
                Err(Missed::Unable(why)) => memory.unable = Some((runner.mask(&why).into(), 0)),
            }
        }
        // Never closed, so there is always a place in the end.
        let _place = self.by_git.acquire().await;
        let reply = ls_remote(&runner, &question.remote, &self.cwd, limits.whole, limits.size, known).await?;
        match reply {
            Reply::Refs { list, .. } if Transport::of(&memory.url) == Transport::File => {
                let digest = file::digest(&list);
                memory.local.learned(digest);
                Ok(if known == Some(digest) {
                    Reply::Unchanged
                } else {
                    Reply::Refs { list, digest }
                })
            }
            reply => Ok(reply),
        }
    }

    /// A remote that nobody asks any more.
    pub fn drop_remote(&self, remote: &str) {
        self.local.unwatch(remote);
    }

    /// Asks once, with nothing known before and nothing remembered.
    pub async fn list(&self, runner: &Runner, question: &Question, limits: &Limits) -> Result<RefList, ListError> {
        match self.ask(runner, question, limits, &mut Memory::default(), None).await? {
            Reply::Refs { list, .. } => Ok(list),
            // Nothing is known, so nothing is the same.
            Reply::Unchanged => Ok(RefList::default()),
        }
    }

    /// Asks inside this process, and nowhere else. Who is called off is so at once: nothing here has to be put in order.
    pub async fn ask_here(
        &self,
        runner: &Runner,
        question: &Question,
        limits: &Limits,
        memory: &mut Memory,
        known: Option<Digest>,
    ) -> Result<Reply, Missed> {
        let masked = mask_url(&question.remote);
        let cancelled = || ListError::Cancelled { remote: masked.clone() };
        tokio::select! {
            reply = self.ask_by_transport(runner, question, &masked, limits, memory, known) => reply,
            () = runner.cancel.asked() => Err(cancelled().into()),
        }
    }

    async fn ask_by_transport(
        &self,
        runner: &Runner,
        question: &Question,
        masked: &str,
        limits: &Limits,
        memory: &mut Memory,
        known: Option<Digest>,
    ) -> Result<Reply, Missed> {
        let world = self
            .worlds
            .of(runner, &question.env)
            .await
            .map_err(|error| error.into_list_error(&question.remote))?;
        let remote = Remote::new(&question.remote);
        let url = world.rewrite(&remote.url);
        let transport = Transport::of(&url);
        if !world.allows(transport.name()) {
            return Err(Missed::Unable(format!(
                "the git config does not allow {}",
                transport.name()
            )));
        }
        if !world.protocol_v2() {
            return Err(Missed::Unable("protocol.version is not 2 in the git config".to_owned()));
        }
        let asked = Remote::new(&url);
        memory.begin(&url);
        match transport {
            Transport::Http | Transport::Https => {
                let settings = world.http(&asked.url);
                let logins = Logins {
                    runner,
                    cwd: &self.cwd,
                    world: &world,
                    remote: if asked.credentials.is_some() { &asked } else { &remote },
                    deadline: limits.whole,
                    filled: Mutex::default(),
                };
                let question = http::Question {
                    url: &asked.url,
                    masked,
                    settings: &settings,
                    vault: &logins,
                    limits,
                };
                self.http.ask(&question, &mut memory.http, known).await
            }
            Transport::Git if world.git_proxy() => Err(Missed::Unable("core.gitProxy is set".to_owned())),
            Transport::Git => daemon::ask(&url, &mut memory.stream, known, limits).await,
            Transport::Ssh => {
                if let Some(variant) = world.ssh_variant().filter(|v| !matches!(v.as_str(), "ssh" | "auto")) {
                    return Err(Missed::Unable(format!("ssh.variant is {variant}")));
                }
                let masters = self.masters(&question.env)?;
                masters.ask(&world.ssh(), &url, &mut memory.stream, known, limits).await
            }
            Transport::File if world.hides_refs() => Err(Missed::Unable("the git config hides refs".to_owned())),
            Transport::File => {
                let path = file::local_path(&url)
                    .ok_or_else(|| Missed::Unable("this is no path on this machine".to_owned()))?;
                let (remote, patience) = (&question.remote, limits.whole);
                self.local
                    .look(remote, masked, path, &mut memory.local, known, patience)
                    .await
            }
            Transport::Other(name) => Err(Missed::Unable(format!("{name} is a transport of git's own"))),
        }
    }
}
