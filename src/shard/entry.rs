//! One key with its value, in one allocation behind one tagged word.
//!
//! Promise: an `Entry` is eight bytes, owns its allocation and frees it; whatever its owner does
//! through this interface, the memory read is memory written before. This is one of the two files
//! with `unsafe` of this module (the other is `prefetch`).
//!
//! # The word
//! ```text
//! 63        48 47                          3  2  1 0
//! [  tag: 16  |  address, 8-byte aligned     | V | form ]
//! ```
//! The tag is 16 bits of the key's hash, for the table. V: the entry has an expiry. Form: 0 string,
//! 1 number, 2 object, 3 string that was changed in place (Redis calls it `raw`).
//!
//! # The allocation
//! ```text
//! [object: 32, objects only][access clock: 3][key length: varint][value length: varint, strings only]
//! [expiry: 8, when V or the string is ROOMY or longer][key][value, but for objects]
//! ```
//! A number takes eight bytes. A long string has room for an expiry from the start, so that EXPIRE never
//! moves it. 11 bytes of key and 64 of value make 80 in all. An object stands first, where it is aligned.
//!
//! Where each part is and how large the whole: `shape`.
//!
//! Rejected: a box for the key and one for the value (160 bytes a key); a box for the object (16 bytes a
//! key of 5 to 12 bytes, and a cache miss); a capacity field (the allocator knows); expiry in a table of
//! its own (a second lookup for every expiring key).

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ptr::{self, NonNull};
use std::slice;

use super::object::Object;
use super::prefetch;
use super::shape::{CLOCK, Form, Shape, head_at};
use super::value::{Decimal, Ms, Value};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("entries keep a tag in the high 16 bits of a 64-bit pointer");

const TAG_SHIFT: u32 = 48;
const ADDRESS: usize = 0x0000_ffff_ffff_fff8;
const VOLATILE: usize = 0b100;

/// No string may grow beyond this by an offset: sums of lengths cannot overflow then, since
/// whatever else is added up lies in memory.
const LONGEST: usize = 1 << 40;
/// Objects of more bytes are freed in steps.
const LARGE: usize = 64 << 10;
/// Strings up to this length are `embstr` until they are changed in place. Source: Redis, OBJECT
/// ENCODING.
const EMBSTR: usize = 44;

/// A value about to be stored.
pub(super) enum New<'a> {
    /// A string.
    Text(&'a [u8]),
    /// A number.
    Int(i64),
    /// Another type.
    Object(Box<Object>),
}

impl New<'_> {
    fn form(&self) -> Form {
        match self {
            New::Text(_) => Form::Str,
            New::Int(_) => Form::Int,
            New::Object(_) => Form::Object,
        }
    }

    fn len(&self) -> usize {
        match self {
            New::Text(bytes) => bytes.len(),
            New::Int(_) => 8,
            New::Object(_) => 0,
        }
    }
}

/// An owned key with its value.
///
/// Invariant (I): `address()` points at an allocation of `shape().layout()`, made by the global
/// allocator and owned by this entry alone, in which everything up to `value_at() + vlen` is
/// written as the file's head says; in the form `Object` it begins with an object, owned likewise.
#[repr(transparent)]
pub(super) struct Entry(NonNull<u8>);

// SAFETY: by (I) an entry owns all it points at, and `Object`, the only foreign thing in there, is
// `Send` (asserted below); so an entry can move to another thread as a box can.
unsafe impl Send for Entry {}
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Object>();
};

impl Entry {
    /// A new entry. `tag` is what the table asks for; `clock` has 24 bits.
    pub(super) fn new(
        tag: u16,
        key: &[u8],
        value: New<'_>,
        expire: Option<Ms>,
        clock: u32,
    ) -> Entry {
        let shape = Shape {
            form: value.form(),
            volatile: expire.is_some(),
            klen: key.len(),
            vlen: value.len(),
        };
        let place = allocate(shape.layout());
        // SAFETY: `place` is a fresh allocation of `shape.layout()`: an object ends at `head_at`, the
        // head at `key_at`, the key at `value_at`, the value at `value_at + vlen`, which is at most
        // the size. `key` cannot overlap it.
        unsafe {
            write_head(place, &shape, clock, expire);
            ptr::copy_nonoverlapping(key.as_ptr(), place.add(shape.key_at()), key.len());
            write_value(place, &shape, value);
        }
        Entry(word(place, tag, &shape))
    }

    /// The tag given last.
    #[inline]
    pub(super) fn tag(&self) -> u16 {
        (self.0.addr().get() >> TAG_SHIFT) as u16
    }

    /// Gives it another tag.
    pub(super) fn set_tag(&mut self, tag: u16) {
        let flags = VOLATILE | Form::BITS;
        let word = |word: usize| word & (ADDRESS | flags) | usize::from(tag) << TAG_SHIFT;
        self.0 = nonnull(self.0.as_ptr().map_addr(word));
    }

    /// Whether it has an expiry. Reads the word alone.
    #[inline]
    pub(super) fn is_volatile(&self) -> bool {
        self.0.addr().get() & VOLATILE != 0
    }

    /// Whether its time has come by `now`.
    #[inline]
    pub(super) fn is_dead(&self, now: Ms) -> bool {
        self.expire().is_some_and(|at| now > at)
    }

    /// The key.
    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: by (I) `klen` bytes from `key_at` on are written; they live and stay unchanged as
        // long as `self` is borrowed.
        unsafe { slice::from_raw_parts(self.address().add(shape.key_at()), shape.klen) }
    }

    /// The value.
    #[inline]
    pub(super) fn value(&self) -> Value<'_> {
        let shape = self.shape();
        // SAFETY: by (I) `vlen` bytes from `value_at` on are written, in the form told: a string, or
        // eight bytes of a number; or the allocation, which is aligned for it, begins with an object.
        // None changes while `self` is borrowed.
        unsafe {
            let place = self.address().add(shape.value_at());
            match shape.form {
                Form::Str | Form::Raw => Value::Str(slice::from_raw_parts(place, shape.vlen)),
                Form::Int => Value::Int(place.cast::<i64>().read_unaligned()),
                Form::Object => Value::Object(&*self.address().cast::<Object>()),
            }
        }
    }

    /// The object, for a change.
    pub(super) fn object_mut(&mut self) -> Option<&mut Object> {
        if self.form() != Form::Object {
            return None;
        }
        // SAFETY: by (I) the allocation, which is aligned for it, begins with an object that this entry owns; nobody
        // else can reach it while `self` is borrowed for change.
        Some(unsafe { &mut *self.address().cast::<Object>() })
    }

    /// The word `OBJECT ENCODING` answers.
    pub(super) fn encoding(&self) -> &'static str {
        match (self.value(), self.shape().form) {
            (Value::Int(_), _) => "int",
            (Value::Str(bytes), Form::Str) if bytes.len() <= EMBSTR => "embstr",
            (Value::Str(_), _) => "raw",
            (Value::Object(object), _) => object.encoding(),
        }
    }

    /// When it expires.
    #[inline]
    pub(super) fn expire(&self) -> Option<Ms> {
        if !self.is_volatile() {
            return None;
        }
        let at = self.shape().expire_at();
        // SAFETY: by (I) a volatile entry has its expiry written at `expire_at`, eight bytes before
        // the key.
        Some(unsafe { self.address().add(at).cast::<Ms>().read_unaligned() })
    }

    /// The time of the last access, 24 bits of seconds.
    #[inline]
    pub(super) fn clock(&self) -> u32 {
        // SAFETY: by (I) three bytes of clock are at `head_at`.
        let [a, b, c] = unsafe { self.head().cast::<[u8; CLOCK]>().read() };
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Notes an access. Writes only when the second is another, so as to leave the cache line
    /// clean.
    #[inline]
    pub(super) fn set_clock(&mut self, clock: u32) {
        if self.clock() != clock {
            let [a, b, c, _] = clock.to_le_bytes();
            // SAFETY: as in `clock`; `self` is borrowed for change.
            unsafe { self.head().cast::<[u8; CLOCK]>().write([a, b, c]) };
        }
    }

    /// Another value and expiry.
    pub(super) fn set_value(&mut self, value: New<'_>, expire: Option<Ms>, clock: u32) {
        drop(self.take_object());
        let old = self.shape();
        let new = Shape {
            form: value.form(),
            volatile: expire.is_some(),
            klen: old.klen,
            vlen: value.len(),
        };
        let before = self.address();
        let keep = new.size() == old.size();
        let place = if keep { before } else { allocate(new.layout()) };
        // SAFETY: by (I) the key is at `old.key_at` in `before`. `place` has `new.size()` bytes,
        // being the same allocation of equal size or a fresh one, and everything below lies within
        // it (as in `new`). The key moves first, so the new head cannot destroy it; `ptr::copy`
        // allows overlap. The old allocation, when left, is freed with its own layout and never
        // used again, for the word is replaced. The value cannot point into either: this entry is
        // borrowed for change.
        unsafe {
            ptr::copy(before.add(old.key_at()), place.add(new.key_at()), new.klen);
            write_head(place, &new, clock, expire);
            write_value(place, &new, value);
            if !keep {
                dealloc(before, old.layout());
            }
        }
        self.0 = word(place, self.tag(), &new);
    }

    /// Another expiry, the same value.
    pub(super) fn set_expire(&mut self, expire: Option<Ms>) {
        let old = self.shape();
        let new = Shape {
            volatile: expire.is_some(),
            ..old
        };
        self.reshape(&old, &new, expire);
    }

    /// Writes into the string from `offset` on; it grows as needed, with zeros in a gap. A number
    /// becomes a string first. Tells the new length; an object is left alone and tells 0.
    pub(super) fn set_range(&mut self, offset: usize, bytes: &[u8]) -> usize {
        match self.value() {
            Value::Str(_) => {}
            Value::Int(n) => {
                self.set_value(
                    New::Text(Decimal::new(n).as_bytes()),
                    self.expire(),
                    self.clock(),
                );
            }
            Value::Object(_) => return 0,
        }
        let old = self.shape();
        // The callers keep to Redis's limit of 512 MiB; memory safety must not hang on that.
        let end = match offset.checked_add(bytes.len()) {
            Some(end) if end <= LONGEST => end,
            _ => panic!("a string of more than {LONGEST} bytes"),
        };
        let new = Shape {
            form: Form::Raw,
            vlen: old.vlen.max(end),
            ..old
        };
        self.reshape(&old, &new, self.expire());
        let gap = offset.saturating_sub(old.vlen);
        // SAFETY: the allocation now has the shape `new`, of which the string's first `old.vlen`
        // bytes are written. The gap `[old.vlen, offset)` and the bytes `[offset, end)` lie within
        // `vlen`; together with the old bytes they cover it, so (I) holds again. `bytes` cannot
        // point in here: `self` is borrowed for change.
        unsafe {
            let value = self.address().add(new.value_at());
            value.add(offset - gap).write_bytes(0, gap);
            ptr::copy_nonoverlapping(bytes.as_ptr(), value.add(offset), bytes.len());
        }
        new.vlen
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let object = match self.value() {
            // It counts itself, and so does the allocation that it is in.
            Value::Object(object) => object.heap_bytes() - size_of::<Object>(),
            _ => 0,
        };
        self.shape().size() + object
    }

    /// Asks for its first bytes.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch::line(self.hint());
        prefetch::line(self.hint().wrapping_add(64));
    }

    /// Where the allocation begins, to ask the memory for it. Not to be read through.
    #[inline]
    pub(super) fn hint(&self) -> *const u8 {
        self.address()
    }

    #[inline]
    fn address(&self) -> *mut u8 {
        self.0.as_ptr().map_addr(|word| word & ADDRESS)
    }

    #[inline]
    fn form(&self) -> Form {
        Form::of(self.0.addr().get())
    }

    /// Where the clock is, and what follows it.
    #[inline]
    fn head(&self) -> *mut u8 {
        // SAFETY: by (I) the allocation reaches beyond `head_at`.
        unsafe { self.address().add(head_at(self.form())) }
    }

    #[inline]
    fn shape(&self) -> Shape {
        let (form, volatile) = (self.form(), self.is_volatile());
        // SAFETY: by (I) a varint of the key's length stands behind the clock, and for a string
        // another behind that.
        unsafe {
            let (klen, wide) = read_length(self.head().add(CLOCK));
            let vlen = match form {
                Form::Str | Form::Raw => read_length(self.head().add(CLOCK + wide)).0,
                Form::Int => 8,
                Form::Object => 0,
            };
            Shape {
                form,
                volatile,
                klen,
                vlen,
            }
        }
    }

    /// Goes over to another shape: resizes, moves key and value to their new place, writes the
    /// head. What the value has beyond the old length is left to the caller to write. Of both
    /// shapes or of neither the form is `Object`, and the object stays at the beginning.
    fn reshape(&mut self, old: &Shape, new: &Shape, expire: Option<Ms>) {
        let clock = self.clock();
        let (from, to) = (old.key_at(), new.key_at());
        let kept = old.klen + old.vlen.min(new.vlen);
        let (size, room) = (old.size(), new.size());
        let mut place = self.address();
        // SAFETY: by (I) `place` has `old.layout()`, and `kept` bytes from `from` on are written
        // and within the smaller of both sizes at their respective places. The move happens while
        // the allocation is as large as the larger shape: after growing, before shrinking.
        // `realloc` gets the layout in force and a size that is not zero.
        unsafe {
            if room > size {
                place = grown(realloc(place, old.layout(), room), new.layout());
            }
            if from != to {
                ptr::copy(place.add(from), place.add(to), kept);
            }
            if room < size {
                place = grown(realloc(place, old.layout(), room), new.layout());
            }
            write_head(place, new, clock, expire);
        }
        self.0 = word(place, self.tag(), new);
    }

    /// Takes an object out that takes long to free, if there is one, and leaves a number in its place.
    pub(super) fn take_large(&mut self) -> Option<Box<Object>> {
        match self.value() {
            Value::Object(object) if object.heap_bytes() > LARGE => self.take_object(),
            _ => None,
        }
    }

    /// Takes the object out, if there is one, and leaves a number in its place.
    pub(super) fn take_object(&mut self) -> Option<Box<Object>> {
        let old = self.shape();
        if old.form != Form::Object {
            return None;
        }
        let new = Shape {
            form: Form::Int,
            vlen: 8,
            ..old
        };
        let (clock, expire) = (self.clock(), self.expire());
        let before = self.address();
        let place = allocate(new.layout());
        // SAFETY: by (I) `before` begins with an object, aligned, and has `klen` bytes of key at
        // `old.key_at`; it is another allocation than `place`, which has `new.layout()`. The object
        // is moved out once: its old place is freed with the layout that it has, without being
        // dropped, and the word that led there is replaced below.
        let object = unsafe {
            write_head(place, &new, clock, expire);
            ptr::copy_nonoverlapping(before.add(old.key_at()), place.add(new.key_at()), new.klen);
            write_value(place, &new, New::Int(0));
            let object = Box::new(before.cast::<Object>().read());
            dealloc(before, old.layout());
            object
        };
        self.0 = word(place, self.tag(), &new);
        Some(object)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (place, layout) = (self.address(), self.shape().layout());
        // SAFETY: by (I) the allocation has this layout and is this entry's own, as is the object that
        // it begins with in that form; the entry is not used after.
        unsafe {
            if self.form() == Form::Object {
                place.cast::<Object>().drop_in_place();
            }
            dealloc(place, layout);
        }
    }
}

impl fmt::Debug for Entry {
    /// Says nothing of key and value: they are the users' secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry")
    }
}

/// Puts a word together.
#[inline]
fn word(place: *mut u8, tag: u16, shape: &Shape) -> NonNull<u8> {
    let flags = shape.form as usize | if shape.volatile { VOLATILE } else { 0 };
    let tagged = place.map_addr(|at| at | flags | usize::from(tag) << TAG_SHIFT);
    nonnull(tagged)
}

#[inline]
fn nonnull(place: *mut u8) -> NonNull<u8> {
    NonNull::new(place).unwrap_or_else(|| unreachable!("allocations are not at 0"))
}

fn allocate(layout: Layout) -> *mut u8 {
    // SAFETY: no layout here is of size 0: `size_class` is at least 8.
    grown(unsafe { alloc(layout) }, layout)
}

/// Checks what the allocator gave. There is no going on without: this does not return on failure,
/// nor unwind with an allocation half moved.
#[inline]
fn grown(place: *mut u8, layout: Layout) -> *mut u8 {
    if place.is_null() {
        handle_alloc_error(layout);
    }
    if place.addr() & !ADDRESS != 0 {
        std::process::abort(); // an address of more than 48 bits: no system gives one unasked
    }
    place
}

/// Writes clock, lengths and, where there is room, the expiry (0 for none).
///
/// # Safety
/// `place` has room for `shape.key_at()` bytes.
#[inline]
unsafe fn write_head(place: *mut u8, shape: &Shape, clock: u32, expire: Option<Ms>) {
    let [a, b, c, _] = clock.to_le_bytes();
    // SAFETY: all of it lies before `key_at`, which is where `Shape` puts the end of exactly these
    // fields.
    unsafe {
        let mut at = place.add(head_at(shape.form));
        at.cast::<[u8; CLOCK]>().write([a, b, c]);
        at = at.add(CLOCK);
        at = at.add(write_length(at, shape.klen));
        if shape.form.is_text() {
            at = at.add(write_length(at, shape.vlen));
        }
        if shape.has_room() {
            at.cast::<Ms>().write_unaligned(expire.unwrap_or(0));
        }
    }
}

/// Writes a value where its shape has it; an object is moved out of its box.
///
/// # Safety
/// `place` has `shape.layout()`, the shape is that of the value, and the value does not overlap it.
#[inline]
unsafe fn write_value(place: *mut u8, shape: &Shape, value: New<'_>) {
    // SAFETY: behind the key are `vlen` bytes for text or number, the latter written without regard to alignment; an
    // object has its room at the beginning, where the layout is aligned for it.
    unsafe {
        let behind = place.add(shape.value_at());
        match value {
            New::Text(bytes) => ptr::copy_nonoverlapping(bytes.as_ptr(), behind, bytes.len()),
            New::Int(n) => behind.cast::<i64>().write_unaligned(n),
            New::Object(object) => place.cast::<Object>().write(*object),
        }
    }
}

/// Reads a varint; tells it and its width.
///
/// # Safety
/// One that `write_length` wrote stands there.
#[inline]
unsafe fn read_length(place: *const u8) -> (usize, usize) {
    // SAFETY: the bytes up to the first below 0x80 are the varint's own.
    unsafe {
        let first = place.read();
        if first < 0x80 {
            return (usize::from(first), 1);
        }
        let mut length = usize::from(first & 0x7f);
        let mut wide = 1;
        loop {
            let byte = place.add(wide).read();
            length |= usize::from(byte & 0x7f) << (7 * wide);
            wide += 1;
            if byte < 0x80 {
                return (length, wide);
            }
        }
    }
}

/// Writes a varint; tells its width.
///
/// # Safety
/// `place` has room for `width(length)` bytes.
#[inline]
unsafe fn write_length(place: *mut u8, mut length: usize) -> usize {
    let mut wide = 0;
    // SAFETY: each round writes one of the `width(length)` bytes.
    unsafe {
        while length >= 0x80 {
            place.add(wide).write(length as u8 | 0x80);
            wide += 1;
            length >>= 7;
        }
        place.add(wide).write(length as u8);
    }
    wide + 1
}
