//! Scripts: Lua 5.1 in a sandbox, one state a core.
//!
//! Promise: this module knows Lua and nothing of the server. A script runs on a stack of its own and *asks*: for a
//! command to be carried out, or for a pause. Whoever resumes it answers. So a script sees commands exactly as the core
//! runs them for clients, it can be left in the middle and gone on with later, and nothing here does I/O.
//!
//! Reading order: `engine` (what the core calls), `fiber` and `desk` (how a script asks), `sandbox` (what it sees),
//! `api` (the table `redis`), `convert` (replies and values), `raw` (the few functions in Lua's own terms), then the
//! libraries `bit`, `cjson`, `cmsgpack` and `pack` (`struct`), and `sources` (what cores share).

mod api;
mod args;
mod bit;
mod chance;
mod cjson;
mod cmsgpack;
mod convert;
mod desk;
mod engine;
mod fiber;
mod library;
mod pack;
mod raw;
mod sandbox;
mod shebang;
mod sources;
#[cfg(test)]
mod tests;

pub use desk::{Answer, Ask};
pub use engine::{Engine, Program, check_syntax, hex, inspect, sha1, unhex};
pub use fiber::{End, Step};
pub use library::{Declared, Libraries, Library, Shelf, head as library_head};
pub use shebang::Shebang;
pub use sources::{Kill, Kind, Running, Sha, Sources};
