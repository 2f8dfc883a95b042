//! The secret in a file, read when it is needed.

use crate::config::SecretFile;
use crate::process::Masks;
use std::io::Read;

/// No token is that long.
const LONGEST: u64 = 64 * 1024;

/// What only whoever is poked may see.
pub(super) struct Secret {
    text: String,
    masks: Masks,
}

impl Secret {
    /// All of the file but its last newline. An error names the file and never what is in it.
    pub fn read(file: &SecretFile) -> Result<Self, String> {
        let path = file.resolve().map_err(|error| error.to_string())?;
        let cannot = |why: String| format!("{} cannot be used: {why}", file.as_path().display());
        // Asked first, as opening a pipe would wait.
        let data = std::fs::metadata(&path).map_err(|error| cannot(error.to_string()))?;
        if !data.is_file() {
            return Err(cannot("it is no file".to_owned()));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(&path)
            .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
            .map_err(|error| cannot(error.to_string()))?;
        if bytes.len() as u64 > LONGEST {
            return Err(cannot("it is too long".to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|_| cannot("it is not UTF-8".to_owned()))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(cannot("it is empty".to_owned()));
        }
        let masks = Masks::new([text]).map_err(|error| cannot(error.to_string()))?;
        Ok(Self {
            text: text.to_owned(),
            masks,
        })
    }

    /// For the request alone.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// A text that may quote it, without it. One that is too short for that is replaced all the same: no server's answer is
    /// worth a token.
    pub fn mask(&self, text: &str) -> String {
        self.masks.mask(text).replace(&self.text, "***")
    }
}
