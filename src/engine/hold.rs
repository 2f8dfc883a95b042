//! When an image that was pulled just for a look may be removed again.
//!
//! A build that has found its base in the storage must not lose it to a look that ends just then, nor one look its image to
//! another. So whoever uses what is in the storage holds all of it, and what is to be removed waits until nobody does.

use super::command::{Engine, deciding};
use crate::model::Digest;
use crate::process::{Cancel, Runner};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// An image in a storage: what decides which storage that is, and the image's id.
type Unneeded = (Vec<(OsString, OsString)>, Digest);

/// Who uses images, and which nobody needs once nobody uses any.
#[derive(Debug, Default)]
pub struct Held {
    users: Arc<RwLock<()>>,
    unneeded: Mutex<BTreeSet<Unneeded>>,
}

impl Engine {
    /// As long as this is kept, no image is removed.
    pub async fn hold_images(&self) -> OwnedRwLockReadGuard<()> {
        self.held.users.clone().read_owned().await
    }

    /// Removes an image as soon as nobody holds any: now, or when the next one is removed.
    pub async fn remove_image_when_unused(&self, runner: &Runner, id: Option<Digest>) {
        if let Some(id) = id {
            self.unneeded().insert((deciding(runner.env.clone()), id));
        }
        let Ok(_nobody) = self.held.users.try_write() else {
            return;
        };
        let all = std::mem::take(&mut *self.unneeded());
        for (env, id) in all {
            // This is part of ending, so that it must not be ended.
            let runner = Runner {
                env,
                cancel: Cancel::new(),
                log: None,
                ..runner.clone()
            };
            self.remove_image(&runner, &id).await;
        }
    }

    fn unneeded(&self) -> std::sync::MutexGuard<'_, BTreeSet<Unneeded>> {
        self.held.unneeded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
