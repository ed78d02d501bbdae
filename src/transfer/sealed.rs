//! The sealed export: a stream of bytes in chunks that only the holder of a Kek can open. `FORMAT.md` has it byte by byte.
//!
//! Promise: what [`Opened`] gives out is what was written, in order; the end of it is an end only if it was the writer's.
//! What [`Sealer`] was given is in the file, and complete, when [`Sealer::finish`] returns; a file that was not finished
//! does not open to its end.

use std::fmt;
use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use crate::envelope::{Provider, ProviderError, Wrapped};
use crate::seal::{
    Algorithm, Backend, COMMITMENT_LEN, FileKey, NoRandomness, SALT_LEN, Secret32, TAG_LEN, random,
};

/// How a file begins.
pub const MAGIC: &[u8; 8] = b"FERREXPT";
const VERSION: u16 = 1;
const LABEL: &str = "export";
/// Bytes of content in a chunk, but for the last.
const CHUNK: usize = 64 << 10;
/// Longest header.
const LONGEST: usize = 8 << 10;
/// Bytes before the blocks of the header, and behind them.
const FIXED: usize = 39;
const TAIL: usize = SALT_LEN + COMMITMENT_LEN;

/// Why a file is not sealed, or not opened.
#[derive(Debug)]
pub enum SealedError {
    /// It could not be read or written.
    Io(io::Error),
    /// It is none; says in what way.
    Malformed(&'static str),
    /// A version that is not known.
    Version(u16),
    /// The provider of the Kek did not wrap or unwrap.
    Provider(ProviderError),
    /// The header was altered.
    Altered,
    /// No randomness for a Dek.
    NoRandomness(NoRandomness),
}

impl fmt::Display for SealedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealedError::Io(e) => e.fmt(f),
            SealedError::Malformed(how) => write!(f, "this is no sealed export: {how}"),
            SealedError::Version(version) => {
                write!(f, "sealed exports of version {version} are not known")
            }
            SealedError::Provider(e) => e.fmt(f),
            SealedError::Altered => f.write_str("the header of this sealed export was altered"),
            SealedError::NoRandomness(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for SealedError {}

impl From<io::Error> for SealedError {
    fn from(e: io::Error) -> SealedError {
        SealedError::Io(e)
    }
}

impl From<ProviderError> for SealedError {
    fn from(e: ProviderError) -> SealedError {
        SealedError::Provider(e)
    }
}

impl From<NoRandomness> for SealedError {
    fn from(e: NoRandomness) -> SealedError {
        SealedError::NoRandomness(e)
    }
}

/// What a Dek's wrapping is bound to.
fn wrap_aad(id: &[u8; 16], algorithm: Algorithm) -> Vec<u8> {
    [b"ferrite export\0", &id[..], &[algorithm.byte()]].concat()
}

fn put_block(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), SealedError> {
    let len = u16::try_from(bytes.len());
    let len = len.map_err(|_| SealedError::Malformed("a wrapped key of more than 64 KiB"))?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Bytes on their way into a sealed file.
pub struct Sealer<W> {
    inner: W,
    key: FileKey,
    chunk: Zeroizing<Vec<u8>>,
}

impl<W: Write> Sealer<W> {
    /// Begins a file with a Dek of its own, wrapped by `provider`.
    ///
    /// # Errors
    /// Nothing of use was written then.
    pub fn begin(
        mut inner: W,
        provider: &dyn Provider,
        algorithm: Algorithm,
        now_ms: u64,
    ) -> Result<Sealer<W>, SealedError> {
        if !algorithm.protects() {
            return Err(SealedError::Malformed("it would not be sealed"));
        }
        let mut id = [0; 16];
        random(&mut id)?;
        let dek = Secret32::random()?;
        let wrapped = provider.wrap(dek.expose(), &wrap_aad(&id, algorithm))?;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_be_bytes());
        header.extend_from_slice(&[0; 4]);
        header.push(algorithm.byte());
        header.extend_from_slice(&id);
        header.extend_from_slice(&now_ms.to_be_bytes());
        put_block(&mut header, provider.describe().provider.as_bytes())?;
        put_block(&mut header, wrapped.kek_id.as_bytes())?;
        header.extend_from_slice(&wrapped.kek_version.to_be_bytes());
        put_block(&mut header, &wrapped.bytes)?;
        let whole = header.len() + TAIL;
        if whole > LONGEST {
            return Err(SealedError::Malformed("a header that is too long"));
        }
        header[10..14].copy_from_slice(&(whole as u32).to_be_bytes());
        let (key, salt) = FileKey::create(&dek, algorithm, Backend::AwsLc, LABEL, &header)?;
        header.extend_from_slice(&salt);
        header.extend_from_slice(key.commitment());
        inner.write_all(&header)?;
        Ok(Sealer {
            inner,
            key,
            chunk: Zeroizing::new(Vec::with_capacity(CHUNK)),
        })
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let aad = [u8::from(last)];
        let sealed = self.key.seal(&aad, &mut self.chunk);
        let (_, tag) = sealed.map_err(io::Error::other)?;
        self.inner.write_all(&self.chunk)?;
        self.inner.write_all(&tag)?;
        self.chunk.clear();
        Ok(())
    }

    /// Ends the file; gives back what it was written to.
    ///
    /// # Errors
    /// The file is not complete then.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        self.inner.flush()?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits until something follows: it may be the last.
        if self.chunk.len() == CHUNK && !bytes.is_empty() {
            self.seal(false)?;
        }
        let n = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// What makes no chunk yet stays here.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The content of a sealed file.
pub struct Opened<R> {
    inner: R,
    key: FileKey,
    /// Of the next message.
    counter: u64,
    /// What was read of the file and not opened: at most one byte, which tells that a chunk is not the last.
    ahead: Option<u8>,
    piece: Zeroizing<Vec<u8>>,
    given: usize,
    ended: bool,
}

/// Blocks off the front of a header.
struct Front<'a>(&'a [u8]);

impl<'a> Front<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], SealedError> {
        let short = SealedError::Malformed("lengths in its header contradict each other");
        let (now, later) = self.0.split_at_checked(n).ok_or(short)?;
        self.0 = later;
        Ok(now)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SealedError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().unwrap_or([0; N])) // it is as long as was asked for
    }

    fn block(&mut self) -> Result<&'a [u8], SealedError> {
        let len = u16::from_be_bytes(self.array()?);
        self.take(usize::from(len))
    }

    fn text(&mut self) -> Result<String, SealedError> {
        let text = std::str::from_utf8(self.block()?);
        text.map(str::to_owned)
            .map_err(|_| SealedError::Malformed("a name that is no text"))
    }
}

fn read_header(inner: &mut impl Read) -> Result<Vec<u8>, SealedError> {
    let mut header = Vec::new();
    inner.by_ref().take(FIXED as u64).read_to_end(&mut header)?;
    if !header.starts_with(MAGIC) {
        return Err(SealedError::Malformed("it begins otherwise"));
    }
    if header.len() < FIXED {
        return Err(SealedError::Malformed("it ends within its header"));
    }
    let mut front = Front(&header[MAGIC.len()..]);
    let version = u16::from_be_bytes(front.array()?);
    if version != VERSION {
        return Err(SealedError::Version(version));
    }
    let whole = u32::from_be_bytes(front.array()?) as usize;
    if !(FIXED + TAIL..=LONGEST).contains(&whole) {
        return Err(SealedError::Malformed("a header of a wrong length"));
    }
    let rest = (whole - FIXED) as u64;
    inner.by_ref().take(rest).read_to_end(&mut header)?;
    match header.len() == whole {
        true => Ok(header),
        false => Err(SealedError::Malformed("it ends within its header")),
    }
}

impl<R: Read> Opened<R> {
    /// Reads the header and unwraps the Dek.
    ///
    /// # Errors
    /// As `FORMAT.md` says, in its order.
    pub fn open(mut inner: R, provider: &dyn Provider) -> Result<Opened<R>, SealedError> {
        let header = read_header(&mut inner)?;
        let (bound, tail) = header.split_at(header.len() - TAIL);
        let mut front = Front(&bound[14..]);
        let [algorithm] = front.array()?;
        let algorithm = Algorithm::from_byte(algorithm).filter(|a| a.protects());
        let algorithm = algorithm.ok_or(SealedError::Malformed("an algorithm that is none"))?;
        let id = front.array()?;
        front.take(8)?; // when it was made
        let kek_provider = front.text()?;
        let wrapped = Wrapped {
            kek_id: front.text()?,
            kek_version: u32::from_be_bytes(front.array()?),
            bytes: front.block()?.to_vec(),
        };
        if !front.0.is_empty() {
            return Err(SealedError::Malformed("its header has bytes to spare"));
        }
        let ours = provider.describe();
        if ours.provider != kek_provider {
            return Err(SealedError::Provider(ProviderError::WrongKek {
                wanted: format!("{kek_provider} {}", wrapped.kek_id),
                have: format!("{} {}", ours.provider, ours.id),
            }));
        }
        let secret = provider.unwrap(&wrapped, &wrap_aad(&id, algorithm))?;
        let dek = Secret32::copy_from(&secret).ok_or(SealedError::Altered)?;
        let mut tail = Front(tail);
        let (salt, commitment): ([u8; SALT_LEN], [u8; COMMITMENT_LEN]) =
            (tail.array()?, tail.array()?);
        let key = FileKey::reopen(&dek, algorithm, Backend::AwsLc, LABEL, &salt, bound);
        if *key.commitment() != commitment {
            return Err(SealedError::Altered);
        }
        Ok(Opened {
            inner,
            key,
            counter: 0,
            ahead: None,
            piece: Zeroizing::new(Vec::new()),
            given: 0,
            ended: false,
        })
    }

    /// Opens the next chunk.
    fn next(&mut self) -> io::Result<()> {
        const WHOLE: usize = CHUNK + TAG_LEN;
        self.given = 0;
        self.piece.clear();
        self.piece.extend(self.ahead.take());
        let missing = WHOLE + 1 - self.piece.len();
        self.inner
            .by_ref()
            .take(missing as u64)
            .read_to_end(&mut self.piece)?;
        let last = self.piece.len() <= WHOLE;
        if !last {
            self.ahead = self.piece.pop();
        }
        let wrong = || {
            let what = match last {
                true => "the sealed file ends too early, or its end was altered",
                false => "a part of the sealed file was altered",
            };
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let text = self.piece.len().checked_sub(TAG_LEN).ok_or_else(wrong)?;
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&self.piece[text..]);
        self.piece.truncate(text);
        let opened = self
            .key
            .open(self.counter, &[u8::from(last)], &mut self.piece, &tag);
        if opened.is_err() {
            self.piece.clear();
            return Err(wrong());
        }
        self.counter += 1;
        self.ended = last;
        Ok(())
    }
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.piece.len() && !self.ended && !into.is_empty() {
            self.next()?;
        }
        let n = into.len().min(self.piece.len() - self.given);
        into[..n].copy_from_slice(&self.piece[self.given..self.given + n]);
        self.given += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::provider::FileProvider;

    fn provider(kek: &[u8; 32]) -> FileProvider {
        let file = tempfile::NamedTempFile::new().unwrap(); // readable by its owner only
        std::fs::write(file.path(), kek).unwrap();
        FileProvider::open(file.path()).unwrap()
    }

    fn sealed(content: &[u8], algorithm: Algorithm) -> Vec<u8> {
        let mut out = Sealer::begin(Vec::new(), &provider(&[7; 32]), algorithm, 5).unwrap();
        out.write_all(content).unwrap();
        out.finish().unwrap()
    }

    fn opened(file: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        Opened::open(file, &provider(&[7; 32]))
            .map_err(|e| e.to_string())?
            .read_to_end(&mut out)
            .map_err(|e| e.to_string())?;
        Ok(out)
    }

    #[test]
    fn what_is_sealed_is_opened_whatever_its_length() {
        for algorithm in [Algorithm::Aes256Gcm, Algorithm::ChaCha20Poly1305] {
            for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5] {
                let content: Vec<u8> = (0..len).map(|i| (i * i / 7) as u8).collect();
                let file = sealed(&content, algorithm);
                assert!(len < 16 || !file.windows(16).any(|w| w == &content[len - 16..]));
                assert_eq!(opened(&file), Ok(content));
            }
        }
        let off = Sealer::begin(Vec::new(), &provider(&[7; 32]), Algorithm::Off, 0);
        assert!(off.is_err());
    }

    #[test]
    fn a_file_that_was_altered_or_cut_is_refused() {
        let content = vec![9; 2 * CHUNK];
        let file = sealed(&content, Algorithm::Aes256Gcm);
        let header = file.len() - 2 * (CHUNK + TAG_LEN);
        let places = (0..header)
            .chain((header..file.len()).step_by(4001))
            .chain([file.len() - 1]);
        for at in places {
            let mut other = file.clone();
            other[at] ^= 1;
            // Only when it was made is not needed to open it; the key says that it was altered.
            assert!(opened(&other).is_err(), "byte {at}");
            assert!(opened(&file[..at]).is_err(), "cut at {at}");
        }
        // Between two chunks too.
        assert!(
            opened(&file[..header + CHUNK + TAG_LEN])
                .unwrap_err()
                .contains("too early")
        );
        assert!(opened(&[&file[..], b"x"].concat()).is_err());
        let other = Opened::open(&file[..], &provider(&[8; 32]))
            .err()
            .unwrap()
            .to_string();
        assert!(other.contains("wrapped under Kek"), "{other}");
        // The chunks of another file are no part of this one.
        let mixed = sealed(&content, Algorithm::Aes256Gcm);
        let mixed = [
            &file[..header + CHUNK + TAG_LEN],
            &mixed[header + CHUNK + TAG_LEN..],
        ]
        .concat();
        assert!(opened(&mixed).is_err());
    }

    /// The page's own file, opened, and made once more from what it says.
    #[test]
    fn the_page_has_a_true_vector() {
        let page = include_str!("FORMAT.md");
        let rows = &crate::seal::testing::vectors(page)[0];
        let row = |name: &str| rows[name].clone();
        let (file, content) = (row("file"), row("content"));
        let kek = row("kek").try_into().unwrap();
        let mut out = Vec::new();
        Opened::open(&file[..], &provider(&kek))
            .unwrap()
            .read_to_end(&mut out)
            .unwrap();
        assert_eq!(out, content);
        let header = file.len() - content.len() - TAG_LEN;
        let dek = Secret32::copy_from(&row("dek")).unwrap();
        let salt = file[header - TAIL..][..SALT_LEN].try_into().unwrap();
        let bound = &file[..header - TAIL];
        let mut key = FileKey::derive(
            &dek,
            Algorithm::Aes256Gcm,
            Backend::RustCrypto,
            LABEL,
            &salt,
            bound,
        );
        let mut chunk = content;
        let (_, tag) = key.seal(&[1], &mut chunk).unwrap();
        assert_eq!([&file[..header], &chunk, &tag].concat(), file);
    }
}
