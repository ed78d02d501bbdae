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
                assert_eq!(
                    effects(&shards[0].0),
                    expected,
                    "{algorithm} {policy:?} run {run}"
                );
                assert_eq!(found.next_run(), run);
                let mut rig = Rig::new(&disk, small(0, 1, policy), &deks, found.start(0, 1));
                rig.begin();
                for n in 0..200 {
                    let len = if n % 50 == 49 {
                        30_000
                    } else {
                        (n * 13 % 700) as usize
                    };
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

#[test]
fn another_number_of_shards_gets_the_same_data() {
    let disk = SimDisk::new();
    let mut total = Vec::new();
    for (round, cores) in [2u16, 4, 3, 1, 4].into_iter().enumerate() {
        let (found, _) = recovered(&disk, &AES, 5).unwrap();
        let rig = |core| {
            let start = found.start(core, cores);
            Rig::new(&disk, small(core, cores, Policy::EverySec), &AES, start)
        };
        let mut rigs: Vec<Rig> = (0..cores).map(rig).collect();
        rigs.iter_mut().for_each(Rig::settle);
        rigs.iter_mut().for_each(|r| r.writer.start());
        for n in 0..60u64 {
            let home = (n * 7 % 16) as u8;
            let core = usize::from(u16::from(home) * cores / 16);
            let e = body(n + round as u64 * 100, 200);
            rigs[core].writer.append(&effect(home, &e), 1);
            rigs[core].pass(6_000);
            total.push((home, e));
        }
        rigs.iter_mut().for_each(Rig::close);
    }
    for shards in 1..=8 {
        let (found, memories) = recovered(&disk, &AES, shards).unwrap();
        assert_eq!(found.counters.units, 300);
        for home in 0..16u8 {
            let at = usize::from(home) * shards / 16;
            let of_home = |all: &[(u8, Vec<u8>)]| -> Vec<Vec<u8>> {
                all.iter()
                    .filter(|e| e.0 == home)
                    .map(|e| e.1.clone())
                    .collect()
            };
            assert_eq!(
                of_home(&effects(&memories[at].0)),
                of_home(&total),
                "home {home} of {shards}"
            );
        }
    }
}

#[test]
fn a_shard_that_refuses_its_effects_stops_recovery_with_the_place() {
    struct Picky(u32);
    impl Sink for Picky {
        fn apply(&mut self, _: &[u8]) -> Result<(), String> {
            self.0 += 1;
            if self.0 > 1 {
                Err("no more".into())
            } else {
                Ok(())
            }
        }
    }
    let disk = SimDisk::new();
    let (found, _) = recovered(&disk, &AES, 1).unwrap();
    let mut rig = Rig::new(
        &disk,
        small(0, 1, Policy::EverySec),
        &AES,
        found.start(0, 1),
    );
    rig.begin();
    for n in 0..300 {
        rig.writer.append(&effect(n as u8 % 16, &body(n, 3_000)), 1);
        rig.pass(6_000);
    }
    rig.close();
    for shards in [1, 3] {
        let plan = scan(&disk, &AES, crate::seal::Backend::RustCrypto, None).unwrap();
        let mut sinks: Vec<Picky> = (0..shards).map(|_| Picky(0)).collect();
        match recover(&disk, plan, None, &mut sinks, &ByHome) {
            Err(LogError::Effects {
                file,
                offset,
                reason,
            }) => {
                assert!(
                    file.ends_with(".seg") && offset > 0 && reason == "no more",
                    "{file} {offset}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_log_on_real_files_comes_back_and_shows_nothing_of_what_it_holds() {
    use crate::disk::real::{RealDisk, RealFile};
    use crate::disk::{Disk, DiskFile};
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(&dir.path().join("log")).unwrap();
    let canary = b"a canary that must not be seen";
    for run in 1..=2u64 {
        let plan = scan(&disk, &AES, crate::seal::Backend::AwsLc, None).unwrap();
        let mut sinks = [Memory::default()];
        let found = recover(&disk, plan, None, &mut sinks, &ByHome).unwrap();
        assert_eq!(effects(&sinks[0].0).len() as u64, (run - 1) * 100);
        let config = small(0, 1, Policy::Always);
        let mut writer = Writer::new(config, AES.of(0), found.start(0, 1));
        let mut files: [Option<RealFile>; FileNo::COUNT] = Default::default();
        let (mut ops, mut appended, mut closing) = (Vec::new(), 0, false);
        while !writer.closed() {
            if writer.opened() && appended == 0 {
                writer.start();
            }
            if writer.opened() && appended < 100 {
                writer.append(&effect(0, &canary.repeat(20)), 1);
                appended += 1;
            } else if appended == 100 && !closing {
                closing = true;
                writer.close();
            }
            writer.poll(appended, &mut ops);
            for op in ops.drain(..) {
                let (id, result) = match op {
                    Op::Write {
                        id,
                        file,
                        offset,
                        buf,
                        dsync,
                    } => {
                        let f = files[file.index()].as_ref().unwrap();
                        (
                            id,
                            f.write_at(&buf, offset, dsync)
                                .map(|n| Done::Written(buf, n)),
                        )
                    }
                    Op::Sync { id, file } => (
                        id,
                        files[file.index()]
                            .as_ref()
                            .unwrap()
                            .sync()
                            .map(|()| Done::Synced),
                    ),
                    Op::Perform { id, file, work } => {
                        let made = disk.perform(&work);
                        (
                            id,
                            made.map(|made| {
                                if let (Some(no), Some(made)) = (file, made) {
                                    files[no.index()] = Some(made);
                                }
                                Done::Performed
                            }),
                        )
                    }
                    Op::Close { file } => {
                        files[file.index()] = None;
                        continue;
                    }
                };
                writer.done(id, result, appended);
            }
            assert_eq!(writer.failure(), None);
        }
        assert_eq!(writer.durable(), Ticket(100));
    }
    for entry in disk.list().unwrap() {
        let bytes = std::fs::read(disk.dir().join(&entry.name)).unwrap();
        let seen = bytes.windows(canary.len()).any(|w| w == canary);
        assert!(!seen, "{} shows what it holds", entry.name);
    }
}
