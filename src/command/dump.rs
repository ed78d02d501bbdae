//! Values as they travel between servers: DUMP and RESTORE.
//!
//! The form is that of Redis's RDB files, see [`crate::rdb`].

use super::row::{Command, KeySpec, ON_KEY, Run, acl, flag, key};
use super::{Ctx, Error};
use crate::rdb::{self, Fault};
use crate::resp::number::parse_i64;
use crate::shard::{Dump, Ms, Said, notice};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "dump",
        flags: flag::READONLY,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        acl: acl::KEYSPACE,
        since: "2.6.0",
        complexity: "O(N), N being the size of the value",
        tips: &["nondeterministic_output"],
        summary: "Returns a key's value in the form that RESTORE takes.",
        run: Run::Data(dump),
        ..ON_KEY
    },
    Command {
        name: "restore",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key::OW | key::UPDATE)],
        acl: acl::KEYSPACE | acl::DANGEROUS,
        since: "2.6.0",
        complexity: "O(N), N being the size of the value; O(N * log(N)) for sorted sets",
        summary: "Makes a key of a value that DUMP returned.",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        run: Run::Data(restore),
        ..ON_KEY
    },
];

fn dump(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (k, now) = (ctx.key(args[1]), ctx.now);
    match ctx.shard(&k).get(&k, now).map(|value| rdb::dump(&value)) {
        Some(payload) => ctx.reply.bulk(payload),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// RESTORE's options.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    said: Option<Said>,
}

fn options(args: &[&[u8]]) -> Result<Options, Error> {
    let mut options = Options::default();
    let mut rest = args;
    while let [word, behind @ ..] = rest {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let number = behind.first();
        rest = behind;
        if is("replace") {
            options.replace = true;
        } else if is("absttl") {
            options.absolute = true;
        } else if let Some(number) = number
            && is("idletime")
            && !matches!(options.said, Some(Said::Frequency(_)))
        {
            let secs = parse_i64(number).ok_or(Error::NotInteger)?;
            let secs = u64::try_from(secs)
                .map_err(|_| Error::Text("ERR Invalid IDLETIME value, must be >= 0"))?;
            options.said = Some(Said::Idle(secs));
            rest = &behind[1..];
        } else if let Some(number) = number
            && is("freq")
            && !matches!(options.said, Some(Said::Idle(_)))
        {
            let count = parse_i64(number).ok_or(Error::NotInteger)?;
            let count = u8::try_from(count)
                .map_err(|_| Error::Text("ERR Invalid FREQ value, must be >= 0 and <= 255"))?;
            options.said = Some(Said::Frequency(count));
            rest = &behind[1..];
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok(options)
}

/// The error of a payload that is none.
fn refusal(fault: Fault) -> Error {
    match fault {
        Fault::Payload => Error::Text("ERR DUMP payload version or checksum are wrong"),
        Fault::Short | Fault::Damaged | Fault::Unknown(_) => Error::Text("ERR Bad data format"),
        Fault::Module | Fault::TooLarge => Error::message(format!("ERR Bad data format: {fault}")),
    }
}

fn restore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (k, now) = (ctx.key(args[1]), ctx.now);
    let options = options(&args[4..])?;
    if !options.replace && ctx.shard(&k).contains(&k, now) {
        return Err(Error::Text("BUSYKEY Target key name already exists."));
    }
    let ttl = parse_i64(args[2]).ok_or(Error::NotInteger)?;
    let ttl = Ms::try_from(ttl).map_err(|_| Error::Text("ERR Invalid TTL value, must be >= 0"))?;
    let value = rdb::undump(args[3]).map_err(refusal)?;
    let expire = match ttl {
        0 => None,
        at if options.absolute => Some(at),
        ttl => Some(ctx.time().saturating_add(ttl).min(i64::MAX as Ms)),
    };
    let shard = ctx.shard(&k);
    if expire.is_some_and(|at| at <= now) {
        // As if it had come and gone at once.
        if shard.delete(&k, now) {
            shard.note(notice::GENERIC, "del", &k);
        }
        ctx.reply.ok();
        return Ok(());
    }
    // What is replaced was removed before, for who listens.
    if shard.notices(notice::NEW) && shard.contains(&k, now) {
        shard.note(notice::NEW, "new", &k);
    }
    shard.restore(&k, Dump { value, expire }, now);
    if let Some(said) = options.said {
        shard.set_use(&k, said, now);
    }
    shard.note(notice::GENERIC, "restore", &k);
    ctx.reply.ok();
    Ok(())
}
