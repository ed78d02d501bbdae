use super::row::*;
pub(super) const ROWS: &[Command] = &[];
pub(super) const MEMORY_USAGE: Command = Command {
    name: "memory|usage",
    arity: -3,
    flags: flag::READONLY,
    keys: &[KeySpec::one(2, key::RO)],
    acl: 0,
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(1)",
    summary: "Estimates the bytes a key and its value take.",
    syntax: "key [SAMPLES count]",
    route: Route::Keys,
    run: Run::Container,
    subcommands: &[],
};
