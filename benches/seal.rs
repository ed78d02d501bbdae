//! What sealing costs: time per message and GB/s of both backends at the sizes Ferrite uses, and
//! that the hot path does not allocate.
//!
//! Run alone on an idle machine: `cargo bench --bench seal`. Prints a Markdown table; decides
//! nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ferrite_server::seal::{Algorithm, Backend, FileKey, Secret32, accel};

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

const SIZES: [usize; 6] = [64, 256, 1024, 4096, 65536, 262_144];
/// Time for each cell of the table.
const CELL: Duration = Duration::from_millis(200);

fn main() {
    let dek = Secret32::random().expect("the system's randomness");
    println!("CPU: {:?}\n", accel::detect());
    println!(
        "| algorithm | backend | bytes | seal ns | seal GB/s | open ns | open GB/s | allocations |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for algorithm in [
        Algorithm::Aes256Gcm,
        Algorithm::ChaCha20Poly1305,
        Algorithm::Off,
    ] {
        let backends = if algorithm.protects() {
            &Backend::ALL[..]
        } else {
            &Backend::ALL[..1]
        };
        for &backend in backends {
            for size in SIZES {
                row(&dek, algorithm, backend, size);
            }
        }
    }
    println!();
    derivation(&dek);
    let begin = Instant::now();
    for algorithm in Algorithm::ALL {
        let choice = accel::choose(algorithm);
        println!(
            "chosen for {algorithm}: {} {:?}",
            choice.backend,
            choice.chosen()
        );
    }
    println!("three choices took {:?}", begin.elapsed());
}

fn row(dek: &Secret32, algorithm: Algorithm, backend: Backend, size: usize) {
    let (mut key, _) =
        FileKey::create(dek, algorithm, backend, "bench", b"").expect("the system's randomness");
    let aad = [7; 64];
    let mut buf = vec![1; size];
    let before = ALLOCATIONS.load(Relaxed);
    let seal = each(|| {
        black_box(
            key.seal(&aad, black_box(&mut buf))
                .expect("far from a limit"),
        );
    });
    // Opening wants what was sealed; the copy is timed by itself and taken off.
    buf.fill(1);
    let (counter, tag) = key.seal(&aad, &mut buf).expect("far from a limit");
    let mut text = [0; 262_144];
    let text = &mut text[..size];
    let copy = each(|| black_box(&mut *text).copy_from_slice(black_box(&buf)));
    let open = each(|| {
        text.copy_from_slice(&buf);
        key.open(counter, &aad, black_box(&mut *text), &tag)
            .expect("it is authentic");
    });
    let allocations = ALLOCATIONS.load(Relaxed) - before;
    let open = (open - copy).max(0.0);
    println!(
        "| {algorithm} | {backend} | {size} | {seal:.0} | {:.2} | {open:.0} | {:.2} | {allocations} |",
        size as f64 / seal,
        size as f64 / open,
    );
}

fn derivation(dek: &Secret32) {
    for backend in Backend::ALL {
        let took = each(|| {
            black_box(FileKey::derive(
                dek,
                Algorithm::Aes256Gcm,
                backend,
                "bench",
                &[1; 32],
                &[2; 128],
            ));
        });
        println!("deriving a file's key, {backend}: {took:.0} ns");
    }
}

/// Nanoseconds a call, averaged over `CELL` after a tenth of it to warm up.
fn each(mut call: impl FnMut()) -> f64 {
    let mut run = |time: Duration| {
        let begin = Instant::now();
        let mut calls = 0u64;
        loop {
            for _ in 0..16 {
                call();
            }
            calls += 16;
            let took = begin.elapsed();
            if took >= time {
                return took.as_nanos() as f64 / calls as f64;
            }
        }
    };
    run(CELL / 10);
    run(CELL)
}
