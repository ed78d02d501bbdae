//! The keyed hash of keys.
//!
//! Promise: the same seed gives the same hash on every core, so the core that parses a command
//! computes it once for whichever core owns the key. The seed is random for each process, so nobody
//! outside can choose keys that collide; that is foldhash's protection, which is meant for tables
//! and is not a cryptographic one.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

/// Hashes keys under one seed. Cheap to clone.
#[derive(Clone)]
pub struct Hasher {
    seed: u64,
    shared: Arc<SharedSeed>,
}

impl Hasher {
    /// The hasher of this seed.
    pub fn new(seed: u64) -> Hasher {
        Hasher {
            seed,
            shared: Arc::new(SharedSeed::from_u64(!seed)),
        }
    }

    /// The hash of a key: all 64 bits are of use.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut state = FoldHasher::with_seed(self.seed, &self.shared);
        state.write(key);
        state.finish()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_hash_and_another_seed_changes_it() {
        let (a, b) = (Hasher::new(1), Hasher::new(2));
        assert_eq!(a.hash(b"key"), Hasher::new(1).hash(b"key"));
        assert_ne!(a.hash(b"key"), b.hash(b"key"));
    }

    #[test]
    fn keys_that_differ_only_in_trailing_zeros_differ_in_hash() {
        let hasher = Hasher::new(7);
        let zeros = [0u8; 40];
        let mut seen: Vec<u64> = (0..=40).map(|len| hasher.hash(&zeros[..len])).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 41);
    }
}
