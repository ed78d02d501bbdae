//! The way of a SET and a GET through one core, without sockets and disk: parse, look the command up, hash the key,
//! apply, write the reply, encode the effect, and seal the effects in frames of 64 KiB. Over a million keys, so that
//! the caches miss as they do in service; with and without the staged prefetch of a tick.
//!
//! Run alone on an idle machine: `cargo bench --bench set_path`. Prints a Markdown table; decides nothing.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ferrite_server::command::{self, Ctx, Run};
use ferrite_server::resp::{Arg, Limits, Parser, Proto, Reply, Step};
use ferrite_server::seal::{Algorithm, FileKey, Secret32, accel};
use ferrite_server::shard::{Expire, Key, Keyspace};
use ferrite_server::slot;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Keys present, fewer where the values are large.
fn keys(size: usize) -> usize {
    (1_000_000).min((512 << 20) / (size + 32))
}

/// Time for each cell of the table.
const CELL: Duration = Duration::from_millis(800);
/// Commands of one tick.
const TICK: usize = 256;
const FRAME: usize = 64 << 10;
const NOW: u64 = 1_800_000_000_000;

fn main() {
    println!("| command | value B | prefetch | ns an operation | of it sealing | effect bytes |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for size in [3, 1024, 10_240] {
        let mut ks = Keyspace::new(slot::Map::new(1), 7, 16);
        let shard = ks.make_shard(0);
        ks.put(shard);
        let value = vec![b'x'; size];
        for i in 0..keys(size) {
            let name = format!("key:{i:012}");
            let key = ks.key(0, name.as_bytes());
            let shard = ks.at(key.slot);
            shard.set(&key, &value, Expire::None, NOW);
            shard.effects.clear();
        }
        for set in [true, false] {
            for prefetch in [false, true] {
                row(&mut ks, set, &value, prefetch);
            }
        }
    }
}

/// The ticks of one cell: pipelines of random keys, made beforehand.
fn pipelines(set: bool, value: &[u8]) -> Vec<Vec<u8>> {
    let mut state = 1u64;
    let many = (64 << 20) / (TICK * (value.len() + 64)) + 1;
    (0..many.min(200))
        .map(|_| {
            let mut bytes = Vec::new();
            for _ in 0..TICK {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let key = format!("key:{:012}", (state >> 33) as usize % keys(value.len()));
                if set {
                    bytes.extend_from_slice(
                        format!("*3\r\n$3\r\nSET\r\n$16\r\n{key}\r\n${}\r\n", value.len())
                            .as_bytes(),
                    );
                    bytes.extend_from_slice(value);
                    bytes.extend_from_slice(b"\r\n");
                } else {
                    bytes.extend_from_slice(
                        format!("*2\r\n$3\r\nGET\r\n$16\r\n{key}\r\n").as_bytes(),
                    );
                }
            }
            bytes
        })
        .collect()
}

fn row(ks: &mut Keyspace, set: bool, value: &[u8], prefetch: bool) {
    let mut ticks = pipelines(set, value);
    let limits = Limits::default();
    let mut parser = Parser::default();
    let (mut args, mut ends, mut out) = (Vec::<Arg>::new(), Vec::new(), Vec::new());
    let secret = Secret32::random().expect("the system's randomness");
    let backend = accel::choose(Algorithm::Aes256Gcm).backend;
    let mut file = FileKey::create(&secret, Algorithm::Aes256Gcm, backend, "bench", b"")
        .expect("a key")
        .0;
    let (mut operations, mut effect_bytes, mut sealing) = (0u64, 0u64, Duration::ZERO);
    let begin = Instant::now();
    let mut at = 0;
    while begin.elapsed() < CELL {
        let many = ticks.len();
        let buffer = &mut ticks[at];
        at = (at + 1) % many;
        args.clear();
        ends.clear();
        out.clear();
        let mut pos = 0;
        while pos < buffer.len() {
            assert!(matches!(
                parser.step(buffer, &mut pos, &mut args, &limits),
                Step::Command
            ));
            ends.push(args.len());
        }
        tick(ks, buffer, &args, &ends, &mut out, prefetch);
        operations += ends.len() as u64;
        let shard = ks.shard(0);
        if shard.effects.buf.len() >= FRAME {
            effect_bytes += shard.effects.buf.len() as u64;
            let start = Instant::now();
            for frame in shard.effects.buf.chunks_mut(FRAME) {
                black_box(
                    file.seal(b"frame header", frame)
                        .expect("within its limits"),
                );
            }
            sealing += start.elapsed();
            shard.effects.clear();
        }
    }
    let each = |d: Duration| d.as_nanos() as f64 / operations as f64;
    println!(
        "| {} | {} | {} | {:.0} | {:.0} | {} |",
        if set { "SET" } else { "GET" },
        value.len(),
        if prefetch { "yes" } else { "no" },
        each(begin.elapsed()),
        each(sealing),
        effect_bytes / operations
    );
    ks.shard(0).effects.clear();
}

/// One tick: hash and prefetch in stages, then execute in order.
fn tick(
    ks: &mut Keyspace,
    buffer: &[u8],
    args: &[Arg],
    ends: &[usize],
    out: &mut Vec<u8>,
    prefetch: bool,
) {
    let mut keys: Vec<Key<'_>> = Vec::with_capacity(ends.len());
    let mut from = 0;
    for &end in ends {
        keys.push(ks.key(0, args[from + 1].of(buffer)));
        from = end;
    }
    if prefetch {
        keys.iter().for_each(|k| ks.prefetch_slot(k));
        keys.iter().for_each(|k| ks.prefetch_bucket(k));
        keys.iter().for_each(|k| ks.prefetch_entry(k));
    }
    let mut from = 0;
    for (&end, key) in ends.iter().zip(&keys) {
        let mut words: [&[u8]; 3] = [b""; 3];
        let n = end - from;
        for (word, arg) in words.iter_mut().zip(&args[from..end]) {
            *word = arg.of(buffer);
        }
        from = end;
        let (row, _) = command::lookup(words[0]).expect("a known command");
        let Run::Data(run) = row.run else {
            unreachable!("SET and GET are data commands")
        };
        let mut ctx = Ctx {
            ks,
            db: 0,
            databases: 16,
            now: NOW,
            now_us: NOW * 1000,
            random: 1,
            first: Some(*key),
            may_wait: false,
            wait: None,
            max_string: ferrite_server::limits::BULK_LEN,
            reply: Reply {
                buf: out,
                proto: Proto::Resp2,
            },
        };
        command::run(run, &mut ctx, &words[..n]).expect("no error");
    }
    black_box(&out);
}
