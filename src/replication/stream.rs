//! What a master sends after the copy, cut into units; and the answers to them, counted.
//!
//! A *unit* is a command, or a transaction from MULTI to EXEC: it is handed on when it is there as a whole, so that a link
//! that breaks within a transaction leaves nothing of it behind. Places in the master's history count its bytes, whatever
//! they are.
//!
//! Promise: pure; the same units and answers however the bytes are cut.

use std::ops::Range;

use crate::limits::Limits;
use crate::resp::{Arg, Parser, Step};

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// To be carried out: so many commands, each of which is answered.
    Commands(usize),
    /// The master asks how far we are.
    GetAck,
    /// A sign of life.
    Ping,
}

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What it is.
    pub what: What,
    /// Its bytes in the cutter's input.
    pub bytes: Range<usize>,
    /// The same without MULTI and EXEC.
    pub inner: Range<usize>,
    /// How many bytes of the history it takes, with blank lines ahead of it.
    pub len: u64,
    /// The name of its first command.
    pub name: String,
}

/// Cuts a stream into units.
#[derive(Debug, Default)]
pub struct Cutter {
    input: Vec<u8>,
    /// Where the next command begins.
    at: usize,
    /// Up to where units have been handed out.
    done: usize,
    parser: Parser,
    args: Vec<Arg>,
    open: Option<Open>,
}

/// A transaction whose EXEC has not come yet.
#[derive(Debug)]
struct Open {
    /// Where its MULTI begins, and where that ends.
    start: usize,
    inner: usize,
    /// Commands in it, MULTI among them.
    commands: usize,
}

impl Cutter {
    /// Takes bytes as they came.
    pub fn feed(&mut self, bytes: &[u8]) {
        // All units have been carried away: their bytes go first.
        self.input.drain(..self.done);
        self.at -= self.done;
        if let Some(open) = &mut self.open {
            open.start -= self.done;
            open.inner -= self.done;
        }
        self.done = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Bytes of units that were handed out since bytes were taken.
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.input[range.clone()]
    }

    /// The next whole unit.
    ///
    /// # Errors
    /// A breach of the protocol; nothing can be made of what follows.
    pub fn next(&mut self) -> Result<Option<Unit>, String> {
        loop {
            self.args.clear();
            let begins = self.at;
            let limits = Limits::default();
            let step = self
                .parser
                .step(&mut self.input, &mut self.at, &mut self.args, &limits);
            match step {
                Step::NeedMore => return Ok(None),
                Step::Fault(fault) => return Err(fault.to_string()),
                Step::Command => {}
            }
            // Inline commands change their bytes when they are read, and are not handed on: masters send none.
            let words: Vec<&[u8]> = self.args.iter().map(|arg| arg.of(&self.input)).collect();
            let is = |i: usize, word: &str| {
                let arg = words.get(i);
                arg.is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
            };
            let name = String::from_utf8_lossy(words[0]).to_lowercase();
            // Blank lines stand ahead of the command.
            let blank = self.input[self.done..]
                .iter()
                .take_while(|b| matches!(b, b'\r' | b'\n'))
                .count();
            match &mut self.open {
                None if is(0, "multi") => {
                    self.open = Some(Open {
                        start: self.done + blank,
                        inner: self.at,
                        commands: 1,
                    });
                }
                Some(open) if !is(0, "exec") => open.commands += 1,
                Some(open) => {
                    let (start, inner) = (open.start, open.inner..begins);
                    let what = What::Commands(open.commands + 1);
                    self.open = None;
                    return Ok(Some(self.unit(what, start, Some(inner), name)));
                }
                None => {
                    let what = match () {
                        () if is(0, "ping") => What::Ping,
                        () if is(0, "replconf") && is(1, "getack") => What::GetAck,
                        () if is(0, "replconf") => What::Ping,
                        () => What::Commands(1),
                    };
                    return Ok(Some(self.unit(what, self.done + blank, None, name)));
                }
            }
        }
    }

    fn unit(
        &mut self,
        what: What,
        start: usize,
        inner: Option<Range<usize>>,
        name: String,
    ) -> Unit {
        let len = (self.at - self.done) as u64;
        self.done = self.at;
        Unit {
            what,
            bytes: start..self.at,
            inner: inner.unwrap_or(start..self.at),
            len,
            name,
        }
    }
}

/// The most commands and bytes that [`run`] puts together.
const MOST: usize = 128;
const MOST_BYTES: usize = 64 << 10;

/// How many of the first of these units may be carried out as one transaction: 1 where that gains nothing.
///
/// A transaction takes all its shards together, which costs messages between cores, however little it does. While the
/// master is ahead, what came from it at once becomes one: whoever reads meanwhile sees what the master had at one moment.
pub fn run(units: &[Unit]) -> usize {
    let (mut commands, mut bytes, mut whole) = (0, 0, 0);
    let fits = |unit: &&Unit| {
        let What::Commands(n) = unit.what else {
            return unit.what == What::Ping;
        };
        commands += n;
        bytes += unit.bytes.len();
        commands <= MOST && bytes <= MOST_BYTES
    };
    let n = units.iter().take_while(fits).count();
    for unit in &units[..n] {
        whole += usize::from(matches!(unit.what, What::Commands(n) if n > 1));
    }
    if whole > 1 { n } else { 1 }
}

/// Counts answers (RESP2), and finds errors in them.
#[derive(Debug, Default)]
pub struct Answers {
    line: Vec<u8>,
    /// Bytes of a string, with its line end, that are still to be passed over.
    skip: usize,
    /// Values that the answer under way still lacks; 0 between answers.
    lacks: usize,
    error: Option<String>,
}

impl Answers {
    /// Takes bytes, and calls `f` with the error in each answer that ends in them, or without.
    ///
    /// # Errors
    /// Bytes that are no answers.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut f: impl FnMut(Option<String>),
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len());
                bytes = &bytes[n..];
                self.skip -= n;
                if self.skip == 0 {
                    self.one_less(&mut f);
                }
                continue;
            }
            let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
                self.line.extend_from_slice(bytes);
                return Ok(());
            };
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.header(line.strip_suffix(b"\r").unwrap_or(&line), &mut f)?;
        }
        Ok(())
    }

    fn header(&mut self, line: &[u8], f: &mut impl FnMut(Option<String>)) -> Result<(), String> {
        let wrong = || "an answer is none".to_owned();
        let (kind, rest) = line.split_first().ok_or_else(wrong)?;
        let number = || {
            let number = str::from_utf8(rest)
                .ok()
                .and_then(|n| n.parse::<i64>().ok());
            number.ok_or_else(wrong)
        };
        if self.lacks == 0 {
            self.lacks = 1;
        }
        match kind {
            b'+' | b':' => self.one_less(f),
            b'-' => {
                let text = String::from_utf8_lossy(rest).into_owned();
                self.error.get_or_insert(text);
                self.one_less(f);
            }
            b'$' => match usize::try_from(number()?) {
                Ok(len) => self.skip = len + 2,
                Err(_) => self.one_less(f),
            },
            b'*' => {
                self.lacks += usize::try_from(number()?).unwrap_or(0);
                self.one_less(f);
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    fn one_less(&mut self, f: &mut impl FnMut(Option<String>)) {
        self.lacks -= 1;
        if self.lacks == 0 {
            f(self.error.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::talk::request;
    use super::*;

    fn words(line: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        request(&words)
    }

    /// A stream as a master sends it.
    fn stream() -> Vec<u8> {
        [
            "SELECT 0",
            "set a 1",
            "PING",
            "MULTI",
            "incr a",
            "del b",
            "EXEC",
            "REPLCONF GETACK *",
            "SELECT 9",
            "rpush l x",
        ]
        .map(words)
        .concat()
    }

    #[test]
    fn units_are_the_same_however_the_bytes_are_cut() {
        let stream = stream();
        for cut in 1..stream.len() {
            let mut cutter = Cutter::default();
            let (mut units, mut forwarded, mut len) = (Vec::new(), Vec::new(), 0);
            let mut inner = Vec::new();
            for piece in stream.chunks(cut) {
                cutter.feed(piece);
                while let Some(unit) = cutter.next().unwrap() {
                    len += unit.len;
                    if let What::Commands(_) = unit.what {
                        forwarded.extend_from_slice(cutter.bytes(&unit.bytes));
                        inner.extend_from_slice(cutter.bytes(&unit.inner));
                    }
                    units.push((unit.what, unit.name));
                }
            }
            assert_eq!(len, stream.len() as u64);
            assert_eq!(cutter.done, cutter.input.len());
            let named = |what, name: &str| (what, name.to_owned());
            assert_eq!(
                units,
                [
                    named(What::Commands(1), "select"),
                    named(What::Commands(1), "set"),
                    named(What::Ping, "ping"),
                    named(What::Commands(4), "exec"),
                    named(What::GetAck, "replconf"),
                    named(What::Commands(1), "select"),
                    named(What::Commands(1), "rpush"),
                ]
            );
            let expected = [
                "SELECT 0",
                "set a 1",
                "MULTI",
                "incr a",
                "del b",
                "EXEC",
                "SELECT 9",
                "rpush l x",
            ];
            assert_eq!(forwarded, expected.map(words).concat());
            let bare = expected
                .iter()
                .filter(|line| !["MULTI", "EXEC"].contains(line));
            let bare: Vec<u8> = bare.flat_map(|line| words(line)).collect();
            assert_eq!(inner, bare);
        }
    }

    #[test]
    fn what_came_at_once_is_put_together_where_there_are_transactions() {
        let units = |stream: &str| {
            let mut cutter = Cutter::default();
            let lines = stream.split(';').map(words);
            cutter.feed(&lines.collect::<Vec<_>>().concat());
            let mut units = Vec::new();
            while let Some(unit) = cutter.next().unwrap() {
                units.push(unit);
            }
            units
        };
        assert_eq!(run(&units("set a 1;set b 2;set c 3")), 1);
        let tx = "multi;incr a;incr b;exec";
        assert_eq!(run(&units(&format!("{tx};set c 3"))), 1);
        assert_eq!(run(&units(&format!("set c 3;{tx};PING;{tx};del c"))), 5);
        let ack = "REPLCONF GETACK *";
        assert_eq!(run(&units(&format!("{tx};{tx};{ack};{tx}"))), 2);
        let many = vec![tx; 100].join(";");
        assert_eq!(run(&units(&many)), MOST / 4);
        let long = format!("set a {}", "x".repeat(MOST_BYTES));
        assert_eq!(run(&units(&format!("{tx};{tx};{long};{tx}"))), 2);
        assert_eq!(run(&units(&format!("{long};{tx};{tx}"))), 1);
    }

    #[test]
    fn blank_lines_count_and_belong_to_no_command() {
        let mut cutter = Cutter::default();
        cutter.feed(b"\n\r\n*1\r\n$4\r\nPING\r\n\n*2\r\n$3\r\ndel\r\n$1\r\na\r\n");
        let ping = cutter.next().unwrap().unwrap();
        assert_eq!((ping.what, ping.len), (What::Ping, 17));
        let del = cutter.next().unwrap().unwrap();
        assert_eq!(cutter.bytes(&del.bytes), words("del a"));
        assert_eq!(del.len, words("del a").len() as u64 + 1);
        cutter.feed(b"*x\r\n");
        assert!(cutter.next().is_err());
    }

    #[test]
    fn answers_are_counted_and_errors_found_in_whatever_they_stand() {
        let bytes = b"+OK\r\n:5\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*0\r\n-ERR one\r\n\
                      *3\r\n:1\r\n*2\r\n-WRONGTYPE two\r\n$0\r\n\r\n-ERR three\r\n+OK\r\n";
        let expected = [
            None,
            None,
            None,
            None,
            None,
            None,
            Some("ERR one".to_owned()),
            Some("WRONGTYPE two".to_owned()),
            None,
        ];
        for cut in 1..bytes.len() {
            let (mut answers, mut found) = (Answers::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                answers.feed(piece, |error| found.push(error)).unwrap();
            }
            assert_eq!(found, expected, "cut by {cut}");
        }
        assert!(Answers::default().feed(b"?\r\n", |_| {}).is_err());
        assert!(Answers::default().feed(b"$x\r\n", |_| {}).is_err());
    }
}
