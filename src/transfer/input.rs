//! All files of an input, in order, step by step.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::aof::{AofError, Commands};
use super::manifest;
use super::sealed::{MAGIC, Opened};
use crate::envelope::Provider;
use crate::rdb::file::{FileError, FileReader, Item, Key, Why};

/// Bytes read from a file at a time.
const PIECE: usize = 256 << 10;
/// Longest manifest.
const MANIFEST: u64 = 1 << 20;

/// Commands that change what a connection is or ends it, and those that answer otherwise than once: no log has them.
const NOT_OF_A_LOG: [&str; 21] = [
    "asking",
    "auth",
    "client",
    "hello",
    "monitor",
    "psubscribe",
    "psync",
    "punsubscribe",
    "quit",
    "readonly",
    "readwrite",
    "replicaof",
    "replconf",
    "reset",
    "shutdown",
    "slaveof",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "sync",
    "unsubscribe",
];

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which file.
    pub file: Arc<Path>,
    /// At which byte.
    pub at: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}", self.file.display(), self.at)
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file begins; database 0 is selected.
    Begin,
    /// A key comes in, its value as RESTORE takes it.
    Key(Key, Vec<u8>),
    /// A key whose value is larger than was asked for; it was passed over.
    TooLarge(Key),
    /// A key whose value belongs to the module of this name; it was passed over.
    Foreign(Key, String),
    /// Data of the module of this name, beside its keys; they were passed over.
    Module(String),
    /// A library of functions: its text.
    Library(Vec<u8>),
    /// A command, its name and what belongs to it.
    Command(Vec<Vec<u8>>),
}

/// Why an input cannot be read, or not on.
#[derive(Debug)]
pub enum InputError {
    /// It could not be opened, or is nothing that is read here; in words.
    Open(PathBuf, String),
    /// An RDB file.
    Rdb(Arc<Path>, FileError),
    /// A log of commands.
    Aof(Arc<Path>, AofError),
    /// A command that no log of changes has.
    Command(Place, String),
    /// More stands behind an RDB file that does not say that commands follow.
    More(Place),
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputError::Open(path, why) => write!(f, "{}: {why}", path.display()),
            InputError::Rdb(path, e) => write!(f, "{}, {e}", path.display()),
            InputError::Aof(path, e) => write!(f, "{}: {e}", path.display()),
            InputError::Command(place, name) => {
                write!(f, "{place}: {name} is no command that a log of changes has")
            }
            InputError::More(place) => write!(f, "{place}: something follows the RDB file"),
        }
    }
}

impl std::error::Error for InputError {}

type Bytes = Box<dyn BufRead + Send>;

/// What is being read.
enum Reads {
    Rdb(FileReader<Bytes>),
    Aof(Commands<Bytes>),
}

/// Data on their way in.
pub struct Input {
    /// The files that are still to be read, the next one last.
    left: Vec<Arc<Path>>,
    now: Option<(Arc<Path>, Reads)>,
    log: bool,
    most: usize,
    /// What opens sealed files.
    keys: Option<Arc<dyn Provider>>,
    /// Whether a log that ends within a command is taken as far as it is whole.
    cut: bool,
    cut_at: Option<Place>,
    /// Where the transaction began that has not ended.
    open: Option<Place>,
    read: Arc<AtomicU64>,
    total: u64,
}

/// A file whose bytes are counted.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(into)?;
        self.read.fetch_add(n as u64, Relaxed);
        Ok(n)
    }
}

fn failed(path: &Path, e: impl ToString) -> InputError {
    InputError::Open(path.to_owned(), e.to_string())
}

/// The manifest of a directory: the one file whose name ends so.
fn manifest_in(dir: &Path) -> Result<PathBuf, InputError> {
    let mut found = None;
    for entry in std::fs::read_dir(dir).map_err(|e| failed(dir, e))? {
        let path = entry.map_err(|e| failed(dir, e))?.path();
        if path.extension().is_some_and(|e| e == "manifest") && found.replace(path).is_some() {
            return Err(failed(dir, "it holds several manifests: name one"));
        }
    }
    found.ok_or_else(|| failed(dir, "it holds no manifest of an AOF (*.manifest)"))
}

fn parts(path: &Path) -> Result<Vec<Arc<Path>>, InputError> {
    let manifest = match path {
        dir if dir.is_dir() => manifest_in(dir)?,
        file if file.extension().is_some_and(|e| e == "manifest") => file.to_owned(),
        file => return Ok(vec![file.into()]),
    };
    let mut text = String::new();
    File::open(&manifest)
        .and_then(|file| file.take(MANIFEST).read_to_string(&mut text))
        .map_err(|e| failed(&manifest, e))?;
    let files = manifest::files(&text).map_err(|why| failed(&manifest, why))?;
    let dir = manifest.parent().unwrap_or(Path::new(""));
    Ok(files.iter().map(|name| dir.join(name).into()).collect())
}

impl Input {
    /// Opens what lies at `path`: a file, a manifest, or a directory with one. Values of more than `most` bytes are
    /// passed over. With `cut`, a log may end within a command or a transaction, as a crash leaves it. `keys` opens sealed
    /// exports.
    ///
    /// # Errors
    /// [`InputError::Open`], also for a part that is not there.
    pub fn open(
        path: &Path,
        most: usize,
        cut: bool,
        keys: Option<Arc<dyn Provider>>,
    ) -> Result<Input, InputError> {
        let mut left = parts(path)?;
        let mut total = 0;
        for part in &left {
            let meta = std::fs::metadata(part).map_err(|e| failed(part, e))?;
            if !meta.is_file() {
                return Err(failed(part, "it is no file"));
            }
            total += meta.len();
        }
        let log = !matches!(&left[..], [only] if &**only == path);
        left.reverse();
        Ok(Input {
            left,
            now: None,
            log,
            most,
            keys,
            cut,
            cut_at: None,
            open: None,
            read: Arc::default(),
            total,
        })
    }

    /// Whether these are the files of a log, as far as is known by now: what expired meanwhile is still needed, since a
    /// later command may say otherwise.
    pub fn is_log(&self) -> bool {
        self.log
    }

    /// Where the command or transaction begins that the log did not end. Nothing of the command was given out, and the
    /// transaction was ended with a DISCARD.
    pub fn cut_at(&self) -> Option<&Place> {
        self.cut_at.as_ref()
    }

    /// Bytes of all files, and a counter of those that were read.
    pub fn progress(&self) -> (u64, Arc<AtomicU64>) {
        (self.total, self.read.clone())
    }

    fn begin(&mut self, path: Arc<Path>) -> Result<(), InputError> {
        let file = File::open(&path).map_err(|e| failed(&path, e))?;
        let file = Counted {
            file,
            read: self.read.clone(),
        };
        let mut bytes: Bytes = Box::new(BufReader::with_capacity(PIECE, file));
        let start = bytes.fill_buf().map_err(|e| failed(&path, e))?;
        if start.starts_with(MAGIC) {
            let keys = self.keys.as_deref().ok_or_else(|| {
                failed(&path, "it is sealed: name its Kek with --key-file, or the server's settings with --config")
            })?;
            let opened = Opened::open(bytes, keys).map_err(|e| failed(&path, e))?;
            bytes = Box::new(BufReader::with_capacity(PIECE, opened));
        }
        let start = bytes.fill_buf().map_err(|e| failed(&path, e))?;
        let reads = match start.first() {
            // Redis opens the next part before anything is appended to it.
            None | Some(b'*' | b'#') => {
                self.log = true;
                Reads::Aof(Commands::new(bytes, 0))
            }
            Some(_) => {
                let file = FileReader::open(bytes);
                let file = file.map_err(|e| match e.why {
                    Why::Magic => {
                        failed(&path, "this is neither an RDB file nor a log of commands")
                    }
                    _ => InputError::Rdb(path.clone(), e),
                });
                Reads::Rdb(file?)
            }
        };
        self.now = Some((path, reads));
        Ok(())
    }

    /// The next step, and where it stands; `None` at the end of the last file.
    ///
    /// # Errors
    /// Nothing can be read after one.
    // It is no iterator: it ends with the first error.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<(Place, Step)>, InputError> {
        loop {
            let Some((path, reads)) = self.now.take() else {
                let Some(path) = self.left.pop() else {
                    return Ok(None);
                };
                self.begin(path.clone())?;
                return Ok(Some((Place { file: path, at: 0 }, Step::Begin)));
            };
            match reads {
                Reads::Rdb(mut file) => {
                    let step = self
                        .of_rdb(&mut file)
                        .map_err(|e| InputError::Rdb(path.clone(), e))?;
                    match step {
                        Some((at, step)) => {
                            let place = Place {
                                file: path.clone(),
                                at,
                            };
                            self.now = Some((path, Reads::Rdb(file)));
                            return Ok(Some((place, step)));
                        }
                        None => self.behind(path, file)?,
                    }
                }
                Reads::Aof(mut commands) => {
                    let next = commands.next();
                    let place = Place {
                        file: path.clone(),
                        at: commands.from(),
                    };
                    match next {
                        Ok(Some(args)) => {
                            self.note(&place, &args)?;
                            self.now = Some((path, Reads::Aof(commands)));
                            return Ok(Some((place, Step::Command(args))));
                        }
                        Ok(None) if self.open.is_none() => {}
                        Ok(None) | Err(AofError::Truncated(_)) => {
                            let open = self.open.take();
                            let from = open.as_ref().unwrap_or(&place).clone();
                            // Only of the last file can it be said that a crash cut it.
                            if !self.cut || !self.left.is_empty() {
                                return Err(InputError::Aof(path, AofError::Truncated(from.at)));
                            }
                            self.cut_at = Some(from.clone());
                            if open.is_some() {
                                let discard = Step::Command(vec![b"DISCARD".to_vec()]);
                                return Ok(Some((from, discard)));
                            }
                        }
                        Err(e) => return Err(InputError::Aof(path, e)),
                    }
                }
            }
        }
    }

    /// Looks at a command: whether it may be there, and where a transaction begins and ends.
    fn note(&mut self, place: &Place, args: &[Vec<u8>]) -> Result<(), InputError> {
        let name = args.first().map(|name| name.to_ascii_lowercase());
        let name = String::from_utf8(name.unwrap_or_default()).unwrap_or_default();
        match name.as_str() {
            "multi" => self.open = Some(place.clone()),
            "exec" | "discard" => self.open = None,
            name if NOT_OF_A_LOG.contains(&name) => {
                return Err(InputError::Command(place.clone(), name.to_owned()));
            }
            _ => {}
        }
        Ok(())
    }

    /// What comes next of an RDB file that needs to be told.
    fn of_rdb(&mut self, file: &mut FileReader<Bytes>) -> Result<Option<(u64, Step)>, FileError> {
        loop {
            let at = file.consumed();
            let step = match file.next()? {
                None => return Ok(None),
                Some(Item::Aux(name, says)) => {
                    let preamble = matches!(&name[..], b"aof-preamble" | b"aof-base");
                    self.log |= preamble && says == b"1";
                    continue;
                }
                Some(Item::Sizes { .. }) => continue,
                Some(Item::Module(name)) => Step::Module(name),
                Some(Item::Library(text)) => Step::Library(text),
                Some(Item::Key(key)) => match file.payload(self.most) {
                    Ok(Some(payload)) => Step::Key(key, payload),
                    Ok(None) => Step::TooLarge(key),
                    Err(FileError {
                        why: Why::Module(name),
                        ..
                    }) => Step::Foreign(key, name),
                    Err(e) => return Err(e),
                },
            };
            return Ok(Some((at, step)));
        }
    }

    /// An RDB file has ended; commands may follow.
    fn behind(&mut self, path: Arc<Path>, file: FileReader<Bytes>) -> Result<(), InputError> {
        let at = file.consumed();
        let mut bytes = file.into_inner();
        let more = bytes.fill_buf().map_err(|e| failed(&path, e))?;
        if more.is_empty() {
            return Ok(());
        }
        if !self.log {
            return Err(InputError::More(Place { file: path, at }));
        }
        self.now = Some((path, Reads::Aof(Commands::new(bytes, at))));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::file::FileWriter;
    use crate::shard::Value;

    /// What comes of a path, in words.
    fn all(path: &Path, cut: bool) -> (Vec<String>, Option<String>, bool) {
        let mut out = Vec::new();
        let mut input = match Input::open(path, 64, cut, None) {
            Ok(input) => input,
            Err(e) => return (out, Some(e.to_string()), false),
        };
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        loop {
            let step = match input.next() {
                Ok(Some((_, step))) => step,
                Ok(None) => {
                    let (total, read) = input.progress();
                    assert_eq!(total, read.load(Relaxed));
                    return (out, None, input.is_log());
                }
                Err(e) => return (out, Some(e.to_string()), input.is_log()),
            };
            out.push(match step {
                Step::Begin => "begin".into(),
                Step::Key(key, _) => format!("key {}", show(&key.name)),
                Step::TooLarge(key) => format!("too large {}", show(&key.name)),
                Step::Foreign(key, of) => format!("{of} {}", show(&key.name)),
                Step::Module(name) => name,
                Step::Library(text) => format!("library {}", show(&text)),
                Step::Command(args) => show(&args.join(&b' ')),
            });
        }
    }

    fn rdb(preamble: bool) -> Vec<u8> {
        let mut file = FileWriter::new(Vec::new(), 10).unwrap();
        if preamble {
            file.aux("aof-base", b"1").unwrap();
        }
        file.library(b"lib").unwrap();
        file.database(0, 2, 0).unwrap();
        file.value(b"a", None, &Value::Str(b"1")).unwrap();
        let long: Vec<u8> = (0..=255).collect();
        file.value(b"b", None, &Value::Str(&long)).unwrap();
        file.finish().unwrap()
    }

    #[test]
    fn each_kind_of_input_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let set = b"*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n2\r\n";
        std::fs::write(path("dump.rdb"), rdb(false)).unwrap();
        std::fs::write(path("old.aof"), [&rdb(true)[..], set].concat()).unwrap();
        std::fs::write(path("more.rdb"), [&rdb(false)[..], set].concat()).unwrap();
        std::fs::write(path("plain.aof"), set).unwrap();
        std::fs::write(path("empty.aof"), b"").unwrap();
        std::fs::write(path("cut.aof"), &set[..set.len() - 3]).unwrap();
        let multi = b"*1\r\n$5\r\nmulti\r\n";
        std::fs::write(path("open.aof"), [&set[..], multi, set].concat()).unwrap();
        let torn = [&set[..], multi, set, b"*1\r\n$4\r\nEX"].concat();
        std::fs::write(path("torn.aof"), torn).unwrap();
        std::fs::write(path("text"), b"hello, world").unwrap();
        let whole = ["begin", "library lib", "key a", "too large b"];
        let told = |name: &str| all(&path(name), false);
        assert_eq!(
            told("dump.rdb"),
            (whole.map(String::from).to_vec(), None, false)
        );
        let (steps, error, log) = told("old.aof");
        assert_eq!(
            (&steps[..4], &steps[4..], error, log),
            (
                &whole.map(String::from)[..],
                &["SET c 2".to_owned()][..],
                None,
                true
            )
        );
        let more = told("more.rdb").1.unwrap();
        assert!(more.contains("something follows"), "{more}");
        assert_eq!(told("plain.aof").0, ["begin", "SET c 2"]);
        assert_eq!(told("empty.aof").0, ["begin"]);
        let cut = told("cut.aof").1.unwrap();
        assert!(
            cut.ends_with(
                "cut.aof: it ends within the command or transaction that begins at byte 0"
            ),
            "{cut}"
        );
        assert_eq!(
            all(&path("cut.aof"), true),
            (vec!["begin".into()], None, true)
        );
        for name in ["open.aof", "torn.aof"] {
            let open = told(name).1.unwrap();
            assert!(open.ends_with("begins at byte 27"), "{open}");
            let (steps, error, _) = all(&path(name), true);
            assert_eq!(
                (steps.last().map(String::as_str), error),
                (Some("DISCARD"), None)
            );
        }
        std::fs::write(path("odd.aof"), b"*1\r\n$8\r\nShutdown\r\n").unwrap();
        assert!(
            told("odd.aof")
                .1
                .unwrap()
                .contains("byte 0: shutdown is no command")
        );
        assert!(told("text").1.unwrap().contains("neither"));
        assert!(told("missing").1.unwrap().contains("missing: "));
        assert!(told(".").1.unwrap().contains("no manifest"));

        std::fs::write(
            path("a.manifest"),
            "file old.aof seq 1 type b\nfile empty.aof seq 1 type i\nfile plain.aof seq 2 type i\n",
        )
        .unwrap();
        let steps = [
            "begin",
            "library lib",
            "key a",
            "too large b",
            "SET c 2",
            "begin",
            "begin",
            "SET c 2",
        ];
        assert_eq!(
            all(dir.path(), false),
            (steps.map(String::from).to_vec(), None, true)
        );
        assert_eq!(all(&path("a.manifest"), false).0, steps);
        // Only the last file may be cut.
        std::fs::write(
            path("a.manifest"),
            "file cut.aof seq 1 type i\nfile plain.aof seq 2 type i\n",
        )
        .unwrap();
        assert!(all(dir.path(), true).1.unwrap().contains("ends within"));
        std::fs::write(path("a.manifest"), "file gone.aof seq 1 type i\n").unwrap();
        assert!(all(dir.path(), true).1.unwrap().contains("gone.aof: "));
        std::fs::write(path("b.manifest"), "").unwrap();
        assert!(
            all(dir.path(), true)
                .1
                .unwrap()
                .contains("several manifests")
        );
    }
}
