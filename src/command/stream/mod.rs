//! The stream family. How clients write ids, and what all of it shares; the rows stand in `rows`.

mod add;
mod claim;
mod group;
mod info;
mod pending;
mod range;
mod read;
mod rows;

pub(super) use rows::ROWS;

use super::error::up_to_nul;
use super::{Ctx, Error};
use crate::resp::Reply;
use crate::resp::number::{parse_i64, put_u64};
use crate::shard::kinds::stream::{Entry, Op, Stream, StreamId};
use crate::shard::{Key, notice};

const INVALID_ID: Error = Error::Text("ERR Invalid stream ID specified as stream command argument");

/// A number without sign, as C's `strtoull` takes it where the strict form does not fit.
fn unsigned(text: &[u8]) -> Option<u64> {
    if let Some(n) = parse_i64(text) {
        return u64::try_from(n).ok();
    }
    let blank = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().take_while(|b| blank(b)).count()..];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// An id of which the client may leave the sequence number to the server (`ms-*`): then there is no `seq`.
struct Wanted {
    ms: u64,
    seq: Option<u64>,
}

fn wanted(text: &[u8], missing: u64) -> Option<Wanted> {
    let text = up_to_nul(text, usize::MAX);
    if text.len() > 127 {
        return None;
    }
    let Some(dash) = text.iter().position(|&b| b == b'-') else {
        return Some(Wanted {
            ms: unsigned(text)?,
            seq: Some(missing),
        });
    };
    let ms = unsigned(&text[..dash])?;
    let seq = match &text[dash + 1..] {
        b"*" => None,
        seq => Some(unsigned(seq)?),
    };
    Some(Wanted { ms, seq })
}

/// An id written out; one without a sequence number gets 0.
fn id(text: &[u8]) -> Result<StreamId, Error> {
    complete(text, 0)
}

fn complete(text: &[u8], missing: u64) -> Result<StreamId, Error> {
    match wanted(text, missing) {
        Some(Wanted { ms, seq: Some(seq) }) => Ok(StreamId { ms, seq }),
        _ => Err(INVALID_ID),
    }
}

/// An id, or `-` and `+` for the ends.
fn id_or_end(text: &[u8], missing: u64) -> Result<StreamId, Error> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => complete(text, missing),
    }
}

/// The smaller bound of an interval; `(` excludes it.
fn start(text: &[u8]) -> Result<StreamId, Error> {
    match text {
        [b'(', _, ..] => {
            let id = complete(&text[1..], 0)?;
            id.next()
                .ok_or(Error::Text("ERR invalid start ID for the interval"))
        }
        _ => id_or_end(text, 0),
    }
}

/// The larger bound of an interval; `(` excludes it.
fn end(text: &[u8]) -> Result<StreamId, Error> {
    match text {
        [b'(', _, ..] => {
            let id = complete(&text[1..], u64::MAX)?;
            id.previous()
                .ok_or(Error::Text("ERR invalid end ID for the interval"))
        }
        _ => id_or_end(text, u64::MAX),
    }
}

/// All of them ids.
fn ids(args: &[&[u8]]) -> Result<Vec<StreamId>, Error> {
    args.iter().map(|arg| id(arg)).collect()
}

fn integer(arg: &[u8]) -> Result<i64, Error> {
    parse_i64(arg).ok_or(Error::NotInteger)
}

/// Answers an id.
fn show(reply: &mut Reply<'_>, id: StreamId) {
    reply.buf.push(b'$');
    put_u64(reply.buf, id.shown_len() as u64);
    reply.buf.extend_from_slice(b"\r\n");
    id.show(reply.buf);
    reply.buf.extend_from_slice(b"\r\n");
}

/// Answers an entry: its id, and its fields and values in turn.
fn show_entry(reply: &mut Reply<'_>, entry: &Entry<'_>) {
    reply.array(2);
    show(reply, entry.id);
    reply.array(2 * entry.pairs);
    for (field, value) in entry.fields() {
        reply.bulk(field);
        reply.bulk(value);
    }
}

/// Answers entries, at most `count` of them (0: all); tells how many there were.
fn show_entries<'e>(
    reply: &mut Reply<'_>,
    entries: impl Iterator<Item = Entry<'e>>,
    count: usize,
) -> usize {
    let open = reply.open_array();
    let mut shown = 0;
    for entry in entries {
        show_entry(reply, &entry);
        shown += 1;
        if shown == count {
            break;
        }
    }
    reply.close_array(open, shown);
    shown
}

/// There is no such key, or no such group of it.
fn no_group(key: &[u8], group: &[u8]) -> Error {
    Error::message(
        [
            b"NOGROUP No such key '",
            up_to_nul(key, usize::MAX),
            b"' or consumer group '",
            up_to_nul(group, usize::MAX),
            b"'",
        ]
        .concat(),
    )
}

/// A consumer asks for something: it is made if it is not known.
fn visit(ctx: &mut Ctx<'_>, k: &Key<'_>, group: &[u8], consumer: &[u8]) -> Result<(), Error> {
    let at = ctx.time();
    let visit = Op::Visit {
        group,
        consumer,
        at,
    };
    if ctx.alter::<Stream>(k, &visit)? == 1 {
        ctx.notify(notice::STREAM, "xgroup-createconsumer", k);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn ids_as_clients_write_them() {
        assert_eq!(id(b"5"), Ok(of(5, 0)));
        assert_eq!(id(b"5-7"), Ok(of(5, 7)));
        assert_eq!(id(b"05-+7"), Ok(of(5, 7)));
        assert_eq!(id(b"18446744073709551615-1"), Ok(of(u64::MAX, 1)));
        assert_eq!(complete(b"5", 9), Ok(of(5, 9)));
        for text in [
            "",
            "-",
            "+",
            "*",
            "5-*",
            "5-",
            "-5",
            "x",
            "5-x",
            "18446744073709551616",
        ] {
            assert_eq!(id(text.as_bytes()), Err(INVALID_ID), "{text}");
        }
        assert_eq!(wanted(b"5-*", 0).map(|w| (w.ms, w.seq)), Some((5, None)));
    }

    #[test]
    fn bounds_may_be_excluded() {
        assert_eq!(start(b"-"), Ok(StreamId::MIN));
        assert_eq!(end(b"+"), Ok(StreamId::MAX));
        assert_eq!(start(b"(5"), Ok(of(5, 1)));
        assert_eq!(end(b"5"), Ok(of(5, u64::MAX)));
        assert_eq!(end(b"(5-1"), Ok(of(5, 0)));
        for text in ["(", "(-", "(+"] {
            assert_eq!(start(text.as_bytes()), Err(INVALID_ID), "{text}");
            assert_eq!(end(text.as_bytes()), Err(INVALID_ID), "{text}");
        }
        let largest = b"(18446744073709551615-18446744073709551615";
        assert!(start(largest).unwrap_err().to_string().contains("start ID"));
        assert!(end(b"(0-0").unwrap_err().to_string().contains("end ID"));
    }
}
