//! A vector in pages.
//!
//! Promise: growing and shrinking copy at most one page, however long it is.

/// Items of a page.
const PAGE: usize = 1024;

/// The vector. Its items keep their index, except for the one that takes a removed one's place.
#[derive(Clone, Debug)]
pub(super) struct Pages<T>(
    /// All full but the last, and none empty but for the only one.
    Vec<Vec<T>>,
);

impl<T> Pages<T> {
    /// One with its first item: the first page grows as it is filled.
    pub(super) fn of(first: T) -> Pages<T> {
        Pages(vec![vec![first]])
    }

    pub(super) fn len(&self) -> usize {
        let last = self.0.last().map_or(0, Vec::len);
        self.0.len().saturating_sub(1) * PAGE + last
    }

    /// Bytes allocated.
    pub(super) fn heap_bytes(&self) -> usize {
        let items = match &self.0[..] {
            [only] => only.capacity(),
            pages => pages.len() * PAGE,
        };
        items * size_of::<T>() + self.0.capacity() * size_of::<Vec<T>>()
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at / PAGE)?.get(at % PAGE)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    pub(super) fn push(&mut self, item: T) {
        match self.0.last_mut() {
            Some(page) if page.len() < PAGE => page.push(item),
            _ => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(item);
                self.0.push(page);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let page = self.0.last_mut()?;
        let item = page.pop();
        if page.is_empty() {
            self.0.pop();
        }
        item
    }

    /// Takes an item out; the last one takes its place.
    ///
    /// # Panics
    /// If there is none at `at`.
    pub(super) fn swap_remove(&mut self, at: usize) -> T {
        let last = self.len() - 1;
        match self.pop() {
            Some(item) if at == last => item,
            Some(item) => std::mem::replace(&mut self[at], item),
            None => unreachable!("the last index was computed from the length"),
        }
    }

    /// Gives room back that is not needed, where that is most of it.
    pub(super) fn tidy(&mut self) {
        if let [only] = &mut self.0[..]
            && only.len() < only.capacity() / 4
        {
            only.shrink_to(only.len() * 2);
        }
        if self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(self.0.len() * 2);
        }
    }
}

impl<T> std::ops::Index<usize> for Pages<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.0[at / PAGE][at % PAGE]
    }
}

impl<T> std::ops::IndexMut<usize> for Pages<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.0[at / PAGE][at % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_vector() {
        let (mut pages, mut vec) = (Pages::of(0), vec![0]);
        for i in 1..5000 {
            pages.push(i);
            vec.push(i);
        }
        assert_eq!(pages.len(), 5000);
        let mut at = 7;
        while vec.len() > 1 {
            at = (at * 31 + 11) % vec.len();
            assert_eq!(pages.swap_remove(at), vec.swap_remove(at));
            assert_eq!(pages.len(), vec.len());
            if vec.len() % 97 == 0 {
                pages.tidy();
                assert!(pages.iter().eq(vec.iter()));
                assert!(
                    (0..vec.len()).all(|i| pages[i] == vec[i] && pages.get(i) == Some(&vec[i]))
                );
                assert_eq!(pages.get(vec.len()), None);
            }
        }
        assert!(pages.heap_bytes() < 5000);
        assert!(pages.pop().is_some() && pages.pop().is_none() && pages.len() == 0);
    }
}
