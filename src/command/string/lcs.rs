//! LCS: the longest common subsequence of two strings, its length, or where it lies in both.

use super::STRING;
use crate::command::row::{Command, KeySpec, Route, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::Decimal;

pub(in crate::command) const ROWS: &[Command] = &[Command {
    name: "lcs",
    arity: -3,
    flags: flag::READONLY,
    keys: &[KeySpec::range(1, 1, key::RO | key::ACCESS)],
    since: "7.0.0",
    complexity: "O(N*M), N and M being the lengths of the strings",
    summary: "Finds the longest common subsequence of two strings.",
    syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    route: Route::Keys,
    run: Run::Data(lcs),
    ..STRING
}];

fn lcs(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let a = string(ctx, args[1])?;
    let b = string(ctx, args[2])?;
    let (mut len, mut idx, mut with_len) = (false, false, false);
    let mut min = 0;
    let mut i = 3;
    while i < args.len() {
        let option = args[i];
        if option.eq_ignore_ascii_case(b"idx") {
            idx = true;
        } else if option.eq_ignore_ascii_case(b"len") {
            len = true;
        } else if option.eq_ignore_ascii_case(b"withmatchlen") {
            with_len = true;
        } else if option.eq_ignore_ascii_case(b"minmatchlen")
            && let Some(n) = args.get(i + 1)
        {
            let n = parse_i64(n).ok_or(Error::NotInteger)?;
            min = u64::try_from(n).unwrap_or(0);
            i += 1;
        } else {
            return Err(Error::Syntax);
        }
        i += 1;
    }
    if idx && len {
        return Err(Error::Text(
            "ERR If you want both the length and indexes, please just use IDX.",
        ));
    }
    let table = Table::new(&a, &b, ctx.max_string)?;
    let reply = &mut ctx.reply;
    if len {
        reply.int(table.total() as i64);
        return Ok(());
    }
    if !idx {
        let mut common = Vec::with_capacity(table.total());
        table.runs(|start, _, n| common.extend(a[start..start + n].iter().rev()));
        common.reverse();
        reply.bulk(&common);
        return Ok(());
    }
    reply.map(2);
    reply.bulk("matches");
    let open = reply.open_array();
    let mut count = 0;
    table.runs(|a, b, n| {
        if n as u64 >= min {
            reply.array(2 + with_len as usize);
            for start in [a, b] {
                reply.array(2);
                reply.int(start as i64);
                reply.int((start + n - 1) as i64);
            }
            if with_len {
                reply.int(n as i64);
            }
            count += 1;
        }
    });
    reply.close_array(open, count);
    reply.bulk("len");
    reply.int(table.total() as i64);
    Ok(())
}

/// A copy of the string; empty for no key.
fn string(ctx: &mut Ctx<'_>, name: &[u8]) -> Result<Vec<u8>, Error> {
    let k = ctx.key(name);
    let mut scratch = Decimal::default();
    match ctx.ks.at(k.slot).get(&k, ctx.now) {
        None => Ok(Vec::new()),
        Some(value) => match value.bytes(&mut scratch) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(Error::Text(
                "ERR The specified keys must contain string values",
            )),
        },
    }
}

/// For every pair of prefixes the length of their longest common subsequence.
struct Table<'a> {
    a: &'a [u8],
    b: &'a [u8],
    /// Row by row, one row a prefix of `a`.
    lens: Vec<u32>,
}

impl<'a> Table<'a> {
    /// Fills the table; refuses one of more than `most` bytes.
    fn new(a: &'a [u8], b: &'a [u8], most: usize) -> Result<Self, Error> {
        let cells = (a.len() + 1).saturating_mul(b.len() + 1);
        if cells.saturating_mul(size_of::<u32>()) > most {
            return Err(Error::Text(
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ));
        }
        let mut lens = Vec::new();
        lens.try_reserve_exact(cells).map_err(|_| {
            Error::Text("ERR Insufficient memory, failed allocating transient memory for LCS")
        })?;
        lens.resize(cells, 0u32);
        let width = b.len() + 1;
        for (i, x) in a.iter().enumerate() {
            let (above, row) = lens[i * width..(i + 2) * width].split_at_mut(width);
            for (j, y) in b.iter().enumerate() {
                row[j + 1] = if x == y {
                    above[j] + 1
                } else {
                    above[j + 1].max(row[j])
                };
            }
        }
        Ok(Table { a, b, lens })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.lens[i * (self.b.len() + 1) + j]
    }

    /// The length of the whole.
    fn total(&self) -> usize {
        self.at(self.a.len(), self.b.len()) as usize
    }

    /// Calls `f` with every contiguous run of the subsequence, from the last to the first: where it
    /// begins in `a` and in `b`, and its length.
    fn runs(&self, mut f: impl FnMut(usize, usize, usize)) {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        let mut run = 0;
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                run += 1;
                i -= 1;
                j -= 1;
                continue;
            }
            if run > 0 {
                f(i, j, run);
                run = 0;
            }
            if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        if run > 0 {
            f(i, j, run);
        }
    }
}
