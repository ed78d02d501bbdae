//! Black-box tests: the program as its users have it, from outside.
//!
//! Each module is one promise; `common` is what they stand on. Everything runs on loopback in temporary
//! directories. They need redis-server and redis-tools 7, and, for the clients and frameworks, Python, Node.js and Ruby
//! with their packages (`scripts/test` sees to all of it).

mod acl;
mod admin;
mod answers;
mod audience;
mod backup;
mod blocking;
mod canary;
mod checkpoints;
mod clients;
mod common;
mod crash;
mod crash_types;
mod debug;
mod decryptor;
mod differential;
mod diskfull;
mod durability;
mod endings;
mod eviction;
mod follow;
mod frameworks;
mod hashes;
mod limits;
mod many;
mod migrate;
mod mixture;
mod nonces;
mod offline;
mod oracle;
mod pubsub;
mod rdb_files;
mod resp;
mod scripts;
mod shutdown;
mod slowlog;
mod sorting;
mod startup;
mod streams;
mod swapdb;
mod tls;
mod waking;
mod walks;
mod whole;
mod zsets;
