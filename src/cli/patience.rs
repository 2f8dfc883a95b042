//! Waiting for what a daemon does, also over a restart of it.

use crate::api::ClientError;
use crate::store::Lock;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a daemon may be away (a restart) before waiting for it is given up.
const AWAY: Duration = Duration::from_secs(60);

/// Knows how long the daemon of a workdir has been away.
pub(super) struct Patience {
    workdir: PathBuf,
    seen: Instant,
}

impl Patience {
    /// With a daemon that was there a moment ago.
    pub fn new(workdir: &Path) -> Self {
        Self {
            workdir: workdir.to_owned(),
            seen: Instant::now(),
        }
    }

    /// Fails if it has been away for too long.
    pub fn look(&mut self) -> Result<(), ClientError> {
        if Lock::is_held(&self.workdir) {
            self.seen = Instant::now();
        } else if self.seen.elapsed() > AWAY {
            let workdir = self.workdir.clone();
            return Err(ClientError::NoDaemon { workdir });
        }
        Ok(())
    }
}
