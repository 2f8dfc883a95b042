//! ssh, by the user's own `ssh`: one connection for each host, and for each question a session on it.
//!
//! Who configured ssh to share connections keeps that: such a remote is left to git, and so is one whose ssh is no
//! OpenSSH. Nothing here may ask a person, and no ssh may outlive the daemon.

mod command;
mod config;
mod master;
mod place;
mod question;
mod session;

use super::address::SshAddress;
use super::asked::Asked;
use super::reply::{Digest, Limits, Missed, Reply};
use super::stream::Memory;
use crate::git::world::Ssh;
use crate::process::{Marker, Output, Runner, Spec};
use config::SshConfig;
use master::{Master, Patience};
use place::Place;
use question::Question;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The longest life of a connection.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The connections to all hosts. Copies share them; they end with the last copy, or at [`Masters::end`].
#[derive(Debug, Clone)]
pub struct Masters(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runner: Runner,
    cwd: PathBuf,
    place: Arc<Place>,
    idle: Duration,
    hosts: Mutex<HashMap<Host, Arc<Slot>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_at_the_end: DropGuard,
}

/// Whatever makes another connection: how ssh is called, and `[user@]host` and port as it gets them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Host {
    ssh: Ssh,
    name: String,
    port: Option<u16>,
}

/// The lock is held while a connection is decided on, not while it is made.
type Slot = tokio::sync::Mutex<State>;

/// How things stand with a host.
#[derive(Debug, Default)]
struct State {
    master: Option<Arc<Master>>,
    /// Since when, and why connections are not ours to share.
    unable: Option<(Instant, String)>,
}

impl Masters {
    /// No connection yet. `runner` starts the processes, in `cwd`, and its cancel ends them; sockets are in a fresh
    /// directory in `dir`, or among the temporary files; a connection that is `idle` for so long ends.
    pub fn new(runner: Runner, cwd: &Path, dir: &Path, idle: Duration) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        Ok(Self(Arc::new(Shared {
            runner: runner.with_env(command::environment()),
            cwd: cwd.to_owned(),
            place: Arc::new(Place::new(dir)?),
            idle,
            hosts: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
            _stop_at_the_end: stop.drop_guard(),
        })))
    }

    /// Ends all connections at once, and returns when no process of theirs is left.
    pub async fn end(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Asks an ssh remote for its branches and tags. `known` is the digest of the last answer.
    pub async fn ask(
        &self,
        ssh: &Ssh,
        remote: &str,
        memory: &mut Memory,
        known: Option<Digest>,
        limits: &Limits,
    ) -> Result<Reply, Missed> {
        let asked = Asked::new(remote);
        let address = SshAddress::parse(asked.url()).map_err(|odd| Missed::Unable(odd.to_string()))?;
        let host = Host {
            ssh: ssh.clone(),
            name: address.host,
            port: address.port,
        };
        let question = Question {
            masters: self,
            asked: &asked,
            host,
            command: command::upload_pack(&address.path),
            known,
            limits,
            deadline: Instant::now() + limits.whole,
        };
        question.ask(memory).await
    }

    /// The control socket of a connection that git's own ssh may use for this remote, if there is one now. None where
    /// the user says how ssh is called: that is git's to do.
    pub fn socket_if_alive(&self, ssh: &Ssh, remote: &str) -> Option<PathBuf> {
        if *ssh != Ssh::Default {
            return None;
        }
        let address = SshAddress::parse(Asked::new(remote).url()).ok()?;
        let host = Host {
            ssh: Ssh::Default,
            name: address.host,
            port: address.port,
        };
        let slot = self.hosts().get(&host)?.clone();
        let state = slot.try_lock().ok()?;
        let master = state.master.as_ref().filter(|master| master.is_ready())?;
        Some(master.socket.clone())
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<Host, Arc<Slot>>> {
        self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process that connects.
    fn start(&self, host: &Host, config: &SshConfig, connect: Duration) -> Arc<Master> {
        let shared = &self.0;
        let master = Arc::new(Master::new(shared.place.socket()));
        let argv = command::master(host, &master.socket, connect, &config.set_env);
        let spec = Spec {
            argv,
            env: shared.runner.env.clone(),
            cwd: shared.cwd.clone(),
            timeout: LIFE,
            grace: shared.runner.grace,
            marker: shared.marker(),
            output: Output::Capture { limit: 1 },
            masks: shared.runner.masks.clone(),
        };
        let patience = Patience {
            connect,
            idle: shared.idle,
        };
        let (supervisor, cancel) = (shared.runner.supervisor.clone(), shared.runner.cancel.clone());
        let (stop, place, living) = (shared.stop.clone(), shared.place.clone(), master.clone());
        shared.tasks.spawn(async move {
            let stopped = async {
                tokio::select! {
                    () = cancel.asked() => {}
                    () = stop.cancelled() => {}
                }
            };
            living.live(&supervisor, &spec, patience, stopped).await;
            // The directory of the sockets stays until here.
            drop(place);
        });
        master
    }
}

impl Shared {
    fn marker(&self) -> Marker {
        Marker::service(self.runner.marker.instance())
    }
}
