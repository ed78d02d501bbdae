//! Files of every kind of item, whole and damaged.

use super::*;
use crate::rdb::tests::{any_value, as_told, seal, show, small, value};
use crate::rdb::{NEWEST, Reader, VALKEY, form, put_string, undump, write_value};
use proptest::prelude::*;

/// The end of a file, whose checksum is left out or right.
fn ended(mut file: Vec<u8>, summed: bool) -> Vec<u8> {
    file.push(opcode::END);
    let sum = if summed { crate::rdb::crc64(&file) } else { 0 };
    file.extend_from_slice(&sum.to_le_bytes());
    file
}

/// A file with every form of value, those of Valkey or all others.
fn every_form(valkey: bool) -> (Vec<u8>, Vec<(Vec<u8>, u16)>) {
    let magic = if valkey { "VALKEY080" } else { "REDIS0012" };
    let mut file = magic.as_bytes().to_vec();
    file.extend_from_slice(&[opcode::AUX, 3, b'a', b'u', b'x', 2, b'i', b's']);
    file.extend_from_slice(&[opcode::LIBRARY, 4]);
    file.extend_from_slice(b"text");
    file.extend_from_slice(&[opcode::DATABASE, 3, opcode::SIZES, 9, 1]);
    let mut bodies = Vec::new();
    for (n, (body, version, _)) in small().into_iter().enumerate() {
        if (version == VALKEY) != valkey {
            continue;
        }
        file.push(body[0]);
        put_string(&mut file, format!("key:{n}").as_bytes());
        file.extend_from_slice(&body[1..]);
        bodies.push((body, if valkey { VALKEY } else { NEWEST }));
    }
    (ended(file, true), bodies)
}

/// Goes through a file; how many values it takes from it, as values or as payloads.
fn through(bytes: &[u8], values: bool) -> Result<usize, FileError> {
    let mut file = FileReader::open(bytes)?;
    let mut count = 0;
    while let Some(item) = file.next()? {
        if !matches!(item, Item::Key(_)) {
            continue;
        }
        let taken = match values {
            true => file.value().map(drop),
            false => file.payload(1 << 20).map(drop),
        };
        match taken {
            Err(FileError {
                why: Why::Module(_),
                ..
            }) => {}
            other => other?,
        }
        count += 1;
    }
    Ok(count)
}

#[test]
fn every_form_comes_out_as_a_payload_and_as_a_value() {
    for valkey in [false, true] {
        let (file, bodies) = every_form(valkey);
        let mut stream = file.clone();
        stream.extend_from_slice(b"what follows");
        let mut reader = FileReader::open(&stream[..]).unwrap();
        let mut again = FileReader::open(&stream[..]).unwrap();
        let mut skipped = FileReader::open(&stream[..]).unwrap();
        let mut left = bodies.iter();
        loop {
            let item = reader.next().unwrap();
            assert_eq!(item, again.next().unwrap());
            assert_eq!(item, skipped.next().unwrap());
            match item {
                None => break,
                Some(Item::Key(key)) => {
                    let (body, version) = left.next().unwrap();
                    assert_eq!((key.db, key.kind), (3, body[0]));
                    let payload = reader.payload(1 << 20).unwrap().unwrap();
                    assert_eq!(payload, seal(body, *version));
                    let known = undump(&payload).unwrap();
                    assert_eq!(show(&again.value().unwrap()), show(&known));
                }
                Some(Item::Aux(name, says)) => {
                    assert_eq!((&name[..], &says[..]), (&b"aux"[..], &b"is"[..]))
                }
                Some(Item::Library(text)) => assert_eq!(text, b"text"),
                Some(Item::Sizes { db, keys, expiring }) => {
                    assert_eq!((db, keys, expiring), (3, 9, 1))
                }
                Some(Item::Module(_)) => panic!("nobody wrote one"),
            }
        }
        assert!(left.next().is_none());
        assert_eq!(reader.next().unwrap(), None);
        for reader in [reader, again, skipped] {
            assert_eq!(reader.consumed(), file.len() as u64);
            assert_eq!(reader.into_inner(), b"what follows");
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let mut out = FileWriter::new(Vec::new(), 12).unwrap();
    out.aux("redis-bits", b"64").unwrap();
    out.library(b"#!lua name=x\n").unwrap();
    let all = small();
    for (n, (body, version, owned)) in all.iter().enumerate() {
        out.database(n as u32, 1, 0).unwrap();
        let (name, expire) = (format!("key {n}"), n.is_multiple_of(2).then_some(1 << 40));
        if *version == VALKEY || body[0] == 22 || body[0] == 23 {
            let payload = seal(body, *version);
            assert!(matches!(super::body(&payload), Err(Fault::Unknown(_))));
            out.value(name.as_bytes(), expire, &value(owned)).unwrap();
        } else {
            let payload = seal(body, *version);
            let (kind, bytes, least) = super::body(&payload).unwrap();
            assert_eq!(
                least,
                match kind {
                    20 => 11,
                    24.. => 12,
                    _ => 10,
                }
            );
            let said = Some(crate::shard::Said::Idle(n as u64));
            out.key(name.as_bytes(), expire, said, (kind, bytes))
                .unwrap();
        }
    }
    let file = out.finish().unwrap();
    let mut reader = FileReader::open(&file[..]).unwrap();
    let mut seen = 0;
    while let Some(item) = reader.next().unwrap() {
        if let Item::Key(key) = item {
            let n = key.db as usize;
            assert_eq!(key.name, format!("key {n}").as_bytes());
            assert_eq!(key.expire, n.is_multiple_of(2).then_some(1 << 40));
            assert_eq!(show(&reader.value().unwrap()).0, show(&all[n].2).0);
            seen += 1;
        }
    }
    assert_eq!(seen, all.len());
}

#[test]
fn what_stands_before_a_key_belongs_to_it() {
    before_a_key(false);
    before_a_key(true);
}

fn before_a_key(valkey: bool) {
    let (magic, version) = if valkey {
        (b"VALKEY080", VALKEY)
    } else {
        (b"REDIS0011", 11)
    };
    let mut file = magic.to_vec();
    file.extend_from_slice(&[opcode::EXPIRE, 2, 0, 0, 0, opcode::FREQUENCY, 7]);
    file.extend_from_slice(b"\x00\x01a\x01b");
    file.extend_from_slice(&[opcode::SLOT_INFO, 1, 2, 3]);
    if valkey {
        file.extend_from_slice(&[opcode::SLOT_IMPORT, 1, b'j', 2, 1, 2, 3, 4]);
    }
    file.extend_from_slice(b"\x00\x01c\x01d");
    let file = ended(file, false);
    let mut reader = FileReader::open(&file[..]).unwrap();
    let Some(Item::Key(a)) = reader.next().unwrap() else {
        panic!("a key")
    };
    assert_eq!(
        (a.expire, a.said),
        (Some(2000), Some(crate::shard::Said::Frequency(7)))
    );
    let Some(Item::Key(c)) = reader.next().unwrap() else {
        panic!("a key")
    };
    assert_eq!((&c.name[..], c.expire, c.said), (&b"c"[..], None, None));
    assert_eq!(
        reader.payload(4).unwrap(),
        Some(seal(b"\x00\x01d", version))
    );
    assert_eq!(reader.next().unwrap(), None);
}

#[test]
fn what_belongs_to_modules_is_named_and_passed_over() {
    let id = b"\x81\x2f\x1a\xda\x31\xa7\x5d\x60\x03"; // "LxratZ11Y", version 3
    let parts =
        b"\x01\x05\x02\x80\xff\xff\xff\xff\x03abcd\x04abcdefgh\x05\xc3\x02\x09\x00x\x05\x02yz\x00";
    let mut file = b"REDIS0012".to_vec();
    file.push(opcode::MODULE);
    file.extend_from_slice(id);
    file.extend_from_slice(&[2, 1]);
    file.extend_from_slice(parts);
    file.extend_from_slice(b"\x07\x01k");
    file.extend_from_slice(id);
    file.extend_from_slice(parts);
    file.extend_from_slice(b"\x00\x01a\x01b");
    let file = ended(file, true);
    let mut reader = FileReader::open(&file[..]).unwrap();
    let Some(Item::Module(name)) = reader.next().unwrap() else {
        panic!("a module")
    };
    assert!(matches!(reader.next(), Ok(Some(Item::Key(_)))));
    match reader.value() {
        Err(FileError {
            why: Why::Module(of_key),
            ..
        }) => assert_eq!(of_key, name),
        other => panic!("{other:?}"),
    }
    assert_eq!(name.len(), 9);
    let Some(Item::Key(key)) = reader.next().unwrap() else {
        panic!("a key")
    };
    assert_eq!(key.name, b"a");
    assert_eq!(through(&file, true).unwrap(), 2);
    assert_eq!(through(&file, false).unwrap(), 2);
}

#[test]
fn a_value_that_is_too_large_is_passed_over() {
    let mut file = b"REDIS0010".to_vec();
    file.extend_from_slice(b"\x00\x01a\x50\x00");
    file.extend_from_slice(&[b'x'; 4096]);
    file.extend_from_slice(b"\x00\x01b\x01c");
    let file = ended(file, true);
    let mut reader = FileReader::open(&file[..]).unwrap();
    reader.next().unwrap();
    assert_eq!(reader.payload(4098).unwrap(), None);
    assert!(matches!(reader.next(), Ok(Some(Item::Key(_)))));
    assert!(reader.payload(100).unwrap().is_some());
    assert_eq!(reader.next().unwrap(), None);
    let mut reader = FileReader::open(&file[..]).unwrap();
    reader.next().unwrap();
    assert!(reader.payload(4099).unwrap().is_some());
}

#[test]
fn what_is_no_file_that_is_read_is_refused() {
    for (bytes, wants) in [
        (&b""[..], "no RDB file"),
        (b"REDIS001", "no RDB file"),
        (b"*3\r\n$3\r\nSET", "no RDB file"),
        (b"REDIS00x0", "no RDB file"),
        (b"REDIS0000", "Redis's RDB version 0 "),
        (b"REDIS0013", "Redis's RDB version 13 "),
        (b"REDIS0080", "Redis's RDB version 80 "),
        (b"VALKEY011", "Valkey's RDB version 11 "),
        (b"REDIS0010\xf6", "release candidates"),
        (b"REDIS0010\xf2", "form 242"),
        (b"REDIS0010\xf3", "form 243"),
        (b"REDIS0010\x1a\x01a", "form 26"),
        (b"REDIS0010\xff\x01\0\0\0\0\0\0\0", "checksum"),
        (b"REDIS0010\xff\x01\0\0\0", "too early"),
        (b"REDIS0010\xfe\x81\0\0\0\x01\0\0\0\0", "contradict"),
        (
            b"REDIS0010\xfc\xff\xff\xff\xff\xff\xff\xff\xff",
            "contradict",
        ),
        (b"REDIS0010\x00\x80\x1f\xff\xff\xff", "too early"),
        (
            b"REDIS0010\x01\x01a\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            "too early",
        ),
    ] {
        for values in [true, false] {
            let told = through(bytes, values).expect_err("refused").to_string();
            assert!(told.contains(wants), "{}: {told}", bytes.escape_ascii());
        }
    }
    // Version 4 had no checksum.
    assert_eq!(through(b"REDIS0004\x00\x01a\x01b\xff", true).unwrap(), 1);
}

/// A byte that is another is noticed by the checksum, if nothing else (but not in the version: old ones had no checksum);
/// and every length of the file but its own is none.
#[test]
fn a_damaged_file_is_refused() {
    for valkey in [false, true] {
        let (file, _) = every_form(valkey);
        for at in 0..file.len() {
            for values in [true, false] {
                assert!(through(&file[..at], values).is_err(), "cut at {at}");
                for bit in (0..8).filter(|_| at >= 9) {
                    let mut other = file.clone();
                    other[at] ^= 1 << bit;
                    assert!(through(&other, values).is_err(), "bit {bit} of byte {at}");
                }
            }
        }
    }
}

/// The same where the checksum does not help.
#[test]
fn damage_without_a_checksum_does_no_harm() {
    let (file, _) = every_form(false);
    let file = ended(file[..file.len() - 9].to_vec(), false);
    let (mut read, mut refused) = (0, 0);
    for at in 9..file.len() - 8 {
        for other in [0, 1, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xfa, 0xff] {
            let mut damaged = file.clone();
            damaged[at] = other;
            for values in [true, false] {
                match through(&damaged, values) {
                    Ok(_) => read += 1,
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(read > 100 && refused > 1000, "{read} {refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_value_is_passed_over_to_its_end(owned in any_value()) {
        let mut bytes = Vec::new();
        write_value(&value(&owned), &mut bytes);
        let mut reader = Reader::new(&bytes[..], NEWEST);
        reader.pass_value(form(&value(&owned)).kind).unwrap();
        prop_assert!(reader.into_source().is_empty());
        let mut file = FileWriter::new(Vec::new(), NEWEST).unwrap();
        file.value(b"key", None, &value(&owned)).unwrap();
        let file = file.finish().unwrap();
        let mut reader = FileReader::open(&file[..]).unwrap();
        reader.next().unwrap();
        prop_assert_eq!(show(&reader.value().unwrap()).0, show(&as_told(&owned)).0);
    }

    #[test]
    fn garbage_does_no_harm(bytes: Vec<u8>, version in 1..13u16) {
        let _ = through(&bytes, true);
        let file = [format!("REDIS{version:04}").as_bytes(), &bytes].concat();
        let _ = (through(&file, true), through(&file, false));
    }
}

/// A source that fails is told as it is.
#[test]
fn what_cannot_be_read_is_told() {
    #[derive(Debug)]
    struct Fails;
    impl io::Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::TimedOut, "too slow"))
        }
    }
    let file = io::Read::chain(&b"REDIS0010\x00\x05ab"[..], Fails);
    let mut reader = FileReader::open(file).unwrap();
    let told = reader.next().unwrap_err().to_string();
    assert_eq!(told, "at byte 11: too slow");
    assert!(
        FileReader::open(Fails)
            .unwrap_err()
            .to_string()
            .contains("too slow")
    );
}
