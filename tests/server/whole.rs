//! One shard and several give the same answers, and those are Redis's: one random stream of commands over all types
//! goes to redis-server and to a Ferrite of 1, 2 and 4 shards, reply for reply, with a restart of each Ferrite
//! after each part. Then everything that is there is read and compared: so the log has replayed every command's effect.
//!
//! `FERRITE_STREAM` says how many commands (and how many parts, as in `1000000/20`) instead of a few.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::answers::{agree, clip, difference, shown, state};
use crate::common::peer::Redis;
use crate::common::random::Random;
use crate::common::server::{Home, Server};
use crate::common::slots;
use crate::common::wire::{Value, Wire, command};
use crate::mixture::{Maker, Words};

const SHARDS: [usize; 3] = [1, 2, 4];

/// Connections of each kind; the last speaks RESP3.
const CLIENTS: usize = 4;

/// Databases that the stream uses.
const DATABASES: usize = 3;

/// One client, connected to every server. The first server is Redis.
struct Client {
    wires: Vec<Wire>,
    /// What a transaction has queued, as the replies tell.
    queued: Option<Vec<Words>>,
    /// Keys that are watched, as the words of WATCH.
    watched: Words,
}

/// What was asked last, for when an answer is wrong.
#[derive(Default)]
struct History(VecDeque<(Words, Value)>);

impl History {
    fn note(&mut self, words: &Words, reply: &Value) {
        if self.0.len() == 100_000 {
            self.0.pop_front();
        }
        self.0.push_back((words.clone(), reply.clone()));
    }

    /// The last commands, and the last that named what this one names.
    fn about(&self, words: &Words) -> String {
        let related = |(other, _): &&(Words, Value)| {
            other
                .iter()
                .skip(1)
                .any(|w| w.len() > 3 && words.iter().skip(1).any(|o| o == w))
                || other[0].starts_with(b"FLUSH")
        };
        let line = |(words, reply): &(Words, Value)| {
            let reply: String = clip(reply).chars().take(100).collect();
            format!("  {} -> {reply}\n", shown(words))
        };
        let mut near: Vec<String> = self
            .0
            .iter()
            .rev()
            .filter(related)
            .take(60)
            .map(line)
            .collect();
        near.reverse();
        let mut last: Vec<String> = self.0.iter().rev().take(12).map(line).collect();
        last.reverse();
        format!(
            "of the same keys:\n{}last:\n{}",
            near.concat(),
            last.concat()
        )
    }
}

fn said(server: usize) -> String {
    match server {
        0 => "redis-server".into(),
        n => format!("{} shards", SHARDS[n - 1]),
    }
}

impl Client {
    fn connect(redis: &Redis, servers: &[Server<'_>], resp3: bool) -> Client {
        let mut wires = vec![redis.connect()];
        wires.extend(servers.iter().map(Server::connect));
        if resp3 {
            for wire in &mut wires {
                assert!(matches!(wire.say("HELLO 3"), Value::Map(_)));
            }
        }
        Client {
            wires,
            queued: None,
            watched: Words::new(),
        }
    }

    /// The same replies from all to `words`, which have been sent; Redis's.
    #[track_caller]
    fn hear(&mut self, words: &Words, history: &mut History) -> Value {
        let mut replies = Vec::new();
        for (n, wire) in self.wires.iter_mut().enumerate() {
            match wire.reply() {
                Ok(reply) => replies.push(reply),
                Err(e) => panic!(
                    "{}: {}: {e}\n{}",
                    said(n),
                    shown(words),
                    history.about(words)
                ),
            }
        }
        let theirs = replies[0].clone();
        for (n, ours) in replies.iter().enumerate().skip(1) {
            let same = match (&self.queued, &theirs, ours) {
                (Some(queued), Value::Array(a), Value::Array(b)) if words[0] == b"EXEC" => {
                    a.len() == b.len()
                        && a.len() == queued.len()
                        && queued.iter().zip(a.iter().zip(b)).all(|(words, (a, b))| {
                            let same = agree(words, a, b);
                            if !same {
                                println!("inside: {}\n{}\n{}", shown(words), clip(a), clip(b));
                                println!("{}", history.about(words));
                            }
                            same
                        })
                }
                _ => agree(words, &theirs, ours),
            };
            if !same {
                let replies: Vec<String> = replies
                    .iter()
                    .enumerate()
                    .map(|(n, reply)| format!("{}: {}", said(n), clip(reply)))
                    .collect();
                let about = match &words[0][..] {
                    b"EXEC" => &self.watched,
                    _ => words,
                };
                panic!(
                    "{}: another answer to {}\n{}\n{}",
                    said(n),
                    shown(words),
                    replies.join("\n"),
                    history.about(about)
                );
            }
        }
        match (&words[0][..], &theirs) {
            (b"MULTI", Value::Simple(_)) => self.queued = Some(Vec::new()),
            (b"EXEC" | b"DISCARD", _) => {
                self.queued = None;
                self.watched.clear();
            }
            (b"UNWATCH", _) => self.watched.clear(),
            (b"WATCH", _) => self.watched.extend(words.iter().cloned()),
            (_, Value::Simple(text)) if text == "QUEUED" => {
                self.queued.get_or_insert_default().push(words.clone());
            }
            _ => {}
        }
        history.note(words, &theirs);
        theirs
    }

    /// A pipeline to all.
    fn run(&mut self, batch: &[Words], history: &mut History) {
        let bytes: Vec<u8> = batch.iter().flat_map(|words| command(words)).collect();
        for wire in &mut self.wires {
            wire.send(&bytes).expect("the server reads");
        }
        for words in batch {
            self.hear(words, history);
        }
    }

    /// A random draw: one server makes it, the others are told what it drew.
    fn draw(&mut self, words: &Words, who: usize, history: &mut History) {
        let drawn = self.wires[who].call(words);
        let told = match &drawn {
            Value::Bulk(member) => vec![b"SREM".to_vec(), words[1].clone(), member.clone()],
            // Nothing there, or no set: they must say so too.
            _ => words.clone(),
        };
        for n in (0..self.wires.len()).filter(|&n| n != who) {
            let reply = self.wires[n].call(&told);
            let same = match drawn {
                Value::Bulk(_) => reply == Value::Int(1),
                _ => reply == drawn,
            };
            assert!(
                same,
                "{} drew {}, {} says {}\n{}",
                said(who),
                clip(&drawn),
                said(n),
                clip(&reply),
                history.about(words)
            );
        }
        history.note(&told, &drawn);
    }
}

/// Waits on one client until another brings what it waits for.
fn handover(maker: &mut Maker, pair: &mut [Client], history: &mut History) {
    let (wait, unit) = maker.handover();
    let (one, other) = pair.split_at_mut(1);
    for wire in &mut one[0].wires {
        wire.ask(&wait).expect("the server reads");
    }
    // Whether it has begun to wait or comes to find it there makes no difference. Now and then it surely waits.
    if maker.random.below(4) == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let (end, tidy) = unit.split_at(unit.len() - 1);
    other[0].run(end, history);
    one[0].hear(&wait, history);
    other[0].run(tidy, history);
}

/// Compares all that is there. Returns the number of keys.
fn same_state(when: &str, redis: &Redis, servers: &[Server<'_>], history: &History) -> usize {
    let mut keys = 0;
    for db in 0..DATABASES {
        let all = |mut wire: Wire| {
            assert_eq!(wire.say(&format!("SELECT {db}")), Value::ok());
            state(&mut wire, "*")
        };
        let theirs = all(redis.connect());
        keys += theirs.len();
        for (n, server) in servers.iter().enumerate() {
            if let Some(difference) = difference(&theirs, &all(server.connect())) {
                let key = difference.lines().next().unwrap_or_default();
                panic!(
                    "{when}, {}, database {db}: {difference}\n{}",
                    said(n + 1),
                    history.about(&vec![Vec::new(), key.as_bytes().to_vec()])
                );
            }
        }
    }
    keys
}

/// How many commands, in how many parts.
fn amount() -> (usize, usize) {
    match std::env::var("FERRITE_STREAM") {
        Err(_) => (24_000, 4),
        Ok(text) => {
            let (commands, parts) = text.split_once('/').unwrap_or((&text, "4"));
            let number = |text: &str| text.parse().expect("FERRITE_STREAM is COMMANDS/PARTS");
            (number(commands), number(parts))
        }
    }
}

#[test]
fn one_shard_and_several_answer_as_redis_does_and_keep_it() {
    let mut random = Random::announced("whole");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    // A prefix for each shard of four, none, and one that is no text: these lie anywhere.
    let mut prefixes: Vec<String> = slots::tags(4).iter().map(|t| format!("{{{t}}}")).collect();
    prefixes.extend([String::new(), "\u{1} \r\n".into()]);
    let mut maker = Maker::new(Random::new(random.next()), prefixes, now);
    let redis = Redis::start();
    let mut homes: Vec<Home> = SHARDS.iter().map(|_| Home::new()).collect();
    let (commands, parts) = amount();
    let mut history = History::default();
    let (mut done, mut keys, mut state_now) = (0, 0, 0);
    for part in 0..parts {
        // One that is stopped must have kept everything, and so must one that is killed a while after its last write.
        let kill = part % 2 == 0;
        for (home, shards) in homes.iter_mut().zip(SHARDS) {
            home.shards(shards)
                .text("persistence.aof_segment_size", "1MiB");
        }
        let servers: Vec<Server<'_>> = homes.iter().map(Home::start).collect();
        if part > 0 {
            let found = same_state(&format!("after restart {part}"), &redis, &servers, &history);
            assert_eq!(found, state_now);
        }
        let mut clients: Vec<Client> = (0..CLIENTS)
            .map(|n| Client::connect(&redis, &servers, n + 1 == CLIENTS))
            .collect();
        let mut pair: Vec<Client> = (0..2)
            .map(|_| Client::connect(&redis, &servers, part % 3 == 0))
            .collect();
        while done < commands * (part + 1) / parts {
            let client = &mut clients[random.below(CLIENTS)];
            match random.below(20) {
                0 => {
                    handover(&mut maker, &mut pair, &mut history);
                    done += 4;
                }
                1 => {
                    let words = maker.draw();
                    client.draw(&words, random.below(SHARDS.len() + 1), &mut history);
                    done += 1;
                }
                _ => {
                    let batch: Vec<Words> = (0..1 + random.below(80))
                        .flat_map(|_| maker.unit())
                        .collect();
                    client.run(&batch, &mut history);
                    done += batch.len();
                }
            }
        }
        drop(clients);
        state_now = same_state(
            &format!("before restart {part}"),
            &redis,
            &servers,
            &history,
        );
        keys += state_now;
        println!("part {part}: {done} commands, {state_now} keys");
        if kill {
            // Past the window of everysec by far.
            std::thread::sleep(Duration::from_millis(500));
        }
        for server in servers {
            if kill {
                server.kill9();
            } else {
                server.stop();
            }
        }
    }
    for (home, shards) in homes.iter_mut().zip(SHARDS) {
        home.shards(shards);
    }
    let servers: Vec<Server<'_>> = homes.iter().map(Home::start).collect();
    same_state("at the end", &redis, &servers, &history);
    println!(
        "{done} commands, {parts} restarts, {} keys each time",
        keys / parts
    );
    assert!(keys / parts > 50, "{keys} keys in {parts} parts");
}
