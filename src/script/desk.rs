//! Where a script and the core that runs it meet.
//!
//! A script runs on a stack of its own (see [`super::fiber`]). What it wants of the server it lays on the desk and
//! asks for, which leaves its stack and goes back to the core; the core lays the answer there and lets it go on. So Lua
//! never runs while the core's state is borrowed, and the core never waits for Lua.

use std::cell::{Cell, RefCell};

use corosensei::Yielder;

use super::library::Registered;

/// What a script asks of its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Carry out the command on the desk and lay its reply there.
    Command,
    /// Lay `+` there if the user may run the command on the desk, `-` if not, and nothing if it is none.
    Check,
    /// Nothing: it has run for a while, and others may want the core.
    Pause,
}

/// What the core answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Go,
    /// End as soon as possible.
    Die,
}

/// The words of a command, one behind the other.
#[derive(Debug, Default)]
pub struct Argv {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where each word ends.
    pub ends: Vec<usize>,
}

impl Argv {
    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Ends the word whose bytes have been written.
    pub fn end_word(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// The words.
    pub fn words(&self) -> Vec<&[u8]> {
        let mut start = 0;
        let mut words = Vec::with_capacity(self.ends.len());
        for &end in &self.ends {
            words.push(&self.bytes[start..end]);
            start = end;
        }
        words
    }
}

/// The desk of one engine.
pub struct Desk {
    yielder: Cell<*const Yielder<Answer, Ask>>,
    /// The command that the script asks for.
    pub argv: RefCell<Argv>,
    /// The reply to that; at the end the reply of the script itself.
    pub reply: RefCell<Vec<u8>>,
    /// Whether the script has asked for RESP3.
    pub resp3: Cell<bool>,
    /// Whether it is to end.
    pub killed: Cell<bool>,
    /// The functions that the library which is being loaded has registered so far, and until when it may run.
    pub loading: RefCell<Option<Vec<Registered>>>,
    /// See there, in monotonic nanoseconds.
    pub load_until: Cell<u64>,
    /// The state of the scripts' generator of chance.
    pub chance: Cell<u64>,
    /// When it began, or was let go on, in monotonic nanoseconds.
    pub since: Cell<u64>,
    /// The clock.
    pub nanos: fn() -> u64,
}

impl Desk {
    /// An empty desk. `nanos` tells monotonic nanoseconds.
    pub fn new(nanos: fn() -> u64) -> Desk {
        Desk {
            yielder: Cell::new(std::ptr::null()),
            argv: RefCell::default(),
            reply: RefCell::default(),
            resp3: Cell::new(false),
            killed: Cell::new(false),
            loading: RefCell::default(),
            load_until: Cell::new(0),
            chance: Cell::new(super::chance::seeded(0x1234_ABCD)),
            since: Cell::new(0),
            nanos,
        }
    }

    /// Whether a script runs, so that there is somebody to ask.
    pub fn is_open(&self) -> bool {
        !self.yielder.get().is_null()
    }

    /// Opens the desk while `f` runs, which is what the stack of `yielder` was made for.
    pub fn open<R>(&self, yielder: &Yielder<Answer, Ask>, f: impl FnOnce() -> R) -> R {
        struct Closes<'a>(&'a Desk);
        impl Drop for Closes<'_> {
            fn drop(&mut self) {
                self.0.yielder.set(std::ptr::null());
            }
        }
        self.yielder.set(yielder);
        let _closes = Closes(self);
        f()
    }

    /// Asks the core; [`Answer::Die`] where none is there. Nothing on the desk may be borrowed.
    pub fn ask(&self, ask: Ask) -> Answer {
        let yielder = self.yielder.get();
        if yielder.is_null() {
            return Answer::Die;
        }
        // SAFETY: it is set by `open` alone, which borrows the yielder until it has set it back, and whoever asks
        // does so from within `open`'s function, on the yielder's own stack: while that stack is left, nothing but
        // the core's code runs, which has no way to this function.
        unsafe { (*yielder).suspend(ask) }
    }
}
