//! FUNCTION LOAD, DELETE and FLUSH: the libraries of functions and their place in the log.
//!
//! They run where the shard is that keeps the libraries. The change goes into that shard, and so into its log, and onto
//! the shelf on which every core finds what is in force.

use std::sync::Arc;

use super::Worker;
use super::clock::{nanos, ticks};
use crate::command::{Command, Error, LibraryCmd};
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
        let slot = 0;
        self.ks.at(slot).set_library(name.as_bytes(), Some(code));
        all.insert(name.clone(), Arc::new(library));
        self.shared.sources.shelf.replace(all);
        Ok(Some(name))
    }

    fn function_delete(&mut self, name: &[u8]) -> Result<(), Error> {
        let mut all = Libraries::clone(&self.shared.sources.shelf.all());
        let known = str::from_utf8(name).ok().and_then(|name| all.remove(name));
        if known.is_none() {
            return Err(Error::Text("ERR Library not found"));
        }
        self.ks.at(0).set_library(name, None);
        self.shared.sources.shelf.replace(all);
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
        let all = self.shared.sources.shelf.all();
        for name in all.keys() {
            self.ks.at(0).set_library(name.as_bytes(), None);
        }
        self.shared.sources.shelf.replace(Libraries::new());
        Ok(())
    }
}

/// A function of `library` whose name another one has.
fn collision<'l>(all: &Libraries, library: &'l Library) -> Option<&'l str> {
    let taken = |name: &str| {
        let mut functions = all.values().flat_map(|other| &other.functions);
        functions.any(|function| function.name == name)
    };
    let mut names = library.functions.iter().map(|f| f.name.as_str());
    names.find(|name| taken(name))
}
