//! The user's git world, compared with what git itself makes of it.

#![cfg(test)]

mod helpers;
mod home;
mod reading;
#[path = "../support/mod.rs"]
mod support;
mod urls;
