//! How an end is asked for.

use tokio_util::sync::CancellationToken;

/// A request to end, in two strengths: with grace, and at once.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    asked: CancellationToken,
    insisted: CancellationToken,
}

impl Cancel {
    /// Nothing is asked yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Asks for an end: TERM, grace, KILL.
    pub fn ask(&self) {
        self.asked.cancel();
    }
    /// Asks for an end at once.
    pub fn insist(&self) {
        self.asked.cancel();
        self.insisted.cancel();
    }
    /// Whether an end was asked for.
    pub fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }
    /// Waits until an end is asked for.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }
    /// Waits until an end is asked for at once.
    pub async fn insisted(&self) {
        self.insisted.cancelled().await;
    }
}
