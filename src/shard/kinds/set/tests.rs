//! A set beside a set of the standard library.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn members(set: &Set) -> BTreeSet<Vec<u8>> {
    let mut scratch = Decimal::default();
    let all: Vec<Vec<u8>> = set
        .iter()
        .map(|member| member.bytes(&mut scratch).to_vec())
        .collect();
    assert_eq!(all.len(), set.len());
    all.into_iter().collect()
}

fn of(words: &[String]) -> Set {
    let mut set = Set::empty();
    for word in words {
        set.add(word.as_bytes());
    }
    set
}

fn numbers(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn forms_change_where_redis_changes_them() {
    assert_eq!(of(&numbers(0..512)).encoding(), "intset");
    assert_eq!(of(&numbers(0..513)).encoding(), "hashtable");
    let mut few = of(&numbers(0..127));
    few.add(b"x");
    assert_eq!((few.encoding(), few.len()), ("listpack", 128));
    few.add(b"y");
    assert_eq!((few.encoding(), few.len()), ("hashtable", 129));
    let mut many = of(&numbers(0..128));
    many.add(b"x");
    assert_eq!((many.encoding(), many.len()), ("hashtable", 129));
    assert_eq!(of(&["x".repeat(64)]).encoding(), "listpack");
    assert_eq!(of(&["x".repeat(65)]).encoding(), "hashtable");
    let words: Vec<String> = (0..129).map(|n| format!("m{n}")).collect();
    let args: Vec<&[u8]> = vec![words[0].as_bytes(); 129];
    let mut hinted = Set::empty();
    hinted.apply(&Op::Add(Items::Args(&args)));
    assert_eq!((hinted.encoding(), hinted.len()), ("hashtable", 1));
}

#[test]
fn integers_are_as_wide_as_they_need() {
    let mut set = of(&numbers(0..10));
    assert_eq!(set.heap_bytes(), 21);
    set.add(b"70000");
    assert_eq!(set.heap_bytes(), 1 + 11 * 4);
    set.add(b"-9223372036854775808");
    assert_eq!(set.heap_bytes(), 1 + 12 * 8);
    assert!(set.contains(b"70000") && !set.contains(b"070000") && !set.contains(b"x"));
    assert_eq!(set.iter().next(), Some(Member::Int(i64::MIN)));
}

#[test]
fn what_was_not_encoded_is_not_decoded() {
    for bad in [
        &b""[..],
        b"x",
        b"i\x02",
        b"i\x02\x01",
        b"i\x02\x01\x00\x01\x00",
        b"i\x03\x01\x00\x00",
        b"i\x02\x02\x00\x01\x00",
        b"p\x02\x00\x00\x00\x01a\x02\x01a\x02",
        b"t\x02\x01a\x01a",
        b"t\x02\x01a",
        b"t\x01\x01ab",
    ] {
        assert_eq!(Set::decode(bad), None, "{}", bad.escape_ascii());
    }
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (-40i64..40).prop_map(|n| n.to_string().into_bytes()),
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        "[a-c]{0,3}".prop_map(String::into_bytes),
        (60usize..70).prop_map(|n| vec![b'x'; n]),
    ]
}

proptest! {
    #[test]
    fn it_is_a_set(
        steps in proptest::collection::vec((any::<bool>(), proptest::collection::vec(member(), 0..40)), 0..30)
    ) {
        let mut set = Set::empty();
        let mut again = Set::empty();
        let mut model = BTreeSet::new();
        for (add, words) in steps {
            let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let items = Items::Args(&args);
            let op = if add { Op::Add(items) } else { Op::Remove(items) };
            let done = set.apply(&op);
            let expected = words.iter().filter(|word| match add {
                true => model.insert((*word).clone()),
                false => model.remove(*word),
            }).count();
            prop_assert_eq!((done.outcome, done.changed), (expected, expected > 0));
            let mut bytes = Vec::new();
            Set::write_op(&op, &mut bytes);
            again.apply(&Set::read_op(&bytes).unwrap());
            prop_assert_eq!(set.encoding(), again.encoding());
        }
        prop_assert_eq!(&set, &again);
        prop_assert_eq!(&members(&set), &model);
        prop_assert!(model.iter().all(|word| set.contains(word)));
        let mut scanned = BTreeSet::new();
        let mut cursor = 0;
        loop {
            let mut scratch = Decimal::default();
            cursor = set.scan(cursor, 5, |member| {
                scanned.insert(member.bytes(&mut scratch).to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        prop_assert_eq!(&scanned, &model);
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        let back = Set::decode(&bytes).unwrap();
        prop_assert_eq!(back.encoding(), set.encoding());
        prop_assert_eq!(back, set);
    }

    #[test]
    fn garbage_does_no_harm(bytes: Vec<u8>) {
        if let Some(set) = Set::decode(&bytes) {
            members(&set);
        }
        if let Some(op) = Set::read_op(&bytes) {
            Set::empty().apply(&op);
        }
    }
}
