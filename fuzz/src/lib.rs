//! What the fuzz targets try: each module's `check` takes any bytes and panics where a promise is broken.
//!
//! The targets hand their inputs on to it, and so does `tests/fuzz.rs` in the server's crate, with the seeds and
//! variations of them. Whatever is added here is run by both.

pub mod commands;
pub mod effects;
pub mod files;
pub mod keyring;
pub mod log;
pub mod rdb;
pub mod resp;
pub mod settings;
pub mod tls;

/// One target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("commands", commands::check),
    ("effects", effects::check),
    ("files", files::check),
    ("keyring", keyring::check),
    ("log", log::check),
    ("rdb", rdb::check),
    ("resp", resp::check),
    ("settings", settings::check),
    ("tls", tls::check),
];
