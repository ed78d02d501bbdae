//! Values in every form there is, and what is left of them when a bit is not as it was.

use super::packed::Packer;
use super::packed::tests::{ziplist, zipmap};
use super::*;
use crate::shard::kinds::Collection;
use crate::shard::kinds::hash::{self, Hash};
use crate::shard::kinds::list::{self, End, List};
use crate::shard::kinds::set::Set;
use crate::shard::kinds::stream::{self, Stream, StreamId};
use crate::shard::kinds::zset::Zset;
use crate::shard::wire::Items;
use crate::shard::{Decimal, Ms, View};
use proptest::prelude::*;

/// A payload around a value's bytes.
pub(super) fn seal(body: &[u8], version: u16) -> Vec<u8> {
    let mut out = body.to_vec();
    out.extend_from_slice(&version.to_le_bytes());
    let sum = crc64(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

pub(super) fn value(owned: &Owned) -> Value<'_> {
    match owned {
        Owned::Str(bytes) => Value::Str(bytes),
        Owned::Int(n) => Value::Int(*n),
        Owned::Object(object) => Value::Object(object),
    }
}

/// What a value holds, elements of sets and hashes in order; and its encoding.
pub(super) fn show(owned: &Owned) -> (Vec<Vec<u8>>, &'static str) {
    let Owned::Object(object) = owned else {
        let mut scratch = Decimal::default();
        let value = value(owned);
        return (vec![value.bytes(&mut scratch).unwrap().to_vec()], "string");
    };
    let mut out: Vec<Vec<u8>> = Vec::new();
    match object.view() {
        View::List(list) => out.extend(list.iter().map(Vec::from)),
        View::Set(set) => {
            let mut scratch = Decimal::default();
            out.extend(set.iter().map(|member| member.bytes(&mut scratch).to_vec()));
            out.sort();
        }
        View::Zset(set) => {
            for (member, score) in set.iter() {
                out.push(member.to_vec());
                out.push(score.to_le_bytes().to_vec());
            }
        }
        View::Hash(hash) => {
            let text = |(name, value, at): (&[u8], &[u8], Option<Ms>)| {
                [name, b"=", value, b"@", format!("{at:?}").as_bytes()].concat()
            };
            out.extend(hash.fields().map(text));
            out.sort();
        }
        View::Stream(stream) => {
            // Which entries are neighbours in memory is nobody's business.
            for entry in stream.range(StreamId::MIN, StreamId::MAX) {
                out.push(format!("{:?}", entry.id).into_bytes());
                for (name, value) in entry.fields() {
                    out.extend([name.to_vec(), value.to_vec()]);
                }
            }
            let past = (stream.last(), stream.max_deleted(), stream.added());
            out.push(format!("{past:?}").into_bytes());
            for (name, group) in stream.groups() {
                out.push(name.to_vec());
                out.push(format!("{:?} {:?}", group.last, group.read).into_bytes());
                for consumer in group.consumers() {
                    out.push(format!("{consumer:?}").into_bytes());
                }
                for (id, pending) in group.range(StreamId::MIN, StreamId::MAX) {
                    let owner = group.owner(&pending).escape_ascii();
                    let (at, count) = (pending.at, pending.count);
                    out.push(format!("{id:?} {owner} {at} {count}").into_bytes());
                }
            }
        }
    }
    (out, object.encoding())
}

fn object<T: Collection>(collection: T) -> Owned {
    Owned::Object(Box::new(collection.into_object()))
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..24),
        3 => any::<i64>().prop_flat_map(|n| (0..63u32).prop_map(move |s| (n >> s).to_string().into_bytes())),
        1 => (20..300usize, any::<u8>()).prop_map(|(n, byte)| vec![byte; n]),
        1 => (8_000..9_000usize, any::<u8>()).prop_map(|(n, byte)| (0..n).map(|i| (i * i) as u8 ^ byte).collect()),
    ]
}

fn some_text(most: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![
        proptest::collection::vec(text(), 1..8),
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 1..most),
    ]
}

fn id() -> impl Strategy<Value = StreamId> {
    (0..50u64, 0..4u64).prop_map(|(ms, seq)| StreamId { ms: ms << 30, seq })
}

/// A change of a stream, anything that commands could make of it.
fn change(stream: &mut Stream, (what, id, who, at): (u8, StreamId, u8, Ms), fields: &[Vec<u8>]) {
    let who = [b'a' + who % 3];
    let (group, consumer) = ([b'g' + who[0] % 2], &who[..]);
    let (group, ids) = (&group[..], stream::Ids::Slice(&[id]));
    let args: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    let fields = Items::Args(&args[..args.len() / 2 * 2]);
    let read = (at % 3 > 0).then_some(at % 1000);
    let op = match what {
        0 => stream::Op::Delete { ids },
        1 => stream::Op::CreateGroup {
            group,
            last: id,
            read,
        },
        2 => stream::Op::Deliver {
            group,
            consumer,
            at,
            ids,
            last: id,
            read,
        },
        3 => stream::Op::Ack { group, ids },
        4 => stream::Op::Visit {
            group,
            consumer,
            at,
        },
        5 => stream::Op::SetId {
            last: id,
            added: read,
            max_deleted: Some(id),
        },
        _ => stream::Op::Add { id, fields },
    };
    stream.apply(&op);
}

pub(super) fn any_value() -> impl Strategy<Value = Owned> {
    let score = prop_oneof![any::<f64>(), any::<i32>().prop_map(f64::from), Just(-0.0)]
        .prop_filter("a number", |score| !score.is_nan());
    let expiry = prop_oneof![2 => Just(None), 1 => (1..1u64 << 48).prop_map(Some)];
    let steps = (0..14u8, id(), any::<u8>(), 0..1u64 << 50);
    prop_oneof![
        text().prop_map(Owned::Str),
        any::<i64>().prop_map(Owned::Int),
        some_text(1500).prop_map(|items| {
            let args: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
            let mut list = List::empty();
            list.apply(&list::Op::Push {
                end: End::Back,
                items: Items::Args(&args),
            });
            object(list)
        }),
        some_text(300).prop_map(|items| {
            let mut set = Set::empty();
            items.iter().for_each(|item| {
                set.add(item);
            });
            object(set)
        }),
        proptest::collection::vec(any::<i64>(), 1..600).prop_map(|ints| {
            let mut set = Set::empty();
            ints.iter().for_each(|n| {
                set.add(n.to_string().as_bytes());
            });
            object(set)
        }),
        proptest::collection::vec((score, text()), 1..300).prop_map(|entries| {
            let all = entries
                .iter()
                .map(|(score, member)| (*score, member.as_slice()));
            object(Zset::of_entries(all))
        }),
        proptest::collection::vec((text(), text(), expiry, any::<bool>()), 1..40).prop_map(
            |fields| {
                let times = fields[0].3;
                let mut hash = Hash::empty();
                for (name, value, at, _) in &fields {
                    let args: [&[u8]; 2] = [name, value];
                    hash.apply(&hash::Op::Put(at.filter(|_| times), Items::Args(&args)));
                }
                object(hash)
            }
        ),
        proptest::collection::vec((steps, proptest::collection::vec(text(), 0..5)), 1..80)
            .prop_map(|steps| {
                let mut stream = Stream::empty();
                for (step, fields) in &steps {
                    change(&mut stream, *step, fields);
                }
                object(stream)
            }),
    ]
}

/// A stream without what version 10 has no place for: when consumers last got something.
pub(super) fn as_told(owned: &Owned) -> Owned {
    if let Owned::Object(inner) = owned
        && let View::Stream(stream) = inner.view()
    {
        let mut stream = stream.clone();
        let mut seen = Vec::new();
        for (group, of) in stream.groups() {
            for consumer in of.consumers() {
                let (group, name) = (group.to_vec(), consumer.name.to_vec());
                seen.push((group, name, consumer.seen, of.last, of.read));
            }
        }
        for (group, consumer, at, last, read) in seen {
            let ids = stream::Ids::Slice(&[]);
            let (group, consumer) = (&group, &consumer);
            stream.apply(&stream::Op::Deliver {
                group,
                consumer,
                at,
                ids,
                last,
                read,
            });
        }
        return object(stream);
    }
    owned.clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn values_come_back(owned in any_value()) {
        let payload = dump(&value(&owned));
        let back = undump(&payload).unwrap();
        let (known, read) = (show(&as_told(&owned)), show(&back));
        prop_assert_eq!(&known.0, &read.0);
        // A value that was made bit by bit may have moved on to a larger form; as it is read it fits.
        let again = undump(&dump(&value(&back))).unwrap();
        prop_assert_eq!(show(&again), read);
    }

    #[test]
    fn garbage_does_no_harm(kind in 0..30u8, bytes: Vec<u8>, version in 0..13u16, valkey: bool) {
        let version = if valkey { VALKEY } else { version };
        let _ = undump(&seal(&[&[kind], &bytes[..]].concat(), version));
        let _ = undump(&bytes);
    }
}

/// A few small values, in the forms that are written and in all others.
pub(super) fn small() -> Vec<(Vec<u8>, u16, Owned)> {
    let strings =
        |items: &[&str]| -> Vec<Vec<u8>> { items.iter().map(|s| s.as_bytes().to_vec()).collect() };
    let blob = |kind: u8, blob: Vec<u8>| {
        let mut out = vec![kind];
        put_length(&mut out, blob.len() as u64);
        out.extend_from_slice(&blob);
        out
    };
    let pack = |items: &[Vec<u8>]| {
        let mut pack = Packer::default();
        items.iter().for_each(|item| pack.push(item));
        pack.finish()
    };
    let plain = |kind: u8, n: u64, rest: &[u8]| {
        let mut out = vec![kind];
        put_length(&mut out, n);
        out.extend_from_slice(rest);
        out
    };
    let fields = strings(&["a", "1", "bc", "text"]);
    let mut hash = Hash::empty();
    hash.apply(&hash::Op::Set(Items::Args(&[b"a", b"1", b"bc", b"text"])));
    let mut timed = hash.clone();
    timed.apply(&hash::Op::Expire(Some(1000), Items::Args(&[b"a"])));
    let items = strings(&["x", "-5", "100000"]);
    let mut list = List::empty();
    list.apply(&list::Op::Push {
        end: End::Back,
        items: Items::Args(&[b"x", b"-5", b"100000"]),
    });
    let mut set = Set::empty();
    items.iter().for_each(|item| {
        set.add(item);
    });
    let mut ints = Set::empty();
    ["-5", "7", "100000"].iter().for_each(|item| {
        ints.add(item.as_bytes());
    });
    let scored = strings(&["b", "-1.5", "a", "2", "c", "inf"]);
    let zset =
        Zset::of_entries([(-1.5, &b"b"[..]), (2.0, b"a"), (f64::INFINITY, b"c")].into_iter());
    let mut stream = Stream::empty();
    let at = |ms, seq| StreamId { ms, seq };
    for n in 1..4u64 {
        change(&mut stream, (9, at(n, n), 0, 0), &fields[..2]);
    }
    change(&mut stream, (0, at(2, 2), 0, 0), &[]);
    change(&mut stream, (1, at(3, 3), 0, 1), &[]);
    change(&mut stream, (2, at(3, 3), 0, 5), &[]);
    let dumped = |owned: &Owned| {
        let payload = dump(&value(owned));
        payload[..payload.len() - FOOTER].to_vec()
    };
    let long = Owned::Str(b"compress me, compress me, compress me".to_vec());
    let mut all = vec![
        (dumped(&long), 10, long),
        (plain(0, 3, b"abc"), 10, Owned::Str(b"abc".to_vec())),
        (vec![0, 0xc1, 0x18, 0xfc], 10, Owned::Str(b"-1000".to_vec())),
        (
            plain(1, 3, b"\x01x\xc0\xfb\x06100000"),
            10,
            object(list.clone()),
        ),
        (
            plain(2, 3, b"\x01x\xc0\xfb\x06100000"),
            10,
            object(set.clone()),
        ),
        (
            plain(3, 3, b"\x01a\x012\x01b\x04-1.5\x01c\xfe"),
            10,
            object(zset.clone()),
        ),
        (
            plain(4, 2, b"\x01a\x011\x02bc\x04text"),
            10,
            object(hash.clone()),
        ),
        (blob(9, zipmap(&fields, 2)), 2, object(hash.clone())),
        (blob(10, ziplist(&items, false)), 9, object(list.clone())),
        (blob(12, ziplist(&scored, true)), 9, object(zset.clone())),
        (blob(13, ziplist(&fields, false)), 9, object(hash.clone())),
        (
            [&[14, 1][..], &blob(0, ziplist(&items, false))[1..]].concat(),
            9,
            object(list.clone()),
        ),
        (blob(16, pack(&fields)), 10, object(hash.clone())),
        (blob(17, pack(&scored)), 10, object(zset.clone())),
        (
            [
                &[18, 2, 1, 1, b'x', 2][..],
                &blob(0, pack(&items[1..]))[1..],
            ]
            .concat(),
            10,
            object(list),
        ),
        (blob(20, pack(&items)), 11, object(set)),
        (
            plain(22, 2, b"\x43\xe8\x01a\x011\x00\x02bc\x04text"),
            12,
            object(timed.clone()),
        ),
        (
            blob(23, pack(&strings(&["a", "1", "1000", "bc", "text", "0"]))),
            12,
            object(timed.clone()),
        ),
        (
            [
                &[25][..],
                &1000u64.to_le_bytes(),
                &blob(0, pack(&strings(&["a", "1", "1000", "bc", "text", "0"])))[1..],
            ]
            .concat(),
            12,
            object(timed.clone()),
        ),
        (
            [
                &[22, 2][..],
                b"\x01a\x011",
                &1000u64.to_le_bytes(),
                b"\x02bc\x04text",
                &[0xff; 8],
            ]
            .concat(),
            VALKEY,
            object(timed.clone()),
        ),
    ];
    for owned in [
        object(ints),
        object(zset),
        object(timed),
        object(hash),
        as_told(&object(stream)),
    ] {
        all.push((dumped(&owned), 12, owned));
    }
    all
}

#[test]
fn every_form_is_read() {
    let mut kinds = std::collections::BTreeSet::new();
    for (body, version, owned) in small() {
        let read = undump(&seal(&body, version));
        let read = read.unwrap_or_else(|e| panic!("form {}: {e}", body[0]));
        assert_eq!(show(&read), show(&owned), "form {}", body[0]);
        kinds.insert(body[0]);
    }
    let known: Vec<u8> = (0..=5)
        .chain(9..=14)
        .chain(16..=20)
        .chain(22..=25)
        .collect();
    assert!(
        known.iter().all(|kind| kinds.contains(kind) || *kind == 5),
        "{kinds:?}"
    );
}

/// Each bit of it another, with a checksum that fits: an error, or a value that can be written and read again.
#[test]
fn a_bit_that_is_another_does_no_harm() {
    let (mut refused, mut read) = (0, 0);
    for (body, version, _) in small() {
        for at in 0..body.len() * 8 {
            let mut other = body.clone();
            other[at / 8] ^= 1 << (at % 8);
            match undump(&seal(&other, version)) {
                Err(_) => refused += 1,
                Ok(owned) => {
                    let again = undump(&dump(&value(&owned))).unwrap();
                    assert_eq!(show(&again).0, show(&as_told(&owned)).0);
                    read += 1;
                }
            }
        }
        for at in 0..body.len() {
            assert!(
                undump(&seal(&body[..at], version)).is_err(),
                "form {}",
                body[0]
            );
        }
        let longer = seal(&[&body[..], b"x"].concat(), version);
        assert_eq!(undump(&longer), Err(Fault::Damaged));
    }
    assert!(refused > 1000 && read > 100, "{refused} {read}");
}

/// Without a checksum that fits nothing is looked at.
#[test]
fn a_payload_that_was_changed_is_refused() {
    let payload = dump(&Value::Str(b"value"));
    assert_eq!(undump(&payload), Ok(Owned::Str(b"value".to_vec())));
    for at in 0..payload.len() * 8 {
        let mut other = payload.clone();
        other[at / 8] ^= 1 << (at % 8);
        assert_eq!(undump(&other), Err(Fault::Payload));
    }
    for at in 0..payload.len() {
        assert_eq!(undump(&payload[..at]), Err(Fault::Payload));
    }
    for (version, known) in [
        (0, true),
        (12, true),
        (13, false),
        (79, false),
        (80, true),
        (81, false),
    ] {
        assert_eq!(
            undump(&seal(b"\0\x01x", version)).is_ok(),
            known,
            "{version}"
        );
    }
}

#[test]
fn what_is_no_collection_is_refused() {
    for (body, fault) in [
        (&b"\x01\x00"[..], Fault::Damaged),                // an empty list
        (b"\x04\x00", Fault::Damaged),                     // an empty hash
        (b"\x02\x02\x01a\x01a", Fault::Damaged),           // a member twice
        (b"\x04\x02\x01a\x01b\x01a\x01c", Fault::Damaged), // a field twice
        (b"\x03\x01\x01a\xfd", Fault::Damaged),            // a score that is no number
        (b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f", Fault::Damaged), // another
        (b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff", Fault::Short),
        (b"\0\x80\x1f\xff\xff\xff", Fault::Short), // a length alone takes no memory
        (b"\0\x81\0\0\0\0\x20\0\0\x01", Fault::TooLarge),
        (
            b"\0\xc3\x05\x80\x1f\xff\xff\xff\0x\xe0\xff\0",
            Fault::Damaged,
        ),
        (b"\x06\x00", Fault::Module),
        (b"\x07\x00", Fault::Module),
        (b"\x08\x00", Fault::Unknown(8)),
        (b"\x1a\x00", Fault::Unknown(26)),
        (b"\xff", Fault::Unknown(255)),
    ] {
        assert_eq!(
            undump(&seal(body, 10)).err(),
            Some(fault),
            "{}",
            body.escape_ascii()
        );
    }
}

/// A few kilobytes that would be a gibibyte.
#[test]
fn a_value_takes_no_more_than_it_may() {
    let element = b"\xc3\x05\x40\xff\x00x\xe0\xf5\x00"; // 255 times x
    let mut body = vec![1];
    put_length(&mut body, 1000);
    body.extend(element.repeat(1000));
    let mut reader = Reader::new(&body[1..], 10).limit(255_000 + 16_000);
    assert!(reader.value(1).is_ok());
    let mut reader = Reader::new(&body[1..], 10).limit(255_000);
    assert_eq!(reader.value(1), Err(Fault::TooLarge));
}

/// Keys of a file one after the other, from a source that has a few bytes at a time.
#[test]
fn values_stream_through() {
    struct Drops<'a>(&'a [u8], usize);
    impl Source for Drops<'_> {
        fn fill(&mut self, into: &mut [u8]) -> Result<(), Fault> {
            for part in into.chunks_mut(7) {
                self.1 += 1;
                self.0.fill(part)?;
            }
            Ok(())
        }
    }
    let values: Vec<Owned> = small().into_iter().map(|(_, _, owned)| owned).collect();
    let mut file = Vec::new();
    for (n, owned) in values.iter().enumerate() {
        file.put(&[form(&value(owned)).kind]);
        put_string(&mut file, format!("key:{n}").as_bytes());
        write_value(&value(owned), &mut file);
    }
    let mut reader = Reader::new(Drops(&file, 0), NEWEST);
    for (n, owned) in values.iter().enumerate() {
        let kind = reader.byte().unwrap();
        assert_eq!(reader.string().unwrap(), format!("key:{n}").as_bytes());
        assert_eq!(show(&reader.value(kind).unwrap()).0, show(owned).0);
    }
    assert_eq!(reader.byte(), Err(Fault::Short));
}
