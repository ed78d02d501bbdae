//! Effects: garbage is refused, what is read is written back the same, and a shard takes or refuses it.
#![no_main]

use ferrite_server::shard::{Effect, Effects, Keyspace, Object, records, split};
use ferrite_server::slot::Map;
use libfuzzer_sys::fuzz_target;

/// The longest value a replay may be asked to make here: an offset is a number, and memory is not free.
const LONGEST: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut again = Vec::new();
    for effect in records(data).map_while(Result::ok) {
        if matches!(effect, Effect::SetRange { offset, .. } if offset > LONGEST) {
            return;
        }
        if let Effect::Restore { object, .. } = effect
            && let Some(object) = Object::decode(object)
        {
            let bytes = object.encode();
            assert!(Object::decode(&bytes).is_some(), "an object that does not read back");
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
});
