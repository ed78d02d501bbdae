//! Messages between cores, and the only way from one to another.
//!
//! Each core has an inbox that anyone may push to. What a core sends in one tick gathers in an
//! outbox for each receiver and is pushed at its end, in order; a receiver that sleeps is woken by
//! its bell, one that is awake is not disturbed. Messages from one sender arrive in the order
//! they were sent: a transaction's `Take` never overtakes the commands before it.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::{io, mem};

use crossbeam_queue::SegQueue;

/// A core's inbox, for messages of type `M`.
pub struct Inbox<M> {
    queue: SegQueue<M>,
    sleeping: AtomicBool,
    /// Read end and write end of a pipe. Not an eventfd: Linux 6.18 was seen to lose the wake of a
    /// ring's own eventfd that is raised from within a write to another eventfd.
    bell: (OwnedFd, OwnedFd),
}

impl<M> Inbox<M> {
    /// An empty inbox.
    ///
    /// # Errors
    /// When the process may not open one more file.
    pub fn new() -> io::Result<Inbox<M>> {
        let mut ends = [0; 2];
        // SAFETY: two descriptors are written to a local array.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptors were just made and are owned by nobody else.
        let bell = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
        Ok(Inbox {
            queue: SegQueue::new(),
            sleeping: AtomicBool::new(false),
            bell,
        })
    }

    /// The descriptor that becomes readable when the bell is rung.
    pub fn bell(&self) -> RawFd {
        self.bell.0.as_raw_fd()
    }

    /// The descriptor that rings the bell when a byte is written to it.
    pub fn rope(&self) -> RawFd {
        self.bell.1.as_raw_fd()
    }

    /// Pushes a message and wakes the owner if it sleeps.
    pub fn push(&self, message: M) {
        self.queue.push(message);
        self.ring();
    }

    /// The oldest message.
    pub fn pop(&self) -> Option<M> {
        self.queue.pop()
    }

    /// Wakes the owner if it sleeps.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            pull(self.rope());
        }
    }

    /// Announces that the owner goes to sleep. It must look into the inbox once more afterwards:
    /// false says that something is there and it must not sleep.
    pub fn fall_asleep(&self) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.queue.is_empty() {
            return true;
        }
        self.wake_up();
        false
    }

    /// The owner is awake.
    pub fn wake_up(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Silences the bell.
    pub fn hush(&self) {
        let mut some = [0u8; 64];
        // SAFETY: at most 64 bytes are written to a local array; the descriptor does not block.
        while unsafe { libc::read(self.bell(), some.as_mut_ptr().cast(), some.len()) } == 64 {}
    }
}

/// Rings the bell at the other end of a rope.
pub fn pull(rope: RawFd) {
    // SAFETY: one byte is read from a constant. The call can only fail when the pipe is full, and
    // then the bell rings already.
    unsafe { libc::write(rope, b"!".as_ptr().cast(), 1) };
}

/// One core's view of the others.
pub struct Mesh<M> {
    /// Which core this is.
    pub me: usize,
    inboxes: Vec<Arc<Inbox<M>>>,
    outboxes: Vec<Vec<M>>,
    pending: bool,
}

impl<M> Mesh<M> {
    /// The view of core `me`.
    pub fn new(me: usize, inboxes: Vec<Arc<Inbox<M>>>) -> Mesh<M> {
        let outboxes = inboxes.iter().map(|_| Vec::new()).collect();
        Mesh {
            me,
            inboxes,
            outboxes,
            pending: false,
        }
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.inboxes.len()
    }

    /// This core's inbox.
    pub fn inbox(&self) -> &Inbox<M> {
        &self.inboxes[self.me]
    }

    /// Puts a message into the outbox for `core`; it leaves with [`Mesh::flush`].
    pub fn send(&mut self, core: usize, message: M) {
        self.outboxes[core].push(message);
        self.pending = true;
    }

    /// Sends everything in the outboxes.
    pub fn flush(&mut self) {
        if !mem::take(&mut self.pending) {
            return;
        }
        for (inbox, outbox) in self.inboxes.iter().zip(&mut self.outboxes) {
            if !outbox.is_empty() {
                for message in outbox.drain(..) {
                    inbox.queue.push(message);
                }
                inbox.ring();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_order_and_only_a_sleeper_is_woken() {
        let inboxes: Vec<_> = (0..2).map(|_| Arc::new(Inbox::new().unwrap())).collect();
        let mut mesh = Mesh::new(0, inboxes.clone());
        mesh.send(1, 1);
        mesh.send(1, 2);
        assert!(
            inboxes[1].pop().is_none(),
            "nothing leaves before the flush"
        );
        mesh.flush();
        let rung = |inbox: &Inbox<i32>| {
            let mut one = 0u8;
            // SAFETY: one byte into a local.
            unsafe { libc::read(inbox.bell(), std::ptr::from_mut(&mut one).cast(), 1) == 1 }
        };
        assert!(!rung(&inboxes[1]));
        assert!(!inboxes[1].fall_asleep(), "mail is waiting");
        assert_eq!((inboxes[1].pop(), inboxes[1].pop()), (Some(1), Some(2)));
        assert!(inboxes[1].fall_asleep());
        mesh.send(1, 3);
        mesh.flush();
        assert!(rung(&inboxes[1]));
        assert_eq!(inboxes[1].pop(), Some(3));
    }
}
