//! The note in the data directory that says which server is followed, and how much of its data is here.
//!
//! Promise: it is durable before what it announces happens. So a server that dies while it follows comes back as a
//! follower; one that dies while a copy comes in does not serve the part that it has; and one whose following was ended
//! by REPLICAOF NO ONE does not begin anew because the configuration file still names the other server.
//!
//! The note holds no secret: a word for what is here, and the other server's host and port.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::settings::Source;
use crate::worker::follow::Held;

/// Its name in the data directory.
pub const NAME: &str = "FOLLOW";
/// How it begins.
const TITLE: &str = "ferrite follow 1";

/// What a note says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// This server is followed, and so much of it is here.
    Follows(Source, Held),
    /// This server was followed, until somebody ended that.
    Left(Source),
}

impl Note {
    fn text(&self) -> String {
        let (word, source) = match self {
            Note::Follows(source, Held::Own) => ("nothing", source),
            Note::Follows(source, Held::Half) => ("part", source),
            Note::Follows(source, Held::Whole) => ("all", source),
            Note::Left(source) => ("left", source),
        };
        format!("{TITLE}\n{word} {source}\n")
    }

    fn read(text: &str) -> Option<Note> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return None;
        }
        let mut words = lines.next()?.split(' ');
        let (word, host, port) = (words.next()?, words.next()?, words.next()?);
        let source = Source {
            host: host.to_owned(),
            port: port.parse().ok()?,
        };
        if words.next().is_some() || lines.next().is_some() || host.is_empty() {
            return None;
        }
        Some(match word {
            "nothing" => Note::Follows(source, Held::Own),
            "part" => Note::Follows(source, Held::Half),
            "all" => Note::Follows(source, Held::Whole),
            "left" => Note::Left(source),
            _ => return None,
        })
    }
}

/// Where the note of a data directory is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// The note in a data directory, if there is one.
///
/// # Errors
/// One that cannot be read or understood: whoever started all the same might serve half of a copy.
pub fn load(dir: &Path) -> Result<Option<Note>, String> {
    let path = path(dir);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("{} cannot be read: {e}", path.display())),
    };
    match Note::read(&text) {
        Some(note) => Ok(Some(note)),
        None => Err(format!(
            "{} is damaged: it says which server this one follows, and whether the copy of it is complete. If what is \
             in the data directory is to be served as it is, remove that file",
            path.display()
        )),
    }
}

/// Puts a note into a data directory, whole or not at all.
///
/// # Errors
/// Which file, and why not.
pub fn store(dir: &Path, note: &Note) -> Result<(), String> {
    let (path, beside) = (path(dir), dir.join(format!("{NAME}.new")));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(note.text().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|e| format!("{} cannot be written: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written_and_nothing_else_is() {
        let source = || Source {
            host: "redis-1.example".into(),
            port: 6379,
        };
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), Ok(None));
        for note in [
            Note::Follows(source(), Held::Own),
            Note::Follows(source(), Held::Half),
            Note::Follows(source(), Held::Whole),
            Note::Left(source()),
        ] {
            store(dir.path(), &note).unwrap();
            assert_eq!(load(dir.path()), Ok(Some(note)));
        }
        for bad in [
            "",
            "ferrite follow 1\n",
            "ferrite follow 2\nall h 1\n",
            "ferrite follow 1\nall h\n",
            "ferrite follow 1\nall h 1 2\n",
            "ferrite follow 1\nall h 70000\n",
            "ferrite follow 1\nsome h 1\n",
            "ferrite follow 1\nall h 1\nall h 1\n",
        ] {
            std::fs::write(path(dir.path()), bad).unwrap();
            assert!(load(dir.path()).unwrap_err().contains("FOLLOW"), "{bad:?}");
        }
    }
}
