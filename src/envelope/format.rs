//! The keyring file as bytes: pure, strict, specified in `FORMAT.md` section 2.
//!
//! Reading goes in two steps, because the secret that opens the body is itself wrapped:
//! [`Header::read`] gives what the provider needs, [`Header::open`] opens and decodes the body.

use std::fmt;

use super::{DekId, DekInfo, DekState, KekInfo, Purpose};
use crate::seal::{
    Algorithm, Backend, COMMITMENT_LEN, FileKey, NoRandomness, SALT_LEN, Secret32, TAG_LEN,
};

pub(super) const MAGIC: &[u8; 8] = b"FERRKEYS";
pub(super) const VERSION: u16 = 1;
const LABEL: &str = "keyring";
/// Offset of the generation: what comes before is magic, version and the two lengths.
const GENERATION_AT: usize = 18;
const CRC_LEN: usize = 4;

/// What is wrong with a keyring file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Damage {
    /// It does not begin as a keyring does.
    NotAKeyring,
    /// It is of a version this build does not know.
    Version(u16),
    /// It is shorter or longer than it says it is: expected and actual length in bytes.
    Length(u64, u64),
    /// Its checksum does not match: it was damaged, not forged.
    Checksum,
    /// It does not authenticate although its checksum matches: it was altered on purpose, or put
    /// together from several.
    Forged,
    /// It authenticates but makes no sense to this build: says what.
    Senseless(&'static str),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::NotAKeyring => f.write_str("it is not a keyring"),
            Damage::Version(v) => write!(
                f,
                "it is of format version {v}, this build knows version {VERSION}"
            ),
            Damage::Length(want, have) => {
                write!(f, "it should be {want} bytes long but is {have}")
            }
            Damage::Checksum => f.write_str("its checksum does not match its content"),
            Damage::Forged => f.write_str(
                "it does not authenticate although its checksum matches: it was altered or put together from several",
            ),
            Damage::Senseless(what) => write!(f, "it holds {what}"),
        }
    }
}

/// One Dek as the file holds it: the public part and the wrapped secret (empty once destroyed).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub info: DekInfo,
    pub wrapped: Vec<u8>,
}

/// What the file says before its body is opened. Not authenticated until it is.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub generation: u64,
    pub node: [u8; 16],
    pub kek: KekInfo,
    pub kek_since_ms: u64,
    pub wrapped: Vec<u8>,
    salt: [u8; SALT_LEN],
    commitment: [u8; COMMITMENT_LEN],
    /// All that comes before the salt: bound to the key.
    bound: &'a [u8],
    /// All that comes before the body: its associated data.
    aad: &'a [u8],
    body: &'a [u8],
    tag: [u8; TAG_LEN],
}

/// Seals a keyring. `secret` is what `wrapped` holds, wrapped under `kek`.
pub(super) fn seal(
    generation: u64,
    node: &[u8; 16],
    kek: &KekInfo,
    kek_since_ms: u64,
    wrapped: &[u8],
    secret: &Secret32,
    records: &[Record],
) -> Result<Vec<u8>, NoRandomness> {
    let mut body = Vec::with_capacity(4 + records.len() * 256);
    body.extend_from_slice(&(records.len() as u32).to_be_bytes());
    for record in records {
        encode(&mut body, record);
    }
    seal_body(generation, node, kek, kek_since_ms, wrapped, secret, body)
}

fn seal_body(
    generation: u64,
    node: &[u8; 16],
    kek: &KekInfo,
    kek_since_ms: u64,
    wrapped: &[u8],
    secret: &Secret32,
    mut body: Vec<u8>,
) -> Result<Vec<u8>, NoRandomness> {
    let mut out = Vec::with_capacity(512 + body.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    let lengths_at = out.len();
    out.extend_from_slice(&[0; 8]);
    debug_assert_eq!(out.len(), GENERATION_AT);
    out.extend_from_slice(&generation.to_be_bytes());
    out.extend_from_slice(node);
    put(&mut out, kek.provider.as_bytes());
    put(&mut out, kek.id.as_bytes());
    out.extend_from_slice(&kek.version.to_be_bytes());
    out.extend_from_slice(&kek_since_ms.to_be_bytes());
    put(&mut out, wrapped);
    let salt_at = out.len();
    let header_len = salt_at + SALT_LEN + COMMITMENT_LEN;
    out[lengths_at..lengths_at + 4].copy_from_slice(&(header_len as u32).to_be_bytes());
    out[lengths_at + 4..lengths_at + 8].copy_from_slice(&(body.len() as u32).to_be_bytes());
    let (mut key, salt) = FileKey::create(secret, ALGORITHM, Backend::AwsLc, LABEL, &out)?;
    out.extend_from_slice(&salt);
    out.extend_from_slice(key.commitment());
    let tag = match key.seal(&out, &mut body) {
        Ok((_, tag)) => tag,
        // One message of at most 64 MiB under a fresh key.
        Err(e) => unreachable!("a fresh key refused to seal the keyring: {e}"),
    };
    out.extend_from_slice(&body);
    out.extend_from_slice(&tag);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    Ok(out)
}

const ALGORITHM: Algorithm = Algorithm::Aes256Gcm;

impl<'a> Header<'a> {
    /// Reads what stands before the body, and checks length and checksum of the whole.
    pub fn read(file: &'a [u8]) -> Result<Header<'a>, Damage> {
        let mut at = Cursor(file);
        if at.take(MAGIC.len()) != Some(MAGIC) {
            return Err(Damage::NotAKeyring);
        }
        let have = file.len() as u64;
        let cut = || Damage::Length((GENERATION_AT + CRC_LEN) as u64, have);
        let version = at.u16().ok_or_else(cut)?;
        if version != VERSION {
            return Err(Damage::Version(version));
        }
        let header_len = at.u32().ok_or_else(cut)? as usize;
        let body_len = at.u32().ok_or_else(cut)? as usize;
        let want = header_len as u64 + body_len as u64 + (TAG_LEN + CRC_LEN) as u64;
        if want != have {
            return Err(Damage::Length(want, have));
        }
        let (sealed, crc) = file.split_at(file.len() - CRC_LEN);
        if crc32c::crc32c(sealed).to_be_bytes() != crc {
            return Err(Damage::Checksum);
        }
        let senseless = || Damage::Senseless("a header whose lengths disagree");
        if header_len < GENERATION_AT {
            return Err(senseless());
        }
        let aad = &file[..header_len];
        let mut at = Cursor(&aad[GENERATION_AT..]);
        let read = |at: &mut Cursor<'a>| {
            let generation = at.u64()?;
            let node = at.array()?;
            let provider = text(at.block()?)?;
            let id = text(at.block()?)?;
            let version = at.u32()?;
            let kek_since_ms = at.u64()?;
            let wrapped = at.block()?.to_vec();
            let bound = &aad[..aad.len() - at.0.len()];
            let salt = at.array()?;
            let commitment = at.array()?;
            Some(Header {
                generation,
                node,
                kek: KekInfo {
                    provider,
                    id,
                    version,
                },
                kek_since_ms,
                wrapped,
                salt,
                commitment,
                bound,
                aad,
                body: &file[header_len..header_len + body_len],
                tag: [0; TAG_LEN],
            })
        };
        let mut header = read(&mut at).ok_or_else(senseless)?;
        if !at.0.is_empty() {
            return Err(senseless());
        }
        header.tag.copy_from_slice(&sealed[header_len + body_len..]);
        Ok(header)
    }

    /// Opens the body with the unwrapped secret and decodes it.
    pub fn open(&self, secret: &Secret32) -> Result<Vec<Record>, Damage> {
        let key = FileKey::reopen(
            secret,
            ALGORITHM,
            Backend::AwsLc,
            LABEL,
            &self.salt,
            self.bound,
        );
        if key.commitment() != &self.commitment {
            return Err(Damage::Forged);
        }
        let mut body = self.body.to_vec();
        key.open(0, self.aad, &mut body, &self.tag)
            .map_err(|_| Damage::Forged)?;
        decode_all(&body)
    }
}

fn decode_all(body: &[u8]) -> Result<Vec<Record>, Damage> {
    let mut at = Cursor(body);
    let count = at.u32().ok_or(Damage::Senseless("no count of Deks"))?;
    let mut records: Vec<Record> = Vec::new();
    for _ in 0..count {
        let record = decode(&mut at)?;
        if records.iter().any(|r| r.info.id == record.info.id) {
            return Err(Damage::Senseless("two Deks of one name"));
        }
        if record.info.state == DekState::Active
            && records.iter().any(|r| same_seat(&r.info, &record.info))
        {
            return Err(Damage::Senseless("two active Deks for one use"));
        }
        records.push(record);
    }
    if !at.0.is_empty() {
        return Err(Damage::Senseless("more bytes than Deks"));
    }
    Ok(records)
}

/// Whether both are active for the same purpose, core and tenant.
fn same_seat(a: &DekInfo, b: &DekInfo) -> bool {
    a.state == b.state && a.purpose == b.purpose && a.core == b.core && a.tenant == b.tenant
}

fn encode(out: &mut Vec<u8>, record: &Record) {
    let info = &record.info;
    out.extend_from_slice(&info.id.0);
    out.push(info.purpose.byte());
    out.push(info.state.byte());
    out.push(info.algorithm.byte());
    out.extend_from_slice(&info.core.to_be_bytes());
    out.extend_from_slice(&info.epoch.to_be_bytes());
    out.extend_from_slice(&info.created_ms.to_be_bytes());
    out.extend_from_slice(&info.bytes.to_be_bytes());
    out.extend_from_slice(&info.messages.to_be_bytes());
    put(out, info.tenant.as_bytes());
    put(out, info.kek_id.as_bytes());
    out.extend_from_slice(&info.kek_version.to_be_bytes());
    put(out, &record.wrapped);
}

fn decode(at: &mut Cursor<'_>) -> Result<Record, Damage> {
    let cut = || Damage::Senseless("a Dek that is cut short");
    let id = DekId(at.array().ok_or_else(cut)?);
    let [purpose, state, algorithm] = at.array().ok_or_else(cut)?;
    let purpose =
        Purpose::from_byte(purpose).ok_or(Damage::Senseless("a Dek of unknown purpose"))?;
    let state = DekState::from_byte(state).ok_or(Damage::Senseless("a Dek in an unknown state"))?;
    let algorithm = Algorithm::from_byte(algorithm)
        .filter(|a| a.protects())
        .ok_or(Damage::Senseless("a Dek of unknown algorithm"))?;
    let mut rest = || {
        let core = at.u16()?;
        let epoch = at.u32()?;
        let created_ms = at.u64()?;
        let bytes = at.u64()?;
        let messages = at.u64()?;
        let tenant = text(at.block()?)?;
        let kek_id = text(at.block()?)?;
        let kek_version = at.u32()?;
        let wrapped = at.block()?.to_vec();
        Some(Record {
            info: DekInfo {
                id,
                purpose,
                core,
                tenant,
                algorithm,
                epoch,
                state,
                kek_id,
                kek_version,
                created_ms,
                bytes,
                messages,
            },
            wrapped,
        })
    };
    let record = rest().ok_or_else(cut)?;
    if record.wrapped.is_empty() != (state == DekState::Destroyed) {
        return Err(Damage::Senseless(
            "a Dek whose secret and state contradict each other",
        ));
    }
    Ok(record)
}

/// What a Dek's wrapping is bound to: it cannot be put into another place of this keyring, or into
/// another keyring.
pub(super) fn dek_aad(node: &[u8; 16], info: &DekInfo) -> Vec<u8> {
    let mut aad = b"ferrite dek\0".to_vec();
    aad.extend_from_slice(node);
    aad.extend_from_slice(&info.id.0);
    aad.push(info.purpose.byte());
    aad.push(info.algorithm.byte());
    aad.extend_from_slice(&info.core.to_be_bytes());
    aad.extend_from_slice(&info.epoch.to_be_bytes());
    put(&mut aad, info.tenant.as_bytes());
    aad
}

/// What the wrapping of the keyring's own secret is bound to.
pub(super) fn keyring_aad(node: &[u8; 16]) -> Vec<u8> {
    let mut aad = b"ferrite keyring\0".to_vec();
    aad.extend_from_slice(node);
    aad
}

/// A block of at most 65535 bytes after its length.
///
/// # Panics If it is longer. Names are checked where they come in, and no provider wraps 32 bytes
/// into 64 KiB.
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let Ok(len) = u16::try_from(bytes.len()) else {
        panic!(
            "a block of {} bytes does not fit into a keyring",
            bytes.len()
        );
    };
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// The bytes still to be read; every verb gives `None` at the end instead of reading past it.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn block(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

#[cfg(test)]
mod tests;
