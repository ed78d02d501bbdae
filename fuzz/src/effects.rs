//! Effects: garbage is refused, what is read is written back the same, and a shard takes or refuses it.
//!
//! The first byte is the number of edits: for 0 the rest is effects. Otherwise that many edits follow, a place (2 bytes)
//! and what its byte is changed by, and then an input of `commands`, whose log is edited.

use ferrite_server::shard::{Effect, Effects, Keyspace, Object, records, split};
use ferrite_server::slot::Map;

/// The longest value a replay may be asked to make here: an offset is a number, and memory is not free.
const LONGEST: u64 = 1 << 20;

/// The bytes an input stands for.
fn bytes_of(input: &[u8]) -> Option<Vec<u8>> {
    let (&edits, rest) = input.split_first()?;
    if edits == 0 {
        return Some(rest.to_vec());
    }
    let (edits, requests) = rest.split_at_checked(3 * usize::from(edits))?;
    let mut log = super::commands::log_of(requests);
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % log.len().max(1);
        if let Some(byte) = log.get_mut(at) {
            *byte ^= edit[2];
        }
    }
    Some(log)
}

/// One input.
pub fn check(data: &[u8]) {
    let Some(data) = bytes_of(data) else { return };
    let mut again = Vec::new();
    for effect in records(&data).map_while(Result::ok) {
        if matches!(effect, Effect::SetRange { offset, .. } if offset > LONGEST) {
            return;
        }
        if let Effect::Restore { object, .. } = effect
            && let Some(object) = Object::decode(object)
        {
            let bytes = object.encode();
            assert!(
                Object::decode(&bytes).is_some(),
                "an object that does not read back"
            );
        }
        effect.encode(&mut again);
    }
    assert!(data.starts_with(&again), "an effect has two written forms");

    let mut parts = vec![Effects::default(); 3];
    let map = Map::new(3);
    if split(&again, &map, &mut parts).is_ok() {
        let keyspace = Keyspace::new(map, 7, 16);
        for (id, part) in parts.iter().enumerate() {
            // Refused or taken: both will do, a panic will not.
            let _ = keyspace.make_shard(id).apply_all(&part.buf, 1);
        }
    }
}
