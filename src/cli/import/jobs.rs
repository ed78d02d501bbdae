//! From a file's steps to commands, in batches.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::Sender;

use super::expiry;
use crate::cli::words::escaped;
use crate::rdb::file::Key;
use crate::shard::Said;
use crate::transfer::{Input, Place, Step};

/// Most commands of a batch.
const COMMANDS: usize = 1000;
/// Bytes after which a batch is sent.
const BYTES: usize = 4 << 20;

/// What is to be kept to.
pub(super) struct Rules {
    /// Whether keys that exist are replaced.
    pub replace: bool,
    /// Whether commands may change keys that exist.
    pub merge: bool,
    /// How many databases the server has, if it told.
    pub databases: Option<u64>,
    /// Keys that the server holds.
    pub occupied: u64,
    /// Largest payload, in bytes.
    pub most: usize,
}

/// What a command is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Makes a key of this database.
    Key(u32),
    /// Loads a library.
    Library,
    /// Goes to another database. What follows depends on it, so it is a batch of its own.
    Select,
    /// Stands in a log, where this database is selected.
    Command(u32),
}

/// One command, and where it comes from.
#[derive(Debug)]
pub(super) struct Job {
    pub args: Vec<Vec<u8>>,
    pub place: Place,
    pub what: What,
}

impl Job {
    pub(super) fn is(&self, name: &str) -> bool {
        is(&self.args, name)
    }
}

fn is(args: &[Vec<u8>], name: &str) -> bool {
    args.first()
        .is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

/// Commands that are sent together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub jobs: Vec<Job>,
    /// Keys that were left out, since they have expired.
    pub expired: u64,
    /// What cannot be sent, in words.
    pub failures: Vec<String>,
    /// How many bytes of the files were read.
    pub read: u64,
    bytes: usize,
}

/// How the reading ended.
pub(super) struct Made {
    pub ended: Result<(), String>,
    /// Keys whose expiry was put off.
    pub put_off: HashSet<expiry::Late>,
    /// Where the log was not whole.
    pub cut_at: Option<Place>,
}

/// Nobody takes batches any more.
struct Deaf;

struct Maker<'s> {
    rules: Rules,
    to: &'s Sender<Batch>,
    batch: Batch,
    /// The database that is selected for what is sent next.
    db: u32,
    /// Between MULTI and EXEC.
    inside: bool,
    now: u64,
    put_off: HashSet<expiry::Late>,
}

/// Reads all of `input` and sends batches of it, until the end, the first error, or nobody listens.
pub(super) fn make(mut input: Input, rules: Rules, to: &Sender<Batch>) -> Made {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut maker = Maker {
        rules,
        to,
        batch: Batch::default(),
        db: 0,
        inside: false,
        now: now.map_or(0, |now| now.as_millis() as u64),
        put_off: HashSet::new(),
    };
    let ended = maker.all(&mut input);
    Made {
        ended,
        put_off: maker.put_off,
        cut_at: input.cut_at().cloned(),
    }
}

impl Maker<'_> {
    fn all(&mut self, input: &mut Input) -> Result<(), String> {
        let (_, read) = input.progress();
        let ended = loop {
            let (place, step) = match input.next() {
                Ok(Some(step)) => step,
                Ok(None) => break Ok(()),
                Err(e) => break Err(e.to_string()),
            };
            self.batch.read = read.load(Relaxed);
            match self.step(place, step, input.is_log()) {
                Ok(Ok(())) => {}
                Ok(Err(Deaf)) => return Ok(()), // which has its reason elsewhere
                Err(text) => break Err(text),
            }
        };
        // What was read before an error is good.
        let _ = self.flush();
        ended
    }

    fn step(&mut self, place: Place, step: Step, log: bool) -> Result<Result<(), Deaf>, String> {
        let occupied = self.rules.occupied;
        if log && occupied > 0 && !self.rules.merge && !matches!(step, Step::Begin) {
            return Err(format!(
                "{}: the commands of an append-only file change keys that are there, and the server holds {occupied}: \
                 nothing was done. Empty it, or say --merge",
                place.file.display()
            ));
        }
        match step {
            Step::Begin => {
                if self.db != 0 {
                    return self.select(0, place);
                }
            }
            Step::Key(key, payload) => return self.key(place, key, payload, log),
            Step::TooLarge(key) => {
                let most = self.rules.most;
                let name = escaped(&key.name);
                self.batch.failures.push(format!(
                    "{place}: key {name} of database {}: its value takes more than {most} bytes, the most that one \
                     RESTORE may carry (proto-max-bulk-len)",
                    key.db
                ));
            }
            Step::Foreign(key, module) => {
                let name = escaped(&key.name);
                self.batch.failures.push(format!(
                    "{place}: key {name} of database {}: values of the module type {module} are not supported",
                    key.db
                ));
            }
            Step::Module(name) => self.batch.failures.push(format!(
                "{place}: data of the module type {name}, which is not supported"
            )),
            Step::Library(text) => {
                let mut args = vec![b"FUNCTION".to_vec(), b"LOAD".to_vec()];
                if self.rules.replace {
                    args.push(b"REPLACE".to_vec());
                }
                args.push(text);
                return Ok(self.push(args, place, What::Library));
            }
            Step::Command(args) => return self.command(place, args),
        }
        Ok(Ok(()))
    }

    fn key(
        &mut self,
        place: Place,
        key: Key,
        payload: Vec<u8>,
        log: bool,
    ) -> Result<Result<(), Deaf>, String> {
        let mut expire = key.expire;
        if let Some(at) = expire {
            if log {
                // A later command may say that it has not expired.
                if let Some(later) = expiry::put_off(at, self.now) {
                    expire = Some(later);
                    self.put_off.insert(expiry::Late::key(key.db, &key.name));
                }
            } else if at <= self.now {
                self.batch.expired += 1;
                return Ok(Ok(()));
            }
        }
        if self.db != key.db
            && let Err(Deaf) = self.select(key.db, place.clone())?
        {
            return Ok(Err(Deaf));
        }
        // 0 means no expiry there; what expired in 1970 has expired a millisecond later too.
        let ttl = expire.map_or(0, |at| at.max(1)).to_string().into_bytes();
        let mut args = vec![b"RESTORE".to_vec(), key.name, ttl, payload];
        if expire.is_some() {
            args.push(b"ABSTTL".to_vec());
        }
        if self.rules.replace {
            args.push(b"REPLACE".to_vec());
        }
        match key.said {
            Some(Said::Idle(seconds)) => {
                args.extend([b"IDLETIME".to_vec(), seconds.to_string().into_bytes()]);
            }
            Some(Said::Frequency(count)) => {
                args.extend([b"FREQ".to_vec(), count.to_string().into_bytes()]);
            }
            None => {}
        }
        Ok(self.push(args, place, What::Key(key.db)))
    }

    fn command(
        &mut self,
        place: Place,
        mut args: Vec<Vec<u8>>,
    ) -> Result<Result<(), Deaf>, String> {
        let name = args.first().map(|name| name.to_ascii_lowercase());
        let name = name
            .and_then(|name| String::from_utf8(name).ok())
            .unwrap_or_default();
        if name == "select" {
            let db = args
                .get(1)
                .and_then(|db| std::str::from_utf8(db).ok()?.parse().ok());
            let Some(db) = db.filter(|_| args.len() == 2) else {
                return Err(format!("{place}: SELECT without the number of a database"));
            };
            return self.select(db, place);
        }
        match name.as_str() {
            "multi" => self.inside = true,
            "exec" | "discard" => self.inside = false,
            _ => {}
        }
        if let Some(late) = expiry::put_off_in(&name, &mut args, self.now, self.db) {
            self.put_off.insert(late);
        }
        let db = self.db;
        Ok(self.push(args, place, What::Command(db)))
    }

    /// Goes to another database. Nothing else may reach the one that was selected before by mistake: outside of a
    /// transaction the reply is awaited, and inside of one the number has to be known as good.
    fn select(&mut self, db: u32, place: Place) -> Result<Result<(), Deaf>, String> {
        match self.rules.databases {
            Some(databases) if u64::from(db) >= databases => {
                return Err(format!(
                    "{place}: database {db}, but the server has {databases} (server.databases)"
                ));
            }
            None if self.inside => {
                return Err(format!(
                    "{place}: a transaction goes to database {db}, and the server does not tell how many it has"
                ));
            }
            _ => {}
        }
        self.db = db;
        let args = vec![b"SELECT".to_vec(), db.to_string().into_bytes()];
        if self.inside {
            return Ok(self.push(args, place, What::Command(db)));
        }
        let alone = |maker: &mut Self| {
            maker.flush()?;
            maker.push(args, place, What::Select)?;
            maker.flush()
        };
        Ok(alone(self))
    }

    fn push(&mut self, args: Vec<Vec<u8>>, place: Place, what: What) -> Result<(), Deaf> {
        self.batch.bytes += args.iter().map(Vec::len).sum::<usize>();
        self.batch.jobs.push(Job { args, place, what });
        match self.batch.jobs.len() >= COMMANDS || self.batch.bytes >= BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Deaf> {
        let next = Batch {
            read: self.batch.read,
            ..Batch::default()
        };
        let batch = std::mem::replace(&mut self.batch, next);
        self.to.blocking_send(batch).map_err(|_| Deaf)
    }
}
