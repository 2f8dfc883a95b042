//! Promise 1, at its root: what is decided, recorded through a real store, and found again after a crash.

mod asked_rebuild;
mod chains;
mod farm;
mod look_now;
mod many;
mod mends;
mod pokes;
mod random;
mod rules;
mod starvation;
mod storms;
mod tables;
mod turns;
mod updates;
mod world;
