//! Values, written.
//!
//! Promise: each in the form that Redis 7.0 gives it, by the form it is kept in here, which follows the same thresholds.

use super::packed::{Packer, make_intset};
use super::write::{Sink, put_length, put_string};
use super::{kind, stream};
use crate::resp::number::put_f64;
use crate::shard::kinds::Collection;
use crate::shard::kinds::hash::Hash;
use crate::shard::kinds::list::List;
use crate::shard::kinds::set::{Member, Set};
use crate::shard::kinds::zset::Zset;
use crate::shard::{Decimal, Value, View, parse_int};

/// The version that all values but few are written in.
const USUAL: u16 = 10;
/// The version that has fields that expire.
const TIMED: u16 = 12;
/// Bytes of a list's node (`list-max-listpack-size -2`).
const NODE: usize = 8 << 10;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The byte before the key in a file, and before the value in a payload.
    pub kind: u8,
    /// The least version that knows it.
    pub version: u16,
}

/// How [`write_value`] writes a value.
pub fn form(value: &Value<'_>) -> Form {
    let (kind, version) = match value {
        Value::Str(_) | Value::Int(_) => (kind::STRING, USUAL),
        Value::Object(object) => match object.view() {
            View::List(_) => (kind::LIST_QUICKLIST_2, USUAL),
            View::Set(set) if set.encoding() == "intset" => (kind::SET_INTSET, USUAL),
            View::Set(_) => (kind::SET, USUAL),
            View::Zset(set) if set.encoding() == "listpack" => (kind::ZSET_LISTPACK, USUAL),
            View::Zset(_) => (kind::ZSET_2, USUAL),
            View::Hash(hash) if hash.due().is_some() => (kind::HASH_TIMED, TIMED),
            View::Hash(hash) if hash.encoding() == "hashtable" => (kind::HASH, USUAL),
            View::Hash(_) => (kind::HASH_LISTPACK, USUAL),
            View::Stream(_) => (kind::STREAM_2, USUAL),
        },
    };
    Form { kind, version }
}

/// Writes a value, without the byte that says its form.
pub fn write_value(value: &Value<'_>, out: &mut impl Sink) {
    let form = form(value);
    match value {
        Value::Str(bytes) => put_string(out, bytes),
        Value::Int(n) => put_string(out, Decimal::new(*n).as_bytes()),
        Value::Object(object) => match object.view() {
            View::List(list) => write_list(list, out),
            View::Set(set) => write_set(set, form.kind, out),
            View::Zset(set) => write_zset(set, form.kind, out),
            View::Hash(hash) => write_hash(hash, form.kind, out),
            View::Stream(stream) => stream::write(stream, out),
        },
    }
}

/// The nodes of a list: elements that fit one together, or one that is too large for any.
fn each_node(list: &List, mut f: impl FnMut(Option<Packer>, &[u8])) {
    let mut node = Packer::default();
    for item in list.iter() {
        let large = item.len() > NODE;
        // An element takes up to ten bytes beside its own.
        if node.count() > 0 && (large || node.len() + item.len() + 10 > NODE) {
            f(Some(std::mem::take(&mut node)), &[]);
        }
        if large {
            f(None, item);
        } else {
            node.push(item);
        }
    }
    if node.count() > 0 {
        f(Some(node), &[]);
    }
}

fn write_list(list: &List, out: &mut impl Sink) {
    let mut nodes = 0;
    each_node(list, |_, _| nodes += 1);
    put_length(out, nodes);
    each_node(list, |node, item| match node {
        None => {
            put_length(out, 1);
            put_string(out, item);
        }
        Some(node) => {
            put_length(out, 2);
            put_string(out, &node.finish());
        }
    });
}

fn write_set(set: &Set, form: u8, out: &mut impl Sink) {
    let mut scratch = Decimal::default();
    if form == kind::SET_INTSET {
        let ints: Vec<i64> = set
            .iter()
            .filter_map(|member| match member {
                Member::Int(n) => Some(n),
                Member::Bytes(bytes) => parse_int(bytes),
            })
            .collect();
        return put_string(out, &make_intset(ints.iter().copied()));
    }
    put_length(out, set.len() as u64);
    for member in set.iter() {
        put_string(out, member.bytes(&mut scratch));
    }
}

fn write_zset(set: &Zset, form: u8, out: &mut impl Sink) {
    if form == kind::ZSET_LISTPACK {
        let mut pack = Packer::default();
        let mut text = Vec::new();
        for (member, score) in set.iter() {
            pack.push(member);
            text.clear();
            put_f64(&mut text, score);
            pack.push(&text);
        }
        return put_string(out, &pack.finish());
    }
    put_length(out, set.len() as u64);
    // From the highest on, as Redis does: whoever adds them at the front finds the place at once.
    for (member, score) in set.range(0, usize::MAX, true) {
        put_string(out, member);
        out.put(&score.to_le_bytes());
    }
}

fn write_hash(hash: &Hash, form: u8, out: &mut impl Sink) {
    match form {
        kind::HASH_LISTPACK => {
            let mut pack = Packer::default();
            for (name, value, _) in hash.fields() {
                pack.push(name);
                pack.push(value);
            }
            put_string(out, &pack.finish());
        }
        kind::HASH_TIMED => {
            let earliest = hash.due().unwrap_or(0);
            out.put(&earliest.to_le_bytes());
            put_length(out, hash.len() as u64);
            for (name, value, at) in hash.fields() {
                put_length(out, at.map_or(0, |at| at.saturating_sub(earliest) + 1));
                put_string(out, name);
                put_string(out, value);
            }
        }
        _ => {
            put_length(out, hash.len() as u64);
            for (name, value, _) in hash.fields() {
                put_string(out, name);
                put_string(out, value);
            }
        }
    }
}
