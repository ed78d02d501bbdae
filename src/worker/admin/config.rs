//! CONFIG GET, SET, RESETSTAT and REWRITE.
//!
//! Source: the Redis command pages of the four. The settings themselves, their names and what they
//! accept are in `settings`. A change is made where all cores share the settings, under a lock,
//! and then every core is asked to take what is in force; only then is the client told.

use super::super::Worker;
use super::super::client::Client;
use super::super::gather::Question;
use super::super::shared::ConfigureError;
use super::super::tick::Flow;
use super::Then;
use crate::command::Error;
use crate::net::listen;

use socket2::SockRef;

/// Names and values of a CONFIG SET.
fn pairs<'a>(argv: &[&'a [u8]]) -> Result<Vec<(&'a str, &'a str)>, Error> {
    let (pairs, rest) = argv[2..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::Syntax);
    }
    pairs
        .iter()
        .map(|[name, value]| {
            let Ok(name) = std::str::from_utf8(name) else {
                let name = String::from_utf8_lossy(name);
                return Err(Error::message(format!(
                    "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                )));
            };
            let value = std::str::from_utf8(value).map_err(|_| failed(name, "not UTF-8"))?;
            Ok((name, value))
        })
        .collect()
}

fn failed(name: &str, why: &str) -> Error {
    Error::message(format!(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"
    ))
}

/// Answers OK, whatever the cores said.
fn then_ok() -> Then {
    Box::new(|worker, client, _| {
        if let Some(client) = client {
            worker.reply(client).ok();
        }
    })
}

impl Worker {
    pub(super) fn config_get(&mut self, client: &mut Client, argv: &[&[u8]]) -> Flow {
        let mut found: Vec<(String, String)> = Vec::new();
        for pattern in &argv[2..] {
            let pattern = String::from_utf8_lossy(pattern);
            for (name, value) in self.settings.get_matching(&pattern) {
                if !found
                    .iter()
                    .any(|(known, _)| known.eq_ignore_ascii_case(&name))
                {
                    found.push((name, value));
                }
            }
        }
        let mut reply = self.reply(client);
        reply.map(found.len());
        for (name, value) in &found {
            reply.bulk(name);
            reply.bulk(value);
        }
        Flow::Next
    }

    pub(super) fn config_set(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let pairs = pairs(argv)?;
        let rows = self.shared.configure(&pairs).map_err(|e| match e {
            ConfigureError::Refused(e) => Error::message(format!("ERR {e}")),
            ConfigureError::Unable(why) => failed(pairs[0].0, &why),
        })?;
        for row in rows {
            // A secret shows as hidden here too.
            let value = row.shown(&self.shared.settings());
            tracing::info!(client = %client.addr, "CONFIG SET {} = {value}", row.path);
        }
        Ok(self.ask(client, index, Question::Configure, then_ok()))
    }

    /// Takes the settings in force.
    pub(super) fn configure(&mut self) {
        self.settings = self.shared.settings();
        self.settings_changed();
        self.take_following();
        // The default user's password is a setting too.
        self.take_users(&[], None);
        self.stats
            .slowlog
            .truncate(self.settings.latency.slowlog_max_len as usize);
        if self.core == 0 {
            let most = self.settings.auth.acllog_max_len as usize;
            self.shared.acl_log().trim(most);
            self.shared.measure_memory();
            self.shared.decide_closed();
        }
        for listener in &self.listeners {
            let every = self.settings.server.tcp_keepalive;
            if let Err(e) = listen::keep_alive(SockRef::from(&listener.fd), every) {
                tracing::warn!("server.tcp_keepalive cannot be changed: {e}");
            }
        }
    }

    pub(super) fn config_resetstat(&mut self, client: &mut Client, index: u32) -> Flow {
        self.ask(client, index, Question::ResetStats, then_ok())
    }

    pub(super) fn config_rewrite(&mut self, client: &mut Client, index: u32) -> Flow {
        if self.shared.config_file.is_none() {
            let text = "ERR The server is running without a config file";
            self.refuse(client, Error::Text(text));
            return Flow::Next;
        }
        let shared = self.shared.clone();
        self.errand(client, index, move || {
            shared
                .rewrite_config()
                .map_err(|e| format!("Rewriting config file: {e}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_to_be_pairs_of_text() {
        let good: &[&[u8]] = &[b"config", b"set", b"a", b"1", b"b", b""];
        assert_eq!(pairs(good).unwrap(), [("a", "1"), ("b", "")]);
        let odd: &[&[u8]] = &[b"config", b"set", b"a", b"1", b"b"];
        assert_eq!(pairs(odd).unwrap_err(), Error::Syntax);
        let binary: &[&[u8]] = &[b"config", b"set", b"requirepass", b"\xff"];
        let said = pairs(binary).unwrap_err().to_string();
        assert!(said.contains("'requirepass') - not UTF-8"), "{said}");
    }
}
