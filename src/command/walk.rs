//! Long answers in steps.
//!
//! A command that answers with much of one collection writes the head of its answer, and, where that is long, says how
//! the rest goes on instead of writing it ([`Ctx::walk`]); see `shard/walk.rs` for what the steps promise. In a
//! transaction, in a script, and where several shards are at hand it is all written at once.

use super::{Ctx, Error};
use crate::resp::Reply;
use crate::shard::Key;
use crate::shard::kinds::Collection;
pub(super) use crate::shard::walk::is_long;

impl Ctx<'_> {
    /// Whether this command may answer in steps. To be asked before the collection is borrowed.
    #[inline]
    pub(super) fn may_walk(&self) -> bool {
        self.may_wait && self.ks.may_walk
    }

    /// The rest of the answer is what `step` writes of the collection at this key, which is there: it is called until it
    /// says that there is no more, each time with how many elements it may answer at most.
    #[cold]
    pub(super) fn walk<T: Collection>(
        &mut self,
        k: &Key<'_>,
        mut step: impl FnMut(&T, usize, &mut Reply<'_>) -> bool + Send + 'static,
    ) -> Result<(), Error> {
        let step = Box::new(move |object: &_, n, reply: &mut Reply<'_>| {
            T::of(object).is_some_and(|this| step(this, n, reply))
        });
        let proto = self.reply.proto;
        self.ks.walk = Some(self.ks.at(k.slot).begin_walk(k, proto, step));
        Ok(())
    }
}
