//! Buffers as direct I/O wants them, and a pool that keeps the hot path from allocating.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{BLOCK, round_up};

/// Bytes of all buffers there are.
static HELD: AtomicU64 = AtomicU64::new(0);

/// Bytes of all buffers there are: what waits for the disk, and what is kept for it.
pub fn held() -> u64 {
    HELD.load(Relaxed)
}

/// Owned bytes whose address and length are multiples of [`BLOCK`]. They start as zeros.
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: an AlignedBuf owns its memory alone, like a Box<[u8]>; nothing in it is tied to a thread.
unsafe impl Send for AlignedBuf {}
// SAFETY: through a shared reference it can only be read.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A buffer of at least `bytes` bytes (one block at least), rounded up to blocks, zeroed.
    pub fn new(bytes: usize) -> AlignedBuf {
        let len = round_up(bytes.max(1));
        let layout = Self::layout(len);
        // SAFETY: the layout's size is at least one block, so not zero.
        let ptr = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(ptr) else {
            handle_alloc_error(layout)
        };
        HELD.fetch_add(len as u64, Relaxed);
        AlignedBuf { ptr, len }
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, BLOCK).expect("a buffer's size fits the address space")
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        HELD.fetch_sub(self.len as u64, Relaxed);
        // SAFETY: `ptr` came from `alloc_zeroed` with this same layout and is freed only here.
        unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.len)) }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `ptr` are allocated, initialised and owned by self.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len) // never the content
    }
}

/// Spare buffers of one size. Taking never fails: an empty pool allocates; a full one frees.
#[derive(Debug)]
pub struct Pool {
    free: Vec<AlignedBuf>,
    size: usize,
    keep: usize,
}

impl Pool {
    /// A pool of buffers of `size` bytes that holds on to `keep` of them.
    pub fn new(size: usize, keep: usize) -> Pool {
        Pool {
            free: Vec::with_capacity(keep),
            size: round_up(size),
            keep,
        }
    }

    /// A buffer with unspecified (but initialised) content.
    pub fn take(&mut self) -> AlignedBuf {
        self.free
            .pop()
            .unwrap_or_else(|| AlignedBuf::new(self.size))
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buf: AlignedBuf) {
        if self.free.len() < self.keep && buf.len() == self.size {
            self.free.push(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_whole_blocks() {
        for bytes in [0, 1, BLOCK, BLOCK + 1, 10 * BLOCK] {
            let b = AlignedBuf::new(bytes);
            assert_eq!(b.as_ptr() as usize % BLOCK, 0);
            assert_eq!(b.len() % BLOCK, 0);
            assert!(b.len() >= bytes && b.iter().all(|&x| x == 0));
        }
    }

    #[test]
    fn a_pool_hands_the_same_memory_out_again() {
        let mut p = Pool::new(BLOCK, 1);
        let (a, b) = (p.take(), p.take());
        let at = a.as_ptr();
        p.give(a);
        p.give(b); // one too many: freed
        assert_eq!(p.take().as_ptr(), at);
        assert!(p.free.is_empty());
    }
}
