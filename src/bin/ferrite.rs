//! The server.

use std::process::ExitCode;

use clap::Parser;
use ferrite_server::config::Args;
use ferrite_server::server;

/// The allocator: it tells what is in use, and gives memory back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    server::main(&Args::parse())
}
