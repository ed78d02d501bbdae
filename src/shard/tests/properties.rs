//! What holds for whatever is done.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::*;
use super::world::{Op, START, World, bulk_key, op};
use crate::slot;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever is done, the shards hold what a plain map holds, expiry included; counts agree; the
    /// effects rebuild the same state under the same and another number of shards.
    #[test]
    fn a_keyspace_does_what_a_map_does(
        ops in prop::collection::vec(op(), 1..60),
        shards in 1..4usize,
        others in 1..6usize,
    ) {
        let mut world = World::new(shards);
        for op in ops {
            world.carry_out(op);
        }
        world.check();
        world.check_replay(others);
        world.check_counts();
        world.check_emptied();
    }

    /// A key that is there from a scan's first step to its last is returned, whatever happens to
    /// others.
    #[test]
    fn a_scan_returns_every_key_that_stays(
        stay in prop::collection::btree_set((any::<bool>(), 0..20_000u32), 1..3000),
        steps in prop::collection::vec((1..400usize, prop::option::of(op())), 1..40),
        shards in 1..4usize,
    ) {
        let mut world = World::new(shards);
        let stay: BTreeSet<Vec<u8>> =
            stay.into_iter().map(|(tagged, n)| [b"stay:".to_vec(), bulk_key(tagged, n)].concat()).collect();
        for key in &stay {
            world.set(0, key, b"v", Expire::None);
        }
        let (mut cursor, mut seen, mut rounds) = (0, BTreeSet::new(), 0);
        loop {
            let (count, op) = &steps[rounds % steps.len()];
            let now = world.now;
            let slot = scan_slot(cursor).expect("the cursor is the scan's own");
            cursor = world.ks.at(slot).scan(0, cursor, *count, now, |key, kind| {
                assert_eq!(kind, Kind::Str);
                seen.insert(key.to_vec());
            });
            rounds += 1;
            if cursor == 0 {
                break;
            }
            assert!(cursor < 1 << 53);
            match op {
                Some(Op::Flush(_) | Op::Swap(..)) | None => {}
                Some(_) if rounds > 400 => {} // no endless growth under the scan's feet
                Some(op) => world.carry_out(op.clone()),
            }
        }
        assert!(stay.is_subset(&seen), "{} keys were missed", stay.difference(&seen).count());
    }

    /// Garbage in place of effects is an error or other effects; it never panics, and what is read
    /// writes back to the same bytes.
    #[test]
    fn effects_are_read_strictly(buf in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut rest = &buf[..];
        while let Some((effect, len)) = Effect::decode(rest) {
            let mut again = Vec::new();
            effect.encode(&mut again);
            assert_eq!(again, &rest[..len]);
            rest = &rest[len..];
        }
        let _ = split(&buf, &slot::Map::new(3), &mut vec![Effects::default(); 3]);
        let mut world = World::new(1);
        let _ = world.ks.shard(0).apply_all(&buf, START);
        world.contents();
    }
}
