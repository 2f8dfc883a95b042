//! The steps of a job, in order.
//!
//! A pipeline knows its job and nothing of the queue: whether it is tried again is told to it, and what becomes of its
//! result is not its business.

mod access;
mod alike;
mod attempt;
mod bases;
mod build;
mod close;
mod compare;
mod desk;
mod env;
mod foresight;
mod images;
mod inside;
mod kaniko;
mod labels;
mod learn;
mod leaving;
mod locks;
mod parents;
mod prepare;
mod question;
mod release;
mod render;
mod report;
mod rsync;
mod run;
mod select;
mod stage;
mod unchanged;
mod work;

pub use access::pull_access;
pub use attempt::run;
pub use build::scratch;
pub use desk::{Announced, Denied, Desk, GoOn, Permit, Told};
pub use env::project_variables;
pub use foresight::{Foresight, StandsOn};
pub use inside::{Inside, inside};
pub use leaving::leaving;
pub use locks::ReleaseLocks;
pub use prepare::releases_on;
pub use question::question;
pub use select::LastGood;
pub use stage::tidy;
pub use work::{Finished, Work};
