//! Receive buffers lent to the kernel: one io_uring provided-buffer ring a core.
//!
//! A receive names no buffer; the kernel takes the next free one when data is there, so that ten
//! thousand silent connections hold no memory. A buffer is at least one TLS record long, and is
//! handed back as soon as its bytes were decrypted (or copied), within the tick that saw them.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// Bytes of one receive buffer. Four TLS records: a pipelined client fills several at once.
pub const BUFFER_LEN: usize = 64 * 1024;
/// Receive buffers of one core; a power of two.
pub const BUFFERS: u16 = 64;
/// The io_uring buffer group of a core's receive buffers.
pub const GROUP: u16 = 0;

const PAGE: usize = 4096;
const _: () = assert!(BUFFERS.is_power_of_two());
const _: () = assert!(
    BUFFER_LEN >= 16 * 1024 + 2048,
    "a TLS record must fit one buffer"
);

/// The core's receive buffers and the ring that lends them.
pub struct Buffers {
    entries: NonNull<BufRingEntry>,
    data: NonNull<u8>,
    tail: u16,
    published: u16,
}

impl Buffers {
    /// Allocates the buffers and registers them with the ring behind `submitter`.
    ///
    /// The memory is never freed: it belongs to the kernel as much as to us for as long as the
    /// ring is, and a core's ring is for ever.
    ///
    /// # Errors
    /// What `IORING_REGISTER_PBUF_RING` answers: `EINVAL` on kernels before 5.19.
    pub fn register(submitter: &Submitter<'_>) -> io::Result<Buffers> {
        let entries = allocate(Self::ring_layout()).cast::<BufRingEntry>();
        let data = allocate(Self::data_layout());
        let mut buffers = Buffers {
            entries,
            data,
            tail: 0,
            published: 0,
        };
        // SAFETY: `entries` is a page-aligned, zeroed allocation of BUFFERS entries that is
        // never freed.
        unsafe {
            submitter.register_buf_ring_with_flags(entries.as_ptr() as u64, BUFFERS, GROUP, 0)?;
        }
        for id in 0..BUFFERS {
            buffers.give_back(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    fn ring_layout() -> Layout {
        let bytes = size_of::<BufRingEntry>() * usize::from(BUFFERS);
        Layout::from_size_align(bytes, PAGE).expect("a constant layout")
    }

    fn data_layout() -> Layout {
        let bytes = BUFFER_LEN * usize::from(BUFFERS);
        Layout::from_size_align(bytes, PAGE).expect("a constant layout")
    }

    /// The first `len` bytes of buffer `id`, which the kernel has handed over with a completion.
    ///
    /// # Panics
    /// When `id` or `len` is out of range, which no kernel answers.
    pub fn bytes(&mut self, id: u16, len: usize) -> &mut [u8] {
        assert!(
            id < BUFFERS && len <= BUFFER_LEN,
            "receive buffer {id} of {len} bytes"
        );
        // SAFETY: in range by the assertion; a buffer named by a completion is ours until
        // `give_back`, and the exclusive borrow of `self` keeps that from happening meanwhile.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.data.as_ptr().add(usize::from(id) * BUFFER_LEN),
                len,
            )
        }
    }

    /// Lends buffer `id` to the kernel again; seen by it at the next [`Buffers::publish`].
    pub fn give_back(&mut self, id: u16) {
        assert!(id < BUFFERS, "receive buffer {id}");
        let at = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `at` is below BUFFERS, so both addresses are inside their allocations. The
        // kernel reads an entry only after the tail that covers it was published.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(at);
            entry.set_addr(self.data.as_ptr().add(usize::from(id) * BUFFER_LEN) as u64);
            entry.set_len(BUFFER_LEN as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel every buffer given back since the last call.
    pub fn publish(&mut self) {
        if self.tail == self.published {
            return;
        }
        // SAFETY: the tail lies in the first entry of our allocation; the kernel only reads it.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
        self.published = self.tail;
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: both layouts have a size above zero.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
