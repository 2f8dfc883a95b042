//! What must not be seen in a log or an error: the values of secrets, as the patterns by which they are found.
//!
//! It exists so that a step that prints its environment tells nobody a password. It never shows a value, not in
//! `Debug` either, and never takes more than the limits below: the supervisor of each command gets all patterns.
//!
//! What is found: a value as it is, each line of one that has several, and the value in base64, percent-encoded and
//! as a JSON string has it. What is not: values of less than 4 bytes (they would mask half of every log), parts of a
//! value, and any other way to write it.

use super::automaton::Automaton;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// What stands in the place of a secret.
pub(super) const MASK: &[u8] = b"***";
/// Shorter values are words like `1`, `no` and `dev`, which are everywhere.
const SHORTEST: usize = 4;
/// Shorter lines of a value are no secret by themselves: `{`, `---`.
const SHORTEST_LINE: usize = 8;
/// Bytes of the longest pattern. So much output may be held back while it could still become a secret.
pub(super) const LONGEST: usize = 64 * 1024;
/// How many patterns there may be.
pub(super) const MOST: usize = 4096;
/// Bytes of all patterns.
pub(super) const MOST_BYTES: usize = 256 * 1024;
/// At how many columns base64(1), and openssl and PEM files, break their lines.
const COLUMNS: [usize; 2] = [76, 64];
/// What RFC 3986 calls unreserved is not encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why secrets cannot be masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// One value, or what an encoding makes of it, is over a limit.
    #[error("a secret value of {0} bytes is too long to be masked (in every encoding at most {LONGEST})")]
    TooLong(usize),
    /// All values together are over a limit.
    #[error(
        "the secret values are too many to be masked: in all encodings they come to more than {MOST} patterns or \
         {MOST_BYTES} bytes"
    )]
    TooMany,
}

/// The patterns of secrets. Cheap to clone; without any by default.
#[derive(Clone, Default)]
pub struct Masks(Option<Arc<Inner>>);

struct Inner {
    patterns: Vec<Vec<u8>>,
    automaton: Automaton,
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masks({} patterns)", self.patterns().len())
    }
}

impl Masks {
    /// Patterns for these values, whitespace around them left out. Of values that are too short to be masked, nothing.
    pub fn new(values: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, MaskError> {
        let mut patterns = BTreeSet::new();
        let mut bytes = 0;
        for value in values {
            let value = value.as_ref().trim_ascii();
            if value.len() < SHORTEST {
                continue;
            }
            let too_long = MaskError::TooLong(value.len());
            if value.len() > LONGEST {
                return Err(too_long);
            }
            for pattern in forms(value) {
                if pattern.len() > LONGEST {
                    return Err(too_long);
                }
                let length = pattern.len();
                if patterns.insert(pattern) {
                    bytes += length;
                }
                if bytes > MOST_BYTES || patterns.len() > MOST {
                    return Err(MaskError::TooMany);
                }
            }
        }
        Self::from_patterns(patterns.into_iter().collect())
    }

    /// Patterns that were made by [`Masks::new`] elsewhere.
    pub(super) fn from_patterns(patterns: Vec<Vec<u8>>) -> Result<Self, MaskError> {
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        // It refuses only what is far over our own limits.
        let automaton = Automaton::new(&patterns).ok_or(MaskError::TooMany)?;
        Ok(Self(Some(Arc::new(Inner { patterns, automaton }))))
    }

    /// Whether there is nothing to be masked.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn patterns(&self) -> &[Vec<u8>] {
        self.0.as_deref().map_or(&[], |inner| &inner.patterns)
    }

    pub(super) fn automaton(&self) -> Option<&Automaton> {
        self.0.as_deref().map(|inner| &inner.automaton)
    }

    /// The text with `***` in the place of each secret, or of each row of secrets that overlap.
    pub fn mask(&self, text: &str) -> String {
        let Some(mut masker) = super::masker::Masker::new(self) else {
            return text.to_owned();
        };
        let mut masked = Vec::with_capacity(text.len());
        let mut keep = |piece: &[u8]| masked.extend_from_slice(piece);
        masker.take(text.as_bytes(), &mut keep);
        masker.end(&mut keep);
        // A secret that is no text may have cut a character.
        String::from_utf8(masked).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }
}

/// Every way in which a value is looked for.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_vec()];
    let lines = value.split(|b| matches!(b, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    forms.extend(lines.filter(|line| line.len() >= SHORTEST_LINE).map(<[u8]>::to_vec));
    // The characters that the value alone decides: they are also there when something follows it, such as the newline
    // of `echo`. With the last one and the padding it is masked whole where nothing does.
    let decided = value.len() * 8 / 6;
    let whole = value.len().div_ceil(3) * 4 - (3 - value.len() % 3) % 3;
    for encoded in [STANDARD.encode(value), URL_SAFE.encode(value)] {
        let encoded = encoded.into_bytes();
        forms.extend([encoded[..decided].to_vec(), encoded[..whole].to_vec()]);
        for columns in COLUMNS.into_iter().filter(|columns| *columns < decided) {
            let lines = encoded[..decided].chunks(columns);
            forms.extend(lines.filter(|line| line.len() >= SHORTEST_LINE).map(<[u8]>::to_vec));
        }
        forms.push(encoded);
    }
    forms.push(percent_encode(value, ENCODED).to_string().into_bytes());
    // Without the quotes. A value that is no text can be in no JSON string.
    let json = std::str::from_utf8(value)
        .ok()
        .and_then(|v| serde_json::to_string(v).ok());
    forms.extend(json.map(|quoted| quoted.as_bytes()[1..quoted.len() - 1].to_vec()));
    forms
}
