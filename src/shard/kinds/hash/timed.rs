//! A small hash whose fields may expire: a pack of names, values and times in turn.
//!
//! A time is kept as its bytes from the lowest on, without zeros at the end: none at all for no expiry.

use super::{Entry, Scheduled, Time};
use crate::shard::Ms;
use crate::shard::kinds::pack::{self, Pack};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timed {
    pack: Pack,
    due: Option<Ms>,
    pub(super) scheduled: Scheduled,
}

/// The bytes of a time.
struct Text([u8; 8], usize);

impl Text {
    fn of(at: Option<Ms>) -> Text {
        let at = at.unwrap_or(0);
        Text(at.to_le_bytes(), 8 - at.leading_zeros() as usize / 8)
    }

    fn bytes(&self) -> &[u8] {
        &self.0[..self.1]
    }

    fn read(bytes: &[u8]) -> Option<Ms> {
        let mut at = [0; 8];
        at.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Ms::from_le_bytes(at)).filter(|&at| at != 0)
    }
}

impl Timed {
    /// The same fields, none of which expires.
    pub(super) fn of(fields: &Pack) -> Timed {
        let mut timed = Timed::default();
        let mut items = fields.iter();
        while let (Some(name), Some(value)) = (items.next(), items.next()) {
            timed.push(name, value, None);
        }
        timed
    }

    pub(super) fn len(&self) -> usize {
        self.pack.len() / 3
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Timed>() + self.pack.heap_bytes()
    }

    pub(super) fn due(&self) -> Option<Ms> {
        self.due
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        Iter(self.pack.iter())
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<(&[u8], Option<Ms>)> {
        let mut fields = self.iter();
        let (_, value, at) = fields.find(|field| field.0 == name)?;
        Some((value, at))
    }

    fn push(&mut self, name: &[u8], value: &[u8], at: Option<Ms>) {
        let end = self.pack.len();
        self.pack
            .splice(end, 0, [name, value, Text::of(at).bytes()]);
    }

    pub(super) fn put(&mut self, name: &[u8], value: &[u8], time: Time) -> bool {
        let Some(found) = self.pack.find(name, 0, 3) else {
            self.push(name, value, time.after(None));
            return true;
        };
        let before = self.pack.get(found + 2).and_then(Text::read);
        let after = time.after(before);
        self.pack
            .splice(found + 1, 2, [value, Text::of(after).bytes()]);
        false
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let found = self.pack.find(name, 0, 3);
        found.map(|found| self.pack.remove(found, 3)).is_some()
    }

    pub(super) fn expire(&mut self, name: &[u8], at: Option<Ms>) -> bool {
        let Some(found) = self.pack.find(name, 0, 3) else {
            return false;
        };
        let before = self.pack.get(found + 2).and_then(Text::read);
        self.pack.set(found + 2, Text::of(at).bytes());
        at.is_some() || before.is_some()
    }

    /// Finds out when the next field is due: to be called when a change is complete.
    pub(super) fn settle(&mut self) {
        self.due = self.iter().filter_map(|(_, _, at)| at).min();
    }
}

/// Fields of such a hash.
pub(super) struct Iter<'a>(pack::Iter<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let (name, value) = (self.0.next()?, self.0.next()?);
        Some((name, value, Text::read(self.0.next()?)))
    }
}
