//! Whether there is something new below a released image: the questions to registries, engines and containers.
//!
//! It exists apart from the planner, which decides what follows from the answers, and from the pipeline, which builds. It
//! must never change what it looks at, and never take what it could not find out for "nothing new".

mod base;
mod compare;
mod elsewhere;
mod origin;
mod tools;
mod trouble;

pub use base::look_at_base;
pub use elsewhere::look_elsewhere;
pub use tools::Tools;
