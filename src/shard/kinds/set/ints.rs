//! Integers in order, in one allocation, each as wide as the widest needs.
//!
//! ```text
//! [width: 1] [integer: width bytes, little-endian]*
//! ```
//! The width is 2, 4 or 8 bytes. Without integers there is no allocation. A boxed slice rather than a `Vec`: it leaves
//! the eight bytes in which a set keeps its form.

/// The integers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ints {
    bytes: Box<[u8]>,
}

fn width_of(n: i64) -> usize {
    if i16::try_from(n).is_ok() {
        2
    } else if i32::try_from(n).is_ok() {
        4
    } else {
        8
    }
}

impl Ints {
    fn width(&self) -> usize {
        self.bytes.first().map_or(2, |&width| usize::from(width))
    }

    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(1) / self.width()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn heap_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The one at an index.
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        let width = self.width();
        let bytes = self.bytes.get(1 + index * width..1 + (index + 1) * width)?;
        match *bytes {
            [a, b] => Some(i64::from(i16::from_le_bytes([a, b]))),
            [a, b, c, d] => Some(i64::from(i32::from_le_bytes([a, b, c, d]))),
            _ => bytes.try_into().ok().map(i64::from_le_bytes),
        }
    }

    /// Where it stands, or would.
    fn search(&self, n: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle) {
                Some(there) if there < n => low = middle + 1,
                Some(there) if there == n => return Ok(middle),
                _ => high = middle,
            }
        }
        Err(low)
    }

    pub fn contains(&self, n: i64) -> bool {
        self.search(n).is_ok()
    }

    /// Adds one; tells whether it is new.
    pub fn insert(&mut self, n: i64) -> bool {
        let Err(at) = self.search(n) else {
            return false;
        };
        if self.is_empty() || width_of(n) > self.width() {
            self.widen(width_of(n));
        }
        let width = self.width();
        let mut bytes = std::mem::take(&mut self.bytes).into_vec();
        bytes.reserve_exact(width);
        let start = 1 + at * width;
        bytes.extend_from_slice(&n.to_le_bytes()[..width]);
        bytes[start..].rotate_right(width);
        self.bytes = bytes.into_boxed_slice();
        true
    }

    fn widen(&mut self, width: usize) {
        let mut bytes = Vec::with_capacity(1 + (self.len() + 1) * width);
        bytes.push(width as u8);
        for n in (0..self.len()).filter_map(|at| self.get(at)) {
            bytes.extend_from_slice(&n.to_le_bytes()[..width]);
        }
        self.bytes = bytes.into_boxed_slice();
    }

    /// Removes one; tells whether it was there. The width stays, as in Redis.
    pub fn remove(&mut self, n: i64) -> bool {
        let Ok(at) = self.search(n) else {
            return false;
        };
        if self.len() == 1 {
            self.bytes = Box::default();
            return true;
        }
        let width = self.width();
        let mut bytes = std::mem::take(&mut self.bytes).into_vec();
        bytes.drain(1 + at * width..1 + (at + 1) * width);
        self.bytes = bytes.into_boxed_slice();
        true
    }

    /// Appends it as it is kept.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }

    /// Reads exactly what `encode` wrote.
    pub fn decode(bytes: &[u8]) -> Option<Ints> {
        let Some((&width, rest)) = bytes.split_first() else {
            return Some(Ints::default());
        };
        let well = matches!(width, 2 | 4 | 8)
            && !rest.is_empty()
            && rest.len().is_multiple_of(usize::from(width));
        let ints = Ints {
            bytes: bytes.into(),
        };
        let sorted = |ints: &Ints| (1..ints.len()).all(|at| ints.get(at - 1) < ints.get(at));
        (well && sorted(&ints)).then_some(ints)
    }
}
