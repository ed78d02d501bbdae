//! A script's own stack.
//!
//! Lua 5.1 cannot leave a running script and come back to it: its own coroutines do not cross `pcall`, a sort's
//! comparison or a metamethod. So a script runs on a stack of its own, which can be left anywhere. That is what lets
//! one core run a script for minutes and still answer SCRIPT KILL. Rejected: a thread for scripts, which would cost
//! every short script two wakes; a loop inside the loop, called from Lua's hook, which would meet the core's state
//! halfway through a command.

use std::mem::ManuallyDrop;
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};

use super::desk::{Answer, Ask, Desk};

/// Bytes of such a stack: address space, of which only what is used takes memory. Lua nests 200 calls of C functions
/// at most, and what of ours goes deeper is bounded with this in mind.
const STACK: usize = 16 << 20;

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Whether its reply is an error.
    pub failed: bool,
    /// Whether that is an error of a command, which has been counted already.
    pub counted: bool,
}

/// What a script came to when its stack was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It asks for something.
    Asks(Ask),
    /// It has ended; its reply is on the desk.
    Ended(End),
}

/// A script that runs.
pub struct Fiber(ManuallyDrop<Coroutine<Answer, Ask, End, DefaultStack>>);

impl Fiber {
    /// One that will run `body` on `stack`, or on a new one.
    ///
    /// # Errors
    /// There is no memory for a stack.
    pub fn new(
        stack: Option<DefaultStack>,
        desk: Rc<Desk>,
        body: impl FnOnce() -> End + 'static,
    ) -> std::io::Result<Fiber> {
        let stack = match stack {
            Some(stack) => stack,
            None => DefaultStack::new(STACK)?,
        };
        let coroutine = Coroutine::with_stack(stack, move |yielder, _| desk.open(yielder, body));
        Ok(Fiber(ManuallyDrop::new(coroutine)))
    }

    /// Lets it run until it asks for something or ends.
    pub fn resume(&mut self, answer: Answer) -> Step {
        match self.0.resume(answer) {
            CoroutineResult::Yield(ask) => Step::Asks(ask),
            CoroutineResult::Return(end) => Step::Ended(end),
        }
    }

    /// The stack of one that has ended.
    pub fn into_stack(self) -> Option<DefaultStack> {
        if !self.0.done() {
            return None;
        }
        let mut ended = ManuallyDrop::new(self);
        // SAFETY: `ended` is dropped nowhere, so this is the only time the coroutine is taken out.
        let coroutine = unsafe { ManuallyDrop::take(&mut ended.0) };
        Some(coroutine.into_stack())
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        // One that has not ended has frames of Lua on its stack, which must not be unwound: it is left as it is. That
        // happens once, when the process ends.
        if self.0.done() || !self.0.started() {
            // SAFETY: this is the end of `self`.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}
