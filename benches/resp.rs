//! What reading requests and writing replies costs: nanoseconds a command for whole pipelines, for input that
//! arrives in pieces, and for inline commands.
//!
//! Run alone on an idle machine: `cargo bench --bench resp`. Prints a Markdown table; decides nothing.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ferrite_server::resp::{Arg, Limits, Parser, Proto, Reply, Step};

/// Time for each cell of the table.
const CELL: Duration = Duration::from_millis(300);
/// Commands of one pipeline.
const DEPTH: usize = 16;

fn main() {
    println!("| what | bytes a command | ns a command | GB/s |");
    println!("| --- | --- | --- | --- |");
    for size in [3, 1024, 10_240] {
        let value = "x".repeat(size);
        let set: String = (0..DEPTH)
            .map(|i| format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{i:012}\r\n${size}\r\n{value}\r\n"))
            .collect();
        row(&format!("parse SET {size} B"), set.as_bytes(), set.len());
        row(
            &format!("parse SET {size} B, cut at every 1448 B"),
            set.as_bytes(),
            1448,
        );
    }
    let get: String = (0..DEPTH)
        .map(|i| format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{i:012}\r\n"))
        .collect();
    row("parse GET", get.as_bytes(), get.len());
    let inline: String = (0..DEPTH).map(|i| format!("GET key:{i:012}\r\n")).collect();
    row("parse inline GET", inline.as_bytes(), inline.len());
    for size in [3, 1024, 10_240] {
        reply(&format!("write bulk {size} B"), size);
    }
}

/// Measures `work`, which handles `DEPTH` commands of `bytes` in all, and prints its row.
fn measure(what: &str, bytes: usize, mut work: impl FnMut()) {
    let mut rounds = 0u64;
    let begin = Instant::now();
    while begin.elapsed() < CELL {
        for _ in 0..64 {
            work();
        }
        rounds += 64;
    }
    let ns = begin.elapsed().as_nanos() as f64 / (rounds * DEPTH as u64) as f64;
    let each = bytes / DEPTH;
    println!("| {what} | {each} | {ns:.1} | {:.2} |", each as f64 / ns);
}

/// Parses a pipeline that arrives in pieces of `piece` bytes.
fn row(what: &str, pipeline: &[u8], piece: usize) {
    let limits = Limits::default();
    let mut parser = Parser::default();
    let mut buffer = pipeline.to_vec();
    let mut args: Vec<Arg> = Vec::new();
    measure(what, pipeline.len(), || {
        let (mut pos, mut end, mut commands) = (0, 0, 0);
        while end < buffer.len() {
            end = (end + piece).min(buffer.len());
            while pos < end {
                args.clear();
                match parser.step(&mut buffer[..end], &mut pos, &mut args, &limits) {
                    Step::Command => commands += 1,
                    Step::NeedMore => break,
                    Step::Fault(fault) => panic!("{fault:?}"),
                }
                black_box(&args);
            }
        }
        assert_eq!(commands, DEPTH);
    });
}

/// Writes `DEPTH` bulk replies.
fn reply(what: &str, size: usize) {
    let value = vec![b'x'; size];
    let mut out = Vec::with_capacity(DEPTH * (size + 32));
    measure(what, DEPTH * size, || {
        out.clear();
        let mut reply = Reply {
            buf: &mut out,
            proto: Proto::Resp2,
        };
        for _ in 0..DEPTH {
            reply.bulk(black_box(&value));
        }
        black_box(&out);
    });
}
