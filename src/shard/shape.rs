//! Where things are in an entry's allocation. See `entry` for the picture.
//!
//! Promise: a shape follows from what is written in the word and the lengths alone, so whoever
//! reads an entry finds what whoever wrote it meant.
//!
//! The size is rounded up to the classes in which jemalloc allocates: it costs nothing there, a
//! value that changes within its class stays where it is, and APPEND grows by a quarter at a time
//! without a field for capacity.

use std::alloc::Layout;

use super::object::Object;

/// Every allocation's alignment, in bytes: it frees three bits of the address.
const ALIGN: usize = 8;
const _: () = assert!(align_of::<Object>() <= ALIGN);
/// Bytes of the access clock.
pub(super) const CLOCK: usize = 3;
/// Strings from this length on always have room for an expiry.
const ROOMY: usize = 1024;

/// What stands in the value's place.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    Str = 0,
    Int = 1,
    Object = 2,
    Raw = 3,
}

impl Form {
    /// Where a word has it.
    pub(super) const BITS: usize = 0b011;

    /// The form in the low bits of a word.
    #[inline]
    pub(super) fn of(word: usize) -> Form {
        match word & Form::BITS {
            0 => Form::Str,
            1 => Form::Int,
            2 => Form::Object,
            _ => Form::Raw,
        }
    }

    /// Whether it is a string's bytes.
    #[inline]
    pub(super) fn is_text(self) -> bool {
        matches!(self, Form::Str | Form::Raw)
    }
}

/// All that decides where things are in an allocation.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// What the value is.
    pub(super) form: Form,
    /// Whether there is an expiry.
    pub(super) volatile: bool,
    /// Bytes of the key.
    pub(super) klen: usize,
    /// Bytes of the value behind the key; an object is not there.
    pub(super) vlen: usize,
}

/// Where the clock is: an object stands before it, where every object may.
#[inline]
pub(super) fn head_at(form: Form) -> usize {
    match form {
        Form::Object => size_of::<Object>(),
        Form::Str | Form::Int | Form::Raw => 0,
    }
}

impl Shape {
    /// Where the lengths end and, when there is room for it, the expiry begins.
    #[inline]
    pub(super) fn expire_at(&self) -> usize {
        let vlen = if self.form.is_text() {
            width(self.vlen)
        } else {
            0
        };
        head_at(self.form) + CLOCK + width(self.klen) + vlen
    }

    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.volatile || (self.form.is_text() && self.vlen >= ROOMY)
    }

    #[inline]
    pub(super) fn key_at(&self) -> usize {
        self.expire_at() + if self.has_room() { 8 } else { 0 }
    }

    /// Where the key ends and what stands behind it begins.
    #[inline]
    pub(super) fn value_at(&self) -> usize {
        self.key_at() + self.klen
    }

    /// Bytes allocated.
    #[inline]
    pub(super) fn size(&self) -> usize {
        size_class(self.value_at() + self.vlen)
    }

    #[inline]
    pub(super) fn layout(&self) -> Layout {
        match Layout::from_size_align(self.size(), ALIGN) {
            Ok(layout) => layout,
            Err(_) => panic!("an entry larger than the address space"),
        }
    }
}

/// Bytes of a varint.
#[inline]
pub(super) fn width(n: usize) -> usize {
    if n < 0x80 {
        1
    } else {
        (usize::BITS - n.leading_zeros()).div_ceil(7) as usize
    }
}

/// The size in which jemalloc serves a request: 8, multiples of 16 up to 128, then four steps to
/// every doubling. Source: jemalloc(3), "size classes".
fn size_class(size: usize) -> usize {
    if size <= 8 {
        8
    } else if size <= 128 {
        size.next_multiple_of(16)
    } else {
        size.next_multiple_of(1 << ((size - 1).ilog2() - 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(klen: usize, vlen: usize, volatile: bool) -> Shape {
        Shape {
            form: Form::Str,
            volatile,
            klen,
            vlen,
        }
    }

    #[test]
    fn a_key_of_11_with_64_bytes_takes_80() {
        assert_eq!(text(11, 64, false).size(), 80);
        assert_eq!(text(11, 64, true).size(), 96);
        assert_eq!(text(0, 0, false).size(), 8);
    }

    #[test]
    fn an_object_under_a_key_of_12_takes_48() {
        let object = |klen| Shape {
            form: Form::Object,
            vlen: 0,
            ..text(klen, 0, false)
        };
        assert_eq!(object(12).size(), 48);
        assert_eq!(object(13).size(), 64);
    }

    #[test]
    fn an_expiry_never_moves_a_long_string() {
        assert_ne!(text(5, 1023, true).key_at(), text(5, 1023, false).key_at());
        assert_eq!(
            text(5, 1024, true).value_at(),
            text(5, 1024, false).value_at()
        );
    }

    #[test]
    fn classes_are_jemallocs() {
        let classes = [
            8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640,
        ];
        let mut at = 0;
        for size in 1..=640 {
            if size > classes[at] {
                at += 1;
            }
            assert_eq!(size_class(size), classes[at], "{size}");
        }
        assert_eq!(size_class(4097), 5120);
        assert_eq!(size_class((512 << 20) + 1), 640 << 20);
    }

    #[test]
    fn lengths_take_seven_bits_a_byte() {
        for (length, wide) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (16383, 2),
            (16384, 3),
            (512 << 20, 5),
        ] {
            assert_eq!(width(length), wide, "{length}");
        }
    }
}
