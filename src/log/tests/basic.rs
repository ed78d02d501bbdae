//! The ordinary life of a log: what goes in comes out, under every policy and algorithm, over frames,
//! segments, restarts and other numbers of shards.

use super::rig::*;
use crate::disk::sim::SimDisk;
use crate::log::*;
use crate::seal::Algorithm;

fn body(n: u64, len: usize) -> Vec<u8> {
    (0..len).map(|i| (n as usize * 31 + i * 7) as u8).collect()
}

#[test]
fn what_was_appended_comes_back_in_order_over_clean_restarts() {
    for algorithm in Algorithm::ALL {
        for policy in [Policy::Always, Policy::EverySec, Policy::No] {
            let deks = TestDeks::new(algorithm);
            let disk = SimDisk::new();
            let mut expected = Vec::new();
            for run in 1..=3u64 {
                let (found, shards) = recovered(&disk, &deks, 1).unwrap();
                assert_eq!(effects(&shards[0].0), expected, "{algorithm} {policy:?} run {run}");
                assert_eq!(found.next_run(), run);
                let mut rig = Rig::new(&disk, small(0, 1, policy), &deks, found.start(0, 1));
                rig.begin();
                for n in 0..200 {
                    let len = if n % 50 == 49 { 30_000 } else { (n * 13 % 700) as usize };
                    let e = body(n + run, len);
                    rig.writer.append(&effect(0, &e), 1);
                    expected.push((0, e));
                    if n % 3 == 0 {
                        rig.pass(6_000);
                    }
                }
                rig.close();
                assert_eq!(rig.writer.durable(), Ticket(200));
                assert!(rig.writer.counters().segments > 3);
            }
        }
    }
}
