//! Bytes on their way to a socket, and the pool they come from.
//!
//! The memory of an [`OutBuf`] is always initialised to its full length, because a TLS session
//! encrypts into a plain `&mut [u8]`; zeroing it anew for each reply would cost more than sealing it.

/// The size of a fresh buffer: one TLS record and its overhead.
pub const CHUNK: usize = 17 * 1024;
/// A buffer above this size is freed after use instead of pooled.
const KEEP: usize = 256 * 1024;
/// Buffers kept for reuse on one core.
const POOLED: usize = 256;
/// Buffers of replies that are not sealed yet, kept for reuse on one core.
const PLAIN: usize = 16;

/// A growable buffer: `len` bytes to send, the rest initialised room.
#[derive(Default)]
pub struct OutBuf {
    memory: Vec<u8>,
    len: usize,
}

impl OutBuf {
    /// The bytes written so far.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory behind it.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// At least `room` bytes to write into; [`OutBuf::wrote`] says how many were used.
    pub fn room(&mut self, room: usize) -> &mut [u8] {
        let needed = self.len + room;
        if self.memory.len() < needed {
            let more = match self.memory.len() {
                len if len < KEEP / 2 => len * 2,
                len => len + len / 2,
            };
            self.memory.resize(needed.max(CHUNK).max(more), 0);
        }
        &mut self.memory[self.len..]
    }

    /// Counts `n` bytes just written at the start of the room.
    pub fn wrote(&mut self, n: usize) {
        assert!(self.len + n <= self.memory.len(), "wrote past the room");
        self.len += n;
    }

    /// Appends `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Forgets what was written; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

/// Buffers waiting for their next use on this core.
#[derive(Default)]
pub struct Pool {
    free: Vec<OutBuf>,
    plain: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer.
    pub fn take(&mut self) -> OutBuf {
        self.free.pop().unwrap_or_default()
    }

    /// Memory for replies before they are sealed; without any if none is here.
    pub fn take_plain(&mut self) -> Vec<u8> {
        self.plain.pop().unwrap_or_default()
    }

    /// Takes such memory back.
    pub fn put_plain(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() && bytes.capacity() <= KEEP && self.plain.len() < PLAIN {
            self.plain.push(bytes);
        }
    }

    /// Takes a buffer back.
    pub fn put(&mut self, mut buf: OutBuf) {
        if !buf.memory.is_empty() && buf.memory.len() <= KEEP && self.free.len() < POOLED {
            buf.clear();
            self.free.push(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_initialised_and_what_was_written_is_kept_when_it_grows() {
        let mut out = OutBuf::default();
        out.push(b"abc");
        out.room(CHUNK * 3)[..2].copy_from_slice(b"de");
        out.wrote(2);
        assert_eq!(out.bytes(), b"abcde");
    }

    #[test]
    fn a_pooled_buffer_comes_back_empty() {
        let mut pool = Pool::default();
        let mut out = pool.take();
        out.push(b"secret of another client");
        pool.put(out);
        assert!(pool.take().is_empty());
    }
}
