//! Who a client is, and whether it may do what it asks for.
//!
//! All cores share the users as one immutable snapshot, and each holds it as its own; a change makes a new snapshot
//! and tells every core to take it, so nothing is locked when a command is checked. A client whose user may do
//! everything is *trusted*: its commands cost one test of one bit. The rules themselves are in [`crate::acl`].
//!
//! Source: the Redis page on ACL, and those of AUTH and HELLO.

use std::sync::Arc;

use super::Worker;
use super::client::Client;
use crate::acl::{self, Context, DEFAULT, Denied, Event, Reason, User};
use crate::command::{Command, Error, Topic, flag};
use crate::net::conn::Phase;

const NOAUTH: Error = Error::Text("NOAUTH Authentication required.");
const WRONGPASS: Error =
    Error::Text("WRONGPASS invalid username-password pair or user is disabled.");

/// When a command is checked, which decides the words of a refusal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// When it comes, to be carried out or queued.
    Arrival,
    /// When EXEC carries it out.
    Exec,
}

impl Worker {
    /// Notes whether a client may do everything.
    pub(super) fn judge(&self, client: &mut Client) {
        let known = client.authenticated || !self.users.must_authenticate();
        client.trusted = known && client.user.is_unrestricted();
    }

    /// Makes a client what it is when it connects: the default user, who may have to authenticate.
    pub(super) fn begin_as_default(&self, client: &mut Client) {
        client.user = self.users.default_user().clone();
        client.authenticated = !self.users.must_authenticate();
        self.judge(client);
    }

    /// Lets a client be the user of that name, if the password is right.
    pub(super) fn authenticate(
        &mut self,
        client: &mut Client,
        name: &[u8],
        password: &[u8],
        by: &[u8],
    ) -> Result<(), Error> {
        // An unknown name takes as long as a known one.
        let nobody = User::new(name);
        let user = self.users.get(name).cloned();
        let right = user.as_deref().unwrap_or(&nobody).lets_in(password);
        let Some(user) = user.filter(|_| right) else {
            tracing::warn!(client = %client.addr, "authentication failed");
            self.note_denied(client, Reason::Auth, by, name, context_of(client));
            return Err(WRONGPASS);
        };
        client.user = user;
        client.authenticated = true;
        self.judge(client);
        Ok(())
    }

    /// Why a client that is not trusted may not run a command, if so. A refusal is counted and noted.
    #[cold]
    pub(super) fn denies(
        &mut self,
        client: &mut Client,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
        moment: Moment,
    ) -> Option<Error> {
        if !client.authenticated && self.users.must_authenticate() && !row.has(flag::NO_AUTH) {
            return Some(NOAUTH);
        }
        if client.multi.is_some() && row.has(flag::NO_MULTI) {
            // Refused for that, whoever asks.
            return None;
        }
        let user = client.user.clone();
        let denied = match acl::check(&user, row, number, argv) {
            Ok(()) => return acl::sort_refusal(&user, row, number, argv).map(Error::Text),
            Err(denied) => denied,
        };
        let (reason, object) = match denied {
            Denied::Command => (Reason::Command, row.name.as_bytes()),
            Denied::Key(at) => (Reason::Key, argv[at]),
            Denied::Channel(at) => (Reason::Channel, argv[at]),
        };
        let context = match moment {
            Moment::Arrival => context_of(client),
            Moment::Exec => Context::Multi,
        };
        self.note_denied(client, reason, object, user.name(), context);
        Some(Error::message(match moment {
            Moment::Arrival => format!("NOPERM {}", denied.message(&user, row)),
            Moment::Exec => format!(
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
                 This command is no longer allowed for the following reason: {}",
                denied.reason()
            ),
        }))
    }

    fn note_denied(
        &mut self,
        client: &mut Client,
        reason: Reason,
        object: &[u8],
        user: &[u8],
        context: Context,
    ) {
        self.stats.deny(reason);
        let now = self.clock.unix_ms;
        let shown = Worker::describe(client, &self.pubsub.audience.trackers, now);
        let event = Event {
            reason,
            context,
            object: object.to_vec(),
            user: user.to_vec(),
        };
        let most = self.settings.auth.acllog_max_len as usize;
        self.shared.acl_log().note(event, shown, now, most);
    }

    /// Takes the users in force, and sees to the clients of those that changed or are gone. `removed` are those that
    /// went, though others of the same name may have come; `asker` waits for an answer and closes itself.
    pub(super) fn take_users(&mut self, removed: &[Vec<u8>], asker: Option<u64>) {
        self.users = self.shared.users();
        let users = self.users.clone();
        let default_asks = users.must_authenticate();
        let mut gone = Vec::new();
        let mut changed = Vec::new();
        for (index, client) in self.clients.iter_mut() {
            if client.applies {
                continue; // it is nobody's
            }
            let name = client.user.name();
            match users.get(name) {
                Some(same) if Arc::ptr_eq(same, &client.user) => {}
                Some(user) if !removed.iter().any(|r| r == name) && hears(client, user) => {
                    client.user = user.clone();
                    changed.push(index);
                }
                _ => {
                    // It may do nothing more, however long its end takes.
                    client.user = Arc::new(User::new(DEFAULT));
                    client.authenticated = false;
                    if asker != Some(client.id) {
                        gone.push(index);
                    }
                }
            }
            let known = client.authenticated || !default_asks;
            client.trusted = known && client.user.is_unrestricted();
        }
        for index in gone {
            self.close(index);
        }
        self.judge_waits(&changed);
    }

    /// Closes a client that has its answer and whose user is gone.
    pub(super) fn expel(&self, client: &mut Client) {
        if client.conn.phase == Phase::Open {
            client.conn.phase = Phase::Draining;
        }
    }
}

/// Whether `user` may listen to everything that a client listens to; one that may not is closed, as in Redis.
fn hears(client: &Client, user: &User) -> bool {
    let Some(subs) = &client.subs else {
        return true;
    };
    [Topic::Channel, Topic::Pattern, Topic::Shard]
        .into_iter()
        .all(|topic| {
            let pattern = topic == Topic::Pattern;
            let names = subs.names(topic);
            names
                .iter()
                .all(|name| acl::channel_allowed(user, name, pattern))
        })
}

fn context_of(client: &Client) -> Context {
    match client.multi {
        Some(_) => Context::Multi,
        None => Context::TopLevel,
    }
}
