//! A list.

use super::pack::Pack;
use super::{Applied, Collection, seated};

/// A list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(Pack);

/// A change of one.
#[derive(Clone, Copy, Debug)]
pub enum Op {}

impl Collection for List {
    const TAG: u8 = b'L';
    const TYPE: &'static str = "list";
    type Op<'a> = Op;
    type Outcome = ();

    fn empty() -> List {
        List::default()
    }

    fn apply(&mut self, op: &Op) -> Applied<()> {
        match *op {}
    }

    fn write_op(op: &Op, _: &mut Vec<u8>) {
        match *op {}
    }

    fn read_op(_: &[u8]) -> Option<Op> {
        None
    }

    fn encoding(&self) -> &'static str {
        "listpack"
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(bytes: &[u8]) -> Option<List> {
        Pack::decode(bytes).map(List)
    }

    fn crumble(&mut self, _: usize) -> bool {
        false
    }

    seated!(List);
}

#[cfg(test)]
impl List {
    pub(crate) fn from_pack(pack: Pack) -> List {
        List(pack)
    }
}
