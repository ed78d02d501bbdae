//! The `file` provider: a Kek of 32 bytes in a file that only its owner can reach.
//!
//! The file holds the bytes raw, or as 64 hex digits, or as base64 (either alphabet, padded or
//! not); text may end in a newline. It is read once, at boot.
//!
//! Each wrap derives a key of its own from the Kek and a fresh salt (`label` = `kek-wrap`), so
//! there is no count of wraps to keep and no nonce to repeat. The bytes: salt, commitment,
//! ciphertext, tag.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{KekInfo, Provider, ProviderError, Wrapped};
use crate::seal::kdf::Prk;
use crate::seal::{Algorithm, Backend, COMMITMENT_LEN, FileKey, SALT_LEN, Secret32, TAG_LEN};

const LABEL: &str = "kek-wrap";
const HEAD: usize = SALT_LEN + COMMITMENT_LEN;
/// The longest file that can hold a Kek: 64 hex digits and a line end. One byte more is read to see
/// that it is longer.
const LONGEST: usize = 66;

/// A Kek read from a file.
pub struct FileProvider {
    kek: Secret32,
    id: String,
}

/// Why a key file was refused. Each message names the file and says what to do.
#[derive(Debug)]
pub enum KeyFileError {
    /// There is no such file.
    Missing(PathBuf),
    /// It exists but could not be read.
    Unreadable(PathBuf, io::Error),
    /// It is a directory, a device, a pipe.
    NotRegular(PathBuf),
    /// Others than its owner can reach it; holds its permission bits.
    TooOpen(PathBuf, u32),
    /// It holds no 32 bytes in any of the accepted forms; holds its length in bytes, if at most 66.
    WrongContent(PathBuf, Option<usize>),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFileError::Missing(path) => {
                write!(f, "Encryption key file not found: {}", path.display())
            }
            KeyFileError::Unreadable(path, e) => {
                write!(
                    f,
                    "Encryption key file {} cannot be read: {e}",
                    path.display()
                )
            }
            KeyFileError::NotRegular(path) => write!(
                f,
                "Encryption key file {} is not a regular file",
                path.display()
            ),
            KeyFileError::TooOpen(path, mode) => write!(
                f,
                "Encryption key file {0} has mode {mode:04o}: group or others can reach it. \
                 Run: chmod 600 {0}",
                path.display()
            ),
            KeyFileError::WrongContent(path, len) => {
                write!(f, "Encryption key file {} holds ", path.display())?;
                match len {
                    Some(len) => write!(f, "{len} bytes")?,
                    None => write!(f, "more than {LONGEST} bytes")?,
                }
                f.write_str(
                    " that are no key: it must hold 32 bytes, raw or as base64 or as 64 hex digits. \
                     A new one is made by: openssl rand -hex 32",
                )
            }
        }
    }
}

impl std::error::Error for KeyFileError {}

impl FileProvider {
    /// Reads the Kek at `path`. Symbolic links are followed; the checks are made on the open file,
    /// so it cannot be exchanged in between.
    pub fn open(path: impl AsRef<Path>) -> Result<FileProvider, KeyFileError> {
        let path = path.as_ref();
        let unreadable = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
            _ => KeyFileError::Unreadable(path.to_owned(), e),
        };
        let file = OpenOptions::new()
            .read(true)
            // Opening a pipe must not wait for its other end.
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        if !meta.is_file() {
            return Err(KeyFileError::NotRegular(path.to_owned()));
        }
        let mode = meta.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::TooOpen(path.to_owned(), mode));
        }
        let content = read(file).map_err(unreadable)?;
        match parse(&content) {
            Some(kek) => Ok(FileProvider::new(kek)),
            None => Err(KeyFileError::WrongContent(
                path.to_owned(),
                Some(content.len()).filter(|len| *len <= LONGEST),
            )),
        }
    }

    /// A provider over a Kek that is already in memory.
    pub fn new(kek: Secret32) -> FileProvider {
        let mut fingerprint = [0; 8];
        Prk::extract(b"", &kek).expand(&[b"ferrite v1 kek id"], &mut fingerprint);
        FileProvider {
            kek,
            id: hex(&fingerprint),
        }
    }
}

impl fmt::Debug for FileProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileProvider")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Provider for FileProvider {
    fn describe(&self) -> KekInfo {
        KekInfo {
            provider: "file".to_owned(),
            id: self.id.clone(),
            version: 1,
        }
    }

    fn wrap(&self, secret: &[u8], aad: &[u8]) -> Result<Wrapped, ProviderError> {
        let (mut key, salt) =
            FileKey::create(&self.kek, Algorithm::Aes256Gcm, Backend::AwsLc, LABEL, b"")?;
        let mut bytes = Vec::with_capacity(HEAD + secret.len() + TAG_LEN);
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(key.commitment());
        bytes.extend_from_slice(secret);
        let (_, tag) = key.seal(aad, &mut bytes[HEAD..]).map_err(|_| {
            ProviderError::Malformed("the secret to wrap is longer than one message can be")
        })?;
        bytes.extend_from_slice(&tag);
        Ok(Wrapped {
            kek_id: self.id.clone(),
            kek_version: 1,
            bytes,
        })
    }

    fn unwrap(&self, wrapped: &Wrapped, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        let wrong_kek = || ProviderError::WrongKek {
            wanted: wrapped.kek_id.clone(),
            have: self.id.clone(),
        };
        if wrapped.kek_id != self.id || wrapped.kek_version != 1 {
            return Err(wrong_kek());
        }
        let Some((salt, rest)) = wrapped.bytes.split_first_chunk::<SALT_LEN>() else {
            return Err(ProviderError::Malformed("it is cut short"));
        };
        let Some((commitment, rest)) = rest.split_first_chunk::<COMMITMENT_LEN>() else {
            return Err(ProviderError::Malformed("it is cut short"));
        };
        let Some((text, tag)) = rest.split_last_chunk::<TAG_LEN>() else {
            return Err(ProviderError::Malformed("it is cut short"));
        };
        let key = FileKey::reopen(
            &self.kek,
            Algorithm::Aes256Gcm,
            Backend::AwsLc,
            LABEL,
            salt,
            b"",
        );
        if key.commitment() != commitment {
            return Err(ProviderError::Unauthentic);
        }
        let mut secret = Zeroizing::new(text.to_vec());
        key.open(0, aad, &mut secret, tag)
            .map_err(|_| ProviderError::Unauthentic)?;
        Ok(secret)
    }
}

/// The file's bytes, at most one more than a Kek can take.
fn read(mut file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(vec![0; LONGEST + 1]);
    let mut len = 0;
    while len < content.len() {
        match file.read(&mut content[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    content.truncate(len);
    Ok(content)
}

/// The Kek in a file's bytes.
fn parse(content: &[u8]) -> Option<Secret32> {
    if let Some(raw) = Secret32::copy_from(content) {
        return Some(raw);
    }
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.len() {
        32 => Secret32::copy_from(line),
        43 | 44 => from_base64(line),
        64 => from_hex(line),
        _ => None,
    }
}

fn from_hex(text: &[u8]) -> Option<Secret32> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let mut bytes = Zeroizing::new([0u8; 32]);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(Secret32::take(&mut bytes))
}

fn from_base64(text: &[u8]) -> Option<Secret32> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let mut bytes = Zeroizing::new([0u8; 33]);
    for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
        if let Ok(32) = GeneralPurpose::new(alphabet, config).decode_slice(text, &mut bytes[..]) {
            return Secret32::copy_from(&bytes[..32]);
        }
    }
    None
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn kek(byte: u8) -> FileProvider {
        FileProvider::new(Secret32::take(&mut [byte; 32]))
    }

    /// A file of that content and mode, and the directory that keeps it.
    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("kek");
        fs::write(&path, content).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        (dir, path)
    }

    #[test]
    fn it_passes_the_suite() {
        super::super::suite::check(&kek(1), &kek(2));
    }

    /// Proves that every accepted form of the same Kek gives the same Kek.
    #[test]
    fn raw_hex_and_base64_are_read() {
        let kek: [u8; 32] = std::array::from_fn(|i| (i * 8 + 3) as u8 | 0x80);
        let id = FileProvider::new(Secret32::take(&mut kek.clone())).id;
        let digits = hex(&kek);
        let standard = base64::engine::general_purpose::STANDARD.encode(kek);
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(kek);
        let mut contents = vec![kek.to_vec(), [&kek[..], b"\n"].concat()];
        for text in [
            &digits,
            &digits.to_uppercase(),
            &standard,
            &url,
            standard.trim_end_matches('='),
        ] {
            for end in ["", "\n", "\r\n"] {
                contents.push(format!("{text}{end}").into_bytes());
            }
        }
        for content in contents {
            let (_dir, path) = file(&content, 0o600);
            let opened = FileProvider::open(&path).expect("it holds a Kek");
            assert_eq!(opened.id, id, "{content:?}");
        }
    }

    /// Proves that what holds no Kek is refused, by name, without showing what it holds.
    #[test]
    fn other_content_is_refused() {
        let hexish = "zz".repeat(32);
        for content in [
            &b""[..],
            b"\n",
            &[1; 31],
            &[1; 33],
            &[1; 64],
            &[1; 66],
            &[1; 67],
            &[1; 100_000],
            hexish.as_bytes(),
            b"AAAA",
            "ab".repeat(31).as_bytes(),
            "ab".repeat(33).as_bytes(),
        ] {
            let (_dir, path) = file(content, 0o600);
            let error = FileProvider::open(&path).expect_err("it holds no Kek");
            let KeyFileError::WrongContent(named, len) = &error else {
                panic!("{error:?}");
            };
            assert_eq!(*named, path);
            assert_eq!(*len, Some(content.len()).filter(|n| *n <= 66));
            let text = error.to_string();
            assert!(text.contains(&path.display().to_string()), "{text}");
            assert!(!text.contains("zz") && !text.contains("abab"), "{text}");
        }
    }

    /// Proves that any permission for group or others is refused with the mode and the remedy, and
    /// none is too few.
    #[test]
    fn a_reachable_file_is_refused() {
        for mode in [0o600, 0o400, 0o700, 0o500] {
            let (_dir, path) = file(&[1; 32], mode);
            assert!(FileProvider::open(&path).is_ok(), "{mode:o}");
        }
        for mode in [
            0o640, 0o604, 0o644, 0o620, 0o602, 0o610, 0o601, 0o666, 0o440,
        ] {
            let (_dir, path) = file(&[1; 32], mode);
            let error = FileProvider::open(&path).expect_err("others can reach it");
            assert_eq!(
                error.to_string(),
                format!(
                    "Encryption key file {0} has mode {mode:04o}: group or others can reach it. Run: chmod 600 {0}",
                    path.display()
                )
            );
        }
    }

    #[test]
    fn a_missing_file_is_named_exactly() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("no-such-kek");
        let error = FileProvider::open(&path).expect_err("it is not there");
        assert_eq!(
            error.to_string(),
            format!("Encryption key file not found: {}", path.display())
        );
    }

    /// Proves that directories, pipes (without hanging) and devices are refused, and that links are
    /// followed to be judged by what they name.
    #[test]
    fn only_regular_files_will_do() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let refused = |path: &Path| matches!(FileProvider::open(path), Err(KeyFileError::NotRegular(named)) if named == path);
        assert!(refused(dir.path()));
        assert!(refused(Path::new("/dev/zero")));
        let pipe = dir.path().join("pipe");
        let name =
            std::ffi::CString::new(pipe.as_os_str().as_encoded_bytes()).expect("no zero byte");
        // SAFETY: `name` is a C string that outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(refused(&pipe));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).expect("it can be made");
        assert!(refused(&link));
        let (_keep, open) = file(&[1; 32], 0o644);
        let link = dir.path().join("link to an open file");
        std::os::unix::fs::symlink(open, &link).expect("it can be made");
        assert!(matches!(
            FileProvider::open(&link),
            Err(KeyFileError::TooOpen(..))
        ));
    }

    /// Proves that neither `Debug` nor the description shows the Kek.
    #[test]
    fn the_kek_does_not_show() {
        let provider = kek(0xc7);
        let shown = format!("{provider:?} {}", provider.describe());
        assert!(
            !shown.contains("c7c7") && !shown.contains("199, 199"),
            "{shown}"
        );
    }
}
