//! Why a log was not read: each refusal by name, with the file and the place.
//!
//! A refusal means that the server does not start: what is on the disk is not what was written
//! there, and going on would serve wrong data or lose right ones. A torn tail, which every crash
//! may leave, is not among them; it is cut and reported (see [`super::Tail`]).

use std::fmt;
use std::io;

/// A log that cannot be recovered as it is.
#[derive(Debug)]
pub enum LogError {
    /// The operating system failed to read.
    Io {
        /// The file, or the directory.
        file: String,
        /// What it said.
        source: io::Error,
    },
    /// A frame is damaged, missing or not the one that belongs there, and something proves that
    /// it was durable once: no crash explains this.
    Frame {
        /// The segment.
        file: String,
        /// Where the frame begins, or should.
        offset: u64,
        /// Its number.
        frame: u64,
        /// What is wrong.
        fault: Fault,
        /// What proves that it was there.
        proof: Proof,
    },
    /// The header of a segment is whole but makes no sense.
    Header {
        /// The segment.
        file: String,
        /// The field.
        field: &'static str,
    },
    /// The header is authentic, and of another place: the file was moved or renamed.
    Misplaced {
        /// The segment.
        file: String,
        /// Whose file it is: its name.
        belongs: String,
    },
    /// The file was written by another server.
    Foreign {
        /// The file.
        file: String,
    },
    /// The segment does not follow the one before it.
    Chain {
        /// The segment whose header points elsewhere.
        file: String,
    },
    /// A segment is not there.
    MissingSegment {
        /// Its name.
        file: String,
    },
    /// The whole log of a core is not there.
    MissingLog {
        /// The run.
        run: u64,
        /// The core.
        core: u16,
    },
    /// A run that later data stand on is not there.
    MissingRun {
        /// The run.
        run: u64,
    },
    /// A log has data, and its anchor file is not there.
    MissingAnchor {
        /// The anchor file.
        file: String,
        /// The run whose data there are.
        run: u64,
    },
    /// A log has data, and its anchor does not know of the run: neither slot that does can be opened.
    Anchor {
        /// The anchor file.
        file: String,
        /// The run whose data there are.
        run: u64,
    },
    /// The log begins later than what it is to be applied to ends: a checkpoint is missing.
    Gap {
        /// The run the log begins with.
        run: u64,
        /// The core.
        core: u16,
        /// The segment it begins with.
        seq: u64,
    },
    /// The keyring does not hold the Dek a file is sealed under.
    UnknownDek {
        /// The file.
        file: String,
        /// The Dek's id.
        dek: [u8; 16],
    },
    /// The Dek of that id is not the one the file was sealed under, or the header was altered.
    WrongKey {
        /// The file.
        file: String,
    },
    /// The file is encrypted, and encryption is off.
    Sealed {
        /// The file.
        file: String,
    },
    /// The file is not encrypted, and encryption is on.
    Plain {
        /// The file.
        file: String,
    },
    /// A version this build does not read.
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u16,
    },
    /// An authentic frame holds something this build does not understand.
    Content {
        /// The segment.
        file: String,
        /// Where the frame begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The caller could not apply effects that are authentic.
    Effects {
        /// The segment.
        file: String,
        /// Where the frame begins in which the unit ends.
        offset: u64,
        /// What the caller said.
        reason: String,
    },
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is nothing that could be a frame.
    Absent,
    /// It is a frame of another number: moved, doubled, or from another file.
    Number(u64),
    /// It does not authenticate.
    Unauthentic,
    /// The file ends inside it.
    Cut,
    /// The segment's header is unwritten.
    NoHeader,
    /// Its segment is not there.
    NoFile,
    /// The log goes on although it was said to end here, or ends with another frame.
    End,
}

/// What proves that a frame was durable once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The anchor: all frames below this number.
    Anchor(u64),
    /// A later frame or segment header that is authentic.
    Later {
        /// The segment it is in.
        file: String,
        /// Where it begins.
        offset: u64,
    },
    /// The run after this one recorded where this log ends.
    NextRun(u64),
    /// The checkpoint's manifest recorded where this part of it ends.
    Manifest,
}

impl LogError {
    pub(super) fn io(file: &str, source: io::Error) -> LogError {
        LogError::Io {
            file: file.to_string(),
            source,
        }
    }

    /// The file it is about, if it is about one.
    pub fn file(&self) -> Option<&str> {
        match self {
            LogError::Io { file, .. }
            | LogError::Frame { file, .. }
            | LogError::Header { file, .. }
            | LogError::Misplaced { file, .. }
            | LogError::Foreign { file }
            | LogError::Chain { file }
            | LogError::MissingSegment { file }
            | LogError::MissingAnchor { file, .. }
            | LogError::Anchor { file, .. }
            | LogError::UnknownDek { file, .. }
            | LogError::WrongKey { file }
            | LogError::Sealed { file }
            | LogError::Plain { file }
            | LogError::Version { file, .. }
            | LogError::Content { file, .. }
            | LogError::Effects { file, .. } => Some(file),
            LogError::MissingLog { .. } | LogError::MissingRun { .. } | LogError::Gap { .. } => {
                None
            }
        }
    }

    /// Where in the file, if it is about a place.
    pub fn offset(&self) -> Option<u64> {
        match self {
            LogError::Frame { offset, .. }
            | LogError::Content { offset, .. }
            | LogError::Effects { offset, .. } => Some(*offset),
            LogError::Header { .. } | LogError::Version { .. } | LogError::WrongKey { .. } => {
                Some(0)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Absent => write!(f, "there is no frame"),
            Fault::Number(n) => write!(f, "frame {n} stands in its place"),
            Fault::Unauthentic => write!(f, "it does not authenticate"),
            Fault::Cut => write!(f, "the file ends inside it"),
            Fault::NoHeader => write!(f, "its segment has no readable header"),
            Fault::NoFile => write!(f, "its segment is missing"),
            Fault::End => write!(f, "the log does not end as recorded"),
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::Anchor(n) => write!(f, "the anchor says that {n} frames were durable"),
            Proof::Later { file, offset } => {
                write!(
                    f,
                    "{file} at offset {offset} was written when it was already durable"
                )
            }
            Proof::NextRun(run) => write!(f, "run {run} began by recording it"),
            Proof::Manifest => f.write_str("the checkpoint's manifest recorded it"),
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RESTORE: &str = "restore the data directory from a backup";
        match self {
            LogError::Io { file, source } => write!(f, "log: {file}: {source}"),
            LogError::Frame {
                file,
                offset,
                frame,
                fault,
                proof,
            } => write!(
                f,
                "log: {file} is damaged or was tampered with: frame {frame} at offset {offset}: {fault}, and {proof}; {RESTORE}"
            ),
            LogError::Header { file, field } => {
                write!(
                    f,
                    "log: {file}: the header is whole but its {field} makes no sense; {RESTORE}"
                )
            }
            LogError::Misplaced { file, belongs } => {
                write!(
                    f,
                    "log: {file} is in truth {belongs}: it was moved or renamed; {RESTORE}"
                )
            }
            LogError::Foreign { file } => write!(
                f,
                "log: {file} was written by another server; each server needs a data directory of its own"
            ),
            LogError::Chain { file } => {
                write!(
                    f,
                    "log: {file} does not follow the segment before it; {RESTORE}"
                )
            }
            LogError::MissingSegment { file } => write!(f, "log: {file} is missing; {RESTORE}"),
            LogError::MissingLog { run, core } => {
                write!(
                    f,
                    "log: the log of core {core} in run {run} is missing; {RESTORE}"
                )
            }
            LogError::MissingRun { run } => write!(f, "log: run {run} is missing; {RESTORE}"),
            LogError::MissingAnchor { file, run } => {
                write!(
                    f,
                    "log: {file} is missing, and there are data of run {run}; {RESTORE}"
                )
            }
            LogError::Anchor { file, run } => write!(
                f,
                "log: {file} is damaged or out of date: it does not know of run {run}, of which there are data; {RESTORE}"
            ),
            LogError::Gap { run, core, seq } => write!(
                f,
                "log: the log of core {core} begins with segment {seq} of run {run}, and no checkpoint that can be read reaches there; {RESTORE}"
            ),
            LogError::UnknownDek { file, dek } => {
                write!(f, "log: {file} is sealed under the Dek ")?;
                dek.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
                write!(
                    f,
                    ", which the keyring does not hold; restore the keyring that belongs to it"
                )
            }
            LogError::WrongKey { file } => write!(
                f,
                "log: {file} was sealed under another secret than the keyring's, or its header was altered; {RESTORE}"
            ),
            LogError::Sealed { file } => write!(
                f,
                "log: {file} is encrypted and encryption.enabled is off; switch it on, with the Kek that the data were written under, or use another server.data_dir"
            ),
            LogError::Plain { file } => write!(
                f,
                "log: {file} is not encrypted but encryption is on; an unencrypted log is read only with encryption off"
            ),
            LogError::Version { file, version } => write!(
                f,
                "log: {file} has format version {version}, this build reads version {}; use the build that wrote it",
                super::format::VERSION
            ),
            LogError::Content { file, offset, what } => write!(
                f,
                "log: {file}: the frame at offset {offset} is authentic but holds {what}; was it written by another version?"
            ),
            LogError::Effects {
                file,
                offset,
                reason,
            } => {
                write!(
                    f,
                    "log: {file}: effects of the frame at offset {offset} cannot be applied: {reason}"
                )
            }
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LogError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
