//! What to build and when: a pure function from (state, config, time, event) to decisions.
//!
//! PURE: no clock, no file, no process, no task. The daemon commits the writes of a decision first and acts on its
//! effects second; `plan` runs the same function and throws the effects away.

mod above;
mod agenda;
mod asked;
mod asked_rebuild;
mod checks;
mod edges;
mod ends;
mod event;
mod handle;
mod judge;
mod learned;
mod look_now;
mod mends;
mod ours;
mod over;
mod overtaken;
mod pokes;
mod polls;
mod queue;
mod rebuilds;
mod remember;
mod retry;
mod schedule;
mod schedules;
mod sight;
mod standings;
mod stands;
mod things;
mod timing;
mod tries;
mod verdict;
mod wanted;
mod waves;
mod wish;

pub use above::{Above, Freshness, Sight, covers};
pub use edges::graph;
pub use event::{Decision, Effect, Event};
pub use handle::handle;
pub use judge::{BaseState, BaseVerdict, Counting, Judgement, News, Own, Watched, base_key, judge, watched};
pub use look_now::bases_at;
pub use mends::failed_waves;
pub use ours::{At, Ours};
pub use overtaken::overtaken;
pub use pokes::poked_target;
pub use queue::next_wake;
pub use retry::backoff;
pub use schedule::{RemoteId, Schedule, Terms, Verdict};
pub use sight::{is_selected, selection};
pub use stands::{Chains, Stands, Word, around};
pub use timing::{answered, look};
pub use tries::{held, tried_job};
pub use verdict::own_base;
pub use wanted::{bases_of, due, inside_of, strangers_of};
pub use wish::{Because, Left, Wish, WishError, Wished, external_bases, meant, wished};
