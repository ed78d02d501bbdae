//! Thirty-two secret bytes: a Kek, a Dek, or a key derived from one.
//!
//! They sit in the arena (see `arena.rs`), are wiped on drop, and come out only through the one
//! loudly named method [`Secret32::expose`]. There is no `Clone`; a second copy has to be asked for
//! by name.

use std::fmt;
use std::ptr::NonNull;

use zeroize::Zeroize;

use super::{NoRandomness, arena, random};

/// Thirty-two secret bytes. `Debug` prints none of them.
pub struct Secret32 {
    slot: NonNull<arena::Slot>,
}

// SAFETY: a Secret32 is the only owner of its slot, and the slot is plain bytes that live as long
// as the process.
unsafe impl Send for Secret32 {}
// SAFETY: through a shared reference the bytes can only be read.
unsafe impl Sync for Secret32 {}

impl Secret32 {
    /// A fresh secret from the operating system's randomness.
    pub fn random() -> Result<Secret32, NoRandomness> {
        let mut secret = Secret32::zero();
        random(secret.bytes_mut())?;
        Ok(secret)
    }

    /// Takes the secret out of `bytes`, which are wiped.
    pub fn take(bytes: &mut [u8; 32]) -> Secret32 {
        let mut secret = Secret32::zero();
        secret.bytes_mut().copy_from_slice(bytes);
        bytes.zeroize();
        secret
    }

    /// Copies a secret from a slice, which its owner has to wipe. `None` unless it is 32 bytes
    /// long.
    pub fn copy_from(bytes: &[u8]) -> Option<Secret32> {
        if bytes.len() != size_of::<arena::Slot>() {
            return None;
        }
        let mut secret = Secret32::zero();
        secret.bytes_mut().copy_from_slice(bytes);
        Some(secret)
    }

    /// Thirty-two zero bytes: no secret at all. This is the "Dek" of data that is deliberately not
    /// encrypted.
    pub fn zero() -> Secret32 {
        Secret32 {
            slot: arena::take(),
        }
    }

    /// A second copy, as well guarded as the first.
    pub fn duplicate(&self) -> Secret32 {
        let mut secret = Secret32::zero();
        secret.bytes_mut().copy_from_slice(self.expose());
        secret
    }

    /// The bytes. Whoever copies them has to wipe the copy.
    pub fn expose(&self) -> &[u8; 32] {
        // SAFETY: the slot is ours until drop, and is only written through `&mut self`.
        unsafe { self.slot.as_ref() }
    }

    /// The bytes, to be filled in by the code that makes the secret.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8; 32] {
        // SAFETY: the slot is ours until drop, and `&mut self` is the only way to it.
        unsafe { self.slot.as_mut() }
    }
}

impl Drop for Secret32 {
    fn drop(&mut self) {
        // SAFETY: the slot came from `arena::take` and this is its owner's last act.
        unsafe { arena::give_back(self.slot) }
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_wipes_the_source_and_keeps_the_bytes() {
        let mut source = [0x5a; 32];
        let secret = Secret32::take(&mut source);
        assert_eq!(source, [0; 32]);
        assert_eq!(secret.expose(), &[0x5a; 32]);
        assert_eq!(secret.duplicate().expose(), &[0x5a; 32]);
    }

    #[test]
    fn only_thirty_two_bytes_make_a_secret() {
        for len in [0, 31, 33, 64] {
            assert!(Secret32::copy_from(&vec![1; len]).is_none(), "{len}");
        }
        assert!(Secret32::copy_from(&[1; 32]).is_some());
    }

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret32::take(&mut [0x41; 32]);
        assert_eq!(format!("{secret:?}"), "Secret32(..)");
    }

    #[test]
    fn a_reused_slot_was_wiped() {
        // Many at once, so that later ones reuse the slots of the earlier ones.
        for round in 0..3u8 {
            let fresh: Vec<Secret32> = (0..300).map(|_| Secret32::zero()).collect();
            assert!(fresh.iter().all(|s| s.expose() == &[0; 32]));
            drop(fresh);
            let used: Vec<Secret32> = (0..300)
                .map(|_| Secret32::take(&mut [round | 0x80; 32]))
                .collect();
            assert!(used.iter().all(|s| s.expose() == &[round | 0x80; 32]));
        }
    }

    #[test]
    fn secrets_lie_on_pages_the_kernel_locks_and_does_not_dump() {
        let secret = Secret32::take(&mut [0x77; 32]);
        let at = secret.expose().as_ptr() as usize;
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("Linux has smaps");
        let flags = flags_of(&smaps, at).expect("the page of a live secret is mapped");
        assert!(
            flags.contains(&"dd"),
            "not left out of core dumps: {flags:?}"
        );
        let told = super::super::protection();
        if told.locked == told.pages {
            assert!(
                flags.contains(&"lo"),
                "said to be locked, but is not: {flags:?}"
            );
        }
    }

    /// The VmFlags line of the mapping that holds `at`.
    fn flags_of(smaps: &str, at: usize) -> Option<Vec<&str>> {
        let mut inside = false;
        for line in smaps.lines() {
            let first = line.split(' ').next()?;
            if let Some((from, to)) = first.split_once('-')
                && let (Ok(from), Ok(to)) = (
                    usize::from_str_radix(from, 16),
                    usize::from_str_radix(to, 16),
                )
            {
                inside = (from..to).contains(&at);
            }
            if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                return Some(flags.split_whitespace().collect());
            }
        }
        None
    }

    #[test]
    fn secrets_survive_being_passed_between_threads() {
        let secret = Secret32::take(&mut [9; 32]);
        let seen = std::thread::spawn(move || *secret.expose())
            .join()
            .expect("the thread does not panic");
        assert_eq!(seen, [9; 32]);
    }
}
