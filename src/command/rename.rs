//! Keys that change their name or place: RENAME, RENAMENX, COPY, MOVE.

use super::row::{Command, KeySpec, ON_KEY, Route, Run, acl, flag, key};
use super::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::{Dump, Key, notice};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "rename",
        arity: 3,
        flags: flag::WRITE,
        keys: &[
            KeySpec::one(1, key::RW | key::ACCESS | key::DELETE),
            KeySpec::one(2, key::OW | key::UPDATE),
        ],
        acl: acl::KEYSPACE,
        since: "1.0.0",
        summary: "Gives a key another name, whatever held that name.",
        syntax: "key newkey",
        route: Route::Keys,
        run: Run::Data(|ctx, args| rename(ctx, args, false)),
        ..ON_KEY
    },
    Command {
        name: "renamenx",
        arity: 3,
        flags: flag::WRITE | flag::FAST,
        keys: &[
            KeySpec::one(1, key::RW | key::ACCESS | key::DELETE),
            KeySpec::one(2, key::OW | key::INSERT),
        ],
        acl: acl::KEYSPACE,
        since: "1.0.0",
        summary: "Gives a key another name unless that is taken.",
        syntax: "key newkey",
        route: Route::Keys,
        run: Run::Data(|ctx, args| rename(ctx, args, true)),
        ..ON_KEY
    },
    Command {
        name: "copy",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[
            KeySpec::one(1, key::RO | key::ACCESS),
            KeySpec::one(2, key::OW | key::UPDATE),
        ],
        acl: acl::KEYSPACE,
        since: "6.2.0",
        complexity: "O(N), N being the size of the value",
        summary: "Copies a key's value and expiry to another key.",
        syntax: "source destination [DB destination-db] [REPLACE]",
        route: Route::Keys,
        run: Run::Data(copy),
        ..ON_KEY
    },
    Command {
        name: "move",
        arity: 3,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)],
        acl: acl::KEYSPACE,
        since: "1.0.0",
        summary: "Moves a key to another database unless it exists there.",
        syntax: "key db",
        run: Run::Data(move_to),
        ..ON_KEY
    },
];

/// Reads the number of a database, of which there are `databases`: for SELECT, COPY, MOVE.
pub fn database(text: &[u8], databases: u16) -> Result<u16, Error> {
    let n = parse_i64(text).ok_or(Error::NotInteger)?;
    if i32::try_from(n).is_err() {
        return Err(Error::Text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    match u16::try_from(n) {
        Ok(n) if n < databases => Ok(n),
        _ => Err(Error::DbIndex),
    }
}

fn rename(ctx: &mut Ctx<'_>, args: &[&[u8]], if_free: bool) -> Result<(), Error> {
    let now = ctx.now;
    let (from, to) = (ctx.key(args[1]), ctx.key(args[2]));
    if !ctx.shard(&from).contains(&from, now) {
        return Err(Error::NoSuchKey);
    }
    let same = args[1] == args[2];
    let refused = if_free && (same || ctx.shard(&to).contains(&to, now));
    if !refused && !same {
        let dump = ctx.shard(&from).take(&from, now).ok_or(Error::NoSuchKey)?;
        put(ctx, &to, dump);
        ctx.note(notice::GENERIC, "rename_from", &from);
        ctx.note(notice::GENERIC, "rename_to", &to);
    }
    match if_free {
        true => ctx.reply.int(!refused as i64),
        false => ctx.reply.ok(),
    }
    Ok(())
}

/// Makes the key hold this, whatever it held: for who listens a new key in either case, as in Redis.
fn put(ctx: &mut Ctx<'_>, to: &Key<'_>, dump: Dump) {
    let now = ctx.now;
    let shard = ctx.ks.at(to.slot);
    if shard.notices(notice::NEW) && shard.contains(to, now) {
        shard.note(notice::NEW, "new", to);
    }
    shard.restore(to, dump, now);
}

fn copy(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let now = ctx.now;
    let mut db = ctx.db;
    let mut replace = false;
    let mut i = 3;
    while i < args.len() {
        if args[i].eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if args[i].eq_ignore_ascii_case(b"db") && i + 1 < args.len() {
            db = database(args[i + 1], ctx.databases)?;
            i += 1;
        } else {
            return Err(Error::Syntax);
        }
        i += 1;
    }
    if db == ctx.db && args[1] == args[2] {
        return Err(Error::SameObject);
    }
    let (from, to) = (ctx.key(args[1]), ctx.ks.key(db, args[2]));
    let done = match ctx.shard(&from).dump(&from, now) {
        Some(dump) if replace || !ctx.shard(&to).contains(&to, now) => {
            put(ctx, &to, dump);
            ctx.note(notice::GENERIC, "copy_to", &to);
            true
        }
        _ => false,
    };
    ctx.reply.int(done as i64);
    Ok(())
}

fn move_to(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let now = ctx.now;
    let db = database(args[2], ctx.databases)?;
    if db == ctx.db {
        return Err(Error::SameObject);
    }
    let (from, to) = (ctx.key(args[1]), ctx.ks.key(db, args[1]));
    // The same name has the same slot in every database.
    let shard = ctx.ks.at(from.slot);
    let done = if shard.contains(&to, now) {
        false
    } else if let Some(dump) = shard.take(&from, now) {
        shard.restore(&to, dump, now);
        shard.note(notice::GENERIC, "move_from", &from);
        shard.note(notice::GENERIC, "move_to", &to);
        true
    } else {
        false
    };
    ctx.reply.int(done as i64);
    Ok(())
}
