//! What the command line and the daemon say to each other, over a unix socket in the workdir: HTTP with JSON, so that
//! `curl --unix-socket` speaks it too.
//!
//! Nothing here decides anything: a request becomes a [`Command`] in the daemon's channel, and its answer goes back.

mod bucket;
mod client;
mod command;
mod hooks;
mod listen;
mod message;
mod pokes;
mod rebuild;
mod server;
mod socket;
mod updates;

pub use client::{ClientError, DEADLINE, call, call_within};
pub use command::{Answer, Command, DaemonStatus, HookStatus, PollStatus, Refused, RegistryStatus, RemoteStatus};
pub use hooks::{Hooks, Secret};
pub use listen::listen;
pub use message::{BuildAsked, CancelAsked, Cancelled, Looks, Poked, PollAsked, Polled, Queued, Reloaded};
pub use pokes::{PokeSent, PokesAsked, PokesSent};
pub use rebuild::{RebuildAsked, RebuildJob, RebuildRefused, RebuildStarted};
pub use server::serve;
pub use socket::{SOCKET, SocketError, SocketFile, bind, runtime_directory};
pub use updates::{
    BaseKind, BaseUpdates, CheckState, FailedLook, ImageUpdates, InsideUpdates, OwnRelease, UpdateState, UpdatesAsked,
    UpdatesRound, UpdatesStarted,
};
