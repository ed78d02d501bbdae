//! Taking over what others have not acknowledged: XCLAIM and XAUTOCLAIM.

use std::collections::BTreeMap;

use super::{id, no_group, show, show_entry, start, visit};
use crate::command::error::up_to_nul;
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::kinds::stream::{Claim, Claims, Ids, Op, Stream, StreamId};
use crate::shard::{Key, Ms};

/// What the options of XCLAIM say.
struct Options {
    min_idle: i64,
    ids: Vec<StreamId>,
    /// When the entries shall count as delivered; `None` is now.
    at: Option<i64>,
    retries: Option<u64>,
    force: bool,
    just_id: bool,
    last: StreamId,
}

fn number(arg: &[u8], wrong: &'static str) -> Result<i64, Error> {
    parse_i64(arg).ok_or(Error::Text(wrong))
}

fn options(args: &[&[u8]], now: Ms) -> Result<Options, Error> {
    let min_idle = number(args[4], "ERR Invalid min-idle-time argument for XCLAIM")?.max(0);
    // Ids go on until something is none.
    let ids: Vec<_> = args[5..].iter().map_while(|arg| id(arg).ok()).collect();
    let mut options = Options {
        min_idle,
        at: None,
        retries: None,
        force: false,
        just_id: false,
        last: StreamId::MIN,
        ids,
    };
    let mut i = 5 + options.ids.len();
    while i < args.len() {
        let (option, value) = (args[i], args.get(i + 1));
        if option.eq_ignore_ascii_case(b"force") {
            options.force = true;
        } else if option.eq_ignore_ascii_case(b"justid") {
            options.just_id = true;
        } else if let Some(value) = value {
            i += 1;
            if option.eq_ignore_ascii_case(b"idle") {
                let idle = number(value, "ERR Invalid IDLE option argument for XCLAIM")?;
                options.at = Some((now as i64).wrapping_sub(idle));
            } else if option.eq_ignore_ascii_case(b"time") {
                options.at = Some(number(
                    value,
                    "ERR Invalid TIME option argument for XCLAIM",
                )?);
            } else if option.eq_ignore_ascii_case(b"retrycount") {
                let count = number(value, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                options.retries = u64::try_from(count).ok();
            } else if option.eq_ignore_ascii_case(b"lastid") {
                options.last = id(value)?;
            } else {
                return Err(unknown(option));
            }
        } else {
            return Err(unknown(option));
        }
        i += 1;
    }
    Ok(options)
}

fn unknown(option: &[u8]) -> Error {
    let option = up_to_nul(option, usize::MAX);
    Error::message([b"ERR Unrecognized XCLAIM option '", option, b"'"].concat())
}

pub(super) fn xclaim(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (name, consumer) = (args[2], args[3]);
    let k = ctx.key(args[1]);
    check(ctx, &k, name)?;
    let now = ctx.time();
    let options = options(args, now)?;
    // A time that makes no sense is no reason to refuse: the client's clock may be ahead.
    let at = options
        .at
        .map_or(now, |at| u64::try_from(at).map_or(now, |at| at.min(now)));
    visit(ctx, &k, name, consumer)?;
    let Some(stream) = ctx.ks.peek::<Stream>(&k, ctx.now)? else {
        return Ok(());
    };
    let Some(group) = stream.group(name) else {
        return Ok(());
    };
    let last = Some(options.last).filter(|&last| last > group.last);
    // What has become of entries of this very command: an id may be given twice.
    let mut become_of: BTreeMap<StreamId, Option<(Ms, u64)>> = BTreeMap::new();
    let reply = &mut ctx.reply;
    let open = reply.open_array();
    let mut shown = 0;
    for &id in &options.ids {
        let before = match become_of.get(&id) {
            Some(state) => *state,
            None => group.pending(id).map(|pending| (pending.at, pending.count)),
        };
        let Some(entry) = stream.get(id) else {
            if before.is_some() {
                become_of.insert(id, None);
            }
            continue;
        };
        let count = match before {
            None if !options.force => continue,
            // One that is made by force counts as delivered once already.
            None => 1,
            Some((at, _))
                if options.min_idle > 0 && (now as i64 - at as i64) < options.min_idle =>
            {
                continue;
            }
            Some((_, count)) => count,
        };
        let count = match options.retries {
            Some(retries) => retries,
            None if options.just_id => count,
            None => count.saturating_add(1),
        };
        become_of.insert(id, Some((at, count)));
        if options.just_id {
            show(reply, id);
        } else {
            show_entry(reply, &entry);
        }
        shown += 1;
    }
    reply.close_array(open, shown);
    let mut dropped = Vec::new();
    let mut claims = Vec::new();
    for (id, state) in become_of {
        match state {
            Some((at, count)) => claims.push(Claim { id, at, count }),
            None => dropped.push(id),
        }
    }
    claim(ctx, &k, (name, consumer), &claims, &dropped, last)
}

/// Refuses where there is no such key or group.
fn check(ctx: &mut Ctx<'_>, k: &Key<'_>, group: &[u8]) -> Result<(), Error> {
    let stream = ctx.read::<Stream>(k)?;
    match stream.and_then(|stream| stream.group(group)) {
        Some(_) => Ok(()),
        None => Err(no_group(k.bytes, group)),
    }
}

/// Carries out what was found, if it is anything.
fn claim(
    ctx: &mut Ctx<'_>,
    k: &Key<'_>,
    (group, consumer): (&[u8], &[u8]),
    claims: &[Claim],
    dropped: &[StreamId],
    last: Option<StreamId>,
) -> Result<(), Error> {
    if claims.is_empty() && dropped.is_empty() && last.is_none() {
        return Ok(());
    }
    let claim = Op::Claim {
        group,
        consumer,
        at: ctx.time(),
        claims: Claims::Slice(claims),
        dropped: Ids::Slice(dropped),
        last,
    };
    ctx.alter::<Stream>(k, &claim).map(drop)
}

/// Pending entries looked at for each one claimed.
const ATTEMPTS: i64 = 10;

pub(super) fn xautoclaim(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (name, consumer) = (args[2], args[3]);
    let min_idle = number(args[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
    let from = start(args[5])?;
    let (mut count, mut just_id) = (100, false);
    let mut options = args[6..].iter();
    while let Some(option) = options.next() {
        let value = options.clone().next();
        if let (true, Some(value)) = (option.eq_ignore_ascii_case(b"count"), value) {
            options.next();
            let wrong = "ERR COUNT must be > 0";
            count = number(value, wrong)?;
            if !(1..=i64::MAX / size_of::<StreamId>() as i64).contains(&count) {
                return Err(Error::Text(wrong));
            }
        } else if option.eq_ignore_ascii_case(b"justid") {
            just_id = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    let k = ctx.key(args[1]);
    check(ctx, &k, name)?;
    visit(ctx, &k, name, consumer)?;
    let now = ctx.time();
    let Some(stream) = ctx.ks.peek::<Stream>(&k, ctx.now)? else {
        return Ok(());
    };
    let Some(group) = stream.group(name) else {
        return Ok(());
    };
    let mut attempts = count * ATTEMPTS;
    let (mut claims, mut dropped) = (Vec::new(), Vec::new());
    let mut pending = group.range(from, StreamId::MAX);
    while attempts > 0 && count > 0 {
        let Some((id, state)) = pending.next() else {
            break;
        };
        attempts -= 1;
        if stream.get(id).is_none() {
            dropped.push(id);
        } else if min_idle > 0 && (now as i64 - state.at as i64) < min_idle {
            continue;
        } else {
            let count = state.count.saturating_add(u64::from(!just_id));
            claims.push(Claim { id, at: now, count });
        }
        count -= 1;
    }
    let cursor = pending.next().map_or(StreamId::MIN, |(id, _)| id);
    drop(pending);
    let reply = &mut ctx.reply;
    reply.array(3);
    show(reply, cursor);
    reply.array(claims.len());
    for claim in &claims {
        match stream.get(claim.id) {
            Some(entry) if !just_id => show_entry(reply, &entry),
            _ => show(reply, claim.id),
        }
    }
    reply.array(dropped.len());
    dropped.iter().for_each(|id| show(reply, *id));
    claim(ctx, &k, (name, consumer), &claims, &dropped, None)
}
