//! The shard from outside: against a model (`world`), by property (`properties`) and by example
//! (`examples`).

mod examples;
mod properties;
mod whole;
mod world;
