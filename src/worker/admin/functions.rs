//! FUNCTION LIST, DUMP, STATS and KILL: what there is of libraries, and what runs.
//!
//! Source: the Redis command pages of the family.

use super::super::Worker;
use super::super::client::Client;
use super::super::clock::nanos;
use super::super::tick::Flow;
use crate::command::{Error, SessionCmd, glob_matches};
use crate::rdb::dump_libraries;
use crate::resp::Reply;
use crate::script::{Kind, Library};

impl Worker {
    /// Carries one of the family out.
    pub(super) fn function_admin(
        &mut self,
        client: &mut Client,
        session: SessionCmd,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        match session {
            SessionCmd::FunctionList => self.function_list(client, argv)?,
            SessionCmd::FunctionStats => self.function_stats(client),
            SessionCmd::FunctionDump => {
                let all = self.shared.sources.shelf.all();
                let payload = dump_libraries(all.values().map(|library| &*library.code));
                self.reply(client).bulk(payload);
            }
            _ => self.kill_script(client, Kind::Function)?,
        }
        Ok(Flow::Next)
    }

    fn function_list(&mut self, client: &mut Client, argv: &[&[u8]]) -> Result<(), Error> {
        let (mut pattern, mut code) = (None, false);
        let mut words = argv[2..].iter();
        while let Some(word) = words.next() {
            if !code && word.eq_ignore_ascii_case(b"withcode") {
                code = true;
            } else if pattern.is_none() && word.eq_ignore_ascii_case(b"libraryname") {
                let missing = Error::Text("ERR library name argument was not given");
                pattern = Some(words.next().ok_or(missing)?);
            } else {
                let word = String::from_utf8_lossy(word);
                return Err(Error::message(format!("ERR Unknown argument {word}")));
            }
        }
        let all = self.shared.sources.shelf.all();
        let fits = |library: &&std::sync::Arc<Library>| {
            // As in Redis, whatever the case.
            pattern.is_none_or(|p| glob_matches(p, library.name.as_bytes(), true))
        };
        let libraries: Vec<_> = all.values().filter(fits).collect();
        let mut reply = self.reply(client);
        reply.array(libraries.len());
        for library in libraries {
            describe(&mut reply, library, code);
        }
        Ok(())
    }

    fn function_stats(&mut self, client: &mut Client) {
        let sources = self.shared.sources.clone();
        let all = sources.shelf.all();
        let functions: usize = all.values().map(|library| library.functions.len()).sum();
        let runs = sources.longest().filter(|r| r.kind == Kind::Function);
        let mut reply = self.reply(client);
        reply.map(2);
        reply.bulk("running_script");
        match runs {
            None => reply.null(),
            Some(running) => {
                reply.map(3);
                reply.bulk("name");
                reply.bulk(&running.name);
                reply.bulk("command");
                reply.array(running.command.len());
                for word in &running.command {
                    reply.bulk(word);
                }
                reply.bulk("duration_ms");
                let ns = nanos().saturating_sub(running.began);
                reply.int((ns / 1_000_000) as i64);
            }
        }
        reply.bulk("engines");
        reply.map(1);
        reply.bulk("LUA");
        reply.map(2);
        reply.bulk("libraries_count");
        reply.int(all.len() as i64);
        reply.bulk("functions_count");
        reply.int(functions as i64);
    }
}

fn describe(reply: &mut Reply<'_>, library: &Library, code: bool) {
    reply.map(if code { 4 } else { 3 });
    reply.bulk("library_name");
    reply.bulk(&library.name);
    reply.bulk("engine");
    reply.bulk("LUA");
    reply.bulk("functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk("name");
        reply.bulk(&function.name);
        reply.bulk("description");
        match &function.description {
            Some(description) => reply.bulk(description),
            None => reply.null(),
        }
        reply.bulk("flags");
        reply.set(function.flag_names().count());
        for flag in function.flag_names() {
            reply.simple(flag);
        }
    }
    if code {
        reply.bulk("library_code");
        reply.bulk(&*library.code);
    }
}
