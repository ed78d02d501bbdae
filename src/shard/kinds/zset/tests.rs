//! A sorted set beside a plain map that knows what should be in it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::shard::Object;
use crate::shard::wire::Items;

type Model = BTreeMap<Vec<u8>, f64>;

fn sorted(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(m, s)| (m.clone(), *s)).collect();
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    all
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<(f64, Vec<u8>)>),
    Remove(Vec<Vec<u8>>),
    Cut(usize, usize),
    Fill(u32, u32, u8),
    Drain(u32, u32),
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-5..5i32).prop_map(f64::from),
        2 => any::<f64>().prop_filter("no score", |s| !s.is_nan()),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(-0.0),
    ]
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0..300u32).prop_map(|n| format!("m{n}").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..30),
        1 => (20..70usize).prop_map(|len| vec![b'l'; len]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec((score(), member()), 1..8).prop_map(Step::Put),
        3 => prop::collection::vec(member(), 1..5).prop_map(Step::Remove),
        2 => (0..400usize, 0..60usize).prop_map(|(a, n)| Step::Cut(a, n)),
        1 => (0..6000u32, 0..4000u32, any::<u8>()).prop_map(|(a, n, how)| Step::Fill(a, n, how)),
        1 => (0..6000u32, 0..5000u32).prop_map(|(a, n)| Step::Drain(a, n)),
    ]
}

/// The set, one that is changed by what is logged of each change, and what both should hold.
struct World {
    set: Zset,
    replayed: Zset,
    model: Model,
}

impl World {
    fn new() -> World {
        World {
            set: Zset::empty(),
            replayed: Zset::empty(),
            model: Model::new(),
        }
    }

    fn apply(&mut self, op: &Op<'_>) -> Counts {
        let applied = self.set.apply(op);
        assert_eq!(applied.changed, applied.outcome != Counts::default());
        let mut bytes = Vec::new();
        Zset::write_op(op, &mut bytes);
        let read = Zset::read_op(&bytes).unwrap();
        let mut again = Vec::new();
        Zset::write_op(&read, &mut again);
        assert_eq!(bytes, again);
        assert_eq!(self.replayed.apply(&read), applied);
        applied.outcome
    }

    fn put(&mut self, list: &[(f64, Vec<u8>)]) {
        let refs: Vec<(f64, &[u8])> = list.iter().map(|(s, m)| (*s, m.as_slice())).collect();
        let mut expected = Counts::default();
        for (score, member) in list {
            match self.model.get_mut(member) {
                None => {
                    expected.added += 1;
                    self.model.insert(member.clone(), *score);
                }
                Some(old) if old == score => {}
                Some(old) => {
                    expected.updated += 1;
                    *old = *score;
                }
            }
        }
        assert_eq!(self.apply(&Op::Put(Scored::List(&refs))), expected);
    }

    fn remove(&mut self, members: &[Vec<u8>]) {
        let refs: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
        let removed = members.iter().filter(|m| self.model.remove(*m).is_some());
        let removed = removed.count();
        let counts = self.apply(&Op::Remove(Items::Args(&refs)));
        assert_eq!(counts.removed, removed);
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Put(list) => self.put(&list),
            Step::Remove(members) => self.remove(&members),
            Step::Cut(from, count) => {
                let all = sorted(&self.model);
                let (from, to) = (from.min(all.len()), (from + count).min(all.len()));
                if from == to {
                    return;
                }
                let (first, last) = (&all[from], &all[to - 1]);
                let counts = self.apply(&Op::Cut {
                    first: (first.1, &first.0),
                    last: (last.1, &last.0),
                });
                assert_eq!(counts.removed, to - from);
                all[from..to].iter().for_each(|(m, _)| {
                    self.model.remove(m);
                });
            }
            Step::Fill(from, count, how) => {
                let list: Vec<_> = (from..from + count)
                    .map(|n| {
                        let score = match how % 5 {
                            0 => 0.0,
                            1 => f64::from(n),
                            2 => -f64::from(n),
                            3 => f64::from(n % 7),
                            _ => f64::from(n.wrapping_mul(2_654_435_761) >> 8),
                        };
                        (score, format!("m{n}").into_bytes())
                    })
                    .collect();
                list.chunks(500).for_each(|some| self.put(some));
            }
            Step::Drain(from, count) => {
                let names: Vec<_> = (from..from + count)
                    .map(|n| format!("m{n}").into_bytes())
                    .collect();
                self.remove(&names);
            }
        }
    }

    fn check(&self) {
        let all = sorted(&self.model);
        let set = &self.set;
        assert_eq!(set, &self.replayed);
        assert_eq!(set.len(), all.len());
        let held: Vec<_> = set.iter().map(|(m, s)| (m.to_vec(), s)).collect();
        assert_eq!(held, all);
        let mut turned: Vec<_> = set
            .range(0, all.len(), true)
            .map(|(m, s)| (m.to_vec(), s))
            .collect();
        turned.reverse();
        assert_eq!(turned, all);
        for (rank, (member, score)) in all.iter().enumerate().step_by(all.len() / 50 + 1) {
            assert_eq!(set.rank(member), Some((rank, *score)));
            assert_eq!(set.score(member), Some(*score));
            for backwards in [false, true] {
                let (from, to) = (rank / 2, rank + 1);
                let mut some: Vec<_> = set.range(from, to, backwards).collect();
                if backwards {
                    some.reverse();
                }
                assert!(
                    some.iter()
                        .map(|e| e.0)
                        .eq(all[from..to].iter().map(|e| &e.0[..]))
                );
            }
            let below = all.iter().filter(|e| e.1 < *score).count();
            assert_eq!(set.position(|s, _| s < *score), below);
        }
        assert_eq!(set.rank(b"nobody"), None);
        let numbered: BTreeSet<_> = (0..all.len())
            .filter_map(|n| set.numbered(n))
            .map(|e| e.0)
            .collect();
        assert_eq!(numbered.len(), all.len());
        assert_eq!(set.numbered(all.len()), None);
        if let Form::Large(large) = &set.0 {
            large.verify();
        }
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        assert_eq!(Zset::decode(&bytes).as_ref(), Some(set));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is done, it holds what a map holds, in order; its log and its encoding give the same again.
    #[test]
    fn a_sorted_set_does_what_a_sorted_map_does(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            world.carry_out(step);
        }
        world.check();
    }

    /// A member that is there from a scan's first call to its last is met, whatever happens to others.
    #[test]
    fn a_scan_meets_every_member_that_stays(
        stay in prop::collection::btree_set(0..9000u32, 1..1000),
        steps in prop::collection::vec((1..300usize, step()), 1..30),
    ) {
        let stay: BTreeSet<Vec<u8>> = stay.iter().map(|n| format!("stay{n}").into_bytes()).collect();
        let list: Vec<_> = stay.iter().map(|m| (1.0, m.clone())).collect();
        let mut world = World::new();
        world.carry_out(Step::Fill(0, 300, 4));
        world.put(&list);
        let (mut met, mut cursor) = (BTreeSet::new(), 0);
        for (count, step) in steps.into_iter().chain(std::iter::repeat((50, Step::Put(Vec::new())))) {
            cursor = world.set.scan(cursor, count, |member, _| {
                met.insert(member.to_vec());
            });
            if cursor == 0 {
                break;
            }
            let spared = match step {
                Step::Cut(..) => Step::Drain(0, 100),
                step => step,
            };
            world.carry_out(spared);
        }
        prop_assert!(stay.is_subset(&met));
    }

    /// Bytes that are no operation or no set are refused, and what is accepted is written the same way again.
    #[test]
    fn garbage_is_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..60), kind in 0..5usize) {
        if let (Some(first), Some(kind)) = (bytes.first_mut(), [b'P', b'R', b'C', 0, 1].get(kind)) {
            *first = *kind;
        }
        if let Some(op) = Zset::read_op(&bytes) {
            let mut again = Vec::new();
            Zset::write_op(&op, &mut again);
            prop_assert_eq!(&again, &bytes);
            Zset::empty().apply(&op);
        }
        if let Some(set) = Zset::decode(&bytes) {
            let mut again = Vec::new();
            set.encode(&mut again);
            prop_assert_eq!(&again, &bytes);
        }
    }
}

#[test]
fn what_does_not_fit_an_order_is_no_set() {
    let encoded = |form: u8, entries: &[(f64, &str)]| {
        let mut out = vec![form, entries.len() as u8];
        for (score, member) in entries {
            op::put_entry(&mut out, *score, member.as_bytes());
        }
        out
    };
    let decodes = |bytes: &[u8]| Zset::decode(bytes).is_some();
    let good = [(1.0, "b"), (1.0, "c"), (2.0, "a")];
    for form in [SMALL, LARGE] {
        assert!(decodes(&encoded(form, &good)));
        assert!(!decodes(&encoded(form, &[(2.0, "a"), (1.0, "b")])));
        assert!(!decodes(&encoded(form, &[(1.0, "b"), (1.0, "a")])));
        assert!(!decodes(&encoded(form, &[(1.0, "a"), (2.0, "a")])));
        assert!(!decodes(&encoded(form, &[(f64::NAN, "a")])));
        let long = [encoded(form, &good), vec![0]].concat();
        assert!(!decodes(&long));
    }
    assert!(!decodes(&encoded(2, &good)));
}

#[test]
fn the_form_follows_redis_thresholds() {
    let mut world = World::new();
    world.carry_out(Step::Fill(0, 128, 1));
    assert_eq!(world.set.encoding(), "listpack");
    world.carry_out(Step::Fill(5, 10, 2));
    assert_eq!(world.set.encoding(), "listpack");
    world.carry_out(Step::Fill(128, 1, 1));
    assert_eq!(world.set.encoding(), "skiplist");
    world.carry_out(Step::Drain(0, 120));
    assert_eq!(world.set.encoding(), "skiplist");
    world.check();
    let mut world = World::new();
    world.put(&[(1.0, vec![b'x'; 64])]);
    assert_eq!(world.set.encoding(), "listpack");
    world.put(&[(1.0, vec![b'x'; 65])]);
    assert_eq!(world.set.encoding(), "skiplist");
}

#[test]
fn a_score_of_minus_zero_is_the_place_of_zero() {
    let mut world = World::new();
    world.put(&[(-0.0, b"b".to_vec()), (0.0, b"a".to_vec())]);
    assert_eq!(world.set.rank(b"b"), Some((1, 0.0)));
    assert!(world.set.score(b"b").unwrap().is_sign_positive());
    world.put(&[(-0.0, vec![b'x'; 70])]);
    assert!(world.set.score(&[b'x'; 70]).unwrap().is_sign_negative());
    let nan = [(f64::NAN, b"c".as_slice())];
    assert!(!world.set.apply(&Op::Put(Scored::List(&nan))).changed);
}

/// A large set costs at most what the plan says, tells so in constant time, and goes in steps.
#[test]
fn a_large_set_is_small_and_goes_in_steps() {
    let mut world = World::new();
    for n in 0..50_000u32 {
        let score = f64::from(n.wrapping_mul(2_654_435_761) >> 4);
        let name = format!("element:{n:012}");
        let list = [(score, name.as_bytes())];
        world.set.apply(&Op::Put(Scored::List(&list)));
    }
    let set = world.set;
    let each = set.heap_bytes() as f64 / set.len() as f64;
    assert!(each < 70.0, "{each} bytes a member");
    let mut object: Object = set.into_object();
    let mut steps = 0;
    while object.crumble(1000) {
        steps += 1;
    }
    assert!((15..200).contains(&steps), "{steps}");
}
