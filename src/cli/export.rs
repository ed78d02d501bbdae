//! `export FILE`: all data of a server as an RDB file, sealed unless it is asked for in the clear.
//!
//! Promise: the file takes its name only when all is in it and on the disk; until then it has another, and only its owner
//! can read either. Each key stands in it once, as it was at one moment, with its expiry (both are asked for in one
//! transaction), but not all at the same moment: a key that was there from the beginning to the end of the export is in
//! the file, with one of the values that it had meanwhile. SCAN sees to the first half of that; it may name a key twice,
//! so who was named before is remembered, by a keyed hash of 128 bits.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use ferrite::{Client, Value};

use super::args;
use super::connect::Way;
use super::keys::{KeyOptions, Keys};
use super::progress::{Progress, Unit};
use super::words::escaped;
use crate::rdb::file::{FileWriter, body};
use crate::rdb::undump_libraries;
use crate::shard::Ms;
use crate::transfer::Sealer;

/// Keys that SCAN looks at each time.
const SCANNED: &str = "500";
/// Bytes of values that are asked for together, as far as the server can say beforehand.
const TOGETHER: u64 = 16 << 20;

/// Writes all keys and libraries of functions of the server to FILE, an RDB file that Redis 7.0 and later load.
///
/// It is sealed under a Kek (--key-file or --config) and opened by `import` with the same one; --plain writes it in the
/// clear, for Redis. The server goes on serving: every key is in the file as it was at one moment, but not all at the same
/// moment. FILE is replaced when all is on the disk.
#[derive(Debug, Parser)]
#[command(name = "ferrite-cli [OPTIONS] export", disable_version_flag = true)]
struct Options {
    /// Writes the file in the clear: whoever reads it reads all data.
    #[arg(long, conflicts_with_all = ["key_file", "config"])]
    plain: bool,
    #[command(flatten)]
    keys: KeyOptions,
    /// Version of the format: 10, or 12, which has fields of hashes that expire and is read by Redis 7.4 and later.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(10..=12))]
    rdb_version: u16,
    /// File to be written.
    file: PathBuf,
}

/// `export ...`, after the word itself.
pub fn run(options: &args::Options, rest: &[OsString]) -> Result<ExitCode, String> {
    let name = OsString::from("ferrite-cli export");
    let own = match Options::try_parse_from(std::iter::once(&name).chain(rest)) {
        Ok(own) => own,
        Err(e) => {
            let _ = e.print();
            return Ok(ExitCode::from(if e.use_stderr() { 2 } else { 0 }));
        }
    };
    let keys = own.keys.open()?;
    if keys.is_none() && !own.plain {
        return Err(
            "export seals what it writes: name the Kek with --key-file FILE, or the server's settings with \
             --config FILE; --plain writes all data in the clear"
                .into(),
        );
    }
    let way = Way::new(options)?.for_large_replies();
    if way.database != 0 {
        return Err("export takes all databases: none can be named".into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let words = runtime.block_on(export(&way, &own, keys))?;
    // Standard output may be closed; the status says how it went.
    let _ = writeln!(io::stdout(), "{words}");
    Ok(ExitCode::SUCCESS)
}

/// A file that gets its name when it is whole, and is removed if that never happens.
struct Draft {
    path: PathBuf,
    wanted: PathBuf,
    done: bool,
}

impl Draft {
    fn new(wanted: &Path) -> io::Result<(Draft, File)> {
        let name = wanted.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut draft = OsString::from(".");
        draft.push(name);
        draft.push(format!(".{}.part", std::process::id()));
        let path = wanted.with_file_name(draft);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let wanted = wanted.to_owned();
        let draft = Draft {
            path,
            wanted,
            done: false,
        };
        Ok((draft, file))
    }

    /// Gives it its name, all of it on the disk.
    fn finish(mut self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        std::fs::rename(&self.path, &self.wanted)?;
        self.done = true;
        let dir = self
            .wanted
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done {
            // What remains is a part that nobody takes for the whole.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Where the bytes of the file go.
enum Out {
    Plain(BufWriter<File>),
    Sealed(Box<Sealer<BufWriter<File>>>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Out::Plain(out) => out.write(bytes),
            Out::Sealed(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::Plain(out) => out.flush(),
            Out::Sealed(out) => out.flush(),
        }
    }
}

impl Out {
    fn begin(file: File, keys: Option<&Keys>) -> Result<Out, String> {
        let file = BufWriter::with_capacity(256 << 10, file);
        let Some((provider, algorithm)) = keys else {
            return Ok(Out::Plain(file));
        };
        let sealer = Sealer::begin(file, provider.as_ref(), *algorithm, now());
        sealer
            .map(|sealer| Out::Sealed(Box::new(sealer)))
            .map_err(|e| e.to_string())
    }

    fn finish(self) -> io::Result<File> {
        let file = match self {
            Out::Plain(file) => file,
            Out::Sealed(sealer) => sealer.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}

/// A database, how many keys it holds, and how many of them expire.
type Sizes = (u32, u64, u64);

fn databases(info: &str) -> Vec<Sizes> {
    let of_line = |line: &str| {
        let (db, rest) = line.trim_end().strip_prefix("db")?.split_once(':')?;
        let figure = |name: &str| {
            let mut all = rest.split(',').filter_map(|pair| pair.split_once('='));
            all.find(|(key, _)| *key == name)?.1.parse::<u64>().ok()
        };
        Some((db.parse().ok()?, figure("keys")?, figure("expires")?))
    };
    info.lines().filter_map(of_line).collect()
}

/// The file as it grows.
struct Export<'c> {
    client: &'c Client,
    out: FileWriter<Out>,
    path: &'c Path,
    progress: Progress,
    keys: u64,
}

async fn export(way: &Way, own: &Options, keys: Option<Keys>) -> Result<String, String> {
    let client = way.connect(0, false).await?;
    let failed = |e: io::Error| format!("{}: {e}", own.file.display());
    let asked = |what: &'static str| move |e: ferrite::Error| format!("{what}: {e}");
    let info: String = client
        .command(["INFO", "keyspace"])
        .await
        .map_err(asked("INFO"))?;
    let server: String = client
        .command(["INFO", "server"])
        .await
        .map_err(asked("INFO"))?;
    let libraries: Vec<u8> = client
        .command(["FUNCTION", "DUMP"])
        .await
        .map_err(asked("FUNCTION DUMP"))?;
    let libraries = undump_libraries(&libraries).map_err(|e| format!("FUNCTION DUMP: {e}"))?;
    let databases = databases(&info);

    let (draft, file) = Draft::new(&own.file).map_err(failed)?;
    let out = Out::begin(file, keys.as_ref())?;
    let mut out = FileWriter::new(out, own.rdb_version).map_err(failed)?;
    let version = server
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"));
    for (name, says) in [
        ("redis-ver", version.unwrap_or_default().trim()),
        ("redis-bits", "64"),
        ("ctime", &(now() / 1000).to_string()),
        ("ferrite-ver", env!("CARGO_PKG_VERSION")),
    ] {
        out.aux(name, says.as_bytes()).map_err(failed)?;
    }
    for text in &libraries {
        out.library(text).map_err(failed)?;
    }
    let total = databases.iter().map(|(_, keys, _)| keys).sum();
    let mut export = Export {
        client: &client,
        out,
        path: &own.file,
        progress: Progress::new(Unit::Keys, total),
        keys: 0,
    };
    for sizes in &databases {
        export.database(*sizes).await?;
    }
    let Export {
        out,
        progress,
        keys: count,
        ..
    } = export;
    let file = out.finish().and_then(Out::finish).map_err(failed)?;
    draft.finish(&file).map_err(failed)?;
    progress.end();
    let how = match &keys {
        None => "in the clear".to_owned(),
        Some((provider, _)) => format!("sealed under Kek {}", provider.describe()),
    };
    Ok(format!(
        "{}: keys: {count}, databases: {}, libraries of functions: {}; {how}",
        own.file.display(),
        databases.len(),
        libraries.len(),
    ))
}

/// A key of a 128-bit hash that nobody outside knows.
struct Seen {
    hashers: [RandomState; 2],
    seen: HashSet<[u64; 2]>,
}

impl Seen {
    fn new() -> Seen {
        Seen {
            hashers: [RandomState::new(), RandomState::new()],
            seen: HashSet::new(),
        }
    }

    /// Whether `name` is here for the first time.
    fn is_new(&mut self, name: &[u8]) -> bool {
        let [a, b] = &self.hashers;
        self.seen.insert([a.hash_one(name), b.hash_one(name)])
    }
}

impl Export<'_> {
    async fn database(&mut self, (db, keys, expiring): Sizes) -> Result<(), String> {
        let number = db.to_string();
        let selected = self.client.command::<Value>(["SELECT", &number]);
        selected.await.map_err(|e| format!("SELECT {db}: {e}"))?;
        let written = self.out.database(db, keys, expiring);
        written.map_err(|e| self.failed(&e))?;
        let (mut seen, mut cursor) = (Seen::new(), String::from("0"));
        loop {
            let scan = self.client.command(["SCAN", &cursor, "COUNT", SCANNED]);
            let (next, names) = match scan.await.map_err(|e| format!("SCAN: {e}"))? {
                Value::Array(parts) => match <[Value; 2]>::try_from(parts) {
                    Ok([Value::Bulk(next), Value::Array(names)]) => (next, names),
                    _ => return Err("SCAN answers no cursor and keys".into()),
                },
                _ => return Err("SCAN answers no list".into()),
            };
            let names: Vec<Vec<u8>> = names
                .into_iter()
                .filter_map(|name| match name {
                    Value::Bulk(name) => Some(name),
                    _ => None,
                })
                .filter(|name| seen.is_new(name))
                .collect();
            self.some(db, &names).await?;
            let words = format!("{} keys", self.keys);
            self.progress.at(self.keys, &words);
            cursor = String::from_utf8(next).map_err(|_| "SCAN answers no cursor")?;
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    fn failed(&self, e: &io::Error) -> String {
        format!("{}: {e}", self.path.display())
    }

    /// Some keys of the database that is selected, so many at a time as fit into memory.
    async fn some(&mut self, db: u32, names: &[Vec<u8>]) -> Result<(), String> {
        let ask = names.iter().map(|name| [&b"MEMORY"[..], b"USAGE", name]);
        let sizes = self.client.pipeline(ask).await;
        let sizes = sizes.map_err(|e| format!("MEMORY USAGE: {e}"))?;
        let mut from = 0;
        while from < names.len() {
            let (mut to, mut bytes) = (from, 0);
            while to < names.len() && bytes < TOGETHER {
                // One that is gone, or that nobody may ask about, has a reply of its own below.
                bytes += match sizes.get(to) {
                    Some(Value::Int(n)) => u64::try_from(*n).unwrap_or(0),
                    Some(Value::Null) => 0,
                    _ => TOGETHER,
                };
                to += 1;
            }
            self.dump(db, &names[from..to]).await?;
            from = to;
        }
        Ok(())
    }

    async fn dump(&mut self, db: u32, names: &[Vec<u8>]) -> Result<(), String> {
        let place = |name: &[u8]| format!("key {} of database {db}", escaped(name));
        let commands = names.iter().flat_map(|name| {
            [
                vec![&b"MULTI"[..]],
                vec![b"DUMP", name],
                vec![b"PEXPIRETIME", name],
                vec![b"EXEC"],
            ]
        });
        let replies = self.client.pipeline(commands).await;
        let replies = replies.map_err(|e| match names {
            [one] => format!("{}: {e}", place(one)),
            _ => format!("DUMP: {e}"),
        })?;
        for (name, replies) in names.iter().zip(replies.chunks(4)) {
            let refused = replies.iter().find_map(|reply| match reply {
                Value::Error(text) if !text.starts_with("EXECABORT") => Some(text),
                _ => None,
            });
            if let Some(text) = refused {
                return Err(format!("{}: {text}", place(name)));
            }
            let (payload, at) = match replies.last() {
                Some(Value::Array(both)) => match &both[..] {
                    [Value::Bulk(payload), Value::Int(at)] => (payload, *at),
                    [Value::Null, _] => continue, // it is gone
                    [Value::Error(text), _] | [_, Value::Error(text)] => {
                        return Err(format!("{}: {text}", place(name)));
                    }
                    _ => return Err(format!("{}: no value and time", place(name))),
                },
                _ => return Err(format!("{}: no value and time", place(name))),
            };
            let (kind, bytes, least) =
                body(payload).map_err(|e| format!("{}: {e}", place(name)))?;
            let version = self.out.version();
            if least > version {
                return Err(format!(
                    "{}: its value needs RDB version {least} and the file has {version}: say --rdb-version {least} \
                     (fields of hashes that expire are not read by Redis before 7.4)",
                    place(name)
                ));
            }
            let expire = Ms::try_from(at).ok();
            let written = self.out.key(name, expire, None, (kind, bytes));
            written.map_err(|e| self.failed(&e))?;
            self.keys += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyspace_is_read_from_info() {
        let info = "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=5\r\ndb12:keys=7,expires=0,avg_ttl=0,subexpiry=0\r\n";
        assert_eq!(databases(info), [(0, 3, 1), (12, 7, 0)]);
        assert_eq!(databases("# Keyspace\r\n"), []);
    }

    #[test]
    fn a_draft_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump.rdb");
        std::fs::write(&path, "before").unwrap();
        drop(Draft::new(&path).unwrap());
        let (draft, mut file) = Draft::new(&path).unwrap();
        file.write_all(b"after").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        draft.finish(&file).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"after");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(Draft::new(Path::new("..")).is_err());
    }

    #[test]
    fn a_name_is_new_once() {
        let mut seen = Seen::new();
        assert!(seen.is_new(b"a") && seen.is_new(b"b") && !seen.is_new(b"a"));
    }
}
