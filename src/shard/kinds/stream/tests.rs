//! A stream beside a list of entries and maps for its groups, which know what should be in it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::shard::wire::Items;

type Fields = Vec<Vec<u8>>;

#[derive(Clone, Debug, Default)]
struct Model {
    entries: BTreeMap<StreamId, Fields>,
    last: StreamId,
    added: u64,
    max_deleted: StreamId,
    /// By group and id: who has it, since when, delivered how often.
    groups: BTreeMap<u8, BTreeMap<StreamId, (u8, Ms, u64)>>,
}

use crate::shard::Ms;

#[derive(Clone, Debug)]
enum Step {
    Add(u64, Fields),
    Many(usize),
    Delete(Vec<usize>),
    Newest(u64),
    From(usize),
    Create(u8),
    Destroy(u8),
    Deliver(u8, u8, Vec<usize>),
    Claim(u8, u8, Vec<(usize, u64)>, Vec<usize>),
    Ack(u8, Vec<usize>),
    Dismiss(u8, u8),
    Crumble,
}

fn fields() -> impl Strategy<Value = Fields> {
    let name = prop_oneof![4 => Just(b"f".to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..5)];
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (100..6000usize).prop_map(|len| vec![b'v'; len]),
    ];
    prop::collection::vec((name, value), 1..3)
        .prop_map(|pairs| pairs.into_iter().flat_map(|(n, v)| [n, v]).collect())
}

fn step() -> impl Strategy<Value = Step> {
    let places = || prop::collection::vec(0..400usize, 0..5);
    let (group, who) = (|| 0..3u8, || 0..3u8);
    prop_oneof![
        10 => (0..3u64, fields()).prop_map(|(later, f)| Step::Add(later, f)),
        2 => (1..150usize).prop_map(Step::Many),
        4 => places().prop_map(Step::Delete),
        2 => (0..300u64).prop_map(Step::Newest),
        1 => (0..400usize).prop_map(Step::From),
        3 => group().prop_map(Step::Create),
        1 => group().prop_map(Step::Destroy),
        6 => (group(), who(), places()).prop_map(|(g, c, p)| Step::Deliver(g, c, p)),
        4 => (group(), who(), prop::collection::vec((0..400usize, 0..9u64), 0..5), places())
            .prop_map(|(g, c, p, d)| Step::Claim(g, c, p, d)),
        4 => (group(), places()).prop_map(|(g, p)| Step::Ack(g, p)),
        1 => (group(), who()).prop_map(|(g, c)| Step::Dismiss(g, c)),
        1 => Just(Step::Crumble),
    ]
}

/// A stream, its model, and a second stream that hears only of what is logged.
struct World {
    stream: Stream,
    model: Model,
    replica: Stream,
    now: Ms,
}

impl World {
    fn apply(&mut self, op: &Op<'_>) -> u64 {
        let mut bytes = Vec::new();
        Stream::write_op(op, &mut bytes);
        let applied = self.stream.apply(op);
        let read = Stream::read_op(&bytes).expect("what is written can be read");
        let mut again = Vec::new();
        Stream::write_op(&read, &mut again);
        assert_eq!(bytes, again);
        for len in 0..bytes.len() {
            assert!(Stream::read_op(&bytes[..len]).is_none());
        }
        if applied.changed {
            assert_eq!(self.replica.apply(&read), applied);
        }
        applied.outcome
    }

    /// The ids at these places among all held, and one that is not there.
    fn ids(&self, places: &[usize]) -> Vec<StreamId> {
        let held: Vec<StreamId> = self.model.entries.keys().copied().collect();
        places
            .iter()
            .map(|&place| {
                held.get(place).copied().unwrap_or(StreamId {
                    ms: 0,
                    seq: place as u64,
                })
            })
            .collect()
    }

    fn add(&mut self, later: u64, fields: &Fields) {
        let last = self.model.last;
        let id = match later {
            0 => last.next().unwrap(),
            later => StreamId {
                ms: last.ms + later,
                seq: later,
            },
        };
        let args: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        assert_eq!(
            self.apply(&Op::Add {
                id,
                fields: Items::Args(&args)
            }),
            1
        );
        assert_eq!(
            self.apply(&Op::Add {
                id,
                fields: Items::Args(&args)
            }),
            0
        );
        self.model.entries.insert(id, fields.clone());
        (self.model.last, self.model.added) = (id, self.model.added + 1);
    }

    fn step(&mut self, step: &Step) {
        self.now += 7;
        let at = self.now;
        match step {
            Step::Add(later, fields) => self.add(*later, fields),
            Step::Many(n) => (0..*n).for_each(|_| self.add(1, &vec![b"f".to_vec(), b"v".to_vec()])),
            Step::Delete(places) => {
                let ids = self.ids(places);
                let mut count = 0;
                for id in &ids {
                    if self.model.entries.remove(id).is_some() {
                        count += 1;
                        self.model.max_deleted = self.model.max_deleted.max(*id);
                    }
                }
                assert_eq!(
                    self.apply(&Op::Delete {
                        ids: Ids::Slice(&ids)
                    }),
                    count
                );
            }
            Step::Newest(most) => {
                let rough = self.stream.trim(Keep::Newest(*most), true, 0);
                let exact = self.stream.trim(Keep::Newest(*most), false, 0);
                assert!(rough <= exact);
                if let Some(through) = exact {
                    let count = self.apply(&Op::Trim { through });
                    assert_eq!(count, self.model.entries.len() as u64 - most);
                    self.model.entries.retain(|id, _| *id > through);
                    assert_eq!(self.model.entries.len() as u64, *most);
                } else {
                    assert!(self.model.entries.len() as u64 <= *most);
                }
            }
            Step::From(place) => {
                let min = self.ids(&[*place])[0];
                if let Some(through) = self.stream.trim(Keep::From(min), false, 0) {
                    assert!(self.apply(&Op::Trim { through }) > 0);
                    self.model.entries.retain(|id, _| *id > through);
                }
                assert!(self.model.entries.keys().all(|id| *id >= min));
            }
            Step::Create(name) => {
                let op = Op::CreateGroup {
                    group: &[*name],
                    last: StreamId::MIN,
                    read: None,
                };
                let made = self.apply(&op) == 1;
                assert_eq!(made, !self.model.groups.contains_key(name));
                self.model.groups.entry(*name).or_default();
            }
            Step::Destroy(name) => {
                let gone = self.apply(&Op::DestroyGroup { group: &[*name] });
                assert_eq!(gone == 1, self.model.groups.remove(name).is_some());
            }
            Step::Deliver(name, who, places) => {
                let ids = self.ids(places);
                self.apply(&Op::Deliver {
                    group: &[*name],
                    consumer: &[*who],
                    at,
                    ids: Ids::Slice(&ids),
                    last: self.model.last,
                    read: Some(3),
                });
                if let Some(pending) = self.model.groups.get_mut(name) {
                    pending.extend(ids.iter().map(|id| (*id, (*who, at, 1))));
                }
            }
            Step::Claim(name, who, claims, dropped) => {
                let places: Vec<usize> = claims.iter().map(|claim| claim.0).collect();
                let ids = self.ids(&places);
                let claims: Vec<Claim> = ids
                    .iter()
                    .zip(claims)
                    .map(|(&id, &(_, count))| Claim {
                        id,
                        at: at - 3,
                        count,
                    })
                    .collect();
                let dropped = self.ids(dropped);
                self.apply(&Op::Claim {
                    group: &[*name],
                    consumer: &[*who],
                    at,
                    claims: Claims::Slice(&claims),
                    dropped: Ids::Slice(&dropped),
                    last: None,
                });
                if let Some(pending) = self.model.groups.get_mut(name) {
                    pending.extend(claims.iter().map(|c| (c.id, (*who, c.at, c.count))));
                    pending.retain(|id, _| !dropped.contains(id));
                }
            }
            Step::Ack(name, places) => {
                let ids = self.ids(places);
                let count = self.apply(&Op::Ack {
                    group: &[*name],
                    ids: Ids::Slice(&ids),
                });
                let pending = self.model.groups.get_mut(name);
                let known = pending.map_or(0, |pending| {
                    ids.iter().filter(|id| pending.remove(id).is_some()).count()
                });
                assert_eq!(count, known as u64);
            }
            Step::Dismiss(name, who) => {
                let op = Op::DeleteConsumer {
                    group: &[*name],
                    consumer: &[*who],
                };
                let count = self.apply(&op);
                let pending = self.model.groups.get_mut(name);
                let before = pending.as_ref().map_or(0, |pending| pending.len());
                let after = pending.map_or(0, |pending| {
                    pending.retain(|_, (owner, ..)| owner != who);
                    pending.len()
                });
                assert_eq!(count as usize, before - after);
            }
            Step::Crumble => {
                let mut doomed = self.stream.clone();
                let mut rounds = 0;
                while doomed.crumble(50) {
                    rounds += 1;
                    assert!(rounds < 10_000);
                }
            }
        }
    }

    fn check(&self) {
        let (stream, model) = (&self.stream, &self.model);
        stream.0.entries.verify();
        let all = |entry: Entry<'_>| {
            let fields: Fields = entry
                .fields()
                .flat_map(|(name, value)| [name.to_vec(), value.to_vec()])
                .collect();
            assert_eq!(fields.len(), 2 * entry.pairs);
            (entry.id, fields)
        };
        let held: Vec<_> = stream
            .range(StreamId::MIN, StreamId::MAX)
            .map(all)
            .collect();
        assert!(held.iter().map(|(id, f)| (id, f)).eq(&model.entries));
        let mut back: Vec<_> = stream
            .backwards(StreamId::MIN, StreamId::MAX)
            .map(all)
            .collect();
        back.reverse();
        assert!(back == held);
        assert_eq!(stream.len(), held.len());
        assert_eq!(stream.first_entry(), held.first().map(|e| e.0));
        assert_eq!(stream.last_entry(), held.last().map(|e| e.0));
        assert_eq!((stream.last(), stream.added()), (model.last, model.added));
        assert_eq!(stream.max_deleted(), model.max_deleted);
        if let Some((id, _)) = held.get(held.len() / 2) {
            assert_eq!(stream.get(*id).map(|e| e.id), Some(*id));
            let upper = stream.range(*id, StreamId::MAX).count();
            assert_eq!(upper, held.len() - held.len() / 2);
            assert_eq!(stream.backwards(*id, *id).count(), 1);
            assert!(
                stream
                    .get(id.previous().unwrap())
                    .is_none_or(|e| e.id < *id)
            );
        }
        let mut bytes = 0;
        assert!(
            stream
                .groups()
                .map(|(name, _)| name[0])
                .eq(model.groups.keys().copied())
        );
        for (name, group) in stream.groups() {
            group.verify();
            bytes += GROUP + name.len() + group.heap_bytes();
            let pending: Vec<_> = group
                .range(StreamId::MIN, StreamId::MAX)
                .map(|(id, p)| (id, (group.owner(&p)[0], p.at, p.count)))
                .collect();
            assert!(
                pending
                    .iter()
                    .map(|(id, p)| (id, p))
                    .eq(&model.groups[&name[0]])
            );
        }
        assert_eq!(bytes, stream.0.group_bytes);
        assert!(self.replica == *stream, "the log gives another stream");
        let mut encoded = Vec::new();
        stream.encode(&mut encoded);
        let decoded = Stream::decode(&encoded).expect("what is encoded can be read");
        assert!(decoded == *stream);
        decoded.0.entries.verify();
        assert_eq!(decoded.0.group_bytes, bytes_of_groups(&decoded));
    }
}

fn bytes_of_groups(stream: &Stream) -> usize {
    let cost = |(name, group): (&[u8], &Group)| GROUP + name.len() + group.heap_bytes();
    stream.groups().map(cost).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_stream_holds_what_its_model_holds(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World {
            stream: Stream::empty(),
            model: Model::default(),
            replica: Stream::empty(),
            now: 1000,
        };
        for step in &steps {
            world.step(step);
        }
        world.check();
    }

    #[test]
    fn garbage_does_no_harm(bytes: Vec<u8>) {
        let _ = Stream::decode(&bytes);
        if let Some(op) = Stream::read_op(&bytes) {
            let mut stream = Stream::empty();
            stream.apply(&op);
            stream.0.entries.verify();
        }
    }

    /// A stream with a byte changed is no stream, or one that holds together.
    #[test]
    fn damage_does_no_harm(at: prop::sample::Index, bit in 0..8u8) {
        let mut world = World {
            stream: Stream::empty(),
            model: Model::default(),
            replica: Stream::empty(),
            now: 1000,
        };
        for step in [Step::Many(130), Step::Create(1), Step::Deliver(1, 2, vec![1, 5, 120]), Step::Delete(vec![0, 7])] {
            world.step(&step);
        }
        let mut bytes = Vec::new();
        world.stream.encode(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Some(mut stream) = Stream::decode(&bytes) {
            stream.0.entries.verify();
            stream.groups().for_each(|(_, group)| group.verify());
            stream.apply(&Op::Trim { through: StreamId { ms: 50, seq: 0 } });
            stream.0.entries.verify();
        }
    }
}

#[test]
fn a_reused_name_takes_a_free_seat() {
    let mut stream = Stream::empty();
    let group: &[u8] = b"g";
    stream.apply(&Op::CreateGroup {
        group,
        last: StreamId::MIN,
        read: None,
    });
    for consumer in [&b"a"[..], b"b", b"c"] {
        assert_eq!(
            stream
                .apply(&Op::Visit {
                    group,
                    consumer,
                    at: 5
                })
                .outcome,
            1
        );
    }
    stream.apply(&Op::DeleteConsumer {
        group,
        consumer: b"b",
    });
    assert_eq!(
        stream.apply(&Op::Visit {
            group,
            consumer: b"d",
            at: 6
        }),
        Applied::change(1)
    );
    assert_eq!(
        stream.apply(&Op::Visit {
            group,
            consumer: b"d",
            at: 9
        }),
        Applied::nothing(0)
    );
    let group = stream.group(group).unwrap();
    group.verify();
    assert_eq!(
        group.consumer(b"d").map(|c| (c.seen, c.active)),
        Some((9, None))
    );
    assert_eq!(group.consumer_count(), 3);
}

#[test]
fn small_entries_take_little_more_than_their_bytes() {
    let mut stream = Stream::empty();
    for n in 1..=10_000u64 {
        let value = format!("value:{n}");
        let fields: [&[u8]; 2] = [b"a-field", value.as_bytes()];
        let id = StreamId {
            ms: 1_700_000_000_000 + n,
            seq: 0,
        };
        stream.apply(&Op::Add {
            id,
            fields: Items::Args(&fields),
        });
    }
    let each = stream.heap_bytes() / 10_000;
    assert!(each < 24, "{each} bytes an entry");
}
