//! Who may touch which key is decided by where the table says that the keys stand. So what the table cannot tell the
//! keys of must be refused by the command itself, whatever the arguments.

use super::*;
use crate::command::{all, keys_of};

#[test]
fn a_command_whose_keys_cannot_be_told_is_refused() {
    let vocabulary = [
        "a",
        "b",
        "0",
        "1",
        "2",
        "3",
        "-1",
        "99",
        "x",
        "",
        "get",
        "set",
        "store",
        "storedist",
        "by",
        "limit",
        "count",
        "streams",
        "group",
        "keys",
        "weights",
        "aggregate",
        "left",
        "right",
        "min",
        "max",
        "withscores",
        "nx",
        "ex",
        "*",
        "$",
        "u8",
        "and",
        "not",
    ];
    let mut rng = Rng(41);
    let mut tried = 0;
    for row in all().filter(|row| !row.keys.is_empty()) {
        let Run::Data(f) = row.run else { continue };
        for _ in 0..300 {
            let fewest = usize::from(row.arity.unsigned_abs());
            let more = if row.arity < 0 { rng.below(6) } else { 0 };
            let mut args: Vec<&[u8]> = row.name.split('|').map(str::as_bytes).collect();
            while args.len() < fewest + more {
                args.push(rng.pick(&vocabulary).as_bytes());
            }
            if keys_of(row, &args, &mut Vec::new()).is_ok() {
                continue;
            }
            tried += 1;
            let mut local = Local::new();
            let mut out = Vec::new();
            let now_us = 1_700_000_000_000_000;
            let mut ctx = Ctx {
                ks: &mut local.ks,
                db: 0,
                databases: DATABASES,
                now: now_us / 1000,
                now_us,
                random: rng.next(),
                first: None,
                may_wait: false,
                wait: None,
                max_string: 512 << 20,
                reply: Reply {
                    buf: &mut out,
                    proto: Proto::Resp2,
                },
            };
            let result = run(f, &mut ctx, &args);
            let shown: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
            assert!(result.is_err(), "{} is not refused", show(&shown));
        }
    }
    eprintln!("{tried} requests whose keys cannot be told");
}
