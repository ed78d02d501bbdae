//! `--import FILE`: data taken in at the start, before anything is served.
//!
//! Promise: only into a data directory that holds none. While it goes on clients are answered LOADING. The server serves
//! when all of the file is in the shards and, with a log, in the log durably; anything that cannot be taken ends the server
//! with its reason. A part of a file is never served, also not after a crash: from before the first key until all is safe
//! a file in the data directory says that an import goes on, and with it there the server does not start.
//!
//! For the cores it is as if another server were followed whose copy comes: nothing expires, since a later command of an
//! append-only file may say that it lives on, and commands come by a [`Tap`]. What has expired goes when all is here.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::envelope::Provider;
use crate::limits::BULK_LEN;
use crate::rdb::undump;
use crate::replication::{self, Broken, Tap, ask_all};
use crate::settings::{Settings, Source};
use crate::shard::{Dump, Ms, Shard};
use crate::transfer::{Input, Place, Step};
use crate::worker::follow::{Held, Orders};
use crate::worker::gather::Question;
use crate::worker::inlet::{Arrived, Inlet, weight};
use crate::worker::shared::Shared;

/// The file in the data directory.
const NAME: &str = "IMPORT";
/// How often something is looked after while the cores are waited for.
const LOOK: Duration = Duration::from_millis(200);
/// How often the progress is told.
const TOLD: Duration = Duration::from_secs(5);

/// What stands for the server that is followed.
pub fn source() -> Source {
    Source {
        host: "import".into(),
        port: 0,
    }
}

/// Refuses a data directory into which an import was begun and not ended.
///
/// # Errors
/// What to do.
pub fn unfinished(dir: &Path) -> Result<(), String> {
    let path = dir.join(NAME);
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => {
            let of = std::fs::read_to_string(&path).unwrap_or_default();
            Err(format!(
                "{} says that an import did not come to its end ({}): what this data directory holds is a part. Empty it, \
                 or name another, and import again",
                path.display(),
                of.trim_end()
            ))
        }
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// An import that is about to begin.
pub struct Import {
    input: Input,
    dir: PathBuf,
    path: PathBuf,
}

impl Import {
    /// Opens the file.
    ///
    /// # Errors
    /// Why it cannot be imported.
    pub fn open(
        path: &Path,
        settings: &Settings,
        keys: Option<Arc<dyn Provider>>,
    ) -> Result<Import, String> {
        if let Some(source) = &settings.replication.replicaof {
            return Err(format!(
                "--import {}: this server follows {source}, whose data replaces whatever is here",
                path.display()
            ));
        }
        let input =
            Input::open(path, BULK_LEN, false, keys).map_err(|e| format!("--import: {e}"))?;
        Ok(Import {
            input,
            dir: settings.server.data_dir.clone(),
            path: path.to_owned(),
        })
    }

    /// Notes that it goes on, if there is nothing in its way.
    ///
    /// # Errors
    /// When there are data already, or the note cannot be written.
    pub fn begin<'s>(&self, mut shards: impl Iterator<Item = &'s mut Shard>) -> Result<(), String> {
        if !shards.all(|shard| shard.is_empty() && shard.libraries().next().is_none()) {
            return Err(format!(
                "--import {}: the data directory {} holds data already, and an import at the start goes into an empty one. \
                 Start without it; `ferrite-cli import` adds to what is there",
                self.path.display(),
                self.dir.display()
            ));
        }
        let path = self.dir.join(NAME);
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            writeln!(file, "{}", self.path.display())?;
            file.sync_all()?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Does it, on this thread, while the cores run; then `ready` is called, and orders to follow others are taken. If it
    /// fails the process ends.
    pub fn run(mut self, shared: Arc<Shared>, orders: Orders, ready: impl FnOnce()) {
        tracing::info!(
            "importing {}: clients wait until it is done",
            self.path.display()
        );
        let began = Instant::now();
        let done = self
            .all(&shared)
            .and_then(|keys| self.end(&shared).map(|()| keys))
            .and_then(|keys| replication::start(shared, orders).map(|()| keys));
        match done {
            Ok(keys) => {
                let seconds = began.elapsed().as_secs_f64();
                tracing::info!("imported {}: {keys} in {seconds:.1} s", self.path.display());
                ready();
            }
            Err(e) => {
                tracing::error!(
                    "--import: {e}; the data directory {} holds a part and is of no use",
                    self.dir.display()
                );
                std::process::exit(1);
            }
        }
    }

    /// Takes everything in; how much it was, in words.
    fn all(&mut self, shared: &Shared) -> Result<String, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_millis() as Ms);
        let mut intake = Intake {
            tap: Tap::open(shared, &source())?,
            inlet: Inlet::new(shared.inboxes.clone()),
            databases: shared.settings().server.databases,
            now,
            counts: [0; 4],
        };
        let (total, read) = self.input.progress();
        let mut told = Instant::now();
        while let Some((place, step)) = self.input.next().map_err(|e| e.to_string())? {
            intake.step(&place, step, self.input.is_log())?;
            if told.elapsed() >= TOLD {
                told = Instant::now();
                let read = read.load(std::sync::atomic::Ordering::Relaxed);
                tracing::info!("importing: {read} of {total} bytes");
            }
        }
        intake.settle()?;
        let [keys, expired, libraries, commands] = intake.counts;
        Ok(format!(
            "{keys} keys, {libraries} libraries of functions, {commands} commands; {expired} keys had expired"
        ))
    }

    /// All is here: it becomes the data of this server.
    fn end(&self, shared: &Shared) -> Result<(), String> {
        if shared.settings().persistence.appendonly {
            ask_all(shared, Question::Durable { wait: true }, &mut || Ok(()))?;
        }
        let path = self.dir.join(NAME);
        std::fs::remove_file(&path)
            .and_then(|()| File::open(&self.dir)?.sync_all())
            .map_err(|e| format!("{}: {e}", path.display()))?;
        {
            let mut told = shared.follow.told();
            told.source = None;
            told.held = Held::Own;
        }
        shared.set_followed(None);
        // Every core lets things expire again before anybody reads.
        ask_all(shared, Question::Configure, &mut || Ok(()))?;
        shared.decide_closed();
        Ok(())
    }
}

/// The way into the cores.
struct Intake {
    tap: Tap,
    inlet: Inlet,
    databases: u16,
    now: Ms,
    /// Keys, keys that had expired, libraries, commands.
    counts: [u64; 4],
}

impl Intake {
    fn step(&mut self, place: &Place, step: Step, log: bool) -> Result<(), String> {
        let wrong = |why: String| format!("{place}: {why}");
        let named = |key: &crate::rdb::file::Key| {
            format!("key \"{}\" of database {}", key.name.escape_ascii(), key.db)
        };
        match step {
            Step::Begin => self.command(&[b"SELECT", b"0"]).map_err(wrong)?,
            Step::Key(key, payload) => {
                if !log && key.expire.is_some_and(|at| at <= self.now) {
                    self.counts[1] += 1;
                    return Ok(());
                }
                let db = u16::try_from(key.db).ok().filter(|&db| db < self.databases);
                let db = db.ok_or_else(|| {
                    wrong(format!(
                        "{}, and server.databases is {}",
                        named(&key),
                        self.databases
                    ))
                })?;
                let value = undump(&payload).map_err(|e| wrong(format!("{}: {e}", named(&key))))?;
                let arrived = Arrived {
                    db,
                    bytes: weight(&value),
                    name: key.name,
                    dump: Dump {
                        value,
                        expire: key.expire,
                    },
                    said: key.said,
                };
                self.inlet
                    .put(arrived, LOOK, &mut || Ok(()))
                    .map_err(wrong)?;
                self.counts[0] += 1;
            }
            Step::TooLarge(key) => {
                return Err(wrong(format!(
                    "{}: its value takes more than {BULK_LEN} bytes",
                    named(&key)
                )));
            }
            Step::Foreign(key, module) => {
                return Err(wrong(format!(
                    "{}: values of the module type {module} are not supported",
                    named(&key)
                )));
            }
            Step::Module(name) => {
                return Err(wrong(format!(
                    "data of the module type {name}, which is not supported"
                )));
            }
            Step::Library(text) => {
                self.command(&[b"FUNCTION", b"LOAD", &text])
                    .map_err(wrong)?;
                self.counts[2] += 1;
            }
            Step::Command(args) => {
                if self.counts[3] == 0 {
                    // The keys of the file before have to be there.
                    self.inlet.settle(LOOK, &mut || Ok(())).map_err(wrong)?;
                }
                let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                self.command(&words).map_err(wrong)?;
                self.counts[3] += 1;
            }
        }
        Ok(())
    }

    fn command(&mut self, words: &[&[u8]]) -> Result<(), String> {
        let handed = self.tap.hand(words, LOOK, &mut || Ok(()));
        handed.map_err(|broken| refusal(&broken))
    }

    fn settle(&mut self) -> Result<(), String> {
        self.inlet.settle(LOOK, &mut || Ok(()))?;
        let settled = self.tap.settle(LOOK, &mut || Ok(()));
        settled.map_err(|broken| refusal(&broken))
    }
}

/// Why a command was not carried out. It may be one before the place that was read last.
fn refusal(broken: &Broken) -> String {
    match broken {
        Broken::Refused(name, error) => format!("up to here: {name} was refused: {error}"),
        Broken::Closed(why) => why.clone(),
    }
}
