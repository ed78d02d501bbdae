//! kill -9 under load, over and over, on one data directory: what was acknowledged must be there afterwards.
//!
//! Under `always` that is every acknowledged write. Under `everysec` it is every write acknowledged earlier than
//! the batch window before the kill; the test allows [`WINDOW`], far more than the 5 ms of the default, because the
//! time of a write to a busy disk comes on top. Transactions and MSETs across shards are everywhere or nowhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::random::Random;
use crate::common::server::{Home, Server};
use crate::common::slots;
use crate::common::wire::{Value, Wire, command};
use crate::oracle::{Journal, Loss, Words, random_write};

/// Age from which an acknowledged write must have survived under `everysec`.
const WINDOW: Duration = Duration::from_millis(500);

const WRITERS: usize = 4;
const ACCOUNTS: usize = 3;

/// One thing that a writer asked for in one go.
enum Item {
    /// A write to the journal of this index.
    Own(usize),
    /// A transfer between accounts on two shards, in MULTI / EXEC.
    Transfer(usize),
    /// One value under a key on each shard.
    Everywhere(u64),
    /// INCR of the counter that all writers share.
    Count,
}

/// A transfer: its markers are written in the same transaction as the two balances.
struct Transfer {
    id: String,
    from: String,
    to: String,
    amount: i64,
    markers: [String; 2],
    acked: Option<Instant>,
}

/// One connection's worth of load, with its memory of what it sent and what was acknowledged.
struct Writer {
    id: usize,
    random: Random,
    tags: Vec<String>,
    journals: Vec<Journal>,
    transfers: Vec<Transfer>,
    everywhere_sent: u64,
    everywhere_acked: Vec<(u64, Instant)>,
    counts_sent: u64,
    counts_acked: Vec<Instant>,
    turn: u64,
}

impl Writer {
    fn new(id: usize, tags: &[String], seed: u64) -> Writer {
        Writer {
            id,
            random: Random::new(seed),
            tags: tags.to_vec(),
            journals: tags
                .iter()
                .map(|t| Journal::new(format!("{{{t}}}:w{id}")))
                .collect(),
            transfers: Vec::new(),
            everywhere_sent: 0,
            everywhere_acked: Vec::new(),
            counts_sent: 0,
            counts_acked: Vec::new(),
            turn: 0,
        }
    }

    fn everywhere_key(&self, tag: &str) -> String {
        format!("{{{tag}}}:all:w{}", self.id)
    }

    /// One item as bytes; it is in the books before it is on the wire.
    fn next(&mut self, out: &mut Vec<u8>) -> Item {
        self.turn += 1;
        let unique = format!("w{}.{}", self.id, self.turn);
        match self.random.below(12) {
            0 | 1 => {
                let (a, b) = (
                    self.random.below(self.tags.len()),
                    self.random.below(self.tags.len()),
                );
                let (from, to) = (&self.tags[a], &self.tags[b]);
                let transfer = Transfer {
                    from: format!("{{{from}}}:account:{}", self.random.below(ACCOUNTS)),
                    to: format!(
                        "{{{to}}}:account:{}",
                        ACCOUNTS + self.random.below(ACCOUNTS)
                    ),
                    amount: 1 + self.random.below(100) as i64,
                    markers: [
                        format!("{{{from}}}:from:{unique}"),
                        format!("{{{to}}}:to:{unique}"),
                    ],
                    acked: None,
                    id: unique,
                };
                let amount = transfer.amount.to_string();
                out.extend(command(&["MULTI"]));
                out.extend(command(&["DECRBY", &transfer.from, &amount]));
                out.extend(command(&["SET", &transfer.markers[0], &transfer.id]));
                out.extend(command(&["INCRBY", &transfer.to, &amount]));
                out.extend(command(&["SET", &transfer.markers[1], &transfer.id]));
                out.extend(command(&["EXEC"]));
                self.transfers.push(transfer);
                Item::Transfer(self.transfers.len() - 1)
            }
            2 => {
                self.everywhere_sent += 1;
                let value = self.everywhere_sent.to_string();
                let mut words = vec!["MSET".to_owned()];
                for tag in &self.tags {
                    words.extend([self.everywhere_key(tag), value.clone()]);
                }
                out.extend(command(&words));
                Item::Everywhere(self.everywhere_sent)
            }
            3 => {
                self.counts_sent += 1;
                out.extend(command(&["INCR", "counter"]));
                Item::Count
            }
            _ => {
                let at = self.random.below(self.journals.len());
                let words: Words =
                    random_write(&mut self.random, &self.journals[at].prefix, &unique);
                out.extend(command(&words));
                self.journals[at].sent(words);
                Item::Own(at)
            }
        }
    }

    /// Reads the replies of one item. An error reply is a failure of the test; a broken connection is the kill.
    fn hear(&mut self, wire: &mut Wire, item: &Item) -> std::io::Result<()> {
        let mut good = |what: &str| {
            let value = wire.reply()?;
            assert!(!value.is_error(), "{what}: {value:?}");
            std::io::Result::Ok(value)
        };
        match item {
            Item::Own(at) => {
                good("a write")?;
                self.journals[*at].acknowledged(Instant::now());
            }
            Item::Transfer(at) => {
                for _ in 0..5 {
                    good("a queued command")?;
                }
                let done = good("EXEC")?;
                assert_eq!(done.items().len(), 4, "EXEC: {done:?}");
                assert!(!done.items().iter().any(Value::is_error), "EXEC: {done:?}");
                self.transfers[*at].acked = Some(Instant::now());
            }
            Item::Everywhere(n) => {
                good("MSET")?;
                self.everywhere_acked.push((*n, Instant::now()));
            }
            Item::Count => {
                good("INCR")?;
                self.counts_acked.push(Instant::now());
            }
        }
        Ok(())
    }

    /// Writes until the connection breaks.
    fn write(&mut self, mut wire: Wire, stop: &AtomicBool) {
        // One writer asks one thing at a time, as most clients do; the others pipeline.
        let depth = [1, 4, 16, 40][self.id % 4];
        while !stop.load(Ordering::Relaxed) {
            let mut bytes = Vec::new();
            let n = 1 + self.random.below(depth);
            let items: Vec<Item> = (0..n).map(|_| self.next(&mut bytes)).collect();
            if wire.send(&bytes).is_err() {
                return;
            }
            for item in &items {
                if self.hear(&mut wire, item).is_err() {
                    return;
                }
            }
        }
    }
}

/// What all writers share, as the last round left it.
#[derive(Default)]
struct Shared {
    balances: BTreeMap<String, i64>,
    counter: u64,
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Null => 0,
        other => other.text().parse().expect("a number"),
    }
}

/// Holds what is there against what every writer knows. Returns the acknowledged writes that were lost.
fn settle(wire: &mut Wire, writers: &mut [Writer], shared: &mut Shared, due: Instant) -> Loss {
    let mut lost = Loss::default();
    let (mut counts, mut acked) = ((0, 0), 0);
    for writer in writers.iter_mut() {
        for journal in &mut writer.journals {
            let least = journal.due(due);
            journal.settle(wire, least, &mut lost);
        }
        let found: Vec<i64> = writer
            .tags
            .iter()
            .map(|t| number(&wire.call(&["GET", &writer.everywhere_key(t)])))
            .collect();
        assert!(
            found.windows(2).all(|w| w[0] == w[1]),
            "an MSET across shards was torn: {found:?}"
        );
        let there = found[0] as u64;
        assert!(
            there <= writer.everywhere_sent,
            "MSET {there} was never sent"
        );
        let bound = writer
            .everywhere_acked
            .iter()
            .take_while(|(_, at)| *at <= due)
            .last();
        assert!(
            there >= bound.map_or(0, |b| b.0),
            "MSET {bound:?} was acknowledged, {there} is there"
        );
        writer
            .everywhere_acked
            .iter()
            .filter(|(n, _)| *n > there)
            .for_each(|(_, at)| lost.note(*at));
        // The sequence goes on from what survived.
        writer.everywhere_sent = there;
        writer.everywhere_acked.clear();

        for transfer in writer.transfers.drain(..) {
            let marks = transfer
                .markers
                .each_ref()
                .map(|m| wire.call(&["GET", m]) != Value::Null);
            assert_eq!(
                marks[0], marks[1],
                "transfer {} was torn: {} -> {}",
                transfer.id, transfer.from, transfer.to
            );
            if marks[0] {
                *shared.balances.entry(transfer.from.clone()).or_default() -= transfer.amount;
                *shared.balances.entry(transfer.to.clone()).or_default() += transfer.amount;
            } else {
                let bound = transfer.acked.is_some_and(|at| at <= due);
                assert!(
                    !bound,
                    "transfer {} was acknowledged and is gone",
                    transfer.id
                );
                transfer.acked.iter().for_each(|&at| lost.note(at));
            }
        }
        counts.0 += writer.counts_acked.iter().filter(|at| **at <= due).count() as u64;
        counts.1 += writer.counts_sent;
        acked += writer.counts_acked.len() as u64;
        writer.counts_sent = 0;
        writer.counts_acked.clear();
    }
    for (account, balance) in &shared.balances {
        let found = number(&wire.call(&["GET", account]));
        assert_eq!(
            found, *balance,
            "{account}: balance against the transfers that are there"
        );
    }
    let sum: i64 = shared.balances.values().sum();
    assert_eq!(sum, 0, "money was made or lost");
    let found = number(&wire.call(&["GET", "counter"])) as u64;
    let range = shared.counter + counts.0..=shared.counter + counts.1;
    assert!(
        range.contains(&found),
        "the counter is {found}, must be in {range:?}"
    );
    lost.writes += (shared.counter + acked).saturating_sub(found) as usize;
    shared.counter = found;
    lost
}

/// Load on a running server until it is killed after `pause`; returns the moment of the kill.
fn load_and_kill(server: Server<'_>, writers: &mut [Writer], pause: Duration) -> Instant {
    let stop = AtomicBool::new(false);
    let wires: Vec<Wire> = writers.iter().map(|_| server.connect()).collect();
    std::thread::scope(|scope| {
        for (writer, wire) in writers.iter_mut().zip(wires) {
            let stop = &stop;
            scope.spawn(move || writer.write(wire, stop));
        }
        std::thread::sleep(pause);
        let killed = Instant::now();
        server.kill9();
        stop.store(true, Ordering::Relaxed);
        killed
    })
}

/// `rounds` kills on one directory; the shards of each round are picked from `shards`.
fn rounds(policy: &str, shards: &[usize], rounds: usize) {
    let mut random = Random::announced(policy);
    let tags = slots::tags(4);
    let mut home = Home::new();
    // Small segments, so that rolling over and recycling happen under load too.
    home.fsync(policy)
        .text("persistence.aof_segment_size", "1MiB");
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|i| Writer::new(i, &tags, random.next()))
        .collect();
    let mut shared = Shared::default();
    let (mut lost, mut most, mut oldest) = (0, 0, Duration::ZERO);
    let mut killed = Instant::now();
    for round in 0..=rounds {
        home.shards(shards[random.below(shards.len())]);
        if random.below(5) == 0 {
            // Killed while it recovers: the next recovery must not mind.
            let server = home.launch();
            std::thread::sleep(Duration::from_millis(random.below(120) as u64));
            server.kill9();
        }
        let server = home.start();
        let due = match policy {
            "always" => killed,
            _ => killed
                .checked_sub(WINDOW)
                .expect("the machine has been up for longer"),
        };
        let now = settle(&mut server.connect(), &mut writers, &mut shared, due);
        lost += now.writes;
        most = most.max(now.writes);
        oldest = oldest.max(now.oldest.map_or(Duration::ZERO, |at| killed - at));
        if round == rounds {
            server.stop();
            break;
        }
        let pause = match policy {
            "always" => 50 + random.below(450),
            _ => 550 + random.below(300),
        };
        killed = load_and_kill(server, &mut writers, Duration::from_millis(pause as u64));
    }
    println!(
        "{policy}, shards {shards:?}: {rounds} kills, {lost} acknowledged writes lost, at most {most} in one, the oldest {oldest:?} before its kill"
    );
    if policy == "always" {
        assert_eq!(lost, 0, "always loses nothing");
    }
}

#[test]
fn always_loses_nothing_with_one_shard() {
    rounds("always", &[1], 35);
}

#[test]
fn always_loses_nothing_with_two_shards() {
    rounds("always", &[2], 40);
}

#[test]
fn always_loses_nothing_with_four_shards_or_fewer_at_the_next_start() {
    rounds("always", &[4, 4, 2, 1], 35);
}

#[test]
fn everysec_loses_only_its_window_with_one_shard() {
    rounds("everysec", &[1], 30);
}

#[test]
fn everysec_loses_only_its_window_with_two_shards() {
    rounds("everysec", &[2], 30);
}

#[test]
fn everysec_loses_only_its_window_with_four_shards_or_fewer_at_the_next_start() {
    rounds("everysec", &[4, 4, 2, 1], 30);
}
