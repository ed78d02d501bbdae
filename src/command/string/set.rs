//! Writing a string whole, with its conditions and times: SET, SETNX, SETEX, PSETEX, GETEX.

use super::{STRING, answer};
use crate::command::expire::{Unit, deadline};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::{Expire, Key, Ms, Shard, notice};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "set",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(
            1,
            key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS,
        )],
        since: "1.0.0",
        summary: "Sets a key to a string, whatever it held.",
        syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        run: Run::Data(set),
        ..STRING
    },
    Command {
        name: "setnx",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key::OW | key::INSERT)],
        since: "1.0.0",
        summary: "Sets a key to a string unless the key exists.",
        syntax: "key value",
        run: Run::Data(setnx),
        ..STRING
    },
    Command {
        name: "setex",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key::OW | key::UPDATE)],
        since: "2.0.0",
        summary: "Sets a key to a string for a number of seconds.",
        syntax: "key seconds value",
        run: Run::Data(setex),
        ..STRING
    },
    Command {
        name: "psetex",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key::OW | key::UPDATE)],
        since: "2.6.0",
        summary: "Sets a key to a string for a number of milliseconds.",
        syntax: "key milliseconds value",
        run: Run::Data(psetex),
        ..STRING
    },
    Command {
        name: "getex",
        arity: -2,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)],
        since: "6.2.0",
        summary: "Returns the string a key holds, and sets or removes the key's expiry.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        run: Run::Data(getex),
        ..STRING
    },
];

/// When the key shall exist already, or not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Absent,
    Present,
}

/// What the options say about the expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time<'a> {
    /// Nothing.
    Unsaid,
    /// KEEPTTL
    Keep,
    /// PERSIST
    Persist,
    /// A time in a unit, counted from now or from 1970.
    Until {
        text: &'a [u8],
        unit: Unit,
        relative: bool,
    },
}

impl<'a> Time<'a> {
    /// The option that takes a time, by its name.
    fn option(name: &[u8], text: &'a [u8]) -> Option<Time<'a>> {
        let (unit, relative) = if name.eq_ignore_ascii_case(b"ex") {
            (Unit::Seconds, true)
        } else if name.eq_ignore_ascii_case(b"px") {
            (Unit::Milliseconds, true)
        } else if name.eq_ignore_ascii_case(b"exat") {
            (Unit::Seconds, false)
        } else if name.eq_ignore_ascii_case(b"pxat") {
            (Unit::Milliseconds, false)
        } else {
            return None;
        };
        Some(Time::Until {
            text,
            unit,
            relative,
        })
    }

    /// Whether this option may follow `before`: the same one may be given again, another may not.
    fn may_follow(&self, before: &Time<'_>) -> bool {
        match (before, self) {
            (Time::Unsaid, _) => true,
            (
                Time::Until { unit, relative, .. },
                Time::Until {
                    unit: u,
                    relative: r,
                    ..
                },
            ) => unit == u && relative == r,
            (before, this) => before == this,
        }
    }
}

/// A time that has to lie in the future of 1970, as an absolute one.
fn until(text: &[u8], unit: Unit, relative: bool, now: Ms, cmd: &'static str) -> Result<Ms, Error> {
    let n = parse_i64(text).ok_or(Error::NotInteger)?;
    if n <= 0 {
        return Err(Error::ExpireTime(cmd));
    }
    let at = deadline(n, unit, relative.then_some(now)).ok_or(Error::ExpireTime(cmd))?;
    Ok(at as Ms)
}

/// Sets the string and says so.
#[inline]
fn write(shard: &mut Shard, k: &Key<'_>, value: &[u8], expire: Expire, now: Ms) {
    shard.set(k, value, expire, now);
    shard.note(notice::STRING, "set", k);
    if let Expire::At(_) = expire {
        shard.note(notice::GENERIC, "expire", k);
    }
}

fn set(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now = ctx.now;
    if args.len() == 3 {
        write(ctx.shard(&k), &k, args[2], Expire::None, now);
        ctx.reply.ok();
        return Ok(());
    }
    let mut condition = None;
    let mut get = false;
    let mut time = Time::Unsaid;
    let mut i = 3;
    while i < args.len() {
        let option = args[i];
        let next = args.get(i + 1);
        if option.eq_ignore_ascii_case(b"nx") && condition != Some(Condition::Present) {
            condition = Some(Condition::Absent);
        } else if option.eq_ignore_ascii_case(b"xx") && condition != Some(Condition::Absent) {
            condition = Some(Condition::Present);
        } else if option.eq_ignore_ascii_case(b"get") {
            get = true;
        } else if option.eq_ignore_ascii_case(b"keepttl") && Time::Keep.may_follow(&time) {
            time = Time::Keep;
        } else if let Some(next) = next
            && let Some(this) = Time::option(option, next)
            && this.may_follow(&time)
        {
            time = this;
            i += 1;
        } else {
            return Err(Error::Syntax);
        }
        i += 1;
    }
    let expire = match time {
        Time::Unsaid | Time::Persist => Expire::None,
        Time::Keep => Expire::Keep,
        Time::Until {
            text,
            unit,
            relative,
        } => Expire::At(until(text, unit, relative, ctx.time(), "set")?),
    };
    let shard = ctx.ks.at(k.slot);
    if get {
        answer(&mut ctx.reply, shard.get(&k, now))?;
    }
    let refused = match condition {
        Some(Condition::Absent) => shard.contains(&k, now),
        Some(Condition::Present) => !shard.contains(&k, now),
        None => false,
    };
    if !refused {
        write(shard, &k, args[2], expire, now);
    }
    match (get, refused) {
        (true, _) => {}
        (false, true) => ctx.reply.null(),
        (false, false) => ctx.reply.ok(),
    }
    Ok(())
}

fn setnx(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let shard = ctx.shard(&k);
    let absent = !shard.contains(&k, now);
    if absent {
        write(shard, &k, args[2], Expire::None, now);
    }
    ctx.reply.int(absent as i64);
    Ok(())
}

fn setex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    set_for(ctx, args, Unit::Seconds, "setex")
}

fn psetex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    set_for(ctx, args, Unit::Milliseconds, "psetex")
}

fn set_for(ctx: &mut Ctx<'_>, args: &[&[u8]], unit: Unit, cmd: &'static str) -> Result<(), Error> {
    let now = ctx.now;
    let at = until(args[2], unit, true, ctx.time(), cmd)?;
    let k = ctx.key(args[1]);
    write(ctx.shard(&k), &k, args[3], Expire::At(at), now);
    ctx.reply.ok();
    Ok(())
}

fn getex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let mut time = Time::Unsaid;
    let mut i = 2;
    while i < args.len() {
        if args[i].eq_ignore_ascii_case(b"persist") && Time::Persist.may_follow(&time) {
            time = Time::Persist;
        } else if let Some(next) = args.get(i + 1)
            && let Some(this) = Time::option(args[i], next)
            && this.may_follow(&time)
        {
            time = this;
            i += 1;
        } else {
            return Err(Error::Syntax);
        }
        i += 1;
    }
    let k = ctx.key(args[1]);
    let (now, time_of_day) = (ctx.now, ctx.time());
    let shard = ctx.ks.at(k.slot);
    let value = shard.get(&k, now);
    let found = value.is_some();
    answer(&mut ctx.reply, value)?;
    if !found {
        return Ok(());
    }
    match time {
        Time::Unsaid | Time::Keep => {}
        Time::Persist => {
            let had = shard.meta(&k, now).is_some_and(|m| m.expire_at.is_some());
            if had {
                shard.expire_at(&k, None, now);
                shard.note(notice::GENERIC, "persist", &k);
            }
        }
        Time::Until {
            text,
            unit,
            relative,
        } => {
            let at = until(text, unit, relative, time_of_day, "getex")?;
            if at <= now {
                shard.delete(&k, now);
                shard.note(notice::GENERIC, "del", &k);
            } else {
                shard.expire_at(&k, Some(at), now);
                shard.note(notice::GENERIC, "expire", &k);
            }
        }
    }
    Ok(())
}
