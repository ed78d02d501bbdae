//! What a transaction across shards logs stands on its own.

use crate::shard::{Effect, Expire, Keyspace, records};
use crate::slot;

#[test]
fn while_whole_every_change_is_logged_as_what_the_key_holds_now() {
    let mut ks = Keyspace::new(slot::Map::new(1), 7, 1);
    let mut shard = ks.make_shard(0);
    let key = |bytes| shard.key(0, bytes);
    let (a, b) = (key(b"a"), key(b"b"));
    shard.set(&a, b"12", Expire::None, 1);
    shard.set(&b, b"hello", Expire::At(5000), 1);
    shard.effects.clear();
    shard.whole = true;
    shard.append(&a, b"3x", 1);
    shard.set_range(&b, 1, b"EY", 1);
    shard.expire_at(&a, Some(9000), 1);
    let logged: Vec<_> = records(&shard.effects.buf).map(|e| e.unwrap()).collect();
    let set = |key, value, expire| Effect::Set {
        db: 0,
        key,
        value,
        expire,
    };
    assert_eq!(
        logged,
        [
            set(b"a", b"123x", None),
            set(b"b", b"hEYlo", Some(5000)),
            set(b"a", b"123x", Some(9000)),
        ]
    );
    ks.put(shard);
}
