//! Expiry: EXPIRE and its company set it, TTL and its company tell it, PERSIST removes it. What is
//! stored and logged is always the absolute time in milliseconds.

use super::error::up_to_nul;
use super::row::{Command, KeySpec, ON_KEY, Run, acl, flag, key};
use super::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::{Ms, notice};

const EXPIRE: Command = Command {
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
    acl: acl::KEYSPACE,
    ..ON_KEY
};
const TTL: Command = Command {
    flags: flag::READONLY | flag::FAST,
    keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
    acl: acl::KEYSPACE,
    ..ON_KEY
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "expire",
        since: "1.0.0",
        summary: "Lets a key expire after a number of seconds.",
        syntax: "key seconds [NX | XX | GT | LT]",
        run: Run::Data(|ctx, args| expire(ctx, args, Unit::Seconds, true, "expire")),
        ..EXPIRE
    },
    Command {
        name: "pexpire",
        since: "2.6.0",
        summary: "Lets a key expire after a number of milliseconds.",
        syntax: "key milliseconds [NX | XX | GT | LT]",
        run: Run::Data(|ctx, args| expire(ctx, args, Unit::Milliseconds, true, "pexpire")),
        ..EXPIRE
    },
    Command {
        name: "expireat",
        since: "1.2.0",
        summary: "Lets a key expire at a Unix time in seconds.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        run: Run::Data(|ctx, args| expire(ctx, args, Unit::Seconds, false, "expireat")),
        ..EXPIRE
    },
    Command {
        name: "pexpireat",
        since: "2.6.0",
        summary: "Lets a key expire at a Unix time in milliseconds.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        run: Run::Data(|ctx, args| expire(ctx, args, Unit::Milliseconds, false, "pexpireat")),
        ..EXPIRE
    },
    Command {
        name: "persist",
        arity: 2,
        since: "2.2.0",
        summary: "Removes the expiry of a key.",
        run: Run::Data(persist),
        ..EXPIRE
    },
    Command {
        name: "ttl",
        tips: &["nondeterministic_output"],
        since: "1.0.0",
        summary: "Tells in seconds how long a key has to live.",
        run: Run::Data(|ctx, args| {
            tell(ctx, args, |at, now| (at.saturating_sub(now) + 500) / 1000)
        }),
        ..TTL
    },
    Command {
        name: "pttl",
        tips: &["nondeterministic_output"],
        since: "2.6.0",
        summary: "Tells in milliseconds how long a key has to live.",
        run: Run::Data(|ctx, args| tell(ctx, args, |at, now| at.saturating_sub(now))),
        ..TTL
    },
    Command {
        name: "expiretime",
        since: "7.0.0",
        summary: "Tells the Unix time in seconds at which a key expires.",
        run: Run::Data(|ctx, args| tell(ctx, args, |at, _| (at + 500) / 1000)),
        ..TTL
    },
    Command {
        name: "pexpiretime",
        since: "7.0.0",
        summary: "Tells the Unix time in milliseconds at which a key expires.",
        run: Run::Data(|ctx, args| tell(ctx, args, |at, _| at)),
        ..TTL
    },
];

/// What a number of a time argument counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

/// The Unix time in milliseconds that lies `n` units after `base` (after 1970 without one). `None` if it
/// overflows.
pub(super) fn deadline(n: i64, unit: Unit, base: Option<Ms>) -> Option<i64> {
    let n = match unit {
        Unit::Seconds => n.checked_mul(1000)?,
        Unit::Milliseconds => n,
    };
    n.checked_add(i64::try_from(base.unwrap_or(0)).ok()?)
}

/// On which present expiry the new one depends.
#[derive(Clone, Copy, Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(options: &[&[u8]]) -> Result<Conditions, Error> {
        let mut c = Conditions::default();
        for option in options {
            if option.eq_ignore_ascii_case(b"nx") {
                c.nx = true;
            } else if option.eq_ignore_ascii_case(b"xx") {
                c.xx = true;
            } else if option.eq_ignore_ascii_case(b"gt") {
                c.gt = true;
            } else if option.eq_ignore_ascii_case(b"lt") {
                c.lt = true;
            } else {
                return Err(Error::message(
                    [b"ERR Unsupported option ", up_to_nul(option, usize::MAX)].concat(),
                ));
            }
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            return Err(Error::Text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if c.gt && c.lt {
            return Err(Error::Text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(c)
    }

    /// Whether a key that expires at `present` (never: `None`) may get the expiry `at`. To live forever
    /// counts as the latest time.
    fn allow(self, present: Option<Ms>, at: i64) -> bool {
        // A stored time is below 2^63.
        let present = present.map(|at| at as i64);
        !(self.nx && present.is_some()
            || self.xx && present.is_none()
            || self.gt && present.is_none_or(|present| at <= present)
            || self.lt && present.is_some_and(|present| at >= present))
    }
}

fn expire(
    ctx: &mut Ctx<'_>,
    args: &[&[u8]],
    unit: Unit,
    relative: bool,
    cmd: &'static str,
) -> Result<(), Error> {
    let now = ctx.now;
    let conditions = Conditions::parse(&args[3..])?;
    let n = parse_i64(args[2]).ok_or(Error::NotInteger)?;
    let at = deadline(n, unit, relative.then_some(ctx.time())).ok_or(Error::ExpireTime(cmd))?;
    let k = ctx.key(args[1]);
    let shard = ctx.ks.at(k.slot);
    let done = match shard.meta(&k, now) {
        Some(meta) if conditions.allow(meta.expire_at, at) => {
            match Ms::try_from(at) {
                Ok(at) if at > now => {
                    shard.expire_at(&k, Some(at), now);
                    shard.note(notice::GENERIC, "expire", &k);
                }
                _ => {
                    shard.delete(&k, now);
                    shard.note(notice::GENERIC, "del", &k);
                }
            }
            true
        }
        _ => false,
    };
    ctx.reply.int(done as i64);
    Ok(())
}

fn persist(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let shard = ctx.ks.at(k.slot);
    let had = shard.meta(&k, now).is_some_and(|m| m.expire_at.is_some());
    if had {
        shard.expire_at(&k, None, now);
        shard.note(notice::GENERIC, "persist", &k);
    }
    ctx.reply.int(had as i64);
    Ok(())
}

/// Answers what `show` makes of the expiry: -1 for none, -2 for no key.
fn tell(ctx: &mut Ctx<'_>, args: &[&[u8]], show: fn(Ms, Ms) -> Ms) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let n = match ctx.ks.at(k.slot).expiry(&k, ctx.now) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => show(at, ctx.now) as i64,
    };
    ctx.reply.int(n);
    Ok(())
}
