//! Asking the memory for a cache line before it is needed.
//!
//! Promise: a hint, nothing more: no address is read, any address will do. On processors we have no
//! instruction for, nothing happens.

/// Asks for the cache line at `place`.
#[inline(always)]
pub(super) fn line<T>(place: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: PREFETCHT0 is part of SSE, which every x86_64 has; it does not fault and does not
    // access memory in the sense of the language, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = place;
}
