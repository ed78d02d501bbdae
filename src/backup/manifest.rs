//! The manifest of a backup: which pieces its files are made of.
//!
//! It is sealed under a secret of its own, which only the Kek unwraps: so it can be opened where nothing is left but the
//! Kek, and vouches for every byte of the backup, the copied keyring included.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{BACKEND, BACKUPS, hex};
use crate::envelope::{Provider, ProviderError, Wrapped};
use crate::seal::{Algorithm, COMMITMENT_LEN, FileKey, SALT_LEN, Secret32, TAG_LEN, random};

/// The label under which a manifest's key is derived.
const LABEL: &str = "ferrite backup manifest";
/// First bytes of a manifest.
const MAGIC: &[u8; 8] = b"FERRBAK1";
/// The version this build writes and reads.
const VERSION: u16 = 1;
/// Bytes up to the first block.
const FIXED: usize = 20;
const SUFFIX: &str = ".manifest";

/// Bytes of a piece; a file's last one may be shorter.
pub const PIECE: usize = 4 << 20;

/// What a backup consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The backup's id: the time it was begun (UTC) and a random number.
    pub id: String,
    /// The data directory's own name, in hexadecimal digits.
    pub node: String,
    /// The backup that was the newest when this one was begun.
    pub parent: Option<String>,
    /// When it was begun, in Unix milliseconds.
    pub begun: u64,
    /// When the ends of the logs were looked at, in Unix milliseconds: what came later is not in it.
    pub moment: u64,
    /// When it was complete, in Unix milliseconds.
    pub ended: u64,
    /// The checkpoint in it.
    pub checkpoint: Option<u64>,
    /// Keys in that checkpoint.
    pub keys: u64,
    /// Its files.
    pub files: Vec<FileEntry>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its path in the data directory.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// The segment's id in hexadecimal digits, if it is a segment.
    pub segment: Option<String>,
    /// The digests of its pieces, in order.
    pub pieces: Vec<String>,
}

impl FileEntry {
    /// Its pieces, and the bytes of the file that each of them is.
    pub fn ranges(&self) -> impl Iterator<Item = (&str, Range<u64>)> {
        self.pieces.iter().enumerate().map(|(i, piece)| {
            let start = i as u64 * PIECE as u64;
            (piece.as_str(), start..self.len.min(start + PIECE as u64))
        })
    }

    /// Whether it can be a file of a data directory.
    fn is_sound(&self) -> bool {
        let name = |dir: &str| self.path.strip_prefix(dir);
        let name = name("log/").or(name("checkpoint/"));
        let placed = self.path == crate::envelope::FILE_NAME
            || name.is_some_and(|n| !n.is_empty() && !n.starts_with('.') && !n.contains('/'));
        let is_digest = |p: &String| {
            p.len() == 64
                && p.bytes()
                    .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
        };
        placed
            && self.pieces.len() as u64 == self.len.div_ceil(PIECE as u64)
            && self.pieces.iter().all(is_digest)
    }
}

impl Manifest {
    /// A new id for a backup that is begun now (Unix milliseconds).
    ///
    /// # Errors
    /// No randomness.
    pub fn fresh_id(now: u64) -> Result<String, String> {
        let format = time::macros::format_description!(
            "[year][month][day]T[hour][minute][second][subsecond digits:3]Z"
        );
        let nanos = i128::from(now) * 1_000_000;
        let at = time::OffsetDateTime::from_unix_timestamp_nanos(nanos);
        let at = at.map_err(|e| format!("the clock: {e}"))?.format(format);
        let mut number = [0; 4];
        random(&mut number).map_err(|e| e.to_string())?;
        Ok(format!(
            "{}-{}",
            at.map_err(|e| format!("the clock: {e}"))?,
            hex(&number)
        ))
    }

    /// The name of the manifest of a backup.
    pub fn file_of(id: &str) -> String {
        format!("{BACKUPS}/{id}{SUFFIX}")
    }

    /// The backup whose manifest a file's name (without directory) says it is.
    pub fn id_of(name: &str) -> Option<&str> {
        name.strip_suffix(SUFFIX).filter(|id| !id.is_empty())
    }

    /// A file of it.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.path == path)
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.len).sum()
    }

    /// Its file's bytes, sealed under a fresh secret, which the Kek wraps.
    ///
    /// # Errors
    /// The provider's; no randomness.
    pub fn seal(&self, provider: Option<&dyn Provider>) -> Result<Vec<u8>, String> {
        let mut text = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        let (algorithm, secret, kek) = match provider {
            None => (Algorithm::Off, Secret32::zero(), None),
            Some(provider) => {
                let secret = Secret32::random().map_err(|e| e.to_string())?;
                let wrapped = provider.wrap(secret.expose(), &wrap_aad(&self.id));
                let wrapped = wrapped.map_err(|e| e.to_string())?;
                let name = provider.describe().provider;
                (Algorithm::Aes256Gcm, secret, Some((name, wrapped)))
            }
        };
        let mut out = Vec::with_capacity(512 + text.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[algorithm.byte(), 0]);
        out.extend_from_slice(&[0; 8]);
        put(&mut out, self.id.as_bytes());
        if let Some((name, wrapped)) = &kek {
            put(&mut out, name.as_bytes());
            put(&mut out, wrapped.kek_id.as_bytes());
            out.extend_from_slice(&wrapped.kek_version.to_be_bytes());
            put(&mut out, &wrapped.bytes);
        }
        let head = (out.len() + SALT_LEN + COMMITMENT_LEN) as u32;
        out[12..16].copy_from_slice(&head.to_be_bytes());
        let len = u32::try_from(text.len()).map_err(|_| "the manifest is too long")?;
        out[16..20].copy_from_slice(&len.to_be_bytes());
        let (mut key, salt) =
            FileKey::create(&secret, algorithm, BACKEND, LABEL, &out).map_err(|e| e.to_string())?;
        out.extend_from_slice(&salt);
        out.extend_from_slice(key.commitment());
        let (_, tag) = key.seal(&out, &mut text).map_err(|e| e.to_string())?;
        out.extend_from_slice(&text);
        out.extend_from_slice(&tag);
        Ok(out)
    }

    /// Opens the manifest of the backup `id`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn open(
        file: &[u8],
        id: &str,
        provider: Option<&dyn Provider>,
    ) -> Result<Manifest, String> {
        if file.len() < FIXED || file[..8] != MAGIC[..] {
            return Err("it does not begin as a manifest does".into());
        }
        let version = u16::from_be_bytes([file[8], file[9]]);
        if version != VERSION {
            return Err(format!(
                "it is of version {version}, this program knows version {VERSION}"
            ));
        }
        let altered = "it is damaged or was altered";
        let algorithm = Algorithm::from_byte(file[10]).filter(|_| file[11] == 0);
        let algorithm = algorithm.ok_or(altered)?;
        let number = |at: usize| {
            let bytes = [file[at], file[at + 1], file[at + 2], file[at + 3]];
            u32::from_be_bytes(bytes) as usize
        };
        let (head, len) = (number(12), number(16));
        let whole = head.checked_add(len).and_then(|n| n.checked_add(TAG_LEN));
        if whole != Some(file.len()) || head < FIXED + SALT_LEN + COMMITMENT_LEN {
            return Err("its length is not the one it tells: it is cut short or damaged".into());
        }
        let bound = &file[..head - SALT_LEN - COMMITMENT_LEN];
        let mut at = Blocks(&bound[FIXED..]);
        if at.text().ok_or(altered)? != id {
            return Err("it is of another backup: the file was renamed or exchanged".into());
        }
        let secret = match (algorithm.protects(), provider) {
            (false, None) => Secret32::zero(),
            (true, Some(provider)) => unwrap(&mut at, id, provider)?,
            (true, None) => return Err("it is encrypted: the Kek is needed".into()),
            (false, Some(_)) => {
                return Err("it is of data that is not encrypted, and a Kek was given".into());
            }
        };
        if !at.0.is_empty() {
            return Err(altered.into());
        }
        let mut salt = [0; SALT_LEN];
        salt.copy_from_slice(&file[bound.len()..bound.len() + SALT_LEN]);
        let key = FileKey::reopen(&secret, algorithm, BACKEND, LABEL, &salt, bound);
        if file[bound.len() + SALT_LEN..head] != key.commitment()[..] {
            return Err(altered.into());
        }
        let mut text = file[head..head + len].to_vec();
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&file[head + len..]);
        key.open(0, &file[..head], &mut text, &tag)
            .map_err(|_| altered)?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|e| format!("it is authentic and does not read: {e}"))?;
        match manifest.id == id && manifest.files.iter().all(FileEntry::is_sound) {
            true => Ok(manifest),
            false => Err("it is authentic and makes no sense".into()),
        }
    }
}

/// The manifest's secret.
fn unwrap(at: &mut Blocks<'_>, id: &str, provider: &dyn Provider) -> Result<Secret32, String> {
    let mut read = || {
        let name = at.text()?.to_owned();
        let (kek_id, kek_version) = (at.text()?.to_owned(), at.number()?);
        let bytes = at.block()?.to_vec();
        let wrapped = Wrapped {
            kek_id,
            kek_version,
            bytes,
        };
        Some((name, wrapped))
    };
    let (name, wrapped) = read().ok_or("it is damaged or was altered")?;
    let have = provider.describe();
    if name != have.provider {
        return Err(format!(
            "it is sealed under a Kek of the provider `{name}`, and this one is {have}"
        ));
    }
    let secret = match provider.unwrap(&wrapped, &wrap_aad(id)) {
        Ok(secret) => secret,
        Err(ProviderError::WrongKek { wanted, .. }) => {
            return Err(format!(
                "it is sealed under Kek {wanted}, and this one is {have}"
            ));
        }
        Err(e) => return Err(e.to_string()),
    };
    Secret32::copy_from(&secret).ok_or("its secret is of a wrong length".into())
}

fn wrap_aad(id: &str) -> Vec<u8> {
    [b"ferrite backup\0", id.as_bytes()].concat()
}

/// A block: its length in two bytes, and the bytes.
fn put(out: &mut Vec<u8>, block: &[u8]) {
    let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&block[..usize::from(len)]);
}

struct Blocks<'a>(&'a [u8]);

impl<'a> Blocks<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn block(&mut self) -> Option<&'a [u8]> {
        let len = self.take(2)?;
        self.take(usize::from(u16::from_be_bytes([len[0], len[1]])))
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.block()?).ok()
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}
