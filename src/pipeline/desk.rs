//! What an attempt has to tell while it runs, because it must be on record before it goes on.
//!
//! It must never go on without an answer: what it would build on, or move, is not its own to decide.

use crate::model::{Failure, FailureKind, Ground, ImageRef, JobId, Learned, ReleasePlan, ReleaseStage, Step};
use std::collections::BTreeSet;
use tokio::sync::{mpsc, oneshot};

/// What comes out of a desk.
#[derive(Debug)]
pub enum Told {
    /// An attempt has read its checkout, and waits for the answer before it builds anything.
    Learned {
        /// Whose attempt.
        job: JobId,
        /// What it has read.
        learned: Learned,
        /// What it does now; an error if what it has learned could not be recorded.
        answer: oneshot::Sender<Result<GoOn, String>>,
    },
    /// An attempt is about to release.
    Announced(Announced),
}

/// How an attempt goes on once its edges are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GoOn {
    /// It ends for now, and goes on later in the same directory. For what: `ruby: job 8 is running`.
    Wait(String),
    /// It builds, on this.
    Go(Ground),
}

/// An attempt is about to release, and waits for the answer.
#[derive(Debug)]
pub struct Announced {
    /// Whose attempt.
    pub job: JobId,
    /// What, and to where.
    pub plan: ReleasePlan,
    /// What it may move; an error if nothing may be moved.
    pub answer: oneshot::Sender<Result<Permit, Denied>>,
}

/// Why nothing may be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The plan could not be recorded: that is our side's trouble.
    Unrecorded(String),
    /// What was built must not be released.
    Refused {
        /// Another attempt would build something else.
        again: bool,
        /// Why, for people.
        why: String,
    },
}

/// What an attempt may do with what it has announced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permit {
    /// The references that are a newer job's by now and that stay as they are.
    pub overtaken: BTreeSet<ImageRef>,
    /// Whether references move now, or with the rest of a wave.
    pub stage: ReleaseStage,
}

/// The way from attempts to whoever keeps the record.
#[derive(Debug, Clone)]
pub struct Desk(mpsc::UnboundedSender<Told>);

impl Desk {
    /// A desk, and where what it is told comes out.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Told>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Tells what a checkout says. Answers with what is built on; that the attempt has to wait is a failure of this kind.
    pub(super) async fn learned(&self, job: JobId, learned: Learned) -> Result<Ground, Failure> {
        let (answer, answered) = oneshot::channel();
        self.tell(Step::Pull, Told::Learned { job, learned, answer })?;
        match answered.await {
            Ok(Ok(GoOn::Go(ground))) => Ok(ground),
            Ok(Ok(GoOn::Wait(why))) => Err(Failure::new(FailureKind::Waiting, why)),
            Ok(Err(error)) => Err(unrecorded(Step::Pull, "what the checkout says", &error)),
            Err(_) => Err(gone(Step::Pull)),
        }
    }

    /// Has a plan recorded. Answers with what may be moved.
    pub(super) async fn announce(&self, job: JobId, plan: ReleasePlan) -> Result<Permit, Failure> {
        let (answer, answered) = oneshot::channel();
        self.tell(Step::Release, Told::Announced(Announced { job, plan, answer }))?;
        match answered.await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(Denied::Refused { again, why })) => {
                let kind = if again {
                    FailureKind::Errored
                } else {
                    FailureKind::Failed
                };
                Err(Failure::new(kind, format!("{}: {why}", Step::Release)))
            }
            Ok(Err(Denied::Unrecorded(error))) => Err(unrecorded(Step::Release, "what is released", &error)),
            Err(_) => Err(gone(Step::Release)),
        }
    }

    fn tell(&self, step: Step, told: Told) -> Result<(), Failure> {
        self.0.send(told).map_err(|_| gone(step))
    }
}

fn unrecorded(step: Step, what: &str, error: &str) -> Failure {
    Failure::errored(format!("{step}: cannot record {what}: {error}"))
}

fn gone(step: Step) -> Failure {
    Failure::errored(format!("{step}: the daemon is stopping"))
}
