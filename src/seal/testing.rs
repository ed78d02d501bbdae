//! For tests only, of this module and of those above: hex, and a witness that no nonce is used
//! twice.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::{COMMITMENT_LEN, NONCE_LEN};

/// Bytes from hex digits; anything that is no digit is skipped.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| d as u8)
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte: {text}");
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Exactly `N` bytes from hex digits.
pub fn unhex_array<const N: usize>(text: &str) -> [u8; N] {
    unhex(text)
        .try_into()
        .expect("as many digits as the type has room for")
}

/// The `name = hex` lines of a format page's block of vectors, in groups as blank lines divide
/// them. A line that begins with a space goes on with the value before it.
pub fn vectors(page: &str) -> Vec<HashMap<&str, Vec<u8>>> {
    let (_, block) = page
        .split_once("```vectors\n")
        .expect("the page has vectors");
    let (block, _) = block.split_once("```").expect("their block ends");
    block.split("\n\n").map(values).collect()
}

fn values(group: &str) -> HashMap<&str, Vec<u8>> {
    let mut values: HashMap<&str, Vec<u8>> = HashMap::new();
    let mut last = "";
    for line in group.lines() {
        let hex = match line.split_once(" = ") {
            Some((name, hex)) => {
                last = name;
                hex
            }
            None => line,
        };
        values.entry(last).or_default().extend(unhex(hex));
    }
    values
}

type Used = HashSet<([u8; COMMITMENT_LEN], [u8; NONCE_LEN])>;

thread_local! {
    static USED: RefCell<Option<Used>> = const { RefCell::new(None) };
}

/// While it lives, every seal on this thread is noted by key (named by its commitment) and nonce,
/// and a repetition panics. It sees across files, restarts and copies, as long as they happen on
/// one thread.
pub struct NonceMonitor(());

impl NonceMonitor {
    /// Starts to watch, with nothing seen.
    pub fn start() -> NonceMonitor {
        USED.with_borrow_mut(|used| *used = Some(HashSet::new()));
        NonceMonitor(())
    }

    /// How many seals it saw.
    pub fn seen(&self) -> usize {
        USED.with_borrow(|used| used.as_ref().map_or(0, HashSet::len))
    }
}

impl Drop for NonceMonitor {
    fn drop(&mut self) {
        USED.with_borrow_mut(|used| *used = None);
    }
}

/// Notes a seal, if a monitor is watching this thread.
pub(super) fn note(commitment: &[u8; COMMITMENT_LEN], nonce: &[u8; NONCE_LEN]) {
    USED.with_borrow_mut(|used| {
        if let Some(used) = used {
            assert!(
                used.insert((*commitment, *nonce)),
                "a nonce was used twice under one key"
            );
        }
    });
}
