//! Every setting of the server, resolved: plain data that any floor may read.
//!
//! Laws. A setting is one row of `table.rs`. A name that no row has is refused, with the nearest known one. A
//! feature that this version lacks can be switched off but not on (`later.rs`). A file whose settings contradict
//! each other is refused by [`Settings::check`], which names each of them. Nothing here touches a file, the clock
//! or the environment: `config.rs` does.
//!
//! `CONFIG GET` and `CONFIG SET` know a setting by its Redis name (`maxmemory`) and by its dotted path
//! (`storage.maxmemory`); see `value.rs` for how values are written under each.

mod check;
pub mod events;
mod file;
mod later;
mod manual;
mod table;
mod units;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};

pub use check::{Complaint, NO_AUTHORITY};
pub use file::{FileError, Trouble};
pub use later::{FACTS, LATER, Later, Rule};
pub use manual::manual;
pub use table::*;
pub use units::{Unit, parse_size, parse_span, show_size, show_span};
pub use value::{Form, OutputLimit, OutputLimitsByClass, Secret, Source};

/// Cipher of new files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// AES-256 in Galois/counter mode.
    Aes256Gcm,
    /// ChaCha20-Poly1305, RFC 8439.
    ChaCha20Poly1305,
}

/// Who holds the Kek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KekProvider {
    /// A file on this machine.
    File,
}

/// When a write is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before its reply.
    Always,
    /// Within the second.
    EverySec,
    /// When the kernel likes.
    No,
}

/// What happens at `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxmemoryPolicy {
    /// Refuse writes.
    NoEviction,
    /// Remove the key that was not used for longest.
    AllKeysLru,
    /// Remove the key that is used least often.
    AllKeysLfu,
    /// Remove any key.
    AllKeysRandom,
    /// Remove the key that was not used for longest, of those that expire.
    VolatileLru,
    /// Remove the key that is used least often, of those that expire.
    VolatileLfu,
    /// Remove any key that expires.
    VolatileRandom,
    /// Remove the key that expires soonest.
    VolatileTtl,
}

impl MaxmemoryPolicy {
    /// Every policy with its word.
    pub const WORDS: &[(&str, &str, MaxmemoryPolicy)] = &[
        ("noeviction", "noeviction", MaxmemoryPolicy::NoEviction),
        ("allkeys-lru", "allkeys-lru", MaxmemoryPolicy::AllKeysLru),
        ("allkeys-lfu", "allkeys-lfu", MaxmemoryPolicy::AllKeysLfu),
        (
            "allkeys-random",
            "allkeys-random",
            MaxmemoryPolicy::AllKeysRandom,
        ),
        ("volatile-lru", "volatile-lru", MaxmemoryPolicy::VolatileLru),
        ("volatile-lfu", "volatile-lfu", MaxmemoryPolicy::VolatileLfu),
        (
            "volatile-random",
            "volatile-random",
            MaxmemoryPolicy::VolatileRandom,
        ),
        ("volatile-ttl", "volatile-ttl", MaxmemoryPolicy::VolatileTtl),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        let row = Self::WORDS.iter().find(|(.., policy)| *policy == self);
        row.map_or("", |(word, ..)| word)
    }
}

/// Who may use `DEBUG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugCommand {
    /// Every client.
    Yes,
    /// Clients that come from this machine, over loopback.
    Local,
    /// Nobody.
    No,
}

/// Oldest TLS version spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How urgent a log line must be to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of every logger")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Verbose,
    Debug,
    Trace,
}

/// One setting.
pub struct Row {
    /// Dotted path in the file: `persistence.appendfsync`.
    pub path: &'static str,
    /// Redis's name, where Redis has one.
    pub alias: Option<&'static str>,
    /// Default, in our written form.
    pub default: &'static str,
    /// `CONFIG SET` may change it.
    pub live: bool,
    /// Never shown.
    pub secret: bool,
    /// What it is for, in a line.
    pub doc: &'static str,
    /// What is accepted, in a few words.
    pub accepts: fn() -> String,
    /// How it stands in TOML.
    pub form: fn() -> Form,
    read_into: fn(&mut Settings, &str) -> Result<(), String>,
    ours: fn(&Settings) -> String,
    redis: fn(&Settings) -> String,
}

/// What a secret's value looks like to whoever asks.
const HIDDEN: &str = "(hidden)";

impl Row {
    /// The value in our written form, secrets hidden.
    pub fn shown(&self, settings: &Settings) -> String {
        self.mask((self.ours)(settings))
    }

    /// The value in Redis's written form, secrets hidden.
    pub fn shown_as_redis(&self, settings: &Settings) -> String {
        self.mask((self.redis)(settings))
    }

    fn mask(&self, value: String) -> String {
        if self.secret && !value.is_empty() {
            HIDDEN.into()
        } else {
            value
        }
    }

    /// Section and key: `encryption.file` and `key_file`.
    fn split(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }

    /// Reads `text` into this setting; the error is a whole sentence part that follows the setting's name.
    fn read(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        if let Some(why) = later::later_word(self.path, text) {
            return Err(why);
        }
        (self.read_into)(settings, text)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("path", &self.path)
            .field("alias", &self.alias)
            .finish_non_exhaustive()
    }
}

/// The row of a dotted path or Redis name; letter case does not matter.
pub fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|r| {
        r.path.eq_ignore_ascii_case(name) || r.alias.is_some_and(|a| a.eq_ignore_ascii_case(name))
    })
}

/// Why `CONFIG SET` was refused. Displays as Redis's error text, without its leading `ERR `.
#[derive(Debug, PartialEq, Eq)]
pub enum SetError {
    /// No such setting; with the nearest name there is, if one is near.
    Unknown(String, Option<String>),
    /// The setting needs a restart.
    Fixed(String),
    /// The value does not do, and why.
    Invalid(String, String),
    /// The same setting twice in one command.
    Twice(String),
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = "CONFIG SET failed (possibly related to argument";
        match self {
            SetError::Unknown(name, near) => {
                write!(
                    f,
                    "Unknown option or number of arguments for CONFIG SET - '{name}'"
                )?;
                near.as_ref()
                    .map_or(Ok(()), |near| write!(f, "; the nearest is '{near}'"))
            }
            SetError::Fixed(name) => write!(f, "{failed} '{name}') - can't set immutable config"),
            SetError::Invalid(name, why) => write!(f, "{failed} '{name}') - {why}"),
            SetError::Twice(name) => write!(f, "{failed} '{name}') - duplicate parameter"),
        }
    }
}

impl std::error::Error for SetError {}

impl Settings {
    /// Every (name, value) whose name matches the glob `pattern`, for `CONFIG GET`. A plain pattern speaks of Redis
    /// names; one with a dot in it, of dotted paths. Rows that Redis has no name for answer to both. A name that is no
    /// pattern is told as it was asked for, as Redis does.
    pub fn get_matching(&self, pattern: &str) -> Vec<(String, String)> {
        let dotted = pattern.contains('.');
        let exact = !pattern.contains(['*', '?', '[']);
        let named = |name: &str| if exact { pattern } else { name }.to_owned();
        let mut out = Vec::new();
        for row in ROWS {
            let (name, value): (_, fn(&Row, &Settings) -> String) = match row.alias {
                Some(alias) if !dotted => (alias, Row::shown_as_redis),
                _ => (row.path, Row::shown),
            };
            if glob(pattern, name) {
                out.push((named(name), value(row, self)));
            }
        }
        out.extend(
            FACTS
                .iter()
                .filter(|(name, _)| glob(pattern, name))
                .map(|(n, v)| (named(n), v.to_string())),
        );
        out
    }

    /// Changes one live setting; see [`Settings::set_all`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SetError> {
        self.set_all(&[(name, value)]).map(|_| ())
    }

    /// Changes several live settings, all or none, for `CONFIG SET`; answers with the rows changed.
    pub fn set_all(&mut self, pairs: &[(&str, &str)]) -> Result<Vec<&'static Row>, SetError> {
        let mut next = self.clone();
        // Names first, as Redis does: what they are set to is looked at when all of them will do.
        let mut names: Vec<&str> = Vec::new();
        for (name, value) in pairs {
            let known = row(name);
            if known.is_some_and(|row| !row.live) {
                return Err(SetError::Fixed((*name).into()));
            }
            if known.is_none() {
                // An unknown name is refused here; the value of a known one is not looked at yet.
                refusal(name, value)?;
            }
            let path = known.map_or(*name, |row| row.path);
            if names.iter().any(|n| n.eq_ignore_ascii_case(path)) {
                return Err(SetError::Twice((*name).into()));
            }
            names.push(path);
        }
        let mut rows: Vec<&'static Row> = Vec::new();
        for (name, value) in pairs {
            let invalid = |why: String| SetError::Invalid((*name).into(), why);
            let Some(row) = row(name) else {
                if let Some(why) = refusal(name, value)? {
                    return Err(invalid(why));
                }
                continue;
            };
            row.read(&mut next, value).map_err(invalid)?;
            // From now on it is this one, not the file's.
            match row.path {
                "auth.requirepass" => next.auth.requirepass_file = None,
                "replication.masterauth" => next.replication.masterauth_file = None,
                _ => {}
            }
            rows.push(row);
        }
        // What was wrong before is not this command's doing.
        let before = self.check();
        if let Some(bad) = next.check().into_iter().find(|c| !before.contains(c)) {
            return Err(SetError::Invalid(bad.setting.into(), bad.why));
        }
        *self = next;
        Ok(rows)
    }

    /// Where the Kek lies, whichever of its two names says so.
    pub fn kek_file(&self) -> Option<&Path> {
        self.encryption
            .key_file
            .as_deref()
            .or(self.encryption_file.key_file.as_deref())
    }

    /// True when the log is to be sealed.
    pub fn seals_log(&self) -> bool {
        self.encryption.enabled && self.encryption.encrypt_aof
    }

    /// How many shards run where `available` processors are allowed.
    pub fn shard_count(&self, available: usize) -> usize {
        match (self.server.shards, self.server.cpus.len()) {
            (0, 0) => available.clamp(1, 1024),
            (0, n) => n,
            (n, _) => usize::from(n),
        }
    }
}

/// Whether a name that has no row may be set to `value`: `None` when it already is so, else why not.
fn refusal(name: &str, value: &str) -> Result<Option<String>, SetError> {
    if let Some((_, fixed)) = FACTS.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
        return Ok(
            (*fixed != value).then(|| format!("only '{fixed}' is available in this version"))
        );
    }
    let under = |l: &&Later| {
        name == l.path || (l.rule == Rule::Section && name.starts_with(&format!("{}.", l.path)))
    };
    match LATER.iter().find(under) {
        Some(Later {
            rule: Rule::Only(words),
            ..
        }) if words.contains(&value) => Ok(None),
        Some(l) => Ok(Some(format!(
            "{} is not available in this version",
            l.feature
        ))),
        None => Err(SetError::Unknown(name.into(), nearest(name))),
    }
}

/// The known name that `name` was probably meant to be.
pub fn nearest(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or(&name);
    // The right key in the wrong section, or Redis's name for it.
    let moved = ROWS.iter().find(|r| {
        r.split().1 == last
            || r.alias
                .is_some_and(|a| a == last || a.replace('-', "_") == last)
    });
    if let Some(row) = moved {
        return Some(row.path.into());
    }
    let alike = strsim::normalized_damerau_levenshtein;
    let names = ROWS
        .iter()
        .map(|r| (r.path, r.split().1))
        .chain(LATER.iter().map(|l| (l.path, l.path)));
    let sections = ROWS.iter().map(|r| (r.split().0, r.split().0));
    names
        .chain(sections)
        .map(|(path, short)| (alike(&name, path).max(alike(last, short) - 0.1), path))
        .filter(|(score, _)| *score >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, path)| path.to_owned())
}

/// Redis's glob, without regard to letter case: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
fn glob(pattern: &str, text: &str) -> bool {
    fn class(p: &[u8], c: u8) -> Option<(bool, usize)> {
        let (not, mut i) = if p.get(1) == Some(&b'^') {
            (true, 2)
        } else {
            (false, 1)
        };
        let mut hit = false;
        while *p.get(i)? != b']' {
            if p[i] == b'\\' && i + 1 < p.len() {
                i += 1;
            }
            if p.get(i + 1) == Some(&b'-') && p.get(i + 2).is_some_and(|e| *e != b']') {
                hit |= (p[i].min(p[i + 2])..=p[i].max(p[i + 2])).contains(&c);
                i += 3;
            } else {
                hit |= p[i] == c;
                i += 1;
            }
        }
        Some((hit != not, i + 1))
    }
    let (p, t) = (
        pattern.to_ascii_lowercase().into_bytes(),
        text.to_ascii_lowercase().into_bytes(),
    );
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < t.len() {
        let step = match p.get(i) {
            Some(b'*') => {
                star = Some((i + 1, j));
                i += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => match class(&p[i..], t[j]) {
                Some((true, used)) => Some(used),
                Some((false, _)) => None,
                None => (t[j] == b'[').then_some(1),
            },
            Some(b'\\') if i + 1 < p.len() => (p[i + 1] == t[j]).then_some(2),
            Some(c) => (*c == t[j]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(n), _) => (i, j) = (i + n, j + 1),
            (None, Some((after, from))) => {
                star = Some((after, from + 1));
                (i, j) = (after, from + 1);
            }
            (None, None) => return false,
        }
    }
    p[i..].iter().all(|c| *c == b'*')
}

/// A path for messages: as written by the user.
pub(crate) fn shown_path(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |p| p.display().to_string())
}

#[cfg(test)]
mod tests;
