//! The log by itself: what an append costs on the way to the ring (composed, sealed, nothing written),
//! whether that allocates, and how many records a second come back from real files.
//!
//! Run alone on an idle machine: `cargo bench --bench recovery`. Prints Markdown; decides nothing.
//! What the shard does with the effects is not in these figures.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use ferrite_server::disk::real::{RealDisk, RealFile};
use ferrite_server::disk::{Disk, DiskFile};
use ferrite_server::envelope::{Dek, DekId, Purpose};
use ferrite_server::log::{
    Deks, Done, FileNo, LogConfig, Op, Policy, Router, Sink, Writer, recover, scan,
};
use ferrite_server::seal::{Algorithm, Backend, Secret32};

/// Counts allocations made through Rust's allocator.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Records per log; each is as long as a SET of an 11-byte key and a 64-byte value.
const RECORDS: u64 = 2_000_000;
const RECORD: [u8; 80] = [7; 80];
const CORES: u16 = 2;

fn dek(core: u16, algorithm: Algorithm) -> Arc<Dek> {
    let mut dek = Dek::unencrypted(Purpose::Aof, core);
    if algorithm.protects() {
        dek.id = DekId([core as u8 + 1; 16]);
        dek.algorithm = algorithm;
        dek.secret = Secret32::take(&mut [core as u8 + 1; 32]);
    }
    Arc::new(dek)
}

struct Ring(Algorithm);

impl Deks for Ring {
    fn dek(&self, id: &DekId) -> Option<Arc<Dek>> {
        (0..CORES).map(|c| dek(c, self.0)).find(|d| d.id == *id)
    }

    fn node(&self) -> [u8; 16] {
        [0; 16]
    }
}

#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    fn apply(&mut self, effects: &[u8]) -> Result<(), String> {
        self.0 += effects
            .chunks_exact(RECORD.len())
            .filter(|r| r[79] == 7)
            .count() as u64;
        Ok(())
    }
}

/// Deals records out in turn.
struct Deal;

impl Router for Deal {
    fn route(&self, effects: &[u8], shards: &mut [Vec<u8>]) -> Result<(), String> {
        let n = shards.len();
        for (i, record) in effects.chunks_exact(RECORD.len()).enumerate() {
            shards[i % n].extend_from_slice(record);
        }
        Ok(())
    }

    fn pick(&self, _: &[u8], _: &dyn Fn(u16) -> bool, _: &mut Vec<u8>) -> Result<(), String> {
        Err("nothing is picked from these: there is no checkpoint under them".to_owned())
    }
}

/// Carries operations out at once, and counts the time the writer itself took.
struct Driver {
    writer: Writer,
    files: [Option<RealFile>; FileNo::COUNT],
    ops: Vec<Op>,
    now: u64,
}

impl Driver {
    fn poll(&mut self, disk: &RealDisk) {
        self.now += 100;
        self.writer.poll(self.now, &mut self.ops);
        while let Some(op) = self.ops.pop() {
            let (id, result) = match op {
                Op::Write {
                    id,
                    file,
                    offset,
                    buf,
                    ..
                } => match &self.files[file.index()] {
                    Some(f) => (
                        id,
                        f.write_at(&buf, offset, false)
                            .map(|n| Done::Written(buf, n)),
                    ),
                    None => unreachable!("written files are open"),
                },
                Op::Sync { id, .. } => (id, Ok(Done::Synced)), // nothing crashes here
                Op::Perform { id, file, work } => {
                    let made = disk.perform(&work).map(|made| {
                        if let (Some(no), Some(made)) = (file, made) {
                            self.files[no.index()] = Some(made);
                        }
                        Done::Performed
                    });
                    (id, made)
                }
                Op::Close { file } => {
                    self.files[file.index()] = None;
                    continue;
                }
            };
            self.writer.done(id, result, self.now);
            if self.ops.is_empty() {
                self.writer.poll(self.now, &mut self.ops);
            }
        }
    }
}

fn main() {
    println!("| algorithm | tick of | us/tick | allocations/tick | shards | M records/s |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for algorithm in [Algorithm::Aes256Gcm, Algorithm::Off] {
        for tick in [1u32, 16] {
            run(algorithm, tick);
        }
    }
}

fn run(algorithm: Algorithm, tick: u32) {
    let dir = std::env::temp_dir().join(format!("ferrite-bench-log-{}", std::process::id()));
    let disk = RealDisk::open(&dir).expect("the temporary directory can be written");
    let deks = Ring(algorithm);
    let plan = scan(&disk, &deks, Backend::AwsLc, None).expect("an empty directory");
    let mut none: Vec<Count> = (0..CORES).map(|_| Count::default()).collect();
    let found = recover(&disk, plan, None, &mut none, &Deal).expect("an empty log");
    let effects = RECORD.repeat(tick as usize);
    let (mut micros, mut allocations, mut ticks) = (0f64, 0, 0u64);
    let mut logs: Vec<Driver> = (0..CORES)
        .map(|core| {
            let config = LogConfig {
                policy: Policy::EverySec,
                ..LogConfig::new(core, CORES, [0; 16])
            };
            let writer = Writer::new(config, dek(core, algorithm), found.start(core, CORES));
            Driver {
                writer,
                files: Default::default(),
                ops: Vec::new(),
                now: 1,
            }
        })
        .collect();
    logs.iter_mut().for_each(|l| {
        while !l.writer.opened() {
            l.poll(&disk);
        }
    });
    for log in &mut logs {
        log.writer.start();
        for n in 0..RECORDS / u64::from(tick) {
            let before = (Instant::now(), ALLOCATIONS.load(Relaxed));
            log.writer.append(&effects, tick);
            log.writer.poll(log.now, &mut log.ops);
            if n > 10_000 {
                micros += before.0.elapsed().as_nanos() as f64 / 1000.0;
                allocations += ALLOCATIONS.load(Relaxed) - before.1;
                ticks += 1;
            }
            // What was handed out is carried out, unmeasured.
            log.poll(&disk);
        }
        log.writer.close();
        while !log.writer.closed() {
            log.poll(&disk);
        }
        assert_eq!(log.writer.failure(), None);
    }
    for shards in [CORES as usize, 3] {
        let began = Instant::now();
        let plan = scan(&disk, &deks, Backend::AwsLc, None).expect("the log just written");
        let mut sinks: Vec<Count> = (0..shards).map(|_| Count::default()).collect();
        let found = recover(&disk, plan, None, &mut sinks, &Deal).expect("the log just written");
        let rate = found.counters.records as f64 / began.elapsed().as_secs_f64() / 1e6;
        let got: u64 = sinks.iter().map(|s| s.0).sum();
        assert_eq!(got, RECORDS * u64::from(CORES));
        println!(
            "| {algorithm} | {tick} | {:.3} | {:.4} | {shards} | {rate:.2} |",
            micros / ticks as f64,
            allocations as f64 / ticks as f64
        );
    }
    std::fs::remove_dir_all(&dir).expect("the directory was made here");
}
