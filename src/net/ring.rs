//! The side ring: the io_uring that carries a core's sockets and its log.
//!
//! It lives on the same thread as the executor and is entered once a tick: that one system call
//! submits everything the tick produced and waits for the next completions. It is set up with
//! `IORING_SETUP_DEFER_TASKRUN`, so a completion raised on another CPU never interrupts the core.
//!
//! The idea rejected: one ring shared with the executor. Its rings are set up for generality and
//! interrupt the thread for each completion, which costs more than the commands themselves.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue};

use super::buffers::{Buffers, GROUP};

/// Submissions that fit the ring between two enters; more are flushed early.
const ENTRIES: u32 = 1024;
/// Completions that can wait unread.
const COMPLETIONS: u32 = 16 * 1024;

/// What a completion belongs to. The discriminant travels in the top byte of `user_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A connection was accepted; the index is the listener's.
    Accept = 1,
    /// Bytes arrived; the index is the connection's.
    Recv = 2,
    /// A send ended; the index is the connection's.
    Send = 3,
    /// Another thread asks for attention.
    Wake = 4,
    /// A log write or sync ended; the index is the operation's.
    Log = 5,
    /// A cancellation ended; nothing waits for it.
    Cancel = 6,
    /// A write of a checkpoint ended; the index is the operation's.
    Checkpoint = 7,
}

/// A completion's address: what kind, which one, and which generation of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What the completion belongs to.
    pub kind: Kind,
    /// Low 24 bits of the generation of a reused index.
    pub generation: u32,
    /// The index within its kind.
    pub index: u32,
}

impl Token {
    /// A token of the given kind, generation (24 bits kept) and index.
    pub fn new(kind: Kind, generation: u32, index: u32) -> Token {
        Token {
            kind,
            generation: generation & 0x00ff_ffff,
            index,
        }
    }

    fn encode(self) -> u64 {
        (self.kind as u64) << 56 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn decode(data: u64) -> Option<Token> {
        let kind = match (data >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Recv,
            3 => Kind::Send,
            4 => Kind::Wake,
            5 => Kind::Log,
            6 => Kind::Cancel,
            7 => Kind::Checkpoint,
            _ => return None,
        };
        Some(Token {
            kind,
            generation: (data >> 32) as u32 & 0x00ff_ffff,
            index: data as u32,
        })
    }
}

/// One completion.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// Whose it is.
    pub token: Token,
    /// Bytes or a file descriptor, or a negative errno.
    pub result: i32,
    /// The receive buffer that holds the bytes, if any.
    pub buffer: Option<u16>,
    /// Whether the multishot operation behind it goes on.
    pub more: bool,
}

/// A socket as the ring addresses it: by a registered slot, or by descriptor where none was free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A registered file slot.
    Slot(u32),
    /// A plain descriptor.
    Fd(RawFd),
}

/// Why the ring cannot be set up; each says what to do.
#[derive(Debug)]
pub enum RingError {
    /// `io_uring_setup` is forbidden (seccomp, `kernel.io_uring_disabled`).
    Forbidden(io::Error),
    /// The kernel lacks something the ring needs.
    KernelTooOld(&'static str),
    /// Anything else.
    Setup(io::Error),
}

impl std::fmt::Display for RingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RingError::Forbidden(e) => write!(
                f,
                "io_uring is not permitted here ({e}): set sysctl kernel.io_uring_disabled=0, and \
                 in a container allow the system calls io_uring_setup, io_uring_enter and \
                 io_uring_register in its seccomp profile"
            ),
            RingError::KernelTooOld(what) => {
                write!(
                    f,
                    "this kernel is too old: {what} is missing; Linux 6.1 is the oldest that will do"
                )
            }
            RingError::Setup(e) => write!(f, "io_uring could not be set up: {e}"),
        }
    }
}

impl std::error::Error for RingError {}

/// The side ring of one core.
pub struct Ring {
    submitter: Submitter<'static>,
    sq: SubmissionQueue<'static>,
    cq: CompletionQueue<'static>,
    fd: RawFd,
    /// The receive buffers. Never freed: the kernel may write to them as long as the ring is.
    pub buffers: &'static mut Buffers,
    free_slots: Vec<u32>,
    has_min_wait: bool,
    /// `io_uring_enter` calls made.
    pub enters: u64,
}

impl Ring {
    /// Sets the ring up for the calling thread, with room for `sockets` registered sockets.
    ///
    /// The ring is never torn down: it serves its thread until the process ends.
    ///
    /// # Errors
    /// [`RingError`], which says what to change.
    pub fn new(sockets: u32) -> Result<Ring, RingError> {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_cqsize(COMPLETIONS)
            .setup_clamp();
        let ring: IoUring = builder.build(ENTRIES).map_err(|e| match e.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => RingError::Forbidden(e),
            Some(libc::EINVAL) => RingError::KernelTooOld("IORING_SETUP_DEFER_TASKRUN"),
            _ => RingError::Setup(e),
        })?;
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(RingError::KernelTooOld("a wait with a timeout"));
        }
        let has_min_wait = ring.params().is_feature_min_timeout();
        let fd = ring.as_raw_fd();
        let ring: &'static mut IoUring = Box::leak(Box::new(ring));
        let (mut submitter, sq, cq) = ring.split();
        let buffers = Buffers::register(&submitter)
            .map_err(|_| RingError::KernelTooOld("the provided-buffer ring"))?;
        let buffers = Box::leak(Box::new(buffers));
        let mut free_slots = Vec::new();
        if submitter.register_files_sparse(sockets).is_ok() {
            free_slots = (0..sockets).rev().collect();
        }
        // A registered ring descriptor saves a reference count an enter; a kernel without it
        // works the same, a little slower.
        let _ = submitter.register_ring_fd();
        Ok(Ring {
            submitter,
            sq,
            cq,
            fd,
            buffers,
            free_slots,
            has_min_wait,
            enters: 0,
        })
    }

    /// The ring's own descriptor.
    pub fn raw_fd(&self) -> RawFd {
        self.fd
    }

    /// Whether the kernel knows a minimum wait (Linux 6.12).
    pub fn has_min_wait(&self) -> bool {
        self.has_min_wait
    }

    /// Registers `fd` in a free slot; where none is free the plain descriptor serves.
    pub fn adopt(&mut self, fd: RawFd) -> Target {
        let Some(slot) = self.free_slots.pop() else {
            return Target::Fd(fd);
        };
        match self.submitter.register_files_update(slot, &[fd]) {
            Ok(1) => Target::Slot(slot),
            _ => {
                self.free_slots.push(slot);
                Target::Fd(fd)
            }
        }
    }

    /// Frees the slot of a socket about to be closed.
    pub fn release(&mut self, target: Target) {
        if let Target::Slot(slot) = target {
            // The slot is reused only when the kernel let go of the file.
            if self.submitter.register_files_update(slot, &[-1]).is_ok() {
                self.free_slots.push(slot);
            }
        }
    }

    fn push(&mut self, entry: squeue::Entry, token: Token) {
        let entry = entry.user_data(token.encode());
        loop {
            // SAFETY: every operation pushed here names memory that its owner keeps in place
            // until the completion: send buffers in the connection, log buffers in the pending
            // table, receive buffers in `Buffers`.
            if unsafe { self.sq.push(&entry) }.is_ok() {
                return;
            }
            self.submit();
        }
    }

    /// Hands over what was pushed, now, rather than with the next wait.
    ///
    /// The kernel holds a write to a disk back until it has started everything that came with it: one
    /// that somebody waits for is better handed over before the sends of a tick are pushed.
    pub fn submit(&mut self) {
        self.sq.sync();
        self.enters += 1;
        if let Err(e) = self.submitter.submit() {
            match e.raw_os_error() {
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY) => {}
                // Without a working ring there is neither a client nor a log to serve.
                _ => panic!("io_uring_enter failed: {e}"),
            }
        }
        self.sq.sync();
    }

    /// Accepts connections on a listening socket until cancelled.
    pub fn accept(&mut self, listener: RawFd, index: u32) {
        let entry = opcode::AcceptMulti::new(Fd(listener))
            .flags(libc::SOCK_CLOEXEC)
            .build();
        self.push(entry, Token::new(Kind::Accept, 0, index));
    }

    /// Receives from a socket until cancelled, into the core's buffers.
    pub fn recv(&mut self, target: Target, token: Token) {
        let entry = match target {
            Target::Slot(slot) => opcode::RecvMulti::new(Fixed(slot), GROUP).build(),
            Target::Fd(fd) => opcode::RecvMulti::new(Fd(fd), GROUP).build(),
        };
        self.push(entry, token);
    }

    /// Sends `bytes`, all of them unless the connection breaks.
    ///
    /// # Safety
    /// `bytes` must stay in place and unchanged until the completion with `token` was seen.
    pub unsafe fn send(&mut self, target: Target, bytes: &[u8], token: Token) {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let (at, len) = (
            bytes.as_ptr(),
            u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        );
        let entry = match target {
            Target::Slot(slot) => opcode::Send::new(Fixed(slot), at, len).flags(flags).build(),
            Target::Fd(fd) => opcode::Send::new(Fd(fd), at, len).flags(flags).build(),
        };
        self.push(entry, token);
    }

    /// Writes `bytes` at `offset`; `dsync` makes the completion mean durable.
    ///
    /// # Safety
    /// `bytes` must stay in place and unchanged until the completion with `token` was seen.
    pub unsafe fn write(
        &mut self,
        fd: RawFd,
        bytes: &[u8],
        offset: u64,
        dsync: bool,
        token: Token,
    ) {
        let len = u32::try_from(bytes.len()).expect("a log write is below 4 GiB");
        let flags = if dsync { libc::RWF_DSYNC } else { 0 };
        let entry = opcode::Write::new(Fd(fd), bytes.as_ptr(), len)
            .offset(offset)
            .rw_flags(flags)
            .build();
        self.push(entry, token);
    }

    /// Makes what was written to `fd` durable.
    pub fn sync(&mut self, fd: RawFd, token: Token) {
        let entry = opcode::Fsync::new(Fd(fd))
            .flags(io_uring::types::FsyncFlags::DATASYNC)
            .build();
        self.push(entry, token);
    }

    /// Completes with `token` each time another thread writes to the eventfd.
    pub fn watch(&mut self, eventfd: RawFd, token: Token) {
        let entry = opcode::PollAdd::new(Fd(eventfd), libc::POLLIN as u32)
            .multi(true)
            .build();
        self.push(entry, token);
    }

    /// Cancels the operation that carries `token`.
    pub fn cancel(&mut self, token: Token) {
        let entry = opcode::AsyncCancel::new(token.encode()).build();
        self.push(entry, Token::new(Kind::Cancel, 0, 0));
    }

    /// Cancels everything on a descriptor before it is closed, and waits for that.
    pub fn cancel_fd(&mut self, fd: RawFd) {
        let _ = self
            .submitter
            .register_sync_cancel(None, CancelBuilder::fd(Fd(fd)).all());
    }

    /// Submits what was pushed and waits for `want` completions, but after `min_wait` for one, and
    /// after `timeout` for none.
    pub fn enter(&mut self, want: usize, min_wait: Duration, timeout: Duration) {
        self.buffers.publish();
        self.sq.sync();
        let timespec = Timespec::from(timeout);
        let args = SubmitArgs::new().timespec(&timespec);
        let (want, args) = if want > 1 && !min_wait.is_zero() {
            if self.has_min_wait {
                (want, args.min_wait_usec(min_wait.as_micros() as u32))
            } else {
                (1, args)
            }
        } else {
            (want, args)
        };
        self.enters += 1;
        if let Err(e) = self.submitter.submit_with_args(want, &args) {
            match e.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => {}
                // Without a working ring there is neither a client nor a log to serve.
                _ => panic!("io_uring_enter failed: {e}"),
            }
        }
        self.sq.sync();
    }

    /// Runs deferred completions without waiting.
    pub fn poll(&mut self) {
        self.buffers.publish();
        self.sq.sync();
        self.enters += 1;
        let to_submit = self.sq.len() as u32;
        // SAFETY: no argument is passed; GETEVENTS runs the deferred work of this thread's ring.
        let _ = unsafe {
            self.submitter
                .enter::<libc::sigset_t>(to_submit, 0, 1, None)
        };
        self.sq.sync();
    }

    /// Whether a completion waits to be read.
    pub fn has_completions(&mut self) -> bool {
        self.cq.sync();
        !self.cq.is_empty()
    }

    /// The next completion, oldest first.
    pub fn completion(&mut self) -> Option<Completion> {
        let mut entry = self.cq.next();
        if entry.is_none() {
            self.cq.sync();
            entry = self.cq.next();
        }
        let entry = entry?;
        let token = Token::decode(entry.user_data())?;
        Some(Completion {
            token,
            result: entry.result(),
            buffer: cqueue::buffer_select(entry.flags()),
            more: cqueue::more(entry.flags()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_trip_through_user_data() {
        for kind in [
            Kind::Accept,
            Kind::Recv,
            Kind::Send,
            Kind::Wake,
            Kind::Log,
            Kind::Cancel,
            Kind::Checkpoint,
        ] {
            let token = Token::new(kind, 0xffff_ffff, 0xdead_beef);
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(0), None);
    }
}
