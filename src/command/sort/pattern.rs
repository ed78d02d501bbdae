//! Names made up of elements: `weight_*`, `object_*->field`.
//!
//! Promise: a pattern means what it means in Redis, where it ends for the search of `*` and `->` at a zero byte.

use crate::command::{Ctx, Error};
use crate::shard::Value;
use crate::shard::kinds::Collection;
use crate::shard::kinds::hash::Hash;

/// The part of a pattern in which its signs are looked for.
fn searched(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|b| *b == 0);
    &pattern[..end.unwrap_or(pattern.len())]
}

/// Where the element is put into a pattern; without such a place it names no key.
pub(super) fn star(pattern: &[u8]) -> Option<usize> {
    searched(pattern).iter().position(|b| *b == b'*')
}

/// The key that a pattern makes of an element, and the field of the hash there if it names one.
fn apply<'p>(pattern: &'p [u8], element: &[u8]) -> Option<(Vec<u8>, Option<&'p [u8]>)> {
    let star = star(pattern)?;
    let behind = &searched(pattern)[star + 1..];
    let arrow = behind.windows(2).position(|w| w == b"->");
    // An arrow to nothing is a part of the name.
    let arrow = arrow.filter(|at| at + 2 < behind.len());
    let rest = &pattern[star + 1..];
    let (rest, field) = match arrow {
        Some(at) => (&rest[..at], Some(&rest[at + 2..])),
        None => (rest, None),
    };
    Some(([&pattern[..star], element, rest].concat(), field))
}

/// What a pattern leads to from an element.
///
/// # Errors
/// The key lives on a shard that is not at hand.
pub(super) fn follow(
    ctx: &mut Ctx<'_>,
    pattern: &[u8],
    element: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    if pattern == b"#" {
        return Ok(Some(element.to_vec()));
    }
    let Some((name, field)) = apply(pattern, element) else {
        return Ok(None);
    };
    let k = ctx.key(&name);
    if !ctx.ks.has(ctx.ks.owner(k.slot)) {
        return Err(Error::Text(
            "ERR BY and GET of SORT name keys that are out of reach here",
        ));
    }
    let now = ctx.now;
    let value = ctx.shard(&k).get(&k, now);
    Ok(match (value, field) {
        (Some(Value::Object(object)), Some(field)) => {
            let found = Hash::of(object).and_then(|hash| hash.get(field, now));
            found.map(<[u8]>::to_vec)
        }
        (Some(value), None) => value.bytes(&mut Default::default()).map(<[u8]>::to_vec),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_make_names() {
        let made = |pattern: &'static [u8]| apply(pattern, b"7");
        assert_eq!(made(b"w_*"), Some((b"w_7".to_vec(), None)));
        assert_eq!(made(b"a*b*c"), Some((b"a7b*c".to_vec(), None)));
        assert_eq!(made(b"o_*->f"), Some((b"o_7".to_vec(), Some(&b"f"[..]))));
        assert_eq!(
            made(b"o_*x->f->g"),
            Some((b"o_7x".to_vec(), Some(&b"f->g"[..])))
        );
        assert_eq!(made(b"o_*->"), Some((b"o_7->".to_vec(), None)));
        assert_eq!(made(b"o->f*"), Some((b"o->f7".to_vec(), None)));
        assert_eq!(made(b"nosort"), None);
        assert_eq!(made(b"a\0*"), None);
        assert_eq!(made(b"a*\0->f"), Some((b"a7\0->f".to_vec(), None)));
    }
}
