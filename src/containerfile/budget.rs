//! How much work one file may cause beyond reading it once.
//!
//! A file of a few lines can ask for endless work: variables that double, patterns with many stars, scopes that are
//! copied. Nobody writes such a file to have it built; what is beyond the budget is unknown, and left to the builder.

use std::cell::Cell;

/// Steps, bytes or entries, whatever is counted.
const ALL: usize = 1 << 24;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub fn new() -> Self {
        Self(Cell::new(ALL))
    }

    /// None if there is not so much left; then there is nothing left for smaller things either.
    pub fn spend(&self, amount: usize) -> Option<()> {
        let left = self.0.get().checked_sub(amount);
        self.0.set(left.unwrap_or_default());
        left.map(drop)
    }
}
