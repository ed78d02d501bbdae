//! The members of a large sorted set and their scores, each kept once, under a dense number.
//!
//! Promise: the numbers in use are always `0..len`. Where a record goes, the last one takes its number; so nothing is
//! ever left empty, a number drawn at random is a member, and whoever goes through the numbers downwards meets every
//! member that stays, whatever is added or removed meanwhile: a member that moves goes down, and new ones come behind.
//!
//! Records stand in pages, so that growing never copies more than one page.

/// Records of a page.
const PAGE: usize = 256;

/// Longest member that needs no allocation of its own.
const INLINE: usize = 22;

/// A member's bytes.
#[derive(Clone, Debug)]
enum Text {
    Inline { len: u8, bytes: [u8; INLINE] },
    Own(Box<[u8]>),
}

/// A member and its score.
#[derive(Clone, Debug)]
struct Record {
    score: f64,
    text: Text,
}

const _: () = assert!(size_of::<Record>() == 32);

impl Text {
    fn new(bytes: &[u8]) -> Text {
        let mut inline = [0; INLINE];
        match inline.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Text::Inline {
                    len: bytes.len() as u8,
                    bytes: inline,
                }
            }
            None => Text::Own(bytes.into()),
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Text::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Text::Own(bytes) => bytes,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Text::Inline { .. } => 0,
            Text::Own(bytes) => bytes.len(),
        }
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// All full but the last; none empty.
    pages: Vec<Vec<Record>>,
    /// Bytes of members that have an allocation of their own.
    own: usize,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        match self.pages.last() {
            Some(last) => (self.pages.len() - 1) * PAGE + last.len(),
            None => 0,
        }
    }

    fn record(&self, id: u32) -> &Record {
        let id = id as usize;
        &self.pages[id / PAGE][id % PAGE]
    }

    #[inline]
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        self.record(id).text.bytes()
    }

    #[inline]
    pub(super) fn score(&self, id: u32) -> f64 {
        self.record(id).score
    }

    pub(super) fn set_score(&mut self, id: u32, score: f64) {
        let id = id as usize;
        self.pages[id / PAGE][id % PAGE].score = score;
    }

    /// Adds one and tells its number. The caller keeps within what a number can count.
    pub(super) fn push(&mut self, bytes: &[u8], score: f64) -> u32 {
        let id = self.len();
        if id.is_multiple_of(PAGE) {
            // The first page grows as it is filled: most sets never need a second one.
            let room = if id == 0 { 0 } else { PAGE };
            self.pages.push(Vec::with_capacity(room));
        }
        let text = Text::new(bytes);
        self.own += text.heap_bytes();
        if let Some(page) = self.pages.last_mut() {
            page.push(Record { score, text });
        }
        id as u32
    }

    /// Removes one; the last takes its number.
    pub(super) fn swap_remove(&mut self, id: u32) {
        let at = id as usize;
        let Some(page) = self.pages.last_mut() else {
            return;
        };
        let Some(mut last) = page.pop() else { return };
        if page.is_empty() {
            self.pages.pop();
        }
        if at < self.len() {
            std::mem::swap(&mut self.pages[at / PAGE][at % PAGE], &mut last);
        }
        self.own -= last.text.heap_bytes();
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let records = match self.pages.as_slice() {
            [] => 0,
            [only] => only.capacity(),
            pages => pages.len() * PAGE,
        };
        self.pages.capacity() * size_of::<Vec<Record>>() + records * size_of::<Record>() + self.own
    }

    /// Frees the last page; tells how many records it held.
    pub(super) fn crumble(&mut self) -> usize {
        self.pages.pop().map_or(0, |page| page.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_dense() {
        let mut members = Members::default();
        let long = [b'x'; 100];
        for n in 0..1000u32 {
            let bytes = &long[..n as usize % 40];
            assert_eq!(members.push(bytes, f64::from(n)), n);
        }
        assert!(members.own > 0);
        let mut model: Vec<u32> = (0..1000).collect();
        for step in 0..1000usize {
            let at = step * 7919 % model.len();
            members.swap_remove(at as u32);
            model.swap_remove(at);
            assert_eq!(members.len(), model.len());
            for (id, n) in model.iter().enumerate().step_by(17) {
                assert_eq!(members.score(id as u32), f64::from(*n));
                assert_eq!(members.bytes(id as u32), &long[..*n as usize % 40]);
            }
        }
        assert_eq!(members.own, 0);
    }

    #[test]
    fn only_long_members_have_an_allocation() {
        for len in 0..INLINE * 2 {
            let text = Text::new(&[7; 99][..len]);
            assert_eq!(text.bytes().len(), len);
            assert_eq!(text.heap_bytes() > 0, len > INLINE);
        }
    }
}
