//! Commands: one table, and the pure functions behind it.
//!
//! A [`Command`] is a row. [`lookup`] finds it by name, [`resolve`] also settles subcommand and arity,
//! [`keys_of`] names its keys, and the row's [`Run`] says who carries it out: a [`DataFn`] over the
//! keyspace, or the session that owns the connection. A data command is `(keyspace, arguments, now) ->
//! reply`, and its effects gather in the shards it touches; it does no I/O, reads no clock and knows no
//! other thread. The caller sees to it that every shard the command's keys live on is present.
//!
//! Reading order: `row`, `table`, `error`, then one file for each family.

mod docs;
mod error;
mod expire;
mod glob;
mod help;
mod keyspace;
mod object;
mod rename;
mod row;
mod scan;
mod server;
mod session;
mod string;
mod table;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use rename::database;
pub use row::{Command, Group, KeySpec, Route, Run, acl, flag, key};
pub use scan::cursor_slot;
pub use session::SessionCmd;
pub use table::{all, by_id, keys_of, lookup, resolve};

use crate::resp::Reply;
use crate::shard::{Key, Keyspace, Ms, Shard};

/// A data command's function. `args[0]` is the name; the number of arguments fits the row's arity. On
/// an error nothing it wrote to the reply counts; [`run`] sees to that.
pub type DataFn = fn(&mut Ctx<'_>, &[&[u8]]) -> Result<(), Error>;

/// What a data command has to work with.
pub struct Ctx<'a> {
    /// The shards at hand.
    pub ks: &'a mut Keyspace,
    /// The selected database.
    pub db: u16,
    /// How many databases there are.
    pub databases: u16,
    /// The time, in Unix milliseconds; the same for a whole transaction.
    pub now: Ms,
    /// The time in Unix microseconds, for TIME.
    pub now_us: u64,
    /// A source of randomness, for RANDOMKEY: any number that differs from call to call.
    pub random: u64,
    /// The key that is the first argument, where the caller has computed it already.
    pub first: Option<Key<'a>>,
    /// Largest string a key may hold, in bytes (`proto-max-bulk-len`).
    pub max_string: usize,
    /// Where the answer goes.
    pub reply: Reply<'a>,
}

impl Ctx<'_> {
    /// A key of the selected database.
    #[inline]
    fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        match self.first {
            Some(Key {
                db,
                slot,
                hash,
                bytes: known,
            }) if std::ptr::eq(known, bytes) && db == self.db => Key {
                db,
                slot,
                hash,
                bytes,
            },
            _ => self.ks.key(self.db, bytes),
        }
    }

    /// The shard that owns `key`.
    #[inline]
    fn shard(&mut self, key: &Key<'_>) -> &mut Shard {
        self.ks.at(key.slot)
    }
}

/// Runs a data command: on an error, takes back what it had written to the reply and writes the error.
#[inline]
pub fn run(f: DataFn, ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let start = ctx.reply.buf.len();
    let result = f(ctx, args);
    if let Err(e) = &result {
        ctx.reply.buf.truncate(start);
        e.write(&mut ctx.reply);
    }
    result
}

/// Whether a name that is no command shows that HTTP is being spoken, as when a web page is made to
/// post to the port. Such a connection is closed without an answer, as Redis does.
pub fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}
