//! What a Containerfile builds FROM, and which ARGs it declares.
//!
//! Pure: text in, answer out. It reads what builders read (continuations, comments, heredocs, the escape directive)
//! as far as these questions need it, and never judges a file: a mistake in it is for the builder to report.

mod bases;
mod expand;
mod lines;

pub use bases::{Base, bases, declared_args};
