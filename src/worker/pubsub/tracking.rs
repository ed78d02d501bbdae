//! CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: which clients keep copies of what they read, and how they want
//! to hear of changes. How they hear of them is in `changes`.
//!
//! Source: the Redis command pages of the four, and Redis's page on client-side caching.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::Worker;
use super::super::client::Client;
use super::super::gather::{Answer, Question};
use super::super::tick::Flow;
use crate::command::Error;
use crate::resp::number::parse_i64;

/// How a client keeps copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracked {
    /// It hears of all keys with certain prefixes, whether it read them or not.
    pub bcast: bool,
    /// It keeps what it reads behind CLIENT CACHING YES.
    pub optin: bool,
    /// It keeps what it reads unless behind CLIENT CACHING NO.
    pub optout: bool,
    /// It does not want to hear of its own changes.
    pub noloop: bool,
    /// CLIENT CACHING was the command before.
    pub caching: bool,
}

impl Tracked {
    /// Whether it keeps what the next command reads.
    pub fn keeps(self) -> bool {
        !self.bcast && (!self.optin || self.caching) && (!self.optout || !self.caching)
    }
}

/// What the core knows of a client that keeps copies, while its command may run.
#[derive(Debug)]
pub struct Tracker {
    pub(super) index: u32,
    /// The client that hears of changes in its place, 0 for none.
    pub redirect: u64,
    /// Whether that one is gone.
    pub broken: bool,
    pub(super) mode: Tracked,
    prefixes: BTreeSet<Box<[u8]>>,
}

/// This core's clients that keep copies, by number.
#[derive(Debug, Default)]
pub struct Trackers {
    clients: HashMap<u64, Tracker>,
    /// Who wants to hear of all keys with a prefix.
    pub(super) prefixes: BTreeMap<Box<[u8]>, BTreeSet<u64>>,
}

impl Trackers {
    /// How many.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// One of them.
    pub fn get(&self, id: u64) -> Option<&Tracker> {
        self.clients.get(&id)
    }

    pub(super) fn all(&self) -> Vec<u64> {
        self.clients.keys().copied().collect()
    }

    pub(super) fn set_broken(&mut self, id: u64) {
        if let Some(tracker) = self.clients.get_mut(&id) {
            tracker.broken = true;
        }
    }
}

/// What a core tells of its part in client-side caching.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrackingReport {
    /// Clients that keep copies.
    pub clients: usize,
    /// Keys they read.
    pub keys: u64,
    /// Reads of these that are remembered.
    pub items: u64,
    /// Prefixes that clients hear of.
    pub prefixes: usize,
}

/// A CLIENT TRACKING.
#[derive(Debug, Default, PartialEq)]
struct Request {
    on: bool,
    redirect: u64,
    mode: Tracked,
    prefixes: Vec<Vec<u8>>,
}

fn parse(argv: &[&[u8]]) -> Result<Request, Error> {
    let mut request = Request::default();
    let mut options = argv[3..].iter();
    while let Some(option) = options.next() {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("redirect") && options.len() > 0 {
            if request.redirect != 0 {
                return Err(Error::Text(
                    "ERR A client can only redirect to a single other client",
                ));
            }
            let id = options.next().and_then(|id| parse_i64(id));
            let id = id.ok_or(Error::NotInteger)?;
            // No client has a number below one.
            request.redirect = u64::try_from(id).unwrap_or(0);
            if request.redirect == 0 {
                return Err(NO_SUCH_CLIENT);
            }
        } else if is("bcast") {
            request.mode.bcast = true;
        } else if is("optin") {
            request.mode.optin = true;
        } else if is("optout") {
            request.mode.optout = true;
        } else if is("noloop") {
            request.mode.noloop = true;
        } else if is("prefix") && options.len() > 0 {
            request
                .prefixes
                .extend(options.next().map(|prefix| prefix.to_vec()));
        } else {
            return Err(Error::Syntax);
        }
    }
    request.on = super::super::session::on_off(argv[2])?;
    Ok(request)
}

const NO_SUCH_CLIENT: Error =
    Error::Text("ERR The client ID you want redirect to does not exist");

fn overlap(a: &[u8], b: &[u8]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Why a client that keeps copies in this way may not do so in that, if so.
fn check(
    request: &Request,
    before: Option<Tracked>,
    prefixes: &BTreeSet<Box<[u8]>>,
) -> Result<(), Error> {
    let mode = request.mode;
    if !mode.bcast && !request.prefixes.is_empty() {
        return Err(Error::Text(
            "ERR PREFIX option requires BCAST mode to be enabled",
        ));
    }
    if before.is_some_and(|before| before.bcast != mode.bcast) {
        return Err(Error::Text(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
             re-enabling it with a different mode.",
        ));
    }
    if mode.bcast && (mode.optin || mode.optout) {
        return Err(Error::Text(
            "ERR OPTIN and OPTOUT are not compatible with BCAST",
        ));
    }
    if mode.optin && mode.optout {
        return Err(Error::Text(
            "ERR You can't specify both OPTIN mode and OPTOUT mode",
        ));
    }
    if before.is_some_and(|b| mode.optin && b.optout || mode.optout && b.optin) {
        return Err(Error::Text(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
             re-enabling it with a different mode.",
        ));
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (i, prefix) in request.prefixes.iter().enumerate() {
        if let Some(other) = prefixes.iter().find(|other| overlap(prefix, other)) {
            return Err(Error::message(format!(
                "ERR Prefix '{}' overlaps with an existing prefix '{}'. Prefixes for a single client must not \
                 overlap.",
                text(prefix),
                text(other)
            )));
        }
        let mut others = request.prefixes[i + 1..].iter();
        if let Some(other) = others.find(|other| overlap(prefix, other)) {
            return Err(Error::message(format!(
                "ERR Prefix '{}' overlaps with another provided prefix '{}'. Prefixes for a single client must \
                 not overlap.",
                text(prefix),
                text(other)
            )));
        }
    }
    Ok(())
}

impl Worker {
    /// CLIENT TRACKING.
    pub(in crate::worker) fn client_tracking(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let request = parse(argv)?;
        if !request.on {
            self.stop_tracking(client);
            self.audience_changed();
            self.reply(client).ok();
            return Ok(Flow::Next);
        }
        let none = BTreeSet::new();
        let trackers = &self.pubsub.audience.trackers;
        let prefixes = trackers.get(client.id).map_or(&none, |t| &t.prefixes);
        check(&request, client.tracking, prefixes)?;
        let redirect = request.redirect;
        if redirect == 0 || self.client_numbers.contains_key(&redirect) {
            self.track(client, request);
            return Ok(Flow::Next);
        }
        if self.mesh.cores() == 1 {
            return Err(NO_SUCH_CLIENT);
        }
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let known = |answer: &Answer| matches!(answer, Answer::Known(true));
            if answers.iter().any(known) {
                worker.track(client, request);
            } else {
                worker.refuse(client, NO_SUCH_CLIENT);
            }
        };
        Ok(self.ask(client, index, Question::Known(redirect), Box::new(then)))
    }

    fn track(&mut self, client: &mut Client, request: Request) {
        let Request {
            redirect,
            mode,
            mut prefixes,
            ..
        } = request;
        let id = client.id;
        if client.tracking.replace(mode).is_none() {
            self.shared.add_tracker(mode.bcast);
        }
        let trackers = &mut self.pubsub.audience.trackers;
        let tracker = trackers.clients.entry(id).or_insert_with(|| Tracker {
            index: client.conn.index(),
            redirect: 0,
            broken: false,
            mode,
            prefixes: BTreeSet::new(),
        });
        (tracker.redirect, tracker.broken, tracker.mode) = (redirect, false, mode);
        if mode.bcast && prefixes.is_empty() {
            prefixes.push(Vec::new());
        }
        for prefix in prefixes {
            let prefix: Box<[u8]> = prefix.into();
            trackers
                .prefixes
                .entry(prefix.clone())
                .or_default()
                .insert(id);
            tracker.prefixes.insert(prefix);
        }
        self.audience_changed();
        self.attune();
        self.reply(client).ok();
    }

    pub(super) fn stop_tracking(&mut self, client: &mut Client) {
        let Some(mode) = client.tracking.take() else {
            return;
        };
        self.shared.remove_tracker(mode.bcast);
        let trackers = &mut self.pubsub.audience.trackers;
        let Some(tracker) = trackers.clients.remove(&client.id) else {
            return;
        };
        for prefix in tracker.prefixes {
            if let Some(ids) = trackers.prefixes.get_mut(&prefix) {
                ids.remove(&client.id);
                if ids.is_empty() {
                    trackers.prefixes.remove(&prefix);
                }
            }
        }
    }

    /// CLIENT CACHING.
    pub(in crate::worker) fn client_caching(
        &mut self,
        client: &mut Client,
        yes: &[u8],
    ) -> Result<(), Error> {
        let Some(mode) = &mut client.tracking else {
            return Err(Error::Text(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
                 enabled",
            ));
        };
        if yes.eq_ignore_ascii_case(b"yes") {
            if !mode.optin {
                return Err(Error::Text(
                    "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
                ));
            }
        } else if yes.eq_ignore_ascii_case(b"no") {
            if !mode.optout {
                return Err(Error::Text(
                    "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
                ));
            }
        } else {
            return Err(Error::Syntax);
        }
        mode.caching = true;
        self.reply(client).ok();
        Ok(())
    }

    /// CLIENT GETREDIR.
    pub(in crate::worker) fn client_getredir(&mut self, client: &mut Client) {
        let to = self.redirect_of(client);
        self.reply(client).int(to);
    }

    /// The client that hears of changes in this one's place: 0 for none, -1 where nobody does.
    fn redirect_of(&self, client: &Client) -> i64 {
        let tracker = self.pubsub.audience.trackers.get(client.id);
        tracker.map_or(-1, |tracker| tracker.redirect as i64)
    }

    /// CLIENT TRACKINGINFO.
    pub(in crate::worker) fn client_trackinginfo(&mut self, client: &mut Client) {
        let redirect = self.redirect_of(client);
        let tracker = self.pubsub.audience.trackers.get(client.id);
        let broken = tracker.is_some_and(|t| t.broken);
        let prefixes: Vec<Box<[u8]>> =
            tracker.map_or_else(Vec::new, |t| t.prefixes.iter().cloned().collect());
        let mode = client.tracking.unwrap_or_default();
        let flags = [
            (client.tracking.is_none(), "off"),
            (client.tracking.is_some(), "on"),
            (mode.bcast, "bcast"),
            (mode.optin, "optin"),
            (mode.optin && mode.caching, "caching-yes"),
            (mode.optout, "optout"),
            (mode.optout && mode.caching, "caching-no"),
            (mode.noloop, "noloop"),
            (broken, "broken_redirect"),
        ];
        let flags: Vec<&str> = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
        let mut reply = self.reply(client);
        reply.map(3);
        reply.bulk("flags");
        reply.set(flags.len());
        for flag in flags {
            reply.bulk(flag);
        }
        reply.bulk("redirect");
        reply.int(redirect);
        reply.bulk("prefixes");
        reply.array(prefixes.len());
        for prefix in prefixes {
            reply.bulk(prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn a_request_is_read_as_redis_reads_it() {
        let request = parse(&words(
            "client tracking ON redirect 7 bcast prefix a prefix b noloop",
        ))
        .unwrap();
        assert!(request.on && request.mode.bcast && request.mode.noloop);
        assert_eq!((request.redirect, request.prefixes.len()), (7, 2));
        for (line, error) in [
            ("client tracking foo", "ERR syntax error"),
            ("client tracking on foo", "ERR syntax error"),
            ("client tracking on prefix", "ERR syntax error"),
            (
                "client tracking on redirect x",
                "ERR value is not an integer or out of range",
            ),
            (
                "client tracking on redirect 0",
                "ERR The client ID you want redirect to does not exist",
            ),
            (
                "client tracking on redirect 1 redirect 2",
                "ERR A client can only redirect to a single other client",
            ),
        ] {
            let said = parse(&words(line)).unwrap_err().to_string();
            assert_eq!(said, error, "{line}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let bcast = Tracked {
            bcast: true,
            ..Tracked::default()
        };
        let optout = Tracked {
            optout: true,
            ..Tracked::default()
        };
        let known = BTreeSet::from([Box::from(&b"ab"[..])]);
        for (line, before, error) in [
            ("on", None, ""),
            ("on prefix a", None, "PREFIX option requires BCAST"),
            ("on bcast", Some(optout), "You can't switch BCAST"),
            ("on", Some(bcast), "You can't switch BCAST"),
            ("on bcast optin", None, "OPTIN and OPTOUT are not"),
            ("on optin optout", None, "both OPTIN mode and OPTOUT"),
            ("on optin", Some(optout), "You can't switch OPTIN/OPTOUT"),
            ("on bcast prefix a", Some(bcast), "existing prefix 'ab'"),
            ("on bcast prefix abc", Some(bcast), "existing prefix 'ab'"),
            (
                "on bcast prefix c prefix cd",
                Some(bcast),
                "another provided prefix 'cd'",
            ),
            ("on bcast prefix c prefix d", Some(bcast), ""),
        ] {
            let line = format!("client tracking {line}");
            let request = parse(&words(&line)).unwrap();
            let said = match check(&request, before, &known) {
                Ok(()) => String::new(),
                Err(e) => e.to_string(),
            };
            assert_eq!(said.is_empty(), error.is_empty(), "{line}: {said}");
            assert!(said.contains(error), "{line}: {said}");
        }
    }

    #[test]
    fn what_is_kept_depends_on_the_command_before() {
        let mode = |optin, optout, caching| Tracked {
            optin,
            optout,
            caching,
            ..Tracked::default()
        };
        assert!(mode(false, false, false).keeps());
        assert!(!mode(true, false, false).keeps() && mode(true, false, true).keeps());
        assert!(mode(false, true, false).keeps() && !mode(false, true, true).keeps());
    }
}
