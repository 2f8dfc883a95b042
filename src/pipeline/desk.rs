//! What an attempt has to tell while it runs, because it must be on record before it goes on.

use crate::model::{Failure, ImageRef, JobId, ReleasePlan, Step};
use std::collections::BTreeSet;
use tokio::sync::{mpsc, oneshot};

/// An attempt is about to release, and waits for the answer.
#[derive(Debug)]
pub struct Announced {
    /// Whose attempt.
    pub job: JobId,
    /// What, and to where.
    pub plan: ReleasePlan,
    /// The references that are a newer job's by now and that stay as they are; an error if the plan could not be
    /// recorded, with which nothing may be moved.
    pub answer: oneshot::Sender<Result<BTreeSet<ImageRef>, String>>,
}

/// The way from attempts to whoever keeps the record.
#[derive(Debug, Clone)]
pub struct Desk(mpsc::UnboundedSender<Announced>);

impl Desk {
    /// A desk, and where its announcements come out.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Announced>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Has a plan recorded. Answers with the references that must not be moved.
    pub(super) async fn announce(&self, job: JobId, plan: ReleasePlan) -> Result<BTreeSet<ImageRef>, Failure> {
        let (answer, answered) = oneshot::channel();
        let gone = || Failure::errored(format!("{}: the daemon is stopping", Step::Release));
        self.0.send(Announced { job, plan, answer }).map_err(|_| gone())?;
        match answered.await {
            Ok(Ok(overtaken)) => Ok(overtaken),
            Ok(Err(error)) => Err(Failure::errored(format!(
                "{}: cannot record what is released: {error}",
                Step::Release
            ))),
            Err(_) => Err(gone()),
        }
    }
}
