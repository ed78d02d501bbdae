//! SORT and SORT_RO: how it is done. Elements are read, weighed, put in order, cut to the limit, and answered or stored.
//!
//! Promise: nothing is changed before everything is known; where Redis leaves the order of equals to chance (equal
//! weights of ALPHA with BY), they keep the order of the source.

use super::{Request, pattern};
use crate::command::zset::score;
use crate::command::{Ctx, Error};
use crate::shard::kinds::Collection;
use crate::shard::kinds::list::{End, List, Op};
use crate::shard::kinds::set::Set;
use crate::shard::kinds::zset::Zset;
use crate::shard::wire::Items;
use crate::shard::{Dump, Owned, Value, notice};
use std::cmp::Ordering;
use std::ops::Range;

type Element = Box<[u8]>;

/// The elements at hand, and those of them that are asked for.
struct Found {
    elements: Vec<Element>,
    window: Range<usize>,
}

pub(super) fn run(ctx: &mut Ctx<'_>, source: &[u8], mut asked: Request<'_>) -> Result<(), Error> {
    let Found {
        mut elements,
        window,
    } = read(ctx, source, &mut asked)?;
    if !asked.as_is {
        put_in_order(ctx, &mut elements, &asked)?;
    }
    let elements = &elements[window];
    match asked.store {
        Some(to) => store(ctx, to, elements, &asked.get),
        None => answer(ctx, elements, &asked.get),
    }
}

/// Which of `len` elements a limit leaves.
fn window(len: usize, limit: Option<(i64, i64)>) -> Range<usize> {
    let (offset, count) = limit.unwrap_or((0, -1));
    let within = |n: i64| usize::try_from(n).unwrap_or(0).min(len);
    let start = within(offset);
    let end = match count {
        ..0 => len,
        _ => len.min(start + within(count)),
    };
    start..end
}

/// Reads the source. What stays as it is, is cut to the limit where the type has an order.
fn read(ctx: &mut Ctx<'_>, source: &[u8], asked: &mut Request<'_>) -> Result<Found, Error> {
    let k = ctx.key(source);
    let now = ctx.now;
    let object = match ctx.shard(&k).get(&k, now) {
        None => {
            return Ok(Found {
                elements: Vec::new(),
                window: 0..0,
            });
        }
        Some(Value::Object(object)) => object,
        Some(_) => return Err(Error::WrongType),
    };
    let mut window = window(object.len(), asked.limit);
    let elements: Vec<Element> = if let Some(list) = List::of(object) {
        if !asked.as_is {
            list.iter().map(Box::from).collect()
        } else if asked.desc {
            let backwards = list.iter().rev().skip(window.start);
            backwards.take(window.len()).map(Box::from).collect()
        } else {
            let mut some = Vec::with_capacity(window.len());
            list.each(window.start, window.len(), |item| some.push(item.into()));
            some
        }
    } else if let Some(zset) = Zset::of(object) {
        let range = match (asked.as_is, asked.desc) {
            (false, _) => zset.iter(),
            (true, false) => zset.range(window.start, window.end, false),
            (true, true) => {
                let len = zset.len();
                zset.range(len - window.end, len - window.start, true)
            }
        };
        range.map(|(member, _)| member.into()).collect()
    } else if let Some(set) = Set::of(object) {
        // A set has no order that could be kept, and what is stored has to have one.
        if asked.as_is && asked.store.is_some() {
            (asked.as_is, asked.alpha, asked.by) = (false, true, None);
        }
        let mut scratch = Default::default();
        let members = set.iter();
        members.map(|m| m.bytes(&mut scratch).into()).collect()
    } else {
        return Err(Error::WrongType);
    };
    if elements.len() == window.len() {
        window = 0..elements.len(); // it is cut already, or nothing is to be cut
    }
    Ok(Found { elements, window })
}

fn directed(desc: bool, order: Ordering) -> Ordering {
    if desc { order.reverse() } else { order }
}

fn put_in_order(
    ctx: &mut Ctx<'_>,
    elements: &mut Vec<Element>,
    asked: &Request<'_>,
) -> Result<(), Error> {
    let desc = asked.desc;
    match (asked.alpha, asked.by) {
        (true, None) => elements.sort_unstable_by(|a, b| directed(desc, a.cmp(b))),
        (true, Some(by)) => {
            let mut weighed = Vec::with_capacity(elements.len());
            for element in elements.drain(..) {
                weighed.push((pattern::follow(ctx, by, &element)?, element));
            }
            weighed.sort_by(|a, b| directed(desc, a.0.cmp(&b.0)));
            elements.extend(weighed.into_iter().map(|(_, element)| element));
        }
        (false, by) => {
            let mut weighed = Vec::with_capacity(elements.len());
            let mut odd = false;
            for element in elements.drain(..) {
                let weight = match by {
                    None => weight(&element),
                    Some(by) => match pattern::follow(ctx, by, &element)? {
                        None => Some(0.0),
                        Some(value) => weight(&value),
                    },
                };
                odd |= weight.is_none();
                weighed.push((weight.unwrap_or(0.0), element));
            }
            if odd {
                return Err(Error::Text(
                    "ERR One or more scores can't be converted into double",
                ));
            }
            weighed.sort_unstable_by(|(a, x), (b, y)| {
                // No weight is NaN.
                let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
                directed(desc, order.then_with(|| x.cmp(y)))
            });
            elements.extend(weighed.into_iter().map(|(_, element)| element));
        }
    }
    Ok(())
}

/// A weight as C's `strtod` reads it: up to a zero byte, blanks before it, and 0 for nothing at all.
fn weight(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|b| *b == 0);
    let text = &text[..end.unwrap_or(text.len())];
    if text.is_empty() {
        return Some(0.0);
    }
    let blank = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|b| !blank(b))?;
    score::parse(&text[start..])
}

fn answer(ctx: &mut Ctx<'_>, elements: &[Element], get: &[&[u8]]) -> Result<(), Error> {
    if get.is_empty() {
        ctx.reply.array(elements.len());
        elements.iter().for_each(|e| ctx.reply.bulk(e));
        return Ok(());
    }
    ctx.reply.array(elements.len() * get.len());
    for element in elements {
        for pattern in get {
            match pattern::follow(ctx, pattern, element)? {
                Some(value) => ctx.reply.bulk(&value),
                None => ctx.reply.null(),
            }
        }
    }
    Ok(())
}

fn store(ctx: &mut Ctx<'_>, to: &[u8], elements: &[Element], get: &[&[u8]]) -> Result<(), Error> {
    let mut values: Vec<Vec<u8>> = Vec::with_capacity(elements.len() * get.len());
    for element in elements {
        for pattern in get {
            values.push(pattern::follow(ctx, pattern, element)?.unwrap_or_default());
        }
    }
    let items: Vec<&[u8]> = match get {
        [] => elements.iter().map(|e| &**e).collect(),
        _ => values.iter().map(Vec::as_slice).collect(),
    };
    let to = ctx.key(to);
    let now = ctx.now;
    if !items.is_empty() {
        let mut list = List::empty();
        list.apply(&Op::Push {
            end: End::Back,
            items: Items::Args(&items),
        });
        let dump = Dump {
            value: Owned::Object(Box::new(list.into_object())),
            expire: None,
        };
        ctx.shard(&to).restore(&to, dump, now);
        ctx.note(notice::LIST, "sortstore", &to);
    } else if ctx.shard(&to).delete(&to, now) {
        ctx.note(notice::GENERIC, "del", &to);
    }
    ctx.reply.int(items.len() as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_stay_within() {
        assert_eq!(window(5, None), 0..5);
        assert_eq!(window(5, Some((1, 2))), 1..3);
        assert_eq!(window(5, Some((-3, 2))), 0..2);
        assert_eq!(window(5, Some((4, 9))), 4..5);
        assert_eq!(window(5, Some((9, 9))), 5..5);
        assert_eq!(window(5, Some((2, -7))), 2..5);
        assert_eq!(window(5, Some((0, 0))), 0..0);
        assert_eq!(window(0, Some((i64::MAX, i64::MAX))), 0..0);
    }

    #[test]
    fn weights_are_what_strtod_reads() {
        for (text, value) in [
            (&b""[..], Some(0.0)),
            (b"1.5", Some(1.5)),
            (b" \t-2", Some(-2.0)),
            (b"0x10", Some(16.0)),
            (b"3\0x", Some(3.0)),
            (b"inf", Some(f64::INFINITY)),
            (b" ", None),
            (b"1 ", None),
            (b"nan", None),
            (b"1e999", None),
            (b"x", None),
        ] {
            assert_eq!(weight(text), value, "{}", text.escape_ascii());
        }
    }
}
