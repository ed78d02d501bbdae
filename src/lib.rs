//! Ferrite: a Redis-compatible data server in which nothing leaves a core in the clear.
//!
//! The modules stand on floors; imports go down only (`tests/floors.rs` keeps it so).
//! `src/README.md` is the tour, in reading order.

// Floor 0: words.
pub mod limits;
pub mod resp;
pub mod seal;
pub mod settings;
pub mod slot;

// Doors: keys and disks.
pub mod disk;
pub mod envelope;

// Floor 1: logic, pure.
pub mod acl;
pub mod command;
pub mod rdb;
pub mod script;
pub mod shard;

// Floor 2: durable.
pub mod checkpoint;
pub mod log;

// Floor 3: the seat of one core.
pub mod net;
pub mod worker;

// Floor 4: the company of cores.
pub mod backup;
pub mod observe;
pub mod replication;

// Floor 5: front.
pub mod cli;
pub mod config;
pub mod devcert;
pub mod logging;
pub mod offline;
pub mod server;
pub mod transfer;
