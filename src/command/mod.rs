//! Commands: one table, and the pure functions behind it.
//!
//! A [`Command`] is a row. [`lookup`] finds it by name, [`resolve`] also settles subcommand and arity,
//! [`keys_of`] names its keys, and the row's [`Run`] says who carries it out: a [`DataFn`] over the
//! keyspace, or the session that owns the connection. A data command is `(keyspace, arguments, now) ->
//! reply`, and its effects gather in the shards it touches; it does no I/O, reads no clock and knows no
//! other thread. The caller sees to it that every shard the command's keys live on is present.
//!
//! Reading order: `row`, `table`, `error`, then one file for each family.

mod absent;
mod bitmap;
mod chance;
mod docs;
mod dump;
mod error;
mod expire;
mod geo;
mod glob;
mod hash;
mod help;
mod hyperloglog;
mod keyspace;
mod list;
mod migrate;
mod object;
mod pubsub;
mod rename;
mod row;
mod scan;
mod scripting;
mod secret;
mod server;
mod session;
mod set;
mod sort;
mod stream;
mod string;
mod table;
#[cfg(test)]
mod tests;
mod wait;
mod walk;
mod zset;

pub use chance::Chance;
pub use docs::category;
pub use error::Error;
pub use glob::matches as glob_matches;
pub use migrate::{Migration, is_login, migration};
pub use pubsub::Topic;
pub use rename::database;
pub use row::{Begin, Command, Group, KeySpec, Route, Run, acl, flag, key};
pub use scan::cursor_slot;
pub use scripting::{LibraryCmd, Named, ScriptCmd};
pub use secret::{REDACTED, is_secret, redacted};
pub use server::REDIS_VERSION;
pub use session::SessionCmd;
pub use sort::makes_up_keys;
pub use table::{all, by_id, first_subcommand, keys_of, keys_with_flags, lookup, named, resolve};
pub use wait::{Nil, Wait};

use crate::resp::Reply;
use crate::shard::kinds::Collection;
use crate::shard::{Key, Keyspace, Ms, Shard, WrongType, notice};

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
    /// The time by which keys and fields are past theirs, in Unix milliseconds; the same for a whole transaction. 0
    /// where another server has decided that already, so that nothing is: see [`Ctx::time`] for the time of day.
    pub now: Ms,
    /// The time of day in Unix microseconds.
    pub now_us: u64,
    /// A source of randomness, for RANDOMKEY: any number that differs from call to call.
    pub random: u64,
    /// The key that is the first argument, where the caller has computed it already.
    pub first: Option<Key<'a>>,
    /// Whether the command may wait for what is not there (not inside a transaction or a script).
    pub may_wait: bool,
    /// Where a command that found nothing says what it waits for; its reply then comes later.
    pub wait: Option<Wait>,
    /// Largest string a key may hold, in bytes (`proto-max-bulk-len`).
    pub max_string: usize,
    /// Where the answer goes.
    pub reply: Reply<'a>,
}

impl Ctx<'_> {
    /// The time of day in Unix milliseconds, which times are counted from and noted by.
    #[inline]
    fn time(&self) -> Ms {
        self.now_us / 1000
    }

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

    /// The collection at a key, for a command that uses it: counts as hit or miss and as an access.
    fn read<T: Collection>(&mut self, key: &Key<'_>) -> Result<Option<&T>, Error> {
        Ok(self.ks.read::<T>(key, self.now)?)
    }

    /// The same, uncounted: for writes that build on it.
    fn peek<T: Collection>(&mut self, key: &Key<'_>) -> Result<Option<&T>, Error> {
        Ok(self.ks.peek::<T>(key, self.now)?)
    }

    /// Changes the collection at a key; see [`Shard::alter`].
    fn alter<T: Collection>(&mut self, key: &Key<'_>, op: &T::Op<'_>) -> Result<T::Outcome, Error> {
        Ok(self.ks.at(key.slot).alter::<T>(key, op, self.now)?)
    }

    /// Notes a keyspace event of a command that leaves its key in place, or names the removal itself.
    #[inline]
    fn note(&mut self, class: u32, event: &'static str, key: &Key<'_>) {
        self.ks.at(key.slot).note(class, event, key);
    }

    /// Notes a keyspace event (classes: `shard::notice`), and another if the key is gone by the change.
    fn notify(&mut self, class: u32, event: &'static str, key: &Key<'_>) {
        let now = self.now;
        let shard = self.ks.at(key.slot);
        if shard.notices(class) {
            shard.note(class, event, key);
        }
        if shard.notices(notice::GENERIC) && !shard.contains(key, now) {
            shard.note(notice::GENERIC, "del", key);
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

impl From<WrongType> for Error {
    fn from(WrongType: WrongType) -> Error {
        Error::WrongType
    }
}
