//! Files that data come in and go out by: which they are, in which order they are read, what stands in them.
//!
//! Promise: [`Input`] opens whatever Redis leaves behind (an RDB file, a log of commands with or without an RDB file at its
//! front, the directory of such logs), and what Ferrite exported, sealed or plain, and gives it out step by step, in little memory, each step with the place where it
//! stands. It never guesses: a file that ends early, or holds what is not known, is an error that names file and byte.
//!
//! Reading order: `aof` (commands), `manifest` (which files make up a log), `sealed` (exports, `FORMAT.md` has their bytes),
//! `input` (all of them in order).

mod aof;
mod input;
mod manifest;
mod sealed;

pub use aof::{AofError, Commands};
pub use input::{Input, InputError, Place, Step};
pub use sealed::{Opened, SealedError, Sealer};
