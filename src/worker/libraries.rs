//! FUNCTION LOAD, DELETE, FLUSH and RESTORE: the libraries of functions and their place in the log.
//!
//! They run where the shard is that keeps the libraries. The change goes into that shard, and so into its log, and onto
//! the shelf on which every core finds what is in force.

use std::sync::Arc;

use super::Worker;
use super::clock::{nanos, ticks};
use crate::command::{Command, Error, LibraryCmd};
use crate::rdb::{Fault, undump_libraries};
use crate::resp::{Proto, Reply};
use crate::script::{Libraries, Library, inspect};

impl Worker {
    /// Carries out a command that changes the libraries, whose shard is at hand.
    pub(super) fn change_libraries(
        &mut self,
        what: LibraryCmd,
        (row, number): (&'static Command, u16),
        proto: Proto,
        argv: &[&[u8]],
        out: &mut Vec<u8>,
    ) {
        let (began, mark) = (ticks(), out.len());
        let result = match what {
            LibraryCmd::Load => self.function_load(argv),
            LibraryCmd::Delete => self.function_delete(argv[2]).map(|()| None),
            LibraryCmd::Flush => self.function_flush(argv).map(|()| None),
            LibraryCmd::Restore => self.function_restore(argv).map(|()| None),
        };
        let mut reply = Reply { buf: out, proto };
        match &result {
            Ok(Some(name)) => reply.bulk(name),
            Ok(None) => reply.ok(),
            Err(e) => e.write(&mut reply),
        }
        if result.is_err() {
            self.stats.error(&out[mark..]);
        }
        let ns = self.clock.ns(ticks().wrapping_sub(began));
        let track = self.settings.latency.tracking;
        self.stats.executed(number, ns, result.is_err(), track);
        if ns >= self.slow_ns {
            self.note_slow(ns, argv, None);
        }
        debug_assert!(row.name.starts_with("function|"));
    }

    fn function_load(&mut self, argv: &[&[u8]]) -> Result<Option<String>, Error> {
        let (code, options) = argv[2..].split_last().ok_or(Error::Syntax)?;
        let mut replace = false;
        for word in options {
            if !word.eq_ignore_ascii_case(b"replace") {
                let word = String::from_utf8_lossy(word);
                return Err(Error::message(format!("ERR Unknown option given: {word}")));
            }
            replace = true;
        }
        let all = self.shared.sources.shelf.all();
        let (name, _) = crate::script::library_head(code)?;
        if !replace && all.contains_key(&name) {
            return Err(Error::message(format!(
                "ERR Library '{name}' already exists"
            )));
        }
        let library = inspect(code, nanos)?;
        let mut all = Libraries::clone(&all);
        all.remove(&name);
        if let Some(taken) = collision(&all, &library) {
            return Err(Error::message(format!(
                "ERR Function {taken} already exists"
            )));
        }
        all.insert(name.clone(), Arc::new(library));
        self.put_libraries(all);
        Ok(Some(name))
    }

    fn function_delete(&mut self, name: &[u8]) -> Result<(), Error> {
        let mut all = Libraries::clone(&self.shared.sources.shelf.all());
        let known = str::from_utf8(name).ok().and_then(|name| all.remove(name));
        if known.is_none() {
            return Err(Error::Text("ERR Library not found"));
        }
        self.put_libraries(all);
        Ok(())
    }

    fn function_flush(&mut self, argv: &[&[u8]]) -> Result<(), Error> {
        match argv[2..] {
            [] => {}
            [how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => {}
            [_] => {
                return Err(Error::Text(
                    "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
                ));
            }
            _ => return Err(Error::subcommand_syntax(argv)),
        }
        self.put_libraries(Libraries::new());
        Ok(())
    }

    fn function_restore(&mut self, argv: &[&[u8]]) -> Result<(), Error> {
        let (mut flush, mut replace) = (false, false);
        match argv[3..] {
            [] => {}
            [how] => match how.to_ascii_lowercase().as_slice() {
                b"append" => {}
                b"replace" => replace = true,
                b"flush" => flush = true,
                _ => {
                    return Err(Error::Text(
                        "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
                    ));
                }
            },
            _ => return Err(Error::subcommand_syntax(argv)),
        }
        let texts = undump_libraries(argv[2]).map_err(|fault| {
            Error::Text(match fault {
                Fault::Payload => "ERR DUMP payload version or checksum are wrong",
                Fault::Unknown(_) => "ERR given type is not a function",
                _ => "ERR Failed loading functions: the payload cannot be read",
            })
        })?;
        let mut all = match flush {
            true => Libraries::new(),
            false => Libraries::clone(&self.shared.sources.shelf.all()),
        };
        // All of them or none.
        for text in texts {
            let library = inspect(&text, nanos)?;
            if !replace && all.contains_key(&library.name) {
                let name = library.name;
                return Err(Error::message(format!("ERR Library {name} already exists")));
            }
            all.remove(&library.name);
            if let Some(taken) = collision(&all, &library) {
                return Err(Error::message(format!(
                    "ERR Function {taken} already exists"
                )));
            }
            all.insert(library.name.clone(), Arc::new(library));
        }
        self.put_libraries(all);
        Ok(())
    }

    /// Puts other libraries in their place, and into the log what that changes.
    fn put_libraries(&mut self, all: Libraries) {
        let before = self.shared.sources.shelf.all();
        for name in before.keys().filter(|name| !all.contains_key(*name)) {
            self.ks.at(0).set_library(name.as_bytes(), None);
        }
        for (name, library) in &all {
            if before
                .get(name)
                .is_none_or(|was| !Arc::ptr_eq(was, library))
            {
                let code = Some(&*library.code);
                self.ks.at(0).set_library(name.as_bytes(), code);
            }
        }
        self.shared.sources.shelf.replace(all);
    }
}

/// A function of `library` whose name another one has.
fn collision<'l>(all: &Libraries, library: &'l Library) -> Option<&'l str> {
    let taken = |name: &str| {
        let mut functions = all.values().flat_map(|other| &other.functions);
        functions.any(|function| function.name.eq_ignore_ascii_case(name))
    };
    let mut names = library.functions.iter().map(|f| f.name.as_str());
    names.find(|name| taken(name))
}
