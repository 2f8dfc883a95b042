//! Which past outcomes settle a commit, so that seeing it again builds nothing.

use super::Outcome;

/// Whether a commit that ended so on a ref is left alone when the ref shows it again. What was superseded was never
/// built, and is built if the ref goes back to it; so is what was skipped for a passing reason (`lasting` is false).
pub fn settles(outcome: Outcome, lasting: bool) -> bool {
    match outcome {
        Outcome::Succeeded | Outcome::Failed | Outcome::Errored | Outcome::TimedOut | Outcome::Cancelled => true,
        Outcome::Superseded => false,
        Outcome::Skipped => lasting,
    }
}
