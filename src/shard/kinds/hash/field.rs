//! A field of a large hash, in one allocation.
//!
//! ```text
//! [name's length * 2 + (1 if it expires): varint] [expiry: 8, little-endian, if it expires] [name] [value]
//! ```

use crate::shard::Ms;
use crate::shard::kinds::dict::Element;
use crate::shard::wire::{Reader, put_number};

/// The field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field(Box<[u8]>);

impl Field {
    pub(super) fn new(name: &[u8], value: &[u8], at: Option<Ms>) -> Field {
        let mut bytes = Vec::with_capacity(name.len() + value.len() + 13);
        put_number(
            &mut bytes,
            (name.len() as u64) << 1 | u64::from(at.is_some()),
        );
        if let Some(at) = at {
            bytes.extend_from_slice(&at.to_le_bytes());
        }
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
        Field(bytes.into())
    }

    /// Its expiry, and where its name and its value begin.
    #[inline]
    fn layout(&self) -> (Option<Ms>, usize, usize) {
        let mut head = Reader::new(&self.0);
        let word = head.number().unwrap_or(0);
        let at = (word & 1 == 1).then(|| head.take(8).and_then(|at| at.try_into().ok()));
        let start = self.0.len() - head.rest().len();
        let at = at.map(|at| Ms::from_le_bytes(at.unwrap_or_default()));
        (at, start, start + (word >> 1) as usize)
    }

    /// Its name, its value, its expiry.
    #[inline]
    pub(super) fn parts(&self) -> (&[u8], &[u8], Option<Ms>) {
        let (at, name, value) = self.layout();
        (&self.0[name..value], &self.0[value..], at)
    }

    pub(super) fn expiry(&self) -> Option<Ms> {
        self.layout().0
    }

    /// Gives it another value and expiry.
    pub(super) fn set(&mut self, value: &[u8], at: Option<Ms>) {
        let (before, _, start) = self.layout();
        if before == at && self.0.len() - start == value.len() {
            self.0[start..].copy_from_slice(value);
        } else {
            *self = Field::new(self.parts().0, value, at);
        }
    }

    /// Gives it another expiry.
    pub(super) fn set_expiry(&mut self, at: Option<Ms>) {
        let (name, value, before) = self.parts();
        if before != at {
            *self = Field::new(name, value, at);
        }
    }
}

impl Element for Field {
    #[inline]
    fn name(&self) -> &[u8] {
        self.parts().0
    }

    fn heap_bytes(&self) -> usize {
        self.0.len()
    }
}
