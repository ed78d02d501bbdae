use super::*;
use proptest::prelude::*;

fn item() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        3 => (any::<i64>(), 0..63u32).prop_map(|(n, shift)| (n >> shift).to_string().into_bytes()),
        3 => proptest::collection::vec(any::<u8>(), 0..70),
        1 => prop_oneof![Just(4095usize), Just(4096), Just(16_380), Just(16_383), Just(300)]
            .prop_flat_map(|n| (n - 6..n + 6).prop_map(|n| vec![b'x'; n])),
    ]
}

fn all<'a>(mut from: impl Elements<'a>) -> Result<Vec<Vec<u8>>, Fault> {
    let (mut out, mut scratch) = (Vec::new(), Decimal::default());
    while let Some(element) = from.next()? {
        out.push(element.bytes(&mut scratch).to_vec());
    }
    // Whoever asks again is told the same.
    assert_eq!(from.next(), Ok(None));
    Ok(out)
}

fn listpack(items: &[Vec<u8>]) -> Vec<u8> {
    let mut pack = Packer::default();
    items.iter().for_each(|item| pack.push(item));
    pack.finish()
}

/// A ziplist as Redis 6 wrote them; `wide` writes every length before an element in its long form.
pub(in crate::rdb) fn ziplist(items: &[Vec<u8>], wide: bool) -> Vec<u8> {
    let mut out = vec![0; 10];
    let (mut tail, mut before) = (10, 0);
    for item in items {
        tail = out.len();
        if before < 254 && !wide {
            out.push(before as u8);
        } else {
            out.push(0xfe);
            out.extend_from_slice(&(before as u32).to_le_bytes());
        }
        match parse_int(item) {
            Some(n @ 0..=12) => out.push(0xf1 + n as u8),
            Some(n) if i8::try_from(n).is_ok() => out.extend_from_slice(&[0xfe, n as u8]),
            Some(n) if i16::try_from(n).is_ok() => {
                out.push(0xc0);
                out.extend_from_slice(&n.to_le_bytes()[..2]);
            }
            Some(n) if n << 40 >> 40 == n => {
                out.push(0xf0);
                out.extend_from_slice(&n.to_le_bytes()[..3]);
            }
            Some(n) if i32::try_from(n).is_ok() => {
                out.push(0xd0);
                out.extend_from_slice(&n.to_le_bytes()[..4]);
            }
            Some(n) => {
                out.push(0xe0);
                out.extend_from_slice(&n.to_le_bytes());
            }
            None => {
                match item.len() {
                    len @ 0..64 => out.push(len as u8),
                    len @ 64..16_384 => {
                        out.extend_from_slice(&[0x40 | (len >> 8) as u8, len as u8])
                    }
                    len => {
                        out.push(0x80);
                        out.extend_from_slice(&(len as u32).to_be_bytes());
                    }
                }
                out.extend_from_slice(item);
            }
        }
        before = out.len() - tail;
    }
    out.push(END);
    let total = out.len() as u32;
    out[..4].copy_from_slice(&total.to_le_bytes());
    out[4..8].copy_from_slice(&(tail as u32).to_le_bytes());
    out[8..10].copy_from_slice(&(items.len() as u16).to_le_bytes());
    out
}

/// A zipmap as Redis 2.4 wrote them, with `free` bytes behind each value.
pub(in crate::rdb) fn zipmap(items: &[Vec<u8>], free: u8) -> Vec<u8> {
    let mut out = vec![(items.len() / 2).min(254) as u8];
    for (at, item) in items.iter().enumerate() {
        if item.len() < 254 {
            out.push(item.len() as u8);
        } else {
            out.push(0xfe);
            out.extend_from_slice(&(item.len() as u32).to_le_bytes());
        }
        if at % 2 == 1 {
            out.push(free);
        }
        out.extend_from_slice(item);
        if at % 2 == 1 {
            out.extend(std::iter::repeat_n(b'?', free.into()));
        }
    }
    out.push(END);
    out
}

/// The example in the comments of Redis's ziplist: 2 and 5.
#[test]
fn a_ziplist_of_old_is_read() {
    let bytes = [15, 0, 0, 0, 12, 0, 0, 0, 2, 0, 0, 0xf3, 2, 0xf6, 0xff];
    assert_eq!(
        all(Ziplist::new(&bytes).unwrap()),
        Ok(vec![b"2".to_vec(), b"5".to_vec()])
    );
    assert_eq!(ziplist(&[b"2".to_vec(), b"5".to_vec()], false), bytes);
}

#[test]
fn a_listpack_has_the_known_bytes() {
    // As DUMP of Redis 7.0 gives them within a list.
    let items = [&b"1"[..], b"-1", b"abc", b"100000"].map(<[u8]>::to_vec);
    let bytes = b"\x18\0\0\0\x04\0\x01\x01\xdf\xff\x02\x83abc\x04\xf2\xa0\x86\x01\x04\xff";
    let total = bytes.len() as u8;
    let mut bytes = bytes.to_vec();
    bytes[0] = total;
    assert_eq!(listpack(&items), bytes);
}

fn intact(bytes: &[u8], read: impl Fn(&[u8]) -> Result<Vec<Vec<u8>>, Fault>, known: &[Vec<u8>]) {
    assert_eq!(read(bytes).as_deref(), Ok(known));
    for at in 0..bytes.len() {
        assert!(read(&bytes[..at]).is_err());
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(read(&longer).is_err());
    for at in 0..bytes.len() * 8 {
        let mut other = bytes.to_vec();
        other[at / 8] ^= 1 << (at % 8);
        let _ = read(&other); // whatever comes of it, it comes without harm
    }
}

fn read_listpack(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    all(Listpack::new(bytes)?)
}

fn read_ziplist(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    all(Ziplist::new(bytes)?)
}

fn read_zipmap(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    all(Zipmap::new(bytes)?)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn elements_come_back(items in proptest::collection::vec(item(), 0..20), wide: bool) {
        prop_assert_eq!(read_listpack(&listpack(&items)), Ok(items.clone()));
        prop_assert_eq!(read_ziplist(&ziplist(&items, wide)), Ok(items.clone()));
        let even = &items[..items.len() / 2 * 2];
        prop_assert_eq!(read_zipmap(&zipmap(even, u8::from(wide) * 3)), Ok(even.to_vec()));
    }

    #[test]
    fn damage_does_no_harm(items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..5), wide: bool) {
        intact(&listpack(&items), read_listpack, &items);
        intact(&ziplist(&items, wide), read_ziplist, &items);
        let even = &items[..items.len() / 2 * 2];
        intact(&zipmap(even, u8::from(wide)), read_zipmap, even);
    }

    #[test]
    fn garbage_does_no_harm(bytes: Vec<u8>) {
        let _ = (read_listpack(&bytes), read_ziplist(&bytes), read_zipmap(&bytes));
        let _ = intset(&bytes).map(Iterator::count);
    }

    #[test]
    fn integers_come_back(ints: std::collections::BTreeSet<i64>, shift in 0..63u32) {
        let ints: std::collections::BTreeSet<i64> = ints.iter().map(|n| n >> shift).collect();
        let bytes = make_intset(ints.iter().copied());
        prop_assert!(intset(&bytes).unwrap().eq(ints.iter().copied()));
        prop_assert!(intset(&bytes[..bytes.len() - 1]).is_err());
    }
}

#[test]
fn integers_out_of_order_are_damage() {
    for ints in [&[2i64, 1][..], &[1, 1]] {
        assert_eq!(
            intset(&make_intset(ints.iter().copied())).err(),
            Some(Fault::Damaged)
        );
    }
}
