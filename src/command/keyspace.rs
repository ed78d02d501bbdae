//! Keys of any type: DEL, UNLINK, EXISTS, TOUCH, TYPE; and the keyspace as a whole: DBSIZE, RANDOMKEY,
//! FLUSHDB, FLUSHALL, SWAPDB.

use super::chance::Chance;
use super::row::{Command, KeySpec, ON_KEY, Route, Run, acl, flag, key};
use super::{Ctx, Error, Group};
use crate::resp::number::parse_i64;
use crate::shard::notice;

const ON_KEYS: Command = Command {
    arity: -2,
    acl: acl::KEYSPACE,
    complexity: "O(N), N being the number of keys given",
    syntax: "key [key ...]",
    route: Route::Keys,
    ..ON_KEY
};
const ON_ALL: Command = Command {
    acl: acl::KEYSPACE,
    group: Group::Server,
    syntax: "",
    route: Route::All,
    ..ON_KEY
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "del",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        flags: flag::WRITE,
        keys: &[KeySpec::rest(1, 1, key::RM | key::DELETE)],
        since: "1.0.0",
        summary: "Deletes keys.",
        run: Run::Data(del),
        ..ON_KEYS
    },
    Command {
        name: "unlink",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::rest(1, 1, key::RM | key::DELETE)],
        since: "4.0.0",
        summary: "Deletes keys; large values are freed later.",
        run: Run::Data(del),
        ..ON_KEYS
    },
    Command {
        name: "exists",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::rest(1, 1, key::RO)],
        since: "1.0.0",
        summary: "Tells how many of the keys exist.",
        run: Run::Data(exists),
        ..ON_KEYS
    },
    Command {
        name: "touch",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::rest(1, 1, key::RO)],
        since: "3.2.1",
        summary: "Marks keys as just used, and tells how many exist.",
        run: Run::Data(touch),
        ..ON_KEYS
    },
    Command {
        name: "type",
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key::RO)],
        acl: acl::KEYSPACE,
        since: "1.0.0",
        summary: "Names the type of the value a key holds.",
        run: Run::Data(type_of),
        ..ON_KEY
    },
    Command {
        name: "dbsize",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        arity: 1,
        flags: flag::READONLY | flag::FAST,
        since: "1.0.0",
        summary: "Tells how many keys the database has.",
        run: Run::Data(dbsize),
        ..ON_ALL
    },
    Command {
        name: "randomkey",
        tips: &["request_policy:all_shards", "nondeterministic_output"],
        arity: 1,
        flags: flag::READONLY,
        group: Group::Generic,
        since: "1.0.0",
        summary: "Names a key of the database at random.",
        run: Run::Data(randomkey),
        ..ON_ALL
    },
    Command {
        name: "flushdb",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arity: -1,
        flags: flag::WRITE,
        acl: acl::KEYSPACE | acl::DANGEROUS,
        since: "1.0.0",
        complexity: "O(N), N being the number of keys of the database",
        summary: "Deletes every key of the database.",
        syntax: "[ASYNC | SYNC]",
        run: Run::Data(|ctx, args| flush(ctx, args, false)),
        ..ON_ALL
    },
    Command {
        name: "flushall",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arity: -1,
        flags: flag::WRITE,
        acl: acl::KEYSPACE | acl::DANGEROUS,
        since: "1.0.0",
        complexity: "O(N), N being the number of keys of all databases",
        summary: "Deletes every key of all databases.",
        syntax: "[ASYNC | SYNC]",
        run: Run::Data(|ctx, args| flush(ctx, args, true)),
        ..ON_ALL
    },
    Command {
        name: "swapdb",
        arity: 3,
        flags: flag::WRITE | flag::FAST,
        acl: acl::KEYSPACE | acl::DANGEROUS,
        since: "4.0.0",
        complexity: "O(N), N being the number of keys that are watched or waited for",
        summary: "Lets two databases change places.",
        syntax: "index1 index2",
        run: Run::Data(swapdb),
        ..ON_ALL
    },
];

/// Memory freed at a time when FLUSHALL SYNC waits for it, in keys.
const SWEEP: usize = 1 << 16;

fn del(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let now = ctx.now;
    let mut count = 0;
    for arg in &args[1..] {
        let k = ctx.key(arg);
        let shard = ctx.shard(&k);
        if shard.delete(&k, now) {
            shard.note(notice::GENERIC, "del", &k);
            count += 1;
        }
    }
    ctx.reply.int(count);
    Ok(())
}

fn exists(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let now = ctx.now;
    let mut count = 0;
    for arg in &args[1..] {
        let k = ctx.key(arg);
        count += ctx.shard(&k).look(&k, now).is_some() as i64;
    }
    ctx.reply.int(count);
    Ok(())
}

fn touch(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let now = ctx.now;
    let mut count = 0;
    for arg in &args[1..] {
        let k = ctx.key(arg);
        count += ctx.shard(&k).touch(&k, now) as i64;
    }
    ctx.reply.int(count);
    Ok(())
}

fn type_of(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let value = ctx.ks.at(k.slot).look(&k, ctx.now);
    ctx.reply.simple(value.map_or("none", |v| v.kind().name()));
    Ok(())
}

fn dbsize(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Result<(), Error> {
    let db = ctx.db;
    let keys: u64 = ctx.ks.present().map(|shard| shard.len(db)).sum();
    ctx.reply.int(keys as i64);
    Ok(())
}

fn randomkey(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Result<(), Error> {
    let (db, now) = (ctx.db, ctx.now);
    let mut chance = Chance::new(ctx.random);
    let mut next = || chance.next();
    loop {
        let keys: u64 = ctx.ks.present().map(|shard| shard.len(db)).sum();
        if keys == 0 {
            ctx.reply.null();
            return Ok(());
        }
        // Every key has the same chance, so a shard has one as large as its share of the keys.
        let mut nth = next() % keys;
        for shard in ctx.ks.present() {
            if nth >= shard.len(db) {
                nth -= shard.len(db);
                continue;
            }
            match shard.random_key(db, now, &mut next) {
                Some(name) => {
                    ctx.reply.bulk(&name);
                    return Ok(());
                }
                // All that was left in it had expired, and is gone now.
                None => break,
            }
        }
    }
}

/// Two databases change places, on every shard.
fn swapdb(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let number = |at: usize, wrong| {
        let n = parse_i64(args[at]).and_then(|n| i32::try_from(n).ok());
        n.ok_or(Error::Text(wrong))
    };
    let first = number(1, "ERR invalid first DB index")?;
    let second = number(2, "ERR invalid second DB index")?;
    let known = |n| u16::try_from(n).ok().filter(|n| *n < ctx.databases);
    let first = known(first).ok_or(Error::DbIndex)?;
    let second = known(second).ok_or(Error::DbIndex)?;
    for shard in ctx.ks.present() {
        shard.swap(first, second, ctx.now);
    }
    ctx.reply.ok();
    Ok(())
}

fn flush(ctx: &mut Ctx<'_>, args: &[&[u8]], everything: bool) -> Result<(), Error> {
    let wait = match args {
        [_] => false,
        [_, how] if how.eq_ignore_ascii_case(b"async") => false,
        [_, how] if how.eq_ignore_ascii_case(b"sync") => true,
        _ => return Err(Error::Syntax),
    };
    let db = (!everything).then_some(ctx.db);
    for shard in ctx.ks.present() {
        shard.flush(db, ctx.now);
        while wait && shard.sweep(SWEEP) {}
    }
    ctx.reply.ok();
    Ok(())
}
