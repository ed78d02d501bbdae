//! A small log, and everything that can be done to its bytes: each gives the data, a cut tail, or
//! one refusal by name. Never other data, never a panic.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;

use super::rig::*;
use crate::disk::sim::{Chance, Crash, SimDisk};
use crate::disk::{BLOCK, Disk};
use crate::log::*;
use crate::seal::Algorithm;

const ROW: [Algorithm; 2] = [Algorithm::Aes256Gcm, Algorithm::Off];

type Homes = BTreeMap<u8, Vec<Vec<u8>>>;

fn by_home(shards: &[Memory]) -> Homes {
    let mut homes = Homes::new();
    for (home, body) in shards.iter().flat_map(|s| effects(&s.0)) {
        homes.entry(home).or_default().push(body);
    }
    homes
}

/// A directory with one or two cores and two runs: the first closed cleanly, the second crashed with
/// a tail that is not anchored; with a transaction and a unit over several frames.
fn small_world(deks: &TestDeks, cores: u16) -> (SimDisk, Homes) {
    let disk = SimDisk::new();
    let mut chance = Chance::new(7);
    for run in 0..2u8 {
        let (found, _) = recovered(&disk, deks, 1).unwrap();
        let tiny = |core| LogConfig {
            segment_size: 20 << 10,
            frame_max: 4 << 10,
            ..small(core, cores, Policy::EverySec)
        };
        let rig = |c| Rig::new(&disk, tiny(c), deks, found.start(c, cores));
        let mut rigs: Vec<Rig> = (0..cores).map(rig).collect();
        rigs.iter_mut().for_each(Rig::begin);
        let (count, long) = if cores == 2 { (6, 3) } else { (4, 1) };
        for n in 0..count {
            for (core, rig) in rigs.iter_mut().enumerate() {
                let len = if n == long {
                    5_000
                } else {
                    40 + usize::from(n)
                };
                let e = effect(core as u8 * 8 + n % 4, &vec![run * 100 + n; len]);
                rig.writer.append(&e, 1);
                rig.pass(7_000);
            }
            if n == 2 && cores == 2 {
                let part = |core: u8| effect(core * 8, &[run * 100 + 50; 60]);
                let (a, b) = (part(0), part(1));
                let lsns = [rigs[0].writer.next_lsn(), rigs[1].writer.next_lsn()];
                let parts = [
                    Part {
                        core: 0,
                        lsn: lsns[0],
                        records: 1,
                        effects: &a,
                    },
                    Part {
                        core: 1,
                        lsn: lsns[1],
                        records: 1,
                        effects: &b,
                    },
                ];
                for rig in &mut rigs {
                    rig.writer
                        .append_tx(&Tx {
                            id: 1,
                            parts: &parts,
                        })
                        .unwrap();
                }
            }
            if n == long {
                rigs.iter_mut().for_each(|r| r.pass(1_500_000));
            }
        }
        match run {
            0 => rigs.iter_mut().for_each(Rig::close),
            _ => {
                let after = crash(&mut rigs, Crash::Kill, &mut chance);
                let flat = after.copy();
                let (_, shards) = recovered(&flat, deks, 1).unwrap();
                return (flat, by_home(&shards));
            }
        }
    }
    unreachable!("the second run ends in a crash");
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().map(|e| e.name).collect()
}

/// What became of a damaged directory.
#[derive(Default, Debug)]
struct Tally {
    shards: usize,
    same: u32,
    cut: u32,
    refused: BTreeMap<&'static str, u32>,
}

impl Tally {
    fn of(shards: usize) -> Tally {
        Tally {
            shards,
            ..Tally::default()
        }
    }

    /// How many cases were judged.
    fn cases(&self) -> usize {
        (self.same + self.cut + self.refused.values().sum::<u32>()) as usize
    }

    /// Recovers, and holds what comes back against what was there.
    fn judge(&mut self, disk: &SimDisk, deks: &TestDeks, whole: &Homes, what: fmt::Arguments<'_>) {
        match recovered(disk, deks, self.shards) {
            Ok((_, shards)) => {
                let got = by_home(&shards);
                for (home, bodies) in &got {
                    let all = whole.get(home).map_or(&[][..], |v| v);
                    assert!(
                        all.starts_with(bodies),
                        "{what}: home {home} got data nobody wrote"
                    );
                }
                match got == *whole {
                    true => self.same += 1,
                    false => self.cut += 1,
                }
            }
            Err(e) => {
                let text = e.to_string();
                let named = e.file().is_some_and(|f| !f.is_empty() && text.contains(f));
                let by_run = matches!(e, LogError::MissingRun { .. } | LogError::MissingLog { .. });
                assert!(named || by_run, "{what}: a refusal without a file: {text}");
                *self.refused.entry(name(&e)).or_default() += 1;
            }
        }
    }
}

fn name(e: &LogError) -> &'static str {
    match e {
        LogError::Io { .. } => panic!("an I/O error on a disk without faults: {e}"),
        LogError::Frame { .. } => "Frame",
        LogError::Header { .. } => "Header",
        LogError::Misplaced { .. } => "Misplaced",
        LogError::Foreign { .. } => "Foreign",
        LogError::Chain { .. } => "Chain",
        LogError::MissingSegment { .. } => "MissingSegment",
        LogError::MissingLog { .. } => "MissingLog",
        LogError::MissingRun { .. } => "MissingRun",
        LogError::MissingAnchor { .. } => "MissingAnchor",
        LogError::Anchor { .. } => "Anchor",
        LogError::Gap { .. } => "Gap",
        LogError::UnknownDek { .. } => "UnknownDek",
        LogError::WrongKey { .. } => "WrongKey",
        LogError::Sealed { .. } => "Sealed",
        LogError::Plain { .. } => "Plain",
        LogError::Version { .. } => "Version",
        LogError::Content { .. } => "Content",
        LogError::Effects { .. } => "Effects",
    }
}

/// Judges cases on every processor: each thread has a copy of the disk, its number, and how many
/// there are, and takes its share.
fn judged(
    disk: &SimDisk,
    shards: usize,
    share: impl Fn(&SimDisk, &mut Tally, (usize, usize)) + Sync,
) -> Tally {
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(8));
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let one = |n| {
            let (disk, share) = (disk.copy(), &share);
            scope.spawn(move || {
                let mut tally = Tally::of(shards);
                share(&disk, &mut tally, (n, threads));
                tally
            })
        };
        let begun: Vec<_> = (0..threads).map(one).collect();
        let ended = begun.into_iter().map(|t| t.join());
        ended
            .map(|t| t.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut sum = Tally::of(shards);
    for tally in tallies {
        sum.same += tally.same;
        sum.cut += tally.cut;
        for (name, n) in tally.refused {
            *sum.refused.entry(name).or_default() += n;
        }
    }
    sum
}

#[test]
fn cut_at_any_byte_it_gives_a_prefix_or_a_name() {
    for algorithm in ROW {
        let deks = TestDeks::new(algorithm);
        let (disk, whole) = small_world(&deks, 1);
        let mut bytes_in_all = 0;
        let tally = judged(&disk, 1, |disk, tally, (n, threads)| {
            for name in names(disk) {
                let bytes = disk.content(&name).unwrap();
                for cut in (n..bytes.len()).step_by(threads) {
                    disk.put(&name, bytes[..cut].to_vec());
                    let what = format_args!("{algorithm}: {name} cut at {cut}");
                    tally.judge(disk, &deks, &whole, what);
                }
                disk.put(&name, bytes);
            }
        });
        for name in names(&disk) {
            bytes_in_all += disk.content(&name).unwrap().len();
        }
        println!("{algorithm}: {tally:?}");
        assert_eq!(tally.cases(), bytes_in_all, "every byte was a place to cut");
        assert!(tally.cut > 1000 && tally.refused["Frame"] > 1000);
    }
}

/// Two cores: a thread for each log, and transactions whose parts the other log has.
#[test]
fn cut_near_any_block_of_two_logs_it_gives_a_prefix_or_a_name() {
    for algorithm in ROW {
        let deks = TestDeks::new(algorithm);
        let (disk, whole) = small_world(&deks, 2);
        let tally = judged(&disk, 2, |disk, tally, (n, threads)| {
            for name in names(disk) {
                let bytes = disk.content(&name).unwrap();
                let near =
                    |c: &usize| c % BLOCK < 3 || c % BLOCK > BLOCK - 3 || c.is_multiple_of(61);
                for cut in (0..bytes.len()).filter(near).skip(n).step_by(threads) {
                    disk.put(&name, bytes[..cut].to_vec());
                    let what = format_args!("{algorithm}: {name} cut at {cut}");
                    tally.judge(disk, &deks, &whole, what);
                }
                disk.put(&name, bytes);
            }
        });
        println!("{algorithm}: {tally:?}");
        assert!(tally.cut > 10 && tally.refused["Frame"] > 100);
    }
}

/// Every bit of every byte of every file: headers, frames, seals, anchors, and the blocks that no
/// frame reached.
#[test]
fn any_bit_flipped_gives_the_data_a_cut_tail_or_a_name() {
    for algorithm in ROW {
        let deks = TestDeks::new(algorithm);
        let (disk, whole) = small_world(&deks, 1);
        let mut bits_in_all = 0;
        let tally = judged(&disk, 1, |disk, tally, (n, threads)| {
            for name in names(disk) {
                let mut bytes = disk.content(&name).unwrap();
                for at in (n..bytes.len()).step_by(threads) {
                    for bit in 0..8 {
                        bytes[at] ^= 1 << bit;
                        disk.put(&name, bytes.clone());
                        let what = format_args!("{algorithm}: {name} bit {bit} of byte {at}");
                        tally.judge(disk, &deks, &whole, what);
                        bytes[at] ^= 1 << bit;
                    }
                }
                disk.put(&name, bytes);
            }
        });
        for name in names(&disk) {
            bits_in_all += 8 * disk.content(&name).unwrap().len();
        }
        println!("{algorithm}: {tally:?}");
        assert_eq!(tally.cases(), bits_in_all, "every bit was flipped");
        assert!(tally.cut > 1000 && tally.refused["Frame"] > 1000);
    }
}

/// The frames of a segment: where each begins and how long it is.
fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut at = BLOCK;
    let mut found = Vec::new();
    while let Some((h, _)) = bytes.get(at..).and_then(format::FrameHeader::decode) {
        found.push((at, h.len as usize));
        at += h.len as usize;
    }
    found
}

#[test]
fn frames_swapped_doubled_dropped_or_spliced_are_noticed() {
    for algorithm in ROW {
        let deks = TestDeks::new(algorithm);
        let (disk, whole) = small_world(&deks, 2);
        let segments: Vec<String> = names(&disk)
            .into_iter()
            .filter(|n| n.ends_with(".seg"))
            .collect();
        let mut tally = Tally::of(2);
        let mut other = Vec::new();
        for name in &segments {
            let bytes = disk.content(name).unwrap();
            let all = frames(&bytes);
            let mut attempt = |changed: Vec<u8>, what: &str| {
                disk.put(name, changed);
                let what = format_args!("{algorithm}: {name}: {what}");
                tally.judge(&disk, &deks, &whole, what);
                disk.put(name, bytes.clone());
            };
            for (i, &(a, len)) in all.iter().enumerate() {
                let mut dropped = bytes.clone();
                dropped.drain(a..a + len);
                dropped.resize(bytes.len(), 0);
                attempt(dropped, &format!("frame {i} dropped"));
                let mut doubled = bytes[..a + len].to_vec();
                doubled.extend_from_slice(&bytes[a..]);
                doubled.truncate(bytes.len());
                attempt(doubled, &format!("frame {i} doubled"));
                for (j, &(b, other_len)) in all.iter().enumerate().skip(i + 1) {
                    let mut swapped = bytes[..a].to_vec();
                    swapped.extend_from_slice(&bytes[b..b + other_len]);
                    swapped.extend_from_slice(&bytes[a + len..b]);
                    swapped.extend_from_slice(&bytes[a..a + len]);
                    swapped.extend_from_slice(&bytes[b + other_len..]);
                    attempt(swapped, &format!("frames {i} and {j} swapped"));
                }
                for (from, frame) in &other {
                    let frame: &Vec<u8> = frame;
                    let mut spliced = bytes[..a].to_vec();
                    spliced.extend_from_slice(frame);
                    spliced.extend_from_slice(&bytes[a + len..]);
                    spliced.resize(bytes.len(), 0);
                    attempt(spliced, &format!("frame {i} replaced by {from}"));
                }
            }
            other.extend(all.iter().enumerate().map(|(i, &(a, len))| {
                (format!("frame {i} of {name}"), bytes[a..a + len].to_vec())
            }));
        }
        println!("{algorithm}: {tally:?}");
        assert!(tally.refused["Frame"] > 100);
    }
}

#[test]
fn files_exchanged_renamed_removed_or_brought_from_the_past_are_noticed() {
    for algorithm in ROW {
        let deks = TestDeks::new(algorithm);
        let (disk, whole) = small_world(&deks, 2);
        let (foreign, _) = small_world(&deks, 2); // the same history, other salts
        let all = names(&disk);
        let mut tally = Tally::of(2);
        for a in &all {
            let bytes = disk.content(a).unwrap();
            disk.delete(a);
            tally.judge(&disk, &deks, &whole, format_args!("{a} removed"));
            disk.put(a, vec![0; bytes.len()]);
            tally.judge(&disk, &deks, &whole, format_args!("{a} blanked"));
            if let Some(theirs) = foreign.content(a) {
                disk.put(a, theirs);
                tally.judge(&disk, &deks, &whole, format_args!("{a} of another history"));
            }
            for b in &all {
                disk.put(a, disk.content(b).unwrap_or_else(|| bytes.clone()));
                tally.judge(&disk, &deks, &whole, format_args!("{a} replaced by {b}"));
            }
            disk.put(a, bytes);
        }
        println!("{algorithm}: {tally:?}");
        for refusal in ["Misplaced", "MissingSegment", "Chain", "Frame"] {
            assert!(
                tally.refused.contains_key(refusal),
                "nothing was refused as {refusal}"
            );
        }
    }
}

#[test]
fn a_run_taken_away_whole_is_missed() {
    let (disk, _) = small_world(&AES, 2);
    let without = |run: &str| {
        let less = disk.copy();
        names(&less)
            .iter()
            .filter(|n| n.starts_with(run))
            .for_each(|n| less.delete(n));
        recovered(&less, &AES, 2)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    assert!(
        without("0000000001").contains("run 1 is missing"),
        "{}",
        without("0000000001")
    );
    assert!(
        without("0000000002").contains("run 2 is missing"),
        "{}",
        without("0000000002")
    );
}

#[test]
fn wrong_keys_and_unencrypted_logs_are_refused_by_name() {
    let (sealed, _) = small_world(&AES, 2);
    let (plain, _) = small_world(&TestDeks::new(Algorithm::Off), 2);
    let refusal =
        |disk: &SimDisk, deks: &TestDeks| recovered(disk, deks, 1).err().map(|e| name(&e));
    let chacha = TestDeks::new(Algorithm::ChaCha20Poly1305);
    assert_eq!(refusal(&plain, &AES), Some("Plain"));
    assert_eq!(
        refusal(&sealed, &TestDeks::new(Algorithm::Off)),
        Some("UnknownDek")
    );
    assert_eq!(refusal(&sealed, &chacha), Some("WrongKey"));
}
