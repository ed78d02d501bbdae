//! A sorted set.

use super::pack::Pack;
use super::{Applied, Collection, seated};

/// A sorted set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zset(Pack);

/// A change of one.
#[derive(Clone, Copy, Debug)]
pub enum Op {}

impl Collection for Zset {
    const TAG: u8 = b'Z';
    const TYPE: &'static str = "zset";
    type Op<'a> = Op;
    type Outcome = ();

    fn empty() -> Zset {
        Zset::default()
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

    fn decode(bytes: &[u8]) -> Option<Zset> {
        Pack::decode(bytes).map(Zset)
    }

    fn crumble(&mut self, _: usize) -> bool {
        false
    }

    seated!(Zset);
}
