//! Payloads of DUMP without their checksum, which is made right: refused, or a value that is written and read again as
//! the same.

use ferrite_server::rdb::{crc64, dump, undump};
use ferrite_server::shard::{Owned, Value};

/// What DUMP answers for a value.
fn dump_of(value: &Owned) -> Vec<u8> {
    dump(&match value {
        Owned::Str(bytes) => Value::Str(bytes),
        Owned::Int(n) => Value::Int(*n),
        Owned::Object(object) => Value::Object(object),
    })
}

/// One input.
pub fn check(data: &[u8]) {
    assert!(
        undump(data).is_err()
            || crc64(&data[..data.len() - 8]).to_le_bytes() == data[data.len() - 8..]
    );
    let mut payload = data.to_vec();
    payload.extend_from_slice(&crc64(data).to_le_bytes());
    let Ok(value) = undump(&payload) else { return };
    let first = dump_of(&value);
    let again = undump(&first).expect("what was written is read");
    // The order in which a table gives its elements is no part of a value.
    assert_eq!(
        dump_of(&again).len(),
        first.len(),
        "a value that grows on its way"
    );
}
