//! Checkpoints and the logs that go on from them, on a disk that crashes: what is recovered is what
//! was appended, wherever the checkpoint stood when the machine went down.

use std::collections::BTreeMap;

use super::rig::*;
use crate::disk::Disk;
use crate::disk::sim::{Chance, Crash, SimDisk};
use crate::log::*;
use crate::seal::Backend;
use crate::slot;

/// All homes of these tests: one slot each, the first of its range.
const HOMES: u8 = 16;

/// What every home was given, in order: what a shard is in these tests.
type State = BTreeMap<u8, Vec<Vec<u8>>>;

fn state(shards: &[Memory]) -> State {
    let mut by_home = State::new();
    for (home, body) in shards.iter().flat_map(|s| effects(&s.0)) {
        by_home.entry(home).or_default().push(body);
    }
    by_home
}

/// Both directories of a server.
struct Disks {
    log: SimDisk,
    parts: SimDisk,
}

/// A checkpoint that was taken: what its manifest would say.
struct Taken {
    number: u64,
    begin: Begin,
    ends: Vec<LogEnd>,
}

fn load_and_recover(
    disks: &Disks,
    taken: Option<&Taken>,
    shards: usize,
) -> Result<(Recovered, State), LogError> {
    let mut sinks: Vec<Memory> = (0..shards).map(|_| Memory::default()).collect();
    let plan = scan(&disks.log, &AES, Backend::AwsLc, taken.map(|t| &t.begin))?;
    let base = match taken {
        None => None,
        Some(t) => {
            let parts = t.ends.iter();
            let parts = parts.map(|&end| part(&disks.parts, t.number, end, &AES, Backend::AwsLc));
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            let begin = t.begin.clone();
            Some(load(&disks.parts, parts, begin, &mut sinks, &ByHome)?)
        }
    };
    let recovered = recover(&disks.log, plan, base.as_ref(), &mut sinks, &ByHome)?;
    Ok((recovered, state(&sinks)))
}

/// One run over two cores: units before, while and after a checkpoint is written, slot by slot.
struct Run {
    rigs: Vec<Rig>,
    said: State,
    next: u32,
}

impl Run {
    fn open(disks: &Disks, cores: u16, recovered: Option<&Recovered>) -> Run {
        let first = Start {
            run: 1,
            ..Start::default()
        };
        let start = |core| recovered.map_or(first.clone(), |r| r.start(core, cores));
        let rig = |core| {
            Rig::new(
                &disks.log,
                small(core, cores, Policy::EverySec),
                &AES,
                start(core),
            )
        };
        let mut rigs: Vec<Rig> = (0..cores).map(rig).collect();
        rigs.iter_mut().for_each(Rig::begin);
        Run {
            rigs,
            said: State::new(),
            next: 0,
        }
    }

    fn append(&mut self, chance: &mut Chance) {
        let home = chance.below(u64::from(HOMES)) as u8;
        let core = usize::from(home) * self.rigs.len() / 16;
        let mut body = self.next.to_le_bytes().to_vec();
        body.resize(4 + chance.below(900) as usize, home);
        self.next += 1;
        self.rigs[core].writer.append(&effect(home, &body), 1);
        self.said.entry(home).or_default().push(body);
    }

    /// Writes a checkpoint while units go on being appended; `after` of them follow the last slot.
    fn checkpoint(&mut self, disks: &Disks, number: u64, run: u64, chance: &mut Chance) -> Taken {
        let cores = self.rigs.len() as u16;
        for rig in &mut self.rigs {
            rig.writer.roll();
        }
        let start = Start {
            run: number,
            ..Start::default()
        };
        let part = |core| {
            let config = small(core, cores, Policy::No).for_checkpoint(64 << 10);
            Rig::new(
                &disks.parts,
                LogConfig {
                    frame_target: 4 << 10,
                    ..config
                },
                &AES,
                start.clone(),
            )
        };
        let mut parts: Vec<Rig> = (0..cores).map(part).collect();
        parts.iter_mut().for_each(Rig::begin);
        for (core, part) in parts.iter_mut().enumerate() {
            let own = slot::Map::new(usize::from(cores)).range(core);
            let mut at = own.start;
            while at < own.end {
                (0..chance.below(4)).for_each(|_| self.append(chance));
                let next = (at + 1024).min(own.end);
                let home = (at / 1024) as u8;
                let bodies = self.said.get(&home).map_or(&[][..], Vec::as_slice);
                let bytes: Vec<u8> = bodies.iter().flat_map(|b| effect(home, b)).collect();
                part.writer.append(&bytes, bodies.len() as u32);
                let below = self.rigs[core].writer.next_lsn();
                let (first, end) = (at, next);
                part.writer.append_marks(&[Slots { first, end, below }]);
                part.settle();
                at = next;
            }
            part.close();
        }
        // All logs are durable as far as the marks go.
        for rig in &mut self.rigs {
            rig.pass(3_000_000);
        }
        let segments = self
            .rigs
            .iter()
            .map(|r| r.writer.rolled().expect("rolled long ago"));
        Taken {
            number,
            begin: Begin {
                run,
                logged: true,
                segments: segments.collect(),
            },
            ends: parts
                .iter()
                .map(|p| p.writer.end().expect("closed"))
                .collect(),
        }
    }
}

#[test]
fn a_checkpoint_and_what_follows_give_the_state_for_any_number_of_shards() {
    for seed in 0..40 {
        let mut chance = Chance::new(seed);
        let disks = Disks {
            log: SimDisk::new(),
            parts: SimDisk::new(),
        };
        let mut run = Run::open(&disks, 2, None);
        (0..chance.below(300)).for_each(|_| run.append(&mut chance));
        let taken = run.checkpoint(&disks, 1, 1, &mut chance);
        (0..chance.below(300)).for_each(|_| run.append(&mut chance));
        run.rigs.iter_mut().for_each(Rig::close);
        for shards in [1, 2, 3] {
            let (_, without) = load_and_recover(&disks, None, shards).unwrap();
            assert_eq!(without, run.said, "seed {seed}: the log alone");
            let (_, with) = load_and_recover(&disks, Some(&taken), shards).unwrap();
            assert_eq!(with, run.said, "seed {seed}: {shards} shards");
        }
    }
}

#[test]
fn what_a_checkpoint_replaces_can_go_and_is_missed_without_it() {
    for seed in 0..20 {
        let mut chance = Chance::new(seed);
        let disks = Disks {
            log: SimDisk::new(),
            parts: SimDisk::new(),
        };
        let mut run = Run::open(&disks, 2, None);
        (0..200).for_each(|_| run.append(&mut chance));
        run.rigs.iter_mut().for_each(Rig::close);
        let (first, said) = load_and_recover(&disks, None, 2).unwrap();
        let mut second = Run::open(&disks, 2, Some(&first));
        second.said = said;
        second.next = run.next;
        (0..200).for_each(|_| second.append(&mut chance));
        let taken = second.checkpoint(&disks, 1, 2, &mut chance);
        for (core, rig) in second.rigs.iter_mut().enumerate() {
            let seq = taken.begin.segments[core];
            let old = (0..seq).map(|seq| format::segment_name(2, core as u16, seq));
            let older = (0..9).map(|seq| format::segment_name(1, core as u16, seq));
            let there = |name: &String| disks.log.open(name).is_ok();
            let files = old.chain(older).filter(there).collect();
            rig.writer.release(2, seq, files);
            rig.settle();
        }
        (0..100).for_each(|_| second.append(&mut chance));
        second.rigs.iter_mut().for_each(|r| r.pass(3_000_000));
        let after = disks.log.crash(Crash::Kill, &mut chance);
        let disks = Disks {
            log: after,
            ..disks
        };
        let (third, found) = load_and_recover(&disks, Some(&taken), 2).unwrap();
        assert_eq!(found, second.said, "seed {seed}");
        // Without the checkpoint the log is not taken for the whole.
        let refused = load_and_recover(&disks, None, 2).map(|_| ());
        let told = matches!(refused, Err(LogError::Gap { .. }));
        assert!(told, "seed {seed}: {refused:?}");
        // Once more, with a run behind it.
        let mut run = Run::open(&disks, 2, Some(&third));
        run.said = found;
        run.next = second.next;
        (0..50).for_each(|_| run.append(&mut chance));
        run.rigs.iter_mut().for_each(Rig::close);
        let (_, again) = load_and_recover(&disks, Some(&taken), 3).unwrap();
        assert_eq!(again, run.said, "seed {seed}: a run later");
    }
}

#[test]
fn every_flipped_byte_of_a_part_is_named_and_nothing_wrong_is_applied() {
    let mut chance = Chance::new(7);
    let disks = Disks {
        log: SimDisk::new(),
        parts: SimDisk::new(),
    };
    let mut run = Run::open(&disks, 1, None);
    (0..20).for_each(|_| run.append(&mut chance));
    let taken = run.checkpoint(&disks, 1, 1, &mut chance);
    run.rigs.iter_mut().for_each(Rig::close);
    let name = format::segment_name(1, 0, 0);
    let whole = disks.parts.content(&name).unwrap();
    let used = taken.ends[0].link.len as usize;
    for at in (0..used).step_by(37) {
        let parts = disks.parts.crash(Crash::Kill, &mut chance);
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << chance.below(8);
        parts.put(&name, bytes);
        let hurt = Disks {
            log: disks.log.clone(),
            parts,
        };
        let Err(e) = load_and_recover(&hurt, Some(&taken), 1) else {
            panic!("a flipped bit at {at} was not noticed");
        };
        assert!(e.to_string().contains(&name), "at {at}: {e}");
    }
}
