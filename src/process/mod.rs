//! The only place that starts a child.
//!
//! Every command runs under a small supervisor process of ours (`pipelined supervise`), which is the subreaper of
//! whatever the command starts, owns its output, and ends all of it: on a timeout, on a cancel, when the command has
//! ended and left something behind, and when the daemon is gone. So a job's orphans stay with their job, and a killed
//! daemon loses no byte of a log.
//!
//! Nothing here knows what a command is for, and no other module may call `Command::spawn`.

mod automaton;
mod cancel;
mod marker;
mod masker;
mod masks;
mod procfs;
mod run;
mod runner;
mod sink;
mod supervise;
mod sweep;
mod wire;

pub use cancel::Cancel;
pub use marker::{MARKER_VARIABLE, Marker};
pub use masks::{MaskError, Masks};
pub use procfs::processes_by_mount;
pub use run::{Done, Ended, Output, ProcessError, Spec, Supervisor};
pub use runner::{Captured, Runner, display_argv};
pub use supervise::{VERB as SUPERVISE_VERB, main as supervise_main};
pub use sweep::{become_subreaper, sweep};
