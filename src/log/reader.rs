//! Reading one segment: frames in order, through a large buffer, opened where they lie.

use super::config::Chain;
use super::deks::{self, Deks};
use super::error::{Fault, LogError};
use super::format::{
    FRAME_AAD_LEN, FRAME_HEADER_LEN, FrameHeader, HEADER_LEN, MAX_FRAME_LEN, NoHeader,
    SegmentHeader, segment_name,
};
use crate::disk::{BLOCK, Disk, DiskFile};
use crate::seal::{Backend, FileKey, TAG_LEN};

/// How much is read at once, in bytes.
const CHUNK: usize = 2 * MAX_FRAME_LEN;

/// As much of it as a file of `len` bytes needs.
fn chunk_for(len: u64) -> usize {
    usize::try_from(len).unwrap_or(CHUNK).clamp(BLOCK, CHUNK)
}

/// A segment file whose header is authentic.
pub(super) struct Known {
    pub(super) header: SegmentHeader,
    pub(super) id: [u8; 16],
    pub(super) key: FileKey,
}

/// Reads and authenticates the header of the segment `name`; `None` if it is unwritten or torn.
pub(super) fn read_header<D: Disk>(
    disk: &D,
    name: &str,
    chain: Chain,
    place: (u64, u16, u64),
    deks: &dyn Deks,
    backend: Backend,
) -> Result<Option<Known>, LogError> {
    let file = || name.to_string();
    let io = |e| LogError::io(name, e);
    let mut block = [0; HEADER_LEN];
    let got = disk
        .open(name)
        .map_err(io)?
        .read_at(&mut block, 0)
        .map_err(io)?;
    if got < HEADER_LEN {
        return Ok(None);
    }
    let (header, salt, commitment) = match SegmentHeader::decode(&block) {
        Ok(decoded) => decoded,
        Err(NoHeader::Unwritten) => return Ok(None),
        Err(NoHeader::Version(version)) => {
            return Err(LogError::Version {
                file: file(),
                version,
            });
        }
        Err(NoHeader::Field(field)) => {
            return Err(LogError::Header {
                file: file(),
                field,
            });
        }
    };
    // Without encryption there is no keyring, and so no identity.
    if header.algorithm.protects() && deks.node() == [0; 16] {
        return Err(LogError::Sealed { file: file() });
    }
    if header.node != deks.node() {
        return Err(LogError::Foreign { file: file() });
    }
    let dek = deks::find(deks, header.dek, header.algorithm, name)?;
    let key = dek.file_key_for_reading(backend, chain.label(), &salt, &header.bound());
    if *key.commitment() != commitment {
        return Err(LogError::WrongKey { file: file() });
    }
    if (header.run, header.core, header.seq) != place {
        let belongs = segment_name(header.run, header.core, header.seq);
        return Err(LogError::Misplaced {
            file: file(),
            belongs,
        });
    }
    let mut id = [0; 16];
    id.copy_from_slice(&salt[..16]);
    Ok(Some(Known { header, id, key }))
}

/// A frame that was opened: its header, its tag, and where its payload lies in the reader's buffer.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    pub(super) header: FrameHeader,
    pub(super) tag: [u8; TAG_LEN],
    pub(super) offset: u64,
    pub(super) payload: (usize, usize),
}

/// Reads the frames of one segment.
pub(super) struct SegmentReader<F> {
    file: F,
    name: String,
    buf: Vec<u8>,
    /// The part of `buf` that is read and not yet handed out.
    from: usize,
    to: usize,
    /// The offset in the file of `buf[from]`.
    offset: u64,
    at_end: bool,
}

impl<F: DiskFile> SegmentReader<F> {
    /// Reads from `offset`; `buf` is a buffer of an earlier reader, or empty.
    pub(super) fn open<D: Disk<File = F>>(
        disk: &D,
        name: &str,
        offset: u64,
        mut buf: Vec<u8>,
    ) -> Result<SegmentReader<F>, LogError> {
        let io = |e| LogError::io(name, e);
        let file = disk.open(name).map_err(io)?;
        let chunk = chunk_for(file.len().map_err(io)?);
        if buf.len() < chunk {
            buf.resize(chunk, 0);
        }
        let name = name.to_string();
        Ok(SegmentReader {
            file,
            name,
            buf,
            from: 0,
            to: 0,
            offset,
            at_end: false,
        })
    }

    /// The buffer, for the next reader.
    pub(super) fn into_buf(self) -> Vec<u8> {
        self.buf
    }

    /// The offset of the next frame.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn bytes(&self, (from, to): (usize, usize)) -> &[u8] {
        &self.buf[from..to]
    }

    /// Has at least `n` bytes in the buffer, if the file has them.
    fn want(&mut self, n: usize) -> Result<bool, LogError> {
        if self.to - self.from >= n {
            return Ok(true);
        }
        self.buf.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        while self.to < n.min(self.buf.len()) && !self.at_end {
            let at = self.offset + self.to as u64;
            let got = self
                .file
                .read_at(&mut self.buf[self.to..], at)
                .map_err(|e| LogError::io(&self.name, e))?;
            self.at_end = got < self.buf.len() - self.to;
            self.to += got;
        }
        Ok(self.to >= n)
    }

    /// The next frame, if it is frame `number` and authentic; the reader moves past it. What is
    /// wrong with it otherwise; the reader stays, and its buffer is of no more use.
    pub(super) fn next(
        &mut self,
        key: &FileKey,
        first: u64,
        number: u64,
    ) -> Result<Result<Opened, Fault>, LogError> {
        if !self.want(FRAME_HEADER_LEN)? {
            return Ok(Err(Fault::Cut));
        }
        let Some((header, tag)) = FrameHeader::decode(&self.buf[self.from..self.to]) else {
            return Ok(Err(Fault::Absent));
        };
        if header.number != number {
            return Ok(Err(Fault::Number(header.number)));
        }
        let len = header.len as usize;
        if !self.want(len)? {
            return Ok(Err(Fault::Cut));
        }
        let frame = &mut self.buf[self.from..self.from + len];
        let (head, text) = frame.split_at_mut(FRAME_HEADER_LEN);
        let payload = header.payload as usize;
        if key
            .open(number - first, &head[..FRAME_AAD_LEN], text, &tag)
            .is_err()
            || text[payload..].iter().any(|&b| b != 0)
        {
            return Ok(Err(Fault::Unauthentic));
        }
        let start = self.from + FRAME_HEADER_LEN;
        let opened = Opened {
            header,
            tag,
            offset: self.offset,
            payload: (start, start + payload),
        };
        self.from += len;
        self.offset += len as u64;
        Ok(Ok(opened))
    }
}

/// Looks through the blocks of a segment from `from` on for an authentic frame that passes
/// `wanted`, and returns its offset. Unlike [`SegmentReader`] it does not need the frames before it.
pub(super) fn find_frame<D: Disk>(
    disk: &D,
    name: &str,
    known: &Known,
    from: u64,
    wanted: impl Fn(&FrameHeader) -> bool,
) -> Result<Option<u64>, LogError> {
    let io = |e| LogError::io(name, e);
    let file = disk.open(name).map_err(io)?;
    let mut chunk = vec![0; chunk_for(file.len().map_err(io)?)];
    let mut frame = Vec::new();
    let mut base = from.next_multiple_of(BLOCK as u64);
    loop {
        let got = file.read_at(&mut chunk, base).map_err(io)?;
        for (i, block) in chunk[..got].chunks_exact(BLOCK).enumerate() {
            let Some((header, tag)) = FrameHeader::decode(block) else {
                continue;
            };
            if header.number < known.header.first_frame || !wanted(&header) {
                continue;
            }
            let offset = base + (i * BLOCK) as u64;
            frame.resize(header.len as usize, 0);
            if file.read_at(&mut frame, offset).map_err(io)? < frame.len() {
                continue;
            }
            let counter = header.number - known.header.first_frame;
            let (head, text) = frame.split_at_mut(FRAME_HEADER_LEN);
            if known
                .key
                .open(counter, &head[..FRAME_AAD_LEN], text, &tag)
                .is_ok()
            {
                return Ok(Some(offset));
            }
        }
        if got < chunk.len() {
            return Ok(None);
        }
        base += got as u64;
    }
}
