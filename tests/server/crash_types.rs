//! kill -9 under a load of all types, over and over, on one data directory: what is there afterwards is what a
//! redis-server holds that ran a prefix of the same commands.
//!
//! Each client has keys of its own under a few hash tags and counts its items for each tag in a key, the *mark*.
//! So the marks tell which prefix survived: the items up to them are replayed on the redis-server, in the client's order,
//! and both keyspaces are compared. Under `always` the prefix holds everything acknowledged, under `everysec` everything
//! acknowledged [`WINDOW`] before the kill; checkpoints are taken all the while, and the log before them recycled. A transaction over several tags is in it everywhere or nowhere.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::answers::{State, difference, many, shown, state};
use crate::common::peer::Redis;
use crate::common::random::Random;
use crate::common::server::{Home, Server};
use crate::common::slots;
use crate::common::wire::{Value, Wire, command};
use crate::mixture::{Maker, Unit, Words};

/// Age from which what was acknowledged must have survived under `everysec`; far more than the batch window.
const WINDOW: Duration = Duration::from_millis(500);

const CLIENTS: usize = 4;

/// Commands that a client sent to be done after one another, and what counts them.
struct Item {
    unit: Unit,
    /// Tags whose marks count it, and what each is then.
    marks: Vec<(usize, u64)>,
    /// Whether it went as a transaction.
    whole: bool,
    acked: Option<Instant>,
}

struct Client {
    id: usize,
    random: Random,
    maker: Maker,
    /// What its keys begin with, for each tag.
    prefixes: Vec<String>,
    marks: Vec<u64>,
    items: Vec<Item>,
}

fn words(line: &str) -> Words {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

impl Client {
    fn new(id: usize, tags: &[String], seed: u64) -> Client {
        let mut random = Random::new(seed);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let prefixes: Vec<String> = tags.iter().map(|t| format!("{{{t}}}:{id}:")).collect();
        Client {
            id,
            maker: Maker::new(Random::new(random.next()), prefixes.clone(), now),
            random,
            marks: vec![0; prefixes.len()],
            prefixes,
            items: Vec::new(),
        }
    }

    fn mark(&self, tag: usize) -> String {
        format!("{}mark", self.prefixes[tag])
    }

    /// The next item: put into the books, and out as bytes. Tells how many replies it has.
    fn next(&mut self, out: &mut Vec<u8>) -> usize {
        let cross = self.random.below(6) == 0;
        let whole = cross || self.random.below(4) == 0;
        let tag = self.random.below(self.prefixes.len());
        let tags: Vec<usize> = match cross {
            true => (0..self.prefixes.len()).collect(),
            false => vec![tag],
        };
        let over: Vec<String> = tags.iter().map(|&t| self.prefixes[t].clone()).collect();
        let mut unit = Unit::new();
        for _ in 0..if whole { 1 + self.random.below(4) } else { 1 } {
            unit.extend(self.maker.write(&over));
        }
        let mut asked: Vec<Words> = unit.clone();
        let mut marks = Vec::new();
        for tag in tags {
            self.marks[tag] += 1;
            marks.push((tag, self.marks[tag]));
            asked.push(words(&format!("INCR {}", self.mark(tag))));
        }
        if whole {
            asked.insert(0, words("MULTI"));
            asked.push(words("EXEC"));
        }
        out.extend(asked.iter().flat_map(|words| command(words)));
        self.items.push(Item {
            unit,
            marks,
            whole,
            acked: None,
        });
        asked.len()
    }

    /// Asks until the connection breaks.
    fn load(&mut self, mut wire: Wire, stop: &AtomicBool) {
        let depth = [1, 4, 16, 40][self.id % 4];
        while !stop.load(Ordering::Relaxed) {
            let mut bytes = Vec::new();
            let first = self.items.len();
            let replies: Vec<usize> = (0..1 + self.random.below(depth))
                .map(|_| self.next(&mut bytes))
                .collect();
            if wire.send(&bytes).is_err() {
                return;
            }
            for (n, replies) in replies.into_iter().enumerate() {
                let mut last = Value::Null;
                for _ in 0..replies {
                    match wire.reply() {
                        Ok(reply) => last = reply,
                        Err(_) => return,
                    }
                }
                let item = &mut self.items[first + n];
                assert!(
                    matches!(last, Value::Int(_) | Value::Array(_)),
                    "the end of {:?}: {last:?}",
                    item.unit.iter().map(shown).collect::<Vec<_>>()
                );
                item.acked = Some(Instant::now());
            }
        }
    }

    /// Replays on `shadow` what survived, as the marks tell. What was acknowledged by `due` must have.
    /// Tells how many acknowledged items were lost.
    fn replay(&mut self, wire: &mut Wire, shadow: &mut Wire, due: Instant) -> usize {
        let found: Vec<u64> = (0..self.prefixes.len())
            .map(|tag| match wire.call(&["GET", &self.mark(tag)]) {
                Value::Null => 0,
                number => number.text().parse().expect("a number"),
            })
            .collect();
        let mut lost = 0;
        let mut survived = Vec::new();
        for item in &self.items {
            let there = item
                .marks
                .iter()
                .filter(|(tag, mark)| *mark <= found[*tag])
                .count();
            assert!(
                there == 0 || there == item.marks.len(),
                "client {}: torn: {:?}, marks {:?}, found {found:?}",
                self.id,
                item.unit.iter().map(shown).collect::<Vec<_>>(),
                item.marks
            );
            if there > 0 {
                survived.extend(item.unit.iter().cloned());
                continue;
            }
            assert!(
                item.acked.is_none_or(|at| at > due),
                "client {}: acknowledged and gone: {:?}, marks {:?}, found {found:?}",
                self.id,
                item.unit.iter().map(shown).collect::<Vec<_>>(),
                item.marks
            );
            lost += usize::from(item.acked.is_some());
        }
        many(shadow, &survived);
        self.items
            .retain(|item| item.marks.iter().any(|(tag, mark)| *mark > found[*tag]));
        self.marks = found;
        lost
    }

    /// What it has under one tag is what `shadow` has, perhaps after the first commands of the item that the mark does
    /// not count yet.
    fn compare(&self, tag: usize, ours: &State, shadow: &mut Wire, when: &str) {
        let pattern = format!("{}*", self.prefixes[tag]);
        let read = |wire: &mut Wire| -> State {
            let rows = state(wire, &pattern).into_iter();
            rows.filter(|row| !row.0.ends_with("mark")).collect()
        };
        let Some(first) = difference(&read(shadow), ours) else {
            return;
        };
        let next = self
            .items
            .iter()
            .find(|item| !item.whole && item.marks[0] == (tag, self.marks[tag] + 1));
        for command in next.iter().flat_map(|item| &item.unit) {
            many(shadow, std::slice::from_ref(command));
            if difference(&read(shadow), ours).is_none() {
                return;
            }
        }
        panic!(
            "{when}, client {}, mark {}: {first}\nthe next item: {:?}",
            self.id,
            self.marks[tag],
            next.map(|item| item.unit.iter().map(shown).collect::<Vec<_>>())
        );
    }
}

fn checkpoints(mut wire: Wire, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if wire.send(&command(&["SAVE"])).is_err() || wire.reply().is_err() {
            return;
        }
    }
}

fn load_and_kill(server: Server<'_>, clients: &mut [Client], pause: Duration) -> Instant {
    let stop = AtomicBool::new(false);
    let wires: Vec<Wire> = clients.iter().map(|_| server.connect()).collect();
    std::thread::scope(|scope| {
        for (client, wire) in clients.iter_mut().zip(wires) {
            let stop = &stop;
            scope.spawn(move || client.load(wire, stop));
        }
        // Checkpoints one after the other: the kill comes in any of their steps.
        let wire = server.connect();
        scope.spawn(|| checkpoints(wire, &stop));
        std::thread::sleep(pause);
        let killed = Instant::now();
        server.kill9();
        stop.store(true, Ordering::Relaxed);
        killed
    })
}

fn rounds(policy: &str, rounds: usize) {
    let mut random = Random::announced(policy);
    let tags = slots::tags(4);
    let mut home = Home::new();
    // Small segments, so that rolling over and recycling happen under load too.
    home.fsync(policy)
        .text("persistence.aof_segment_size", "1MiB");
    let redis = Redis::start();
    let mut shadow = redis.connect();
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|id| Client::new(id, &tags, random.next()))
        .collect();
    let (mut survived, mut lost) = (0, 0);
    let mut killed = Instant::now();
    let mut checkpoints = HashSet::new();
    for round in 0..=rounds {
        let shards = [1, 2, 4][random.below(3)];
        home.shards(shards);
        let server = home.start();
        let due = match policy {
            "always" => killed,
            _ => killed
                .checked_sub(WINDOW)
                .expect("the machine has been up for longer"),
        };
        let mut wire = server.connect();
        checkpoints.insert(wire.figure("persistence", "recovery_checkpoint"));
        let when = format!("{policy}, round {round}, {shards} shards");
        for client in &mut clients {
            let sent = client.items.len();
            lost += client.replay(&mut wire, &mut shadow, due);
            survived += sent - client.items.len();
        }
        for client in &mut clients {
            for tag in 0..tags.len() {
                let ours = state(&mut wire, &format!("{}*", client.prefixes[tag]));
                let ours: State = ours
                    .into_iter()
                    .filter(|row| !row.0.ends_with("mark"))
                    .collect();
                client.compare(tag, &ours, &mut shadow, &when);
            }
            client.items.clear();
        }
        if round == rounds {
            server.stop();
            break;
        }
        let pause = match policy {
            "always" => 100 + random.below(400),
            _ => 550 + random.below(300),
        };
        killed = load_and_kill(server, &mut clients, Duration::from_millis(pause as u64));
    }
    println!("{policy}: {rounds} kills, {survived} items survived, {lost} acknowledged were lost");
    assert!(
        checkpoints.len() > rounds / 2,
        "most starts begin with another checkpoint: {checkpoints:?}"
    );
    assert!(survived > 100, "hardly anything was written");
    if policy == "always" {
        assert_eq!(lost, 0, "always loses nothing");
    }
}

/// How many kills.
fn amount() -> usize {
    match std::env::var("FERRITE_KILLS") {
        Ok(text) => text.parse().expect("FERRITE_KILLS is a number"),
        Err(_) => 15,
    }
}

#[test]
fn always_keeps_every_type() {
    rounds("always", amount());
}

#[test]
fn everysec_keeps_a_prefix_of_every_type() {
    rounds("everysec", amount());
}
