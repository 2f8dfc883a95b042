//! Whether there is something new below a released image: the questions to registries, engines and containers.
//!
//! It exists apart from the planner, which decides what follows from the answers, and from the pipeline, which builds. It
//! must never change what it looks at, and never take what it could not find out for "nothing new".

mod base;
mod check_log;
mod compare;
mod elsewhere;
mod inside;
mod origin;
mod tools;
mod trouble;
mod verdict;

pub use base::look_at_base;
pub use check_log::CHECK_LOG;
pub use elsewhere::look_elsewhere;
pub use inside::{look_inside, tidy_looks};
pub use tools::Tools;
