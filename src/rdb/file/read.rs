//! A file, read.

use std::io::Read;

use super::feed::Feed;
use super::skim::module_name;
use super::{FileError, Item, Key, SUMMED_SINCE, Why, opcode};
use crate::rdb::{Fault, NEWEST, Reader, VALKEY, close, kind};
use crate::shard::{Ms, Owned, Said};

/// Reads a file item by item. It asks for exactly the bytes it needs, most of them in small pieces: where asking is dear,
/// put a [`std::io::BufReader`] in between, and keep it, if something follows the file.
#[derive(Debug)]
pub struct FileReader<R> {
    reader: Reader<Feed<R>>,
    db: u32,
    stands: Stands,
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// Before an item.
    Item,
    /// Before a value of this form.
    Value(u8),
    /// Behind the file.
    End,
    /// Where an error left it, so that nothing can be read any more.
    Lost,
}

impl<R: Read> FileReader<R> {
    /// Reads the magic word.
    ///
    /// # Errors
    /// [`Why::Magic`], [`Why::Version`], or that nothing can be read.
    pub fn open(inner: R) -> Result<FileReader<R>, FileError> {
        let mut file = FileReader {
            reader: Reader::new(Feed::new(inner), 0),
            db: 0,
            stands: Stands::Item,
        };
        let magic: [u8; 9] = file.on(Reader::array).map_err(|e| match e.why {
            Why::Fault(Fault::Short) => FileError {
                why: Why::Magic,
                ..e
            },
            _ => e,
        })?;
        let (digits, valkey) = match magic.strip_prefix(b"REDIS") {
            Some(digits) => (digits, false),
            None => match magic.strip_prefix(b"VALKEY") {
                Some(digits) => (digits, true),
                None => return Err(file.lost(Why::Magic)),
            },
        };
        let mut version = 0;
        for digit in digits {
            match digit {
                b'0'..=b'9' => version = version * 10 + u16::from(digit - b'0'),
                _ => return Err(file.lost(Why::Magic)),
            }
        }
        let known = match valkey {
            true => version == VALKEY,
            false => (1..=NEWEST).contains(&version),
        };
        if !known {
            return Err(file.lost(Why::Version { version, valkey }));
        }
        file.reader.version = version;
        Ok(file)
    }

    /// The file's version.
    pub fn version(&self) -> u16 {
        self.reader.version
    }

    /// How many bytes were read.
    pub fn consumed(&self) -> u64 {
        self.reader.source.at
    }

    /// What it was read from, at the byte behind the last that was read.
    pub fn into_inner(self) -> R {
        self.reader.into_source().inner
    }

    fn lost(&mut self, why: Why) -> FileError {
        self.stands = Stands::Lost;
        let why = match self.reader.source.failed.take() {
            Some(e) => Why::Read(e),
            None => why,
        };
        FileError {
            at: self.reader.source.at,
            why,
        }
    }

    fn on<T>(
        &mut self,
        f: impl FnOnce(&mut Reader<Feed<R>>) -> Result<T, Fault>,
    ) -> Result<T, FileError> {
        f(&mut self.reader).map_err(|fault| {
            self.lost(match fault {
                Fault::Unknown(number) => Why::Item(number),
                fault => Why::Fault(fault),
            })
        })
    }

    /// The next item, `None` behind the end, when the checksum was right. A value that was not asked for is passed over.
    ///
    /// # Errors
    /// Any [`Why`] but [`Why::Magic`] and [`Why::Version`]; nothing can be read after one.
    // It is no iterator: what comes next depends on whether the value was read.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item>, FileError> {
        match self.stands {
            Stands::Item => {}
            Stands::Value(kind) => self.pass(kind)?,
            Stands::End => return Ok(None),
            Stands::Lost => return Err(self.lost(Why::Fault(Fault::Damaged))),
        }
        let (mut expire, mut said) = (None, None);
        loop {
            let number = self.on(Reader::byte)?;
            match number {
                opcode::EXPIRE_MS => expire = Some(self.on(Reader::time)?),
                opcode::EXPIRE => {
                    let seconds = self.on(Reader::array).map(i32::from_le_bytes)?;
                    match Ms::try_from(seconds) {
                        Ok(seconds) => expire = Some(seconds * 1000),
                        Err(_) => return Err(self.lost(Why::Fault(Fault::Damaged))),
                    }
                }
                opcode::IDLE => said = Some(Said::Idle(self.on(Reader::length)?)),
                opcode::FREQUENCY => said = Some(Said::Frequency(self.on(Reader::byte)?)),
                opcode::DATABASE => {
                    let db = self.on(Reader::length)?;
                    match u32::try_from(db) {
                        Ok(db) => self.db = db,
                        Err(_) => return Err(self.lost(Why::Fault(Fault::Damaged))),
                    }
                }
                opcode::SLOT_INFO => self.on(|reader| reader.pass_lengths(3))?,
                opcode::SLOT_IMPORT if self.version() >= VALKEY => self.on(|reader| {
                    reader.pass_string()?;
                    for _ in 0..reader.length()? {
                        reader.pass_lengths(2)?;
                    }
                    Ok(())
                })?,
                opcode::SIZES => {
                    let (keys, expiring) = self.on(|r| Ok((r.length()?, r.length()?)))?;
                    let db = self.db;
                    return Ok(Some(Item::Sizes { db, keys, expiring }));
                }
                opcode::AUX => {
                    let (name, says) = self.on(|r| Ok((r.string()?, r.string()?)))?;
                    return Ok(Some(Item::Aux(name, says)));
                }
                opcode::LIBRARY => return self.on(Reader::string).map(Item::Library).map(Some),
                opcode::LIBRARY_OLD => return Err(self.lost(Why::OldLibrary)),
                opcode::MODULE => {
                    let id = self.on(|reader| {
                        let id = reader.length()?;
                        // When it is to be read, before or after the keys; with a word that a number comes.
                        reader.pass_lengths(2)?;
                        reader.pass_module()?;
                        Ok(id)
                    })?;
                    return Ok(Some(Item::Module(module_name(id))));
                }
                opcode::END => return self.end().map(|()| None),
                number if number > opcode::FORMS => return Err(self.lost(Why::Item(number))),
                kind => {
                    let name = self.on(Reader::string)?;
                    self.stands = Stands::Value(kind);
                    return Ok(Some(Item::Key(Key {
                        db: self.db,
                        name,
                        expire,
                        said,
                        kind,
                        at: self.reader.source.at,
                    })));
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), FileError> {
        if self.reader.version >= SUMMED_SINCE {
            let sum = self.reader.source.sum.sum();
            let told = self.on(Reader::array).map(u64::from_le_bytes)?;
            if told != 0 && told != sum {
                return Err(self.lost(Why::Checksum));
            }
        }
        self.stands = Stands::End;
        Ok(())
    }

    /// The form of the value that is to be read next; a value that is there once is read once.
    fn pending(&mut self) -> Result<u8, FileError> {
        match self.stands {
            Stands::Value(kind) => Ok(kind),
            _ => Err(self.lost(Why::Fault(Fault::Short))),
        }
    }

    fn pass(&mut self, kind: u8) -> Result<(), FileError> {
        self.on(|reader| reader.pass_value(kind))?;
        self.stands = Stands::Item;
        Ok(())
    }

    /// The module that a value of its form belongs to; the value is passed over.
    fn refuse_module(&mut self) -> Result<FileError, FileError> {
        let id = self.on(Reader::length)?;
        self.on(Reader::pass_module)?;
        self.stands = Stands::Item;
        Ok(FileError {
            at: self.consumed(),
            why: Why::Module(module_name(id)),
        })
    }

    /// The value of the key that came last.
    ///
    /// # Errors
    /// [`Why::Module`] leaves the reader behind the value, so that it can go on. Nothing can be read after any other.
    pub fn value(&mut self) -> Result<Owned, FileError> {
        let kind = self.pending()?;
        if kind == kind::MODULE_2 {
            return Err(self.refuse_module()?);
        }
        let value = self.on(|reader| reader.value(kind))?;
        self.stands = Stands::Item;
        Ok(value)
    }

    /// The value of the key that came last, as RESTORE takes it: in the file's version, and unread, so that it may turn
    /// out as damaged there. `None` if it takes more than `most` bytes.
    ///
    /// # Errors
    /// As [`FileReader::value`].
    pub fn payload(&mut self, most: usize) -> Result<Option<Vec<u8>>, FileError> {
        let kind = self.pending()?;
        if kind == kind::MODULE_2 {
            return Err(self.refuse_module()?);
        }
        self.reader.source.keep(vec![kind], most);
        let passed = self.pass(kind);
        let kept = self.reader.source.kept();
        passed?;
        Ok(kept.map(|mut payload| {
            close(&mut payload, self.reader.version);
            payload
        }))
    }
}
