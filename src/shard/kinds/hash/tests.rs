//! A hash beside a map of the standard library.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<Ms>)>;

fn content(hash: &Hash) -> Model {
    let all: Model = hash
        .entries()
        .map(|(name, value, at)| (name.to_vec(), (value.to_vec(), at)))
        .collect();
    assert_eq!(all.len(), hash.len());
    all
}

fn apply(hash: &mut Hash, op: &Op<'_>) -> Applied<usize> {
    hash.apply(op)
}

fn set(hash: &mut Hash, words: &[&[u8]]) -> usize {
    apply(hash, &Op::Set(Items::Args(words))).outcome
}

#[test]
fn forms_change_where_redis_changes_them() {
    let mut hash = Hash::empty();
    for n in 0..512 {
        set(&mut hash, &[format!("f{n}").as_bytes(), b"v"]);
    }
    assert_eq!((hash.encoding(), hash.len()), ("listpack", 512));
    set(&mut hash, &[b"f0", &[b'v'; 64]]);
    assert_eq!(hash.encoding(), "listpack");
    set(&mut hash, &[b"more", b"v"]);
    assert_eq!((hash.encoding(), hash.len()), ("hashtable", 513));

    let mut hash = Hash::empty();
    set(&mut hash, &[b"f", &[b'v'; 65]]);
    assert_eq!(hash.encoding(), "hashtable");
    let mut hash = Hash::empty();
    set(&mut hash, &[&[b'f'; 65], b""]);
    assert_eq!(hash.encoding(), "hashtable");

    let mut hash = Hash::empty();
    set(&mut hash, &[b"f", b"v"]);
    apply(&mut hash, &Op::Expire(Some(9), Items::Args(&[b"none"])));
    assert_eq!(hash.encoding(), "listpack");
    apply(&mut hash, &Op::Expire(Some(9), Items::Args(&[b"f"])));
    assert_eq!(hash.encoding(), "listpackex");
    apply(&mut hash, &Op::Expire(None, Items::Args(&[b"f"])));
    assert_eq!((hash.encoding(), hash.due()), ("listpackex", None));
}

#[test]
fn what_is_past_its_time_is_not_seen() {
    for long in [false, true] {
        let mut hash = Hash::empty();
        let value: &[u8] = if long { &[b'v'; 100] } else { b"v" };
        set(&mut hash, &[b"a", value, b"b", value, b"c", value]);
        apply(
            &mut hash,
            &Op::Expire(Some(100), Items::Args(&[b"a", b"b"])),
        );
        assert_eq!(hash.due(), Some(100));
        assert_eq!(
            (hash.get(b"a", 99), hash.get(b"a", 100)),
            (Some(value), None)
        );
        assert_eq!((hash.count(99), hash.count(100), hash.len()), (3, 1, 3));
        assert_eq!(hash.iter(100).count(), 1);
        assert_eq!(hash.choose(100, || 1 << 63), Some((&b"c"[..], value)));
        assert_eq!(hash.expiry(b"b", 99), Some(Some(100)));
        assert_eq!(hash.expiry(b"b", 100), None);
        assert_eq!(hash.expiry(b"c", 100), Some(None));
        assert!(hash.is_expired(b"a", 100) && !hash.is_expired(b"c", 100));
        let mut expired: Vec<&[u8]> = hash.expired(100).collect();
        expired.sort();
        assert_eq!(expired, [b"a", b"b"]);
        // A value clears the expiry, unless it is to stay.
        set(&mut hash, &[b"a", b"w"]);
        assert_eq!(hash.expiry(b"a", 0), Some(None));
        apply(&mut hash, &Op::Put(None, Items::Args(&[b"b", b"w"])));
        assert_eq!(hash.expiry(b"b", 0), Some(Some(100)));
    }
}

#[test]
fn the_agenda_is_told_once() {
    let mut hash = Hash::empty();
    set(&mut hash, &[b"a", b"v", b"b", b"v"]);
    assert_eq!(hash.schedule(), None);
    apply(&mut hash, &Op::Expire(Some(100), Items::Args(&[b"a"])));
    assert_eq!((hash.schedule(), hash.schedule()), (Some(100), None));
    apply(&mut hash, &Op::Expire(Some(200), Items::Args(&[b"b"])));
    assert_eq!(hash.schedule(), None);
    apply(&mut hash, &Op::Expire(Some(50), Items::Args(&[b"b"])));
    assert_eq!(hash.schedule(), Some(50));
    // Another form is looked at by the same entry, a copy by none.
    set(&mut hash, &[b"long", &[b'v'; 65]]);
    assert_eq!((hash.encoding(), hash.schedule()), ("hashtable", None));
    assert_eq!(hash.clone().schedule(), Some(50));
    assert!(!hash.unschedule_at(100) && hash.unschedule_at(50));
    assert_eq!(hash.schedule(), Some(50));
}

#[test]
fn fields_of_one_time_expire_one_by_one() {
    let mut hash = Hash::empty();
    for n in 0..2000 {
        let name = format!("f{n}");
        apply(
            &mut hash,
            &Op::Put(Some(5), Items::Args(&[name.as_bytes(), b"v"])),
        );
    }
    assert_eq!(hash.expired(5).count(), 2000);
    for n in 0..2000 {
        let name = format!("f{n}");
        apply(&mut hash, &Op::Remove(Items::Args(&[name.as_bytes()])));
        assert_eq!(hash.expired(5).count(), 1999 - n);
    }
    assert_eq!((hash.due(), hash.len()), (None, 0));
}

#[test]
fn what_was_not_encoded_is_not_decoded() {
    for bad in [
        &b""[..],
        b"y",
        b"p\x01\x00\x00\x00\x01a\x02",
        b"p\x04\x00\x00\x00\x01a\x02\x01b\x02\x01a\x02\x01b\x02",
        b"x\x01\x01a\x01b",
        b"x\x02\x01a\x01b\x00\x01a\x01b\x00",
        b"t\x01\x01a\x01b\x00\x00",
    ] {
        assert_eq!(Hash::decode(bad), None, "{}", bad.escape_ascii());
    }
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => "[a-z]{0,2}".prop_map(String::into_bytes),
        1 => (60usize..70).prop_map(|n| vec![b'x'; n]),
    ]
}

fn step() -> impl Strategy<Value = (u8, Option<Ms>, Vec<Vec<u8>>)> {
    let time = proptest::option::of(1u64..50);
    (0u8..6, time, proptest::collection::vec(word(), 0..60))
}

proptest! {
    #[test]
    fn it_is_a_map(steps in proptest::collection::vec(step(), 0..40)) {
        let (mut hash, mut again) = (Hash::empty(), Hash::empty());
        let mut model = Model::new();
        for (what, at, words) in steps {
            let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let items = Items::Args(&args);
            let (op, expected) = match what {
                0..=2 => {
                    let op = if what == 0 { Op::Put(at, items) } else { Op::Set(items) };
                    let new = words.chunks_exact(2).filter(|pair| {
                        let before = model.get(&pair[0]).and_then(|field| field.1);
                        let after = if what == 0 { at.or(before) } else { None };
                        model.insert(pair[0].clone(), (pair[1].clone(), after)).is_none()
                    }).count();
                    (op, new)
                }
                3 => (Op::Remove(items), words.iter().filter(|name| model.remove(*name).is_some()).count()),
                _ => (Op::Expire(at, items), words.iter().filter(|name| {
                    let before = model.get_mut(*name).map(|field| std::mem::replace(&mut field.1, at));
                    before.is_some_and(|before| at.is_some() || before.is_some())
                }).count()),
            };
            prop_assert_eq!(apply(&mut hash, &op).outcome, expected);
            let mut bytes = Vec::new();
            Hash::write_op(&op, &mut bytes);
            apply(&mut again, &Hash::read_op(&bytes).unwrap());
            prop_assert_eq!(hash.due(), model.values().filter_map(|field| field.1).min());
        }
        prop_assert_eq!(&content(&hash), &model);
        prop_assert_eq!(hash.encoding(), again.encoding());
        prop_assert_eq!(&hash, &again);
        let living = model.values().filter(|field| lives(field.1, 25)).count();
        prop_assert_eq!(hash.count(25), living);
        prop_assert_eq!(hash.iter(25).count(), living);
        let mut scanned = BTreeMap::new();
        let mut cursor = 0;
        loop {
            cursor = hash.scan(cursor, 5, 0, |name, value| drop(scanned.insert(name.to_vec(), value.to_vec())));
            if cursor == 0 {
                break;
            }
        }
        prop_assert!(scanned.iter().eq(model.iter().map(|(name, (value, _))| (name, value)).collect::<Vec<_>>()));
        let mut bytes = Vec::new();
        hash.encode(&mut bytes);
        let back = Hash::decode(&bytes).unwrap();
        prop_assert_eq!((back.encoding(), back.due()), (hash.encoding(), hash.due()));
        prop_assert_eq!(&back, &hash);
        let mut rubble = back;
        while rubble.crumble(3) {}
    }

    #[test]
    fn garbage_does_no_harm(bytes: Vec<u8>) {
        if let Some(hash) = Hash::decode(&bytes) {
            content(&hash);
        }
        if let Some(op) = Hash::read_op(&bytes) {
            Hash::empty().apply(&op);
        }
    }
}
