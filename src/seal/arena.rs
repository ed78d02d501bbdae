//! The pages secrets live on: apart from the heap, locked against swap where the system permits it,
//! left out of core dumps, fenced by unreadable pages on both sides.
//!
//! A page holds slots of 32 bytes and is never given back; a slot is wiped before it is reused.
//! Locking costs one page of `RLIMIT_MEMLOCK` per 128 secrets (4 KiB pages). When locking is
//! refused the secret is kept all the same and [`protection`] says so: losing the data would be
//! worse than swapping a page.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroize;

/// One slot's content.
pub(super) type Slot = [u8; 32];

/// How well the pages that hold secrets are protected in this process so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protection {
    /// Pages that hold secrets.
    pub pages: usize,
    /// How many of these are locked in memory (never written to swap).
    pub locked: usize,
    /// How many of these are left out of core dumps.
    pub undumped: usize,
}

impl Protection {
    /// Whether every page is both locked and left out of core dumps.
    pub fn complete(&self) -> bool {
        self.locked == self.pages && self.undumped == self.pages
    }
}

struct Arena {
    free: Vec<NonNull<Slot>>,
    protection: Protection,
}

// SAFETY: the pointers name slots of pages that live as long as the process; each slot is in
// `free`, or owned by exactly one holder, never both.
unsafe impl Send for Arena {}

static ARENA: Mutex<Arena> = Mutex::new(Arena {
    free: Vec::new(),
    protection: Protection {
        pages: 0,
        locked: 0,
        undumped: 0,
    },
});

fn arena() -> MutexGuard<'static, Arena> {
    // No code that runs under the lock leaves it half changed, so a poisoned lock is still good.
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How well this process's secrets are protected, for the start-up log and `INFO encryption`.
pub fn protection() -> Protection {
    arena().protection
}

/// Takes a slot, all zero, for the caller alone until it calls [`give_back`].
pub(super) fn take() -> NonNull<Slot> {
    let mut arena = arena();
    if arena.free.is_empty() {
        arena.grow();
    }
    match arena.free.pop() {
        Some(slot) => slot,
        None => handle_alloc_error(Layout::new::<Slot>()),
    }
}

/// Wipes a slot and frees it.
///
/// # Safety
/// `slot` came from [`take`], was not given back since, and nothing else refers to it.
pub(super) unsafe fn give_back(mut slot: NonNull<Slot>) {
    // SAFETY: by the contract above this is the only reference.
    unsafe { slot.as_mut() }.zeroize();
    arena().free.push(slot);
}

impl Arena {
    /// Maps one more page of slots between two that may not be touched.
    fn grow(&mut self) {
        // SAFETY: sysconf has no preconditions.
        let page = match unsafe { libc::sysconf(libc::_SC_PAGESIZE) } {
            n if n > 0 => n as usize,
            _ => 4096,
        };
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choosing touches nothing
        // of ours.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                3 * page,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            handle_alloc_error(Layout::new::<Slot>());
        }
        // SAFETY: the mapping is three pages long, so its second page is inside it.
        let middle = unsafe { base.cast::<u8>().add(page) };
        // SAFETY: `middle` is one whole page of our own mapping that nothing refers to yet.
        let (usable, locked, undumped) = unsafe {
            (
                libc::mprotect(middle.cast(), page, libc::PROT_READ | libc::PROT_WRITE) == 0,
                libc::mlock(middle.cast(), page) == 0,
                libc::madvise(middle.cast(), page, libc::MADV_DONTDUMP) == 0,
            )
        };
        if !usable {
            handle_alloc_error(Layout::new::<Slot>());
        }
        self.protection.pages += 1;
        self.protection.locked += usize::from(locked);
        self.protection.undumped += usize::from(undumped);
        let slots = page / size_of::<Slot>();
        self.free.reserve(slots);
        // Highest first, so that slots are handed out in ascending order.
        for i in (0..slots).rev() {
            // SAFETY: `i` is below the number of slots in the page; the page is readable, writable,
            // zeroed by the kernel, and aligned for bytes.
            let slot = unsafe { middle.add(i * size_of::<Slot>()) }.cast::<Slot>();
            if let Some(slot) = NonNull::new(slot) {
                self.free.push(slot);
            }
        }
    }
}
