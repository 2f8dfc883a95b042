//! One question to one remote: a connection, a session, and what to do when either fails.

use super::config::{self, SshConfig};
use super::master::{Master, Over};
use super::session::{self, NotOpen, Session};
use super::{Host, Masters, command};
use crate::git::ask::asked::Asked;
use crate::git::ask::reply::{Digest, Limits, Missed, Reply};
use crate::git::ask::stream::{Memory, Trouble, converse};
use crate::git::list::ListError;
use crate::git::wire::WireError;
use crate::model::Step;
use crate::process::Runner;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// After which ssh's own configuration is looked at again, where it forbids sharing.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// Between tries to open the only session that a server allows, in milliseconds.
const PAUSES: [u64; 5] = [10, 40, 160, 320, 640];
/// More than `ssh -G` ever says.
const CONFIG_SIZE: usize = 1 << 20;

pub(super) struct Question<'a> {
    pub masters: &'a Masters,
    pub asked: &'a Asked,
    pub host: Host,
    pub command: Vec<u8>,
    pub known: Option<Digest>,
    pub limits: &'a Limits,
    pub deadline: Instant,
}

/// Why one try brought nothing.
enum Miss {
    /// The connection is gone: another one may do.
    Lost,
    /// The server takes fewer sessions at once: one that ends makes room.
    Crowded,
    /// It takes not even one. A session that has just ended may still count, or a fetch holds it.
    Full(String),
    /// The server may not be as it is remembered.
    Changed(Missed),
    /// It would be the same again.
    Final(Missed),
}

impl Question<'_> {
    /// Asks until there is an answer, or none to be had.
    pub async fn ask(&self, memory: &mut Memory) -> Result<Reply, Missed> {
        let mut is_second_connection = false;
        let mut pauses = PAUSES.iter();
        loop {
            match self.once(*memory).await {
                Ok((reply, learned)) => {
                    *memory = learned;
                    return Ok(reply);
                }
                // A server may want no connection that has no session.
                Err(Miss::Lost) if is_second_connection => {
                    return Err(Missed::Unable("the server ends a shared connection at once".to_owned()));
                }
                Err(Miss::Lost) => is_second_connection = true,
                Err(Miss::Crowded) => {}
                Err(Miss::Full(why)) => match pauses.next() {
                    Some(pause) => sleep(Duration::from_millis(*pause)).await,
                    None => return Err(Missed::Unable(why)),
                },
                Err(Miss::Changed(_)) if !memory.is_empty() => *memory = Memory::default(),
                Err(Miss::Changed(missed) | Miss::Final(missed)) => return Err(missed),
            }
        }
    }

    /// One try.
    async fn once(&self, memory: Memory) -> Result<(Reply, Memory), Miss> {
        let connected = timeout_at(self.deadline, self.master()).await;
        let master = connected.unwrap_or_else(|_| Err(Miss::Final(self.late(self.limits.whole))))?;
        let answer = self.over(&master, memory).await;
        if let Err(Miss::Lost) = answer {
            master.retire();
        }
        answer
    }

    fn late(&self, limit: Duration) -> Missed {
        self.asked.timed_out(limit).into()
    }

    /// A connection, made if there is none.
    async fn master(&self) -> Result<Arc<Master>, Miss> {
        let slot = self.masters.hosts().entry(self.host.clone()).or_default().clone();
        let mut state = slot.lock().await;
        let master = match state.master.take().filter(|master| !master.is_over()) {
            Some(master) => master,
            None => {
                if let Some((since, why)) = &state.unable
                    && since.elapsed() < LOOK_AGAIN
                {
                    return Err(Miss::Final(Missed::Unable(why.clone())));
                }
                let config = self.config().await;
                state.unable = config.as_ref().err().map(|why| (Instant::now(), why.clone()));
                let config = config.map_err(|why| Miss::Final(Missed::Unable(why)))?;
                self.masters.start(&self.host, &config, self.limits.connect)
            }
        };
        state.master = Some(master.clone());
        drop(state);
        let missed = match master.ready().await {
            Ok(()) => return Ok(master),
            Err(Over::Lost) => return Err(Miss::Lost),
            Err(Over::Failed(words)) => self.asked.gave_up(&words),
            Err(Over::Late(limit)) => self.asked.timed_out(limit),
            Err(Over::Cancelled) => self.asked.cancelled(),
            Err(Over::NotRun(why)) => ListError::Command(why.to_string()),
        };
        Err(Miss::Final(missed.into()))
    }

    /// What the user's ssh says of this host; the error says why git is to be asked instead.
    async fn config(&self) -> Result<SshConfig, String> {
        let shared = &self.masters.0;
        let runner = Runner {
            marker: shared.marker(),
            ..shared.runner.clone()
        };
        let argv = command::show_config(&self.host);
        let answer = runner.capture(Step::Checkout, &argv, &shared.cwd, self.limits.connect, CONFIG_SIZE);
        let answer = answer.await.map_err(|failure| failure.message)?;
        config::read(&String::from_utf8_lossy(&answer.stdout))
    }

    /// The same on a connection that is there.
    async fn over(&self, master: &Master, memory: Memory) -> Result<(Reply, Memory), Miss> {
        let place = timeout_at(self.deadline, master.place()).await;
        let place = place
            .map_err(|_| Miss::Final(self.late(self.limits.whole)))?
            .ok_or(Miss::Lost)?;
        let begin = Instant::now();
        let silent = |limit: Duration| {
            master.suspect(begin);
            Miss::Final(self.late(limit))
        };
        let first_byte = self.deadline.min(begin + self.limits.first_byte);
        let opened = timeout_at(first_byte, Session::open(&master.socket, &self.command)).await;
        let mut session = match opened.map_err(|_| silent(self.limits.first_byte))? {
            Ok(session) => session,
            Err(NotOpen::Lost) => return Err(Miss::Lost),
            Err(NotOpen::Refused(_)) if master.narrow() => {
                place.forget();
                return Err(Miss::Crowded);
            }
            Err(why @ NotOpen::Refused(_)) => return Err(Miss::Full(why.to_string())),
            Err(why) => return Err(Miss::Final(Missed::Unable(why.to_string()))),
        };
        let talk = converse(&mut session.stream, b"", memory, self.known, self.limits);
        match timeout_at(self.deadline, talk).await {
            Ok(Ok(answer)) => {
                master.note_answer();
                session.end().await;
                Ok(answer)
            }
            Ok(Err(Trouble::Silent(limit))) => Err(silent(limit)),
            Ok(Err(trouble)) if trouble.may_be_a_changed_server() => Err(self.broken(master, session, &trouble).await),
            Ok(Err(trouble)) => Err(Miss::Final(self.asked.failed(&trouble).into())),
            Err(_) => Err(silent(self.limits.whole)),
        }
    }

    /// The answer broke off, or was none. The command's own words say why, if it has any.
    async fn broken(&self, master: &Master, session: Session, trouble: &Trouble) -> Miss {
        let ended = session.end().await;
        if !ended.exited && !session::is_alive(&master.socket).await {
            return Miss::Lost;
        }
        master.note_answer();
        let error = match (trouble, ended.words.trim()) {
            (Trouble::Wire(WireError::Cut(_)) | Trouble::Connection(_), words) if !words.is_empty() => {
                self.asked.gave_up(words)
            }
            _ => self.asked.failed(trouble),
        };
        Miss::Changed(error.into())
    }
}
