//! Where a secret is read from.
//!
//! It exists so that a path into systemd's credentials can be written down, which differs from start to start. It must
//! never hold the secret itself.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The variable in which systemd says where a unit's credentials are (systemd.exec(5), LoadCredential=).
const VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The path of a file with a secret: absolute, or below `$CREDENTIALS_DIRECTORY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile(PathBuf);

/// There are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be found: $CREDENTIALS_DIRECTORY is not set (is there a LoadCredential= in the unit?)", .0.display())]
pub struct NoCredentials(PathBuf);

impl SecretFile {
    /// A path as it is written, made absolute by the reader unless it begins with `$CREDENTIALS_DIRECTORY/`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// As it is written.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Whether a path as it is written is seen from the credentials' directory, and what follows then.
    fn below_credentials(path: &Path) -> Option<&Path> {
        let mut parts = path.components();
        let first = parts.next()?.as_os_str().to_str()?;
        let is = first == format!("${VARIABLE}") || first == format!("${{{VARIABLE}}}");
        is.then_some(parts.as_path())
    }

    /// Whether this path, as it is written, is below the credentials' directory.
    pub fn is_credential(path: &Path) -> bool {
        Self::below_credentials(path).is_some()
    }

    /// Where the file is now.
    pub fn resolve(&self) -> Result<PathBuf, NoCredentials> {
        match Self::below_credentials(&self.0) {
            None => Ok(self.0.clone()),
            Some(rest) => match std::env::var_os(VARIABLE) {
                Some(dir) if !dir.is_empty() => Ok(Path::new(&dir).join(rest)),
                _ => Err(NoCredentials(self.0.clone())),
            },
        }
    }
}
