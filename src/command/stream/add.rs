//! What comes and what goes: XADD, XLEN, XDEL, XTRIM, XSETID.

use super::{Wanted, id, ids, integer, show, wanted};
use crate::command::{Ctx, Error};
use crate::shard::kinds::Collection;
use crate::shard::kinds::stream::{Ids, Keep, Op, Stream, StreamId};
use crate::shard::wire::Items;
use crate::shard::{Key, notice};

/// What a `~` without LIMIT removes at most.
const LIMIT: u64 = 10_000;
/// An entry's fields and values together are not longer, in bytes.
const MAX_ENTRY: usize = 1 << 30;

/// How a stream is to be trimmed.
struct Trim {
    keep: Keep,
    rough: bool,
    limit: u64,
}

/// What stands between the key and the id (XADD), or behind the key (XTRIM).
#[derive(Default)]
struct Options {
    trim: Option<Trim>,
    /// NOMKSTREAM
    existing: bool,
    /// Where the id stands.
    id_at: usize,
    /// The id, unless it is `*`.
    id: Option<Wanted>,
}

fn options(args: &[&[u8]], xadd: bool) -> Result<Options, Error> {
    let mut options = Options::default();
    let (mut keep, mut rough, mut limit) = (None, false, None);
    let mut i = 2;
    while i < args.len() {
        let (option, more) = (args[i], args.len() - 1 - i);
        let by_length = option.eq_ignore_ascii_case(b"maxlen");
        if xadd && option == b"*" {
            break;
        } else if more > 0 && (by_length || option.eq_ignore_ascii_case(b"minid")) {
            if keep.is_some() {
                return Err(Error::Text(
                    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                ));
            }
            rough = more > 1 && args[i + 1] == b"~";
            if rough || (more > 1 && args[i + 1] == b"=") {
                i += 1;
            }
            i += 1;
            keep = Some(if by_length {
                let most = integer(args[i])?;
                let refused = Error::Text("ERR The MAXLEN argument must be >= 0.");
                Keep::Newest(u64::try_from(most).map_err(|_| refused)?)
            } else {
                Keep::From(id(args[i])?)
            });
        } else if more > 0 && option.eq_ignore_ascii_case(b"limit") {
            i += 1;
            let most = integer(args[i])?;
            let refused = Error::Text("ERR The LIMIT argument must be >= 0.");
            limit = Some(u64::try_from(most).map_err(|_| refused)?);
        } else if xadd && option.eq_ignore_ascii_case(b"nomkstream") {
            options.existing = true;
        } else if xadd {
            if matches!(option, b"-" | b"+") {
                return Err(super::INVALID_ID);
            }
            options.id = Some(wanted(option, 0).ok_or(super::INVALID_ID)?);
            break;
        } else {
            return Err(Error::Syntax);
        }
        i += 1;
    }
    options.id_at = i;
    if limit.is_some_and(|limit| limit > 0) && keep.is_none() {
        return Err(Error::Text(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if !xadd && keep.is_none() {
        return Err(Error::Text(
            "ERR syntax error, XTRIM must be called with a trimming strategy",
        ));
    }
    if limit.is_some() && !rough {
        return Err(Error::Text(
            "ERR syntax error, LIMIT cannot be used without the special ~ option",
        ));
    }
    options.trim = keep.map(|keep| Trim {
        keep,
        rough,
        limit: if rough { limit.unwrap_or(LIMIT) } else { 0 },
    });
    Ok(options)
}

/// The id that the new entry gets.
fn choose(wanted: Option<&Wanted>, last: StreamId, now: u64) -> Result<StreamId, Error> {
    let exhausted =
        Error::Text("ERR The stream has exhausted the last possible ID, unable to add more items");
    let next = last.next().ok_or(exhausted)?;
    let small = Error::Text(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
    );
    match wanted {
        None if now > last.ms => Ok(StreamId { ms: now, seq: 0 }),
        None => Ok(next),
        Some(&Wanted { ms, seq: Some(seq) }) => {
            let id = StreamId { ms, seq };
            (id > last).then_some(id).ok_or(small)
        }
        Some(&Wanted { ms, seq: None }) if ms > last.ms => Ok(StreamId { ms, seq: 0 }),
        Some(&Wanted { ms, seq: None }) => (next.ms == ms).then_some(next).ok_or(small),
    }
}

pub(super) fn xadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let options = options(args, true)?;
    let Some(fields) = args.get(options.id_at + 1..) else {
        return Err(Error::Arity("xadd"));
    };
    if fields.len() < 2 || !fields.len().is_multiple_of(2) {
        return Err(Error::Arity("xadd"));
    }
    if let Some(Wanted {
        ms: 0,
        seq: Some(0),
    }) = options.id
    {
        return Err(Error::Text(
            "ERR The ID specified in XADD must be greater than 0-0",
        ));
    }
    let k = ctx.key(args[1]);
    let last = match ctx.peek::<Stream>(&k)? {
        Some(stream) => stream.last(),
        None if options.existing => {
            ctx.reply.null();
            return Ok(());
        }
        None => StreamId::MIN,
    };
    let id = choose(options.id.as_ref(), last, ctx.time())?;
    if fields.iter().map(|field| field.len()).sum::<usize>() > MAX_ENTRY {
        return Err(Error::Text("ERR Elements are too large to be stored"));
    }
    let fields = Items::Args(fields);
    ctx.alter::<Stream>(&k, &Op::Add { id, fields })?;
    ctx.notify(notice::STREAM, "xadd", &k);
    if let Some(options) = &options.trim {
        trim(ctx, &k, options)?;
    }
    show(&mut ctx.reply, id);
    Ok(())
}

/// Trims, and tells how many entries went.
fn trim(ctx: &mut Ctx<'_>, k: &Key<'_>, options: &Trim) -> Result<u64, Error> {
    let &Trim { keep, rough, limit } = options;
    let stream = ctx.peek::<Stream>(k)?;
    let Some(through) = stream.and_then(|stream| stream.trim(keep, rough, limit)) else {
        return Ok(0);
    };
    let count = ctx.alter::<Stream>(k, &Op::Trim { through })?;
    ctx.notify(notice::STREAM, "xtrim", k);
    Ok(count)
}

pub(super) fn xtrim(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let options = options(args, false)?;
    let k = ctx.key(args[1]);
    let count = match &options.trim {
        Some(options) => trim(ctx, &k, options)?,
        None => 0,
    };
    ctx.reply.int(count as i64);
    Ok(())
}

pub(super) fn xlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let len = ctx.read::<Stream>(&k)?.map_or(0, Stream::len);
    ctx.reply.int(len as i64);
    Ok(())
}

pub(super) fn xdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let mut count = 0;
    if ctx.peek::<Stream>(&k)?.is_some() {
        let ids = ids(&args[2..])?;
        let ids = Ids::Slice(&ids);
        count = ctx.alter::<Stream>(&k, &Op::Delete { ids })?;
        if count > 0 {
            ctx.notify(notice::STREAM, "xdel", &k);
        }
    }
    ctx.reply.int(count as i64);
    Ok(())
}

pub(super) fn xsetid(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let last = id(args[2])?;
    let (mut added, mut max_deleted) = (None, None);
    let mut options = args[3..].iter();
    while let Some(option) = options.next() {
        let value = options.next().ok_or(Error::Syntax)?;
        if option.eq_ignore_ascii_case(b"entriesadded") {
            let refused = Error::Text("ERR entries_added must be positive");
            added = Some(u64::try_from(integer(value)?).map_err(|_| refused)?);
        } else if option.eq_ignore_ascii_case(b"maxdeletedid") {
            let id = id(value)?;
            if last < id {
                return Err(Error::Text(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
            max_deleted = Some(id).filter(|&id| id != StreamId::MIN);
        } else {
            return Err(Error::Syntax);
        }
    }
    let k = ctx.key(args[1]);
    let stream = ctx.peek::<Stream>(&k)?.ok_or(Error::NoSuchKey)?;
    if last < stream.max_deleted() {
        return Err(Error::Text(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if let Some(top) = stream.last_entry() {
        if last < top {
            return Err(Error::Text(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if added.is_some_and(|added| added < stream.len() as u64) {
            return Err(Error::Text(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    let set = Op::SetId {
        last,
        added,
        max_deleted,
    };
    ctx.alter::<Stream>(&k, &set)?;
    ctx.notify(notice::STREAM, "xsetid", &k);
    ctx.reply.ok();
    Ok(())
}
