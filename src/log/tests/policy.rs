//! When operations are handed out, and what is durable when: each policy, a full disk, a failing
//! one.

use super::rig::*;
use crate::disk::sim::{Chance, Crash, Faults, SimDisk};
use crate::log::*;

/// A log that has the disk for itself and was just started.
fn started(disk: &SimDisk, config: LogConfig) -> Rig {
    let (found, _) = recovered(disk, &AES, 1).unwrap();
    let mut rig = Rig::new(disk, config, &AES, found.start(0, 1));
    rig.begin();
    rig
}

fn log(policy: Policy) -> Rig {
    started(&SimDisk::new(), small(0, 1, policy))
}

#[test]
fn always_keeps_few_durable_writes_under_way_and_commits_in_groups() {
    let mut config = small(0, 1, Policy::Always);
    config.durable_writes_in_flight = 2;
    let mut rig = started(&SimDisk::new(), config);
    let frames = rig.writer.counters().frames;
    rig.writer.append(&effect(0, b"first"), 1);
    assert_eq!(
        rig.writer.deadline(),
        Some(0),
        "what was appended wants to be polled at once"
    );
    rig.poll();
    let writes = |rig: &Rig| rig.writes().iter().filter(|(_, dsync)| *dsync).count();
    assert_eq!(writes(&rig), 1);
    for n in 0..20 {
        rig.writer.append(&effect(0, &[n; 50]), 1);
        rig.poll();
        assert_eq!(
            writes(&rig),
            2,
            "a third write while two are under way, or the disk was left idle"
        );
    }
    assert_eq!(rig.writer.durable(), Ticket(0));
    rig.finish_write();
    assert_eq!(rig.writer.durable(), Ticket(1));
    rig.poll();
    assert_eq!(writes(&rig), 2);
    rig.finish_write();
    assert_eq!(rig.writer.durable(), Ticket(2));
    rig.finish_write();
    assert_eq!(
        rig.writer.durable(),
        Ticket(21),
        "nineteen appends, one commit"
    );
    assert_eq!(rig.writer.counters().frames, frames + 3);
    assert_eq!(rig.writer.counters().syncs, 0);
}

#[test]
fn what_somebody_waits_for_is_synced_at_once_and_only_once_for_all() {
    for policy in [Policy::EverySec, Policy::No, Policy::Always] {
        let mut rig = log(policy);
        rig.pass(3_000_000);
        rig.writer.append(&effect(0, b"before"), 1);
        rig.settle();
        rig.pass(10_000);
        let syncs = rig.writer.counters().syncs;
        rig.writer.append(&effect(0, b"awaited"), 1);
        assert_eq!(rig.writer.await_durable(), Ticket(2));
        rig.writer.append(&effect(0, b"too"), 1);
        assert_eq!(rig.writer.await_durable(), Ticket(3));
        assert_eq!(
            rig.writer.await_durable(),
            Ticket(3),
            "as often as one likes"
        );
        rig.settle();
        assert_eq!(
            rig.writer.durable(),
            Ticket(3),
            "{policy:?}: no time has passed"
        );
        let more = u64::from(policy != Policy::Always);
        assert_eq!(rig.writer.counters().syncs, syncs + more, "{policy:?}");
        // Nobody waits any more.
        rig.writer.append(&effect(0, b"after"), 1);
        rig.settle();
        rig.pass(10_000);
        assert_eq!(
            rig.writer.durable(),
            Ticket(if policy == Policy::Always { 4 } else { 3 }),
            "{policy:?}"
        );
    }
}

#[test]
fn everysec_closes_frames_by_size_or_window_and_syncs_within_the_second() {
    let mut rig = log(Policy::EverySec);
    rig.pass(3_000_000);
    rig.writer.append(&effect(0, b"small"), 1);
    rig.poll();
    assert!(rig.writes().is_empty(), "a small frame waits");
    assert_eq!(rig.writer.deadline(), Some(rig.now + 5_000));
    rig.now += 4_999;
    rig.poll();
    assert!(rig.writes().is_empty());
    rig.now += 1;
    rig.poll();
    assert_eq!(rig.writes(), [(4096, false)]);
    rig.writer.append(&effect(0, &[7; 5000]), 1);
    rig.poll();
    assert_eq!(
        rig.writes(),
        [(4096, false), (8192, false)],
        "a large one does not wait"
    );
    let appended = rig.now;
    rig.finish_write();
    rig.finish_write();
    rig.settle();
    assert_eq!(
        rig.writer.durable(),
        Ticket(2),
        "after a quiet time the first sync comes at once"
    );
    rig.writer.append(&effect(0, b"more"), 1);
    rig.pass(5_000);
    assert_eq!(
        rig.writer.durable(),
        Ticket(2),
        "the next sync has its time"
    );
    assert!(
        rig.writer
            .deadline()
            .is_some_and(|at| at <= appended + 1_000_000)
    );
    rig.pass(995_000);
    assert_eq!(
        rig.writer.durable(),
        Ticket(3),
        "and comes within the second"
    );
}

#[test]
fn everysec_never_leaves_anything_at_risk_for_longer_than_its_window() {
    let mut rig = log(Policy::EverySec);
    let mut chance = Chance::new(3);
    let mut appended = Vec::new();
    for _ in 0..3000 {
        let e = effect(0, &vec![1; chance.below(400) as usize]);
        appended.push((rig.now, rig.writer.append(&e, 1)));
        rig.pass(chance.below(4_000));
        let late = appended.iter().find(|(_, t)| *t > rig.writer.durable());
        assert!(
            late.is_none_or(|(at, _)| rig.now - at <= 1_005_000),
            "{late:?} at {}",
            rig.now
        );
    }
}

#[test]
fn no_syncs_only_where_a_segment_ends() {
    let mut rig = log(Policy::No);
    for n in 0..10 {
        rig.writer.append(&effect(0, &[n; 3000]), 1);
        rig.pass(2_000_000);
    }
    assert_eq!(
        (rig.writer.counters().syncs, rig.writer.durable()),
        (0, Ticket(0))
    );
    for n in 0..40 {
        rig.writer.append(&effect(0, &[n; 3000]), 1);
        rig.pass(10_000);
    }
    let counters = rig.writer.counters();
    assert_eq!(counters.syncs, counters.segments - 1);
    assert!(rig.writer.durable() > Ticket(10));
    rig.close();
    assert_eq!(rig.writer.durable(), Ticket(50));
}

#[test]
fn an_idle_log_wants_nothing() {
    for policy in [Policy::Always, Policy::EverySec, Policy::No] {
        let mut rig = log(policy);
        rig.writer.append(&effect(0, b"x"), 1);
        rig.pass(5_000_000);
        assert_eq!(rig.writer.deadline(), None, "{policy:?}");
        let counters = rig.writer.counters();
        rig.pass(60_000_000);
        assert_eq!(
            rig.writer.counters(),
            counters,
            "{policy:?} worked for nothing"
        );
    }
}

#[test]
fn a_change_to_always_makes_durable_what_was_not_synced() {
    let mut rig = log(Policy::No);
    for n in 0..5 {
        rig.writer.append(&effect(0, &[n; 2000]), 1);
        rig.pass(10_000);
    }
    assert_eq!(rig.writer.durable(), Ticket(0));
    rig.writer.set_policy(Policy::Always);
    rig.pass(1);
    assert_eq!(rig.writer.durable(), Ticket(5));
    rig.writer.append(&effect(0, b"y"), 1);
    rig.settle();
    assert_eq!(rig.writer.durable(), Ticket(6));
}

#[test]
fn a_full_disk_refuses_before_it_is_too_late_and_recovers() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(300 << 10));
    let mut rig = started(&disk, small(0, 1, Policy::EverySec));
    let mut taken = 0;
    while rig.writer.accepts().is_ok() {
        taken += 1;
        rig.writer.append(&effect(0, &[taken as u8; 1000]), 1);
        rig.pass(10_000);
        assert!(taken < 1000, "the disk never filled");
    }
    let refusal = rig.writer.accepts().unwrap_err();
    assert!(matches!(refusal, Refusal::DiskFull(_)));
    assert!(refusal.to_string().starts_with("MISCONF "), "{refusal}");
    assert!(
        rig.writer.room() > 48 << 10,
        "refused with a segment's room left"
    );
    rig.pass(2_000_000);
    assert_eq!(
        rig.writer.durable(),
        Ticket(taken),
        "all that was accepted is safe"
    );
    assert!(rig.writer.accepts().is_err());
    disk.set_capacity(None);
    rig.pass(1_000_000);
    assert_eq!(
        rig.writer.accepts(),
        Ok(()),
        "it is tried again every second"
    );
    rig.writer.append(&effect(0, b"on we go"), 1);
    rig.close();
    let (_, shards) = recovered(&disk, &AES, 1).unwrap();
    assert_eq!(effects(&shards[0].0).len() as u64, taken + 1);
}

#[test]
fn a_failed_write_or_sync_is_final() {
    for faults in [
        Faults {
            writes: Some(3),
            syncs: None,
        },
        Faults {
            writes: None,
            syncs: Some(0),
        },
    ] {
        let disk = SimDisk::new();
        let mut rig = started(&disk, small(0, 1, Policy::EverySec));
        disk.set_faults(faults);
        for n in 0..10 {
            rig.writer.append(&effect(0, &[n; 100]), 1);
            rig.pass(10_000);
        }
        let durable = rig.writer.durable();
        assert!(durable < Ticket(10));
        assert!(
            matches!(rig.writer.accepts(), Err(Refusal::Failed(_))),
            "{faults:?}"
        );
        assert!(
            rig.writer
                .failure()
                .is_some_and(|f| f.contains("Input/output error")),
            "{:?}",
            rig.writer.failure()
        );
        disk.set_faults(Faults::default());
        let counters = rig.writer.counters();
        rig.writer.append(&effect(0, b"lost"), 1);
        rig.pass(10_000_000);
        assert_eq!(rig.writer.durable(), durable, "a failure healed");
        assert_eq!(
            (rig.writer.counters().frames, rig.writer.deadline()),
            (counters.frames, None)
        );
        assert!(rig.writer.closed());
    }
}

#[test]
fn a_transaction_out_of_place_stops_the_log() {
    let mut rig = log(Policy::Always);
    let parts = [Part {
        core: 0,
        lsn: 7,
        records: 1,
        effects: b"x",
    }];
    assert!(
        rig.writer
            .append_tx(&Tx {
                id: 1,
                parts: &parts
            })
            .is_err()
    );
    assert!(rig.writer.accepts().is_err());
}

#[test]
fn files_left_over_by_a_crash_become_segments() {
    let disk = SimDisk::new();
    let mut rig = started(&disk, small(0, 1, Policy::EverySec));
    rig.writer.append(&effect(0, b"kept"), 1);
    rig.pass(2_000_000);
    let after = crash(&mut [rig], Crash::Power, &mut Chance::new(1));
    let files = crate::disk::Disk::list(&after).unwrap().len();
    let mut rig = started(&after, small(0, 1, Policy::EverySec));
    assert_eq!(
        rig.writer.counters().recycled,
        1,
        "the segment made ahead was not used again"
    );
    assert_eq!(crate::disk::Disk::list(&after).unwrap().len(), files + 1);
    rig.close();
    assert_eq!(
        effects(&recovered(&after, &AES, 1).unwrap().1[0].0),
        [(0, b"kept".to_vec())]
    );
}

#[test]
fn released_segments_are_recycled_only_when_the_anchor_says_so() {
    let disk = SimDisk::new();
    let mut rig = started(&disk, small(0, 1, Policy::EverySec));
    let mut n = 0u8;
    while rig.writer.counters().segments < 4 {
        n += 1;
        rig.writer.append(&effect(0, &[n; 3000]), 1);
        rig.pass(10_000);
    }
    let run = 1;
    let old = (0..2)
        .map(|seq| format::segment_name(run, 0, seq))
        .collect();
    rig.writer.release(run, 2, old);
    let before = rig.writer.counters();
    while rig.writer.counters().segments < 8 {
        n += 1;
        rig.writer.append(&effect(0, &[n; 3000]), 1);
        rig.pass(10_000);
    }
    assert_eq!(rig.writer.counters().recycled, before.recycled + 2);
    rig.close();
    let begin = Begin {
        run,
        logged: true,
        segments: vec![2],
    };
    let (_, shards) = recovered_from(&disk, &AES, 1, Some(&begin)).unwrap();
    let left = effects(&shards[0].0);
    assert!(
        !left.is_empty() && left.len() < usize::from(n),
        "the log begins where it was said to"
    );
    assert_eq!(left.last(), Some(&(0, vec![n; 3000])));
    assert!(left.windows(2).all(|w| w[0].1[0] + 1 == w[1].1[0]));
    // And still after further runs.
    for _ in 0..2 {
        let (known, _) = recovered_from(&disk, &AES, 1, Some(&begin)).unwrap();
        let config = small(0, 1, Policy::Always);
        let mut rig = Rig::new(&disk, config, &AES, known.start(0, 1));
        rig.begin();
        rig.close();
        let (_, shards) = recovered_from(&disk, &AES, 1, Some(&begin)).unwrap();
        assert_eq!(effects(&shards[0].0), left);
    }
}

#[test]
fn a_unit_longer_than_several_segments_is_there_whole_or_not_at_all() {
    let huge: Vec<u8> = (0..6).flat_map(|n| effect(0, &[n; 60_000])).collect();
    let (mut whole, mut none) = (0, 0);
    for seed in 0..60 {
        let mut chance = Chance::new(seed);
        let disk = SimDisk::new();
        let mut rig = started(&disk, small(0, 1, Policy::Always));
        rig.writer.append(&effect(0, b"before"), 1);
        rig.writer.append(&huge, 6);
        for _ in 0..chance.below(150) {
            rig.poll();
            if rig.under_way() > 0 {
                let which = chance.below(rig.under_way() as u64) as usize;
                rig.finish(which);
            }
        }
        let durable = rig.writer.durable();
        let after = crash(&mut [rig], Crash::Power, &mut chance);
        let there = effects(&recovered(&after, &AES, 1).unwrap().1[0].0).len();
        assert!(matches!(there, 0 | 1 | 7), "seed {seed}: {there} effects");
        assert!(durable < Ticket(2) || there == 7, "seed {seed}");
        whole += usize::from(there == 7);
        none += usize::from(there == 1);
    }
    assert!(whole > 5 && none > 5, "{whole} {none}");
}
