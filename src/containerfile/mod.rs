//! What a Containerfile builds FROM, and which ARGs it declares; and the same file FROM other images, or
//! with labels.
//!
//! Pure: text in, answer out. It reads what builders read (continuations, comments, heredocs, directives) as far as these
//! questions need it, and never judges a file: a mistake in it is for the builder to report. Where builders differ, the
//! published reference decides. No text may make it panic, recurse without end, or work out of proportion to its length.

mod bases;
mod budget;
mod expand;
mod heredoc;
mod label;
mod lines;
mod pattern;
mod pin;
mod scope;
mod uses;
mod words;

pub use bases::{Base, bases, declared_args, final_base, is_predefined_arg, names_a_platform};
pub use label::{Labelled, label};
pub use pin::{Pinned, pin};
