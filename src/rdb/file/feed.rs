//! The bytes of a file as they are read: counted, summed, and kept where they are wanted again.

use std::io::{self, Read};

use crate::rdb::{Crc64, Fault, Source};

/// A source that asks `inner` for exactly the bytes that are needed.
#[derive(Debug)]
pub(super) struct Feed<R> {
    pub(super) inner: R,
    /// Bytes read so far.
    pub(super) at: u64,
    pub(super) sum: Crc64,
    /// Why nothing more came, if it was more than the end.
    pub(super) failed: Option<io::Error>,
    tape: Option<Tape>,
}

/// What is read, kept as it stands.
#[derive(Debug)]
struct Tape {
    bytes: Vec<u8>,
    /// How many it takes; with more it is empty, and counts no further.
    most: usize,
    over: bool,
}

impl<R> Feed<R> {
    pub(super) fn new(inner: R) -> Feed<R> {
        Feed {
            inner,
            at: 0,
            sum: Crc64::default(),
            failed: None,
            tape: None,
        }
    }

    /// From here on what is read is kept too, if it is not more than `most`, behind what is in `start`.
    pub(super) fn keep(&mut self, start: Vec<u8>, most: usize) {
        self.tape = Some(Tape {
            bytes: start,
            most,
            over: false,
        });
    }

    /// What was kept; `None` if it was too much.
    pub(super) fn kept(&mut self) -> Option<Vec<u8>> {
        let tape = self.tape.take()?;
        (!tape.over).then_some(tape.bytes)
    }
}

impl<R: Read> Source for Feed<R> {
    fn fill(&mut self, into: &mut [u8]) -> Result<(), Fault> {
        if let Err(e) = self.inner.read_exact(into) {
            if e.kind() != io::ErrorKind::UnexpectedEof {
                self.failed = Some(e);
            }
            return Err(Fault::Short);
        }
        self.at += into.len() as u64;
        self.sum.update(into);
        if let Some(tape) = &mut self.tape
            && !tape.over
        {
            tape.over = tape.bytes.len() + into.len() > tape.most;
            if tape.over {
                tape.bytes = Vec::new();
            } else {
                tape.bytes.extend_from_slice(into);
            }
        }
        Ok(())
    }
}
