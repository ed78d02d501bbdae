//! A file, written.

use std::io::{self, Write};

use super::opcode;
use crate::rdb::{Crc64, Fault, Sink, form, kind, open, put_length, put_string, write_value};
use crate::shard::{Ms, Said, Value};

/// What a payload of DUMP holds: the form of the value, its bytes, and the least version of a file that may have it.
///
/// # Errors
/// [`Fault::Payload`] if it is no payload; [`Fault::Unknown`] for forms that only Valkey knows.
pub fn body(payload: &[u8]) -> Result<(u8, &[u8], u16), Fault> {
    let (body, version) = open(payload)?;
    let (&kind, body) = body.split_first().ok_or(Fault::Short)?;
    let least = match kind {
        kind::MODULE | kind::MODULE_2 => return Err(Fault::Module),
        ..=kind::STREAM_2 => 10,
        kind::SET_LISTPACK | kind::STREAM_3 => 11,
        kind::HASH_TIMED | kind::HASH_TIMED_LISTPACK if version <= super::super::NEWEST => 12,
        other => return Err(Fault::Unknown(other)),
    };
    Ok((kind, body, least))
}

/// Writes a file. What goes wrong with the writing is told at the end of each item.
#[derive(Debug)]
pub struct FileWriter<W> {
    out: Summed<W>,
    version: u16,
}

/// Bytes on their way, summed.
#[derive(Debug)]
struct Summed<W> {
    inner: W,
    sum: Crc64,
    failed: Option<io::Error>,
}

impl<W: Write> Sink for Summed<W> {
    fn put(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.sum.update(bytes);
            self.failed = self.inner.write_all(bytes).err();
        }
    }
}

impl<W: Write> FileWriter<W> {
    /// Begins a file of the version: 10 is what Redis 7.0 reads, 12 what 7.4 and 8 do.
    ///
    /// # Errors
    /// As [`FileWriter::aux`].
    pub fn new(inner: W, version: u16) -> io::Result<FileWriter<W>> {
        let mut file = FileWriter {
            out: Summed {
                inner,
                sum: Crc64::default(),
                failed: None,
            },
            version,
        };
        file.out.put(format!("REDIS{version:04}").as_bytes());
        file.done().map(|()| file)
    }

    /// The file's version.
    pub fn version(&self) -> u16 {
        self.version
    }

    fn done(&mut self) -> io::Result<()> {
        self.out.failed.take().map_or(Ok(()), Err)
    }

    /// A field about the file.
    ///
    /// # Errors
    /// What `inner` says; the file is of no use then.
    pub fn aux(&mut self, name: &str, says: &[u8]) -> io::Result<()> {
        self.out.put(&[opcode::AUX]);
        put_string(&mut self.out, name.as_bytes());
        put_string(&mut self.out, says);
        self.done()
    }

    /// The text of a library of functions.
    ///
    /// # Errors
    /// As [`FileWriter::aux`].
    pub fn library(&mut self, text: &[u8]) -> io::Result<()> {
        self.out.put(&[opcode::LIBRARY]);
        put_string(&mut self.out, text);
        self.done()
    }

    /// The database that the keys from here on are in, and about how many there are.
    ///
    /// # Errors
    /// As [`FileWriter::aux`].
    pub fn database(&mut self, db: u32, keys: u64, expiring: u64) -> io::Result<()> {
        self.out.put(&[opcode::DATABASE]);
        put_length(&mut self.out, u64::from(db));
        self.out.put(&[opcode::SIZES]);
        put_length(&mut self.out, keys);
        put_length(&mut self.out, expiring);
        self.done()
    }

    fn head(&mut self, expire: Option<Ms>, said: Option<Said>, kind: u8, name: &[u8]) {
        if let Some(at) = expire {
            self.out.put(&[opcode::EXPIRE_MS]);
            self.out.put(&at.to_le_bytes());
        }
        match said {
            Some(Said::Idle(seconds)) => {
                self.out.put(&[opcode::IDLE]);
                put_length(&mut self.out, seconds);
            }
            Some(Said::Frequency(count)) => self.out.put(&[opcode::FREQUENCY, count]),
            None => {}
        }
        self.out.put(&[kind]);
        put_string(&mut self.out, name);
    }

    /// A key with its value as [`body`] gives it.
    ///
    /// # Errors
    /// As [`FileWriter::aux`].
    pub fn key(
        &mut self,
        name: &[u8],
        expire: Option<Ms>,
        said: Option<Said>,
        (kind, body): (u8, &[u8]),
    ) -> io::Result<()> {
        self.head(expire, said, kind, name);
        self.out.put(body);
        self.done()
    }

    /// A key with its value.
    ///
    /// # Errors
    /// As [`FileWriter::aux`].
    pub fn value(&mut self, name: &[u8], expire: Option<Ms>, value: &Value<'_>) -> io::Result<()> {
        self.head(expire, None, form(value).kind, name);
        write_value(value, &mut self.out);
        self.done()
    }

    /// Ends the file with its checksum; gives back what it was written to.
    ///
    /// # Errors
    /// As [`FileWriter::aux`].
    pub fn finish(mut self) -> io::Result<W> {
        self.out.put(&[opcode::END]);
        let sum = self.out.sum.sum();
        self.out.put(&sum.to_le_bytes());
        self.done()?;
        Ok(self.out.inner)
    }
}
