//! Going through a sorted set in order, from any rank, in either direction.

use super::large::Large;
use super::node::Leaf;
use super::small;
use super::{Form, Zset};
use crate::shard::kinds::pack;

/// Entries in order, or in the opposite one.
#[derive(Clone)]
pub struct Range<'a> {
    source: Source<'a>,
    backwards: bool,
    left: usize,
}

#[derive(Clone)]
enum Source<'a> {
    Small(pack::Iter<'a>),
    Large {
        large: &'a Large,
        /// Where the next entry is: its leaf, and how many entries of that have not been given in this direction.
        leaf: &'a Leaf,
        at: usize,
        rank: usize,
    },
}

impl<'a> Range<'a> {
    /// The entries of ranks `from..to`, which exist.
    pub(super) fn new(set: &'a Zset, from: usize, to: usize, backwards: bool) -> Range<'a> {
        let left = to.saturating_sub(from);
        let source = match &set.0 {
            Form::Small(pack) => {
                let mut items = pack.iter();
                // What lies on this side of the first entry is passed over.
                if backwards && to * 2 < pack.len() {
                    items.nth_back(pack.len() - to * 2 - 1);
                } else if !backwards && from > 0 {
                    items.nth(from * 2 - 1);
                }
                Source::Small(items)
            }
            Form::Large(large) => {
                let rank = match backwards {
                    true => to.saturating_sub(1),
                    false => from,
                };
                let (leaf, places) = large.order().leaf_at(rank);
                Source::Large {
                    large,
                    leaf,
                    at: places.start,
                    rank,
                }
            }
        };
        Range {
            source,
            backwards,
            left,
        }
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], f64)> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.source {
            Source::Small(items) if self.backwards => {
                let score = small::score(items.next_back()?);
                Some((items.next_back()?, score))
            }
            Source::Small(items) => Some((items.next()?, small::score(items.next()?))),
            Source::Large {
                large,
                leaf,
                at,
                rank,
            } => {
                let (score, id) = leaf.get(*at);
                let member = large.numbered(id).0;
                if self.left > 0 {
                    let within = match self.backwards {
                        true => {
                            *rank -= 1;
                            at.checked_sub(1)
                        }
                        false => {
                            *rank += 1;
                            Some(*at + 1).filter(|&next| next < leaf.len())
                        }
                    };
                    match within {
                        Some(next) => *at = next,
                        None => {
                            let (next, places) = large.order().leaf_at(*rank);
                            (*leaf, *at) = (next, places.start);
                        }
                    }
                }
                Some((member, score))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Range<'_> {}
