use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Push(End, Vec<Vec<u8>>),
    Trim(u64, u64),
    Set(u64, Vec<u8>),
    Insert(u64, Vec<u8>),
    Remove(End, u64, Vec<u8>),
    Turn(End, End),
}

fn item() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0..4u8).prop_map(|n| vec![b'a' + n]),
        3 => proptest::collection::vec(any::<u8>(), 0..20),
        3 => (200..900usize).prop_map(|n| vec![b'x'; n]),
        1 => (8_000..9_000usize).prop_map(|n| vec![b'y'; n]),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

fn step() -> impl Strategy<Value = Step> {
    let small = || prop_oneof![4 => 0..4u64, 1 => 0..60u64, 1 => Just(u64::MAX)];
    prop_oneof![
        8 => (end(), proptest::collection::vec(item(), 0..8)).prop_map(|(e, i)| Step::Push(e, i)),
        2 => (small(), small()).prop_map(|(a, b)| Step::Trim(a, b)),
        2 => (0..60u64, item()).prop_map(|(i, v)| Step::Set(i, v)),
        2 => (0..60u64, item()).prop_map(|(i, v)| Step::Insert(i, v)),
        2 => (end(), small(), item()).prop_map(|(e, n, v)| Step::Remove(e, n, v)),
        2 => (end(), end()).prop_map(|(a, b)| Step::Turn(a, b)),
    ]
}

/// Does a step to a list and to a vector; returns the operation's bytes.
fn take(list: &mut List, model: &mut Vec<Vec<u8>>, step: &Step) -> Result<Vec<u8>, TestCaseError> {
    let before = model.clone();
    let refs: Vec<&[u8]>;
    let mut expected = None;
    let op = match step {
        Step::Push(end, items) => {
            refs = items.iter().map(Vec::as_slice).collect();
            for item in items {
                let at = if *end == End::Front { 0 } else { model.len() };
                model.insert(at, item.clone());
            }
            Op::Push {
                end: *end,
                items: Items::Args(&refs),
            }
        }
        Step::Trim(front, back) => {
            let front_at = (*front).min(model.len() as u64) as usize;
            model.drain(..front_at);
            let keep = model.len() - (*back).min(model.len() as u64) as usize;
            model.truncate(keep);
            Op::Trim {
                front: *front,
                back: *back,
            }
        }
        Step::Set(index, item) => {
            if let Some(place) = model.get_mut(*index as usize) {
                *place = item.clone();
            }
            Op::Set {
                index: *index,
                item,
            }
        }
        Step::Insert(index, item) => {
            if !model.is_empty() {
                model.insert((*index as usize).min(model.len()), item.clone());
            }
            Op::Insert {
                index: *index,
                item,
            }
        }
        Step::Remove(end, most, item) => {
            let mut removed = 0;
            let mut kept = Vec::new();
            let mut look = |this: Vec<u8>, kept: &mut Vec<Vec<u8>>| {
                if this == *item && removed < *most {
                    removed += 1;
                } else {
                    kept.push(this);
                }
            };
            match end {
                End::Front => model.drain(..).for_each(|this| look(this, &mut kept)),
                End::Back => {
                    model.drain(..).rev().for_each(|this| look(this, &mut kept));
                    kept.reverse();
                }
            }
            *model = kept;
            expected = Some(removed as usize);
            Op::Remove {
                end: *end,
                most: *most,
                item,
            }
        }
        Step::Turn(from, to) => {
            if !model.is_empty() {
                let last = model.len() - 1;
                let item = model.remove(if *from == End::Front { 0 } else { last });
                model.insert(if *to == End::Front { 0 } else { last }, item);
            }
            Op::Turn {
                from: *from,
                to: *to,
            }
        }
    };
    let mut bytes = Vec::new();
    List::write_op(&op, &mut bytes);
    let applied = list.apply(&op);
    prop_assert_eq!(applied.outcome, expected.unwrap_or(model.len()));
    prop_assert!(applied.changed || before == *model);
    Ok(bytes)
}

fn same(list: &List, model: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let expected: Vec<&[u8]> = model.iter().map(Vec::as_slice).collect();
    prop_assert_eq!(list.len(), expected.len());
    prop_assert_eq!(list.iter().collect::<Vec<_>>(), expected.clone());
    let mut backwards: Vec<_> = list.iter().rev().collect();
    backwards.reverse();
    prop_assert_eq!(backwards, expected.clone());
    for i in 0..model.len() + 1 {
        prop_assert_eq!(list.get(i), expected.get(i).copied());
    }
    prop_assert_eq!(list.at_end(End::Front), expected.first().copied());
    prop_assert_eq!(list.at_end(End::Back), expected.last().copied());
    Ok(())
}

/// What must hold of a long list's bookkeeping.
fn sound(list: &List) -> Result<(), TestCaseError> {
    let size: usize = list.iter().map(|item| Pack::cost(item.len())).sum();
    match &list.form {
        Form::Short(strip) => prop_assert!(strip.size() <= STRIP && strip.size() == size),
        Form::Long(long) => {
            let heap: usize = long.strips.iter().map(Strip::heap_bytes).sum();
            prop_assert_eq!(long.heap, heap);
            for strip in &long.strips {
                prop_assert!(!strip.is_empty());
                prop_assert!(strip.size() <= STRIP || strip.len() == 1);
            }
        }
    }
    prop_assert!(
        list.heap_bytes() <= 3 * size + 4 * STRIP,
        "{} for {size}",
        list.heap_bytes()
    );
    Ok(())
}

proptest! {
    /// A list behaves as a vector does; so does what recovery makes of its operations, and of all of it.
    #[test]
    fn a_list_is_a_vector(steps in proptest::collection::vec(step(), 1..60), at: usize, n in 0..40usize) {
        let mut list = List::default();
        let mut again = List::default();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for step in &steps {
            let bytes = take(&mut list, &mut model, step)?;
            same(&list, &model)?;
            sound(&list)?;
            let op = List::read_op(&bytes).unwrap();
            again.apply(&op);
            prop_assert_eq!(&again, &list);
            prop_assert_eq!(again.encoding(), list.encoding());
            let mut rewritten = Vec::new();
            List::write_op(&op, &mut rewritten);
            prop_assert_eq!(rewritten, bytes);
        }
        let mut bytes = Vec::new();
        list.encode(&mut bytes);
        let decoded = List::decode(&bytes).unwrap();
        prop_assert_eq!(&decoded, &list);
        sound(&decoded)?;
        let from = at % (model.len() + 1);
        let mut some = Vec::new();
        list.each(from, n, |item| some.push(item.to_vec()));
        let to = (from + n).min(model.len());
        prop_assert_eq!(some, model[from..to].to_vec());
        while list.crumble(7) {}
    }

    /// An operation does no harm to a list other than the one it was meant for.
    #[test]
    fn an_operation_suits_any_list(steps in proptest::collection::vec(step(), 1..20), bytes: Vec<u8>) {
        for step in &steps {
            let mut list = List::default();
            take(&mut list, &mut Vec::new(), step)?;
        }
        if let Some(op) = List::read_op(&bytes) {
            let mut list = List::of_items(&[b"a", b"b"]);
            list.apply(&op);
            sound(&list)?;
        }
        let _ = List::decode(&bytes);
    }
}

#[test]
fn a_list_turns_long_beyond_8_kib_and_short_again_below_half() {
    let mut list = List::default();
    let item = vec![b'x'; 100];
    let mut pushed = 0;
    while list.encoding() == "listpack" {
        list.push(End::Back, Items::Args(&[&item]));
        pushed += 1;
    }
    assert_eq!(pushed, STRIP / Pack::cost(100) + 1);
    while list.encoding() == "quicklist" {
        list.apply(&Op::Trim { front: 0, back: 1 });
        pushed -= 1;
    }
    assert_eq!(pushed, STRIP / 2 / Pack::cost(100));
    assert!(list.heap_bytes() < STRIP);
}

#[test]
fn a_queue_of_many_elements_keeps_no_memory_behind() {
    let mut list = List::default();
    for i in 0..100_000u32 {
        list.push(End::Front, Items::Args(&[i.to_string().as_bytes()]));
    }
    let most = list.heap_bytes();
    assert!(most < 100_000 * 8, "{most}");
    for i in 0..99_000u32 {
        assert_eq!(list.at_end(End::Back), Some(i.to_string().as_bytes()));
        list.apply(&Op::Trim { front: 0, back: 1 });
    }
    assert!(list.heap_bytes() < 40_000, "{}", list.heap_bytes());
}
