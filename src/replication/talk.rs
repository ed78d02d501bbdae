//! How a replica and its master make themselves known to each other, as a state machine: a line comes in, a line goes out.
//!
//! PING; AUTH, if there is a password; REPLCONF with the port, what we can take and, for Valkey, a version; PSYNC with the history and the
//! place in it from which we want to go on, or with neither. The answer to PSYNC is a copy of everything or the commands
//! from there on.
//!
//! Promise: pure. Whatever the other side says ends in an answer or in words about what is wrong.
//!
//! Source: Redis's documentation of replication, and of PSYNC and REPLCONF.

use crate::resp::number::parse_i64;

/// Who we are to the other server.
#[derive(Clone, Debug, Default)]
pub struct Us {
    /// The user, or empty for the default one.
    pub user: String,
    /// The password, or empty for none.
    pub password: String,
    /// The port that we are reached by, for whoever looks at the other server's INFO.
    pub port: u16,
    /// The history that we have, and the place in it up to which we have it.
    pub place: Option<(String, u64)>,
}

/// Valkey writes its copy in the form that a replica of this version of it reads. Redis does not know the question.
const AS_VALKEY: &[u8] = b"9.0.0";

/// What the other server begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A copy of everything, then what happens in this history behind this place.
    Copy {
        /// The history's name.
        replid: String,
        /// The place.
        offset: u64,
    },
    /// What happened since the place we have; the history may have got a new name.
    GoOn {
        /// Its name, if it is a new one.
        replid: Option<String>,
    },
}

/// What a line comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// This is to be sent.
    Say(Vec<u8>),
    /// Nothing yet.
    Wait,
    /// All is said.
    Begin(Begin),
}

/// How the copy is delimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bulk {
    /// By its length in bytes.
    Length(u64),
    /// By these bytes behind it.
    Mark([u8; MARK]),
}

/// Bytes of the mark behind a copy whose length nobody knows beforehand.
pub const MARK: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ping,
    Auth,
    Port,
    Capa,
    Version,
    Psync,
}

/// The talk.
#[derive(Debug)]
pub struct Talk {
    state: State,
    who: Us,
}

/// A request as it is sent.
pub fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn shown(line: &[u8]) -> String {
    const MOST: usize = 200;
    let line = &line[..line.len().min(MOST)];
    let text = String::from_utf8_lossy(line);
    text.chars().filter(|c| !c.is_control()).collect()
}

fn is_replid(word: &str) -> bool {
    word.len() == 40 && word.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl Talk {
    /// Begins; what is to be sent first.
    pub fn begin(who: Us) -> (Talk, Vec<u8>) {
        let state = State::Ping;
        (Talk { state, who }, request(&[b"PING"]))
    }

    /// Takes a line of the other server, without its end.
    ///
    /// # Errors
    /// Why nothing can come of it.
    pub fn hear(&mut self, line: &[u8]) -> Result<Heard, String> {
        // Whoever is busy with a copy keeps the connection alive with empty lines.
        if line.is_empty() {
            return Ok(Heard::Wait);
        }
        let (good, text) = match line {
            [b'+', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => {
                let line = shown(line);
                return Err(format!("it does not speak as a Redis server does: {line}"));
            }
        };
        match self.state {
            State::Ping => {
                let must_log_in = [&b"NOAUTH"[..], b"NOPERM", b"ERR operation not permitted"];
                if !good && !must_log_in.iter().any(|w| text.starts_with(w)) {
                    return Err(format!("it refuses PING: {}", shown(text)));
                }
                if self.who.password.is_empty() {
                    if !good {
                        return Err(format!(
                            "it asks for a password, and replication.masterauth is empty: {}",
                            shown(text)
                        ));
                    }
                    return Ok(self.say_port());
                }
                self.state = State::Auth;
                let password = self.who.password.as_bytes();
                Ok(Heard::Say(match self.who.user.as_str() {
                    "" => request(&[b"AUTH", password]),
                    user => request(&[b"AUTH", user.as_bytes(), password]),
                }))
            }
            State::Auth if !good => Err(format!(
                "it refuses replication.masteruser and masterauth: {}",
                shown(text)
            )),
            State::Auth => Ok(self.say_port()),
            // What it does not know of REPLCONF it need not know, but for who may not say it.
            State::Port | State::Capa | State::Version if text.starts_with(b"NOPERM") => {
                Err(format!(
                    "its user may not replicate; it needs +psync +replconf +ping: {}",
                    shown(text)
                ))
            }
            State::Port => {
                self.state = State::Capa;
                let words: [&[u8]; 5] = [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"];
                Ok(Heard::Say(request(&words)))
            }
            State::Capa => {
                self.state = State::Version;
                Ok(Heard::Say(request(&[b"REPLCONF", b"version", AS_VALKEY])))
            }
            State::Version => {
                self.state = State::Psync;
                Ok(Heard::Say(match &self.who.place {
                    None => request(&[b"PSYNC", b"?", b"-1"]),
                    Some((replid, offset)) => {
                        let next = offset.saturating_add(1).to_string();
                        request(&[b"PSYNC", replid.as_bytes(), next.as_bytes()])
                    }
                }))
            }
            State::Psync if good => self.answered(text).map(Heard::Begin),
            State::Psync => Err(format!("it refuses PSYNC: {}", shown(text))),
        }
    }

    fn say_port(&mut self) -> Heard {
        self.state = State::Port;
        let port = self.who.port.to_string();
        Heard::Say(request(&[b"REPLCONF", b"listening-port", port.as_bytes()]))
    }

    fn answered(&self, text: &[u8]) -> Result<Begin, String> {
        let wrong = || format!("its answer to PSYNC is not known: {}", shown(text));
        let line = str::from_utf8(text).map_err(|_| wrong())?;
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("FULLRESYNC"), Some(replid), Some(offset)) if is_replid(replid) => {
                Ok(Begin::Copy {
                    replid: replid.to_owned(),
                    offset: offset.parse().map_err(|_| wrong())?,
                })
            }
            (Some("CONTINUE"), replid, None)
                if self.who.place.is_some() && replid.is_none_or(is_replid) =>
            {
                Ok(Begin::GoOn {
                    replid: replid.map(str::to_owned),
                })
            }
            _ => Err(wrong()),
        }
    }
}

/// Reads the line ahead of a copy; `None` for one that only keeps the connection alive.
///
/// # Errors
/// What else it is.
pub fn bulk(line: &[u8]) -> Result<Option<Bulk>, String> {
    match line {
        [] => Ok(None),
        [b'$', b'E', b'O', b'F', b':', mark @ ..] => match mark.try_into() {
            Ok(mark) => Ok(Some(Bulk::Mark(mark))),
            Err(_) => Err("the mark of its copy is not of 40 bytes".into()),
        },
        [b'$', length @ ..] => match parse_i64(length).and_then(|n| u64::try_from(n).ok()) {
            Some(length) => Ok(Some(Bulk::Length(length))),
            None => Err("the length of its copy is no number".into()),
        },
        [b'-', text @ ..] => Err(format!("it could not make a copy: {}", shown(text))),
        other => Err(format!("its copy begins in no known way: {}", shown(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn say(words: &str) -> Heard {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        Heard::Say(request(&words))
    }

    fn who(password: &str, place: Option<(&str, u64)>) -> Us {
        Us {
            user: String::new(),
            password: password.to_owned(),
            port: 6380,
            place: place.map(|(replid, offset)| (replid.to_owned(), offset)),
        }
    }

    /// A talk as it was recorded with Redis 7.0, without a password.
    #[test]
    fn a_talk_without_a_password_ends_in_a_copy() {
        let (mut talk, first) = Talk::begin(who("", None));
        assert_eq!(first, b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(talk.hear(b"+PONG"), Ok(say("REPLCONF listening-port 6380")));
        assert_eq!(talk.hear(b"+OK"), Ok(say("REPLCONF capa eof capa psync2")));
        assert_eq!(talk.hear(b"+OK"), Ok(say("REPLCONF version 9.0.0")));
        let unknown = b"-ERR Unrecognized REPLCONF option: version";
        assert_eq!(talk.hear(unknown), Ok(say("PSYNC ? -1")));
        assert_eq!(talk.hear(b""), Ok(Heard::Wait));
        let line = format!("+FULLRESYNC {REPLID} 4711");
        let copy = Begin::Copy {
            replid: REPLID.into(),
            offset: 4711,
        };
        assert_eq!(talk.hear(line.as_bytes()), Ok(Heard::Begin(copy)));
    }

    #[test]
    fn a_talk_that_goes_on_asks_for_the_byte_behind_the_last() {
        let place = Some((REPLID, 4711));
        let mut user = who("secret", place);
        user.user = "mover".into();
        let (mut talk, _) = Talk::begin(user);
        let asked = talk.hear(b"-NOAUTH Authentication required.");
        assert_eq!(asked, Ok(say("AUTH mover secret")));
        assert!(matches!(talk.hear(b"+OK"), Ok(Heard::Say(_))));
        // An old one that does not know the word is no hindrance.
        assert!(matches!(
            talk.hear(b"-ERR Unrecognized REPLCONF option: capa"),
            Ok(Heard::Say(_))
        ));
        assert!(matches!(talk.hear(b"+OK"), Ok(Heard::Say(_))));
        assert_eq!(talk.hear(b"+OK"), Ok(say(&format!("PSYNC {REPLID} 4712"))));
        let go_on = Begin::GoOn { replid: None };
        assert_eq!(talk.hear(b"+CONTINUE"), Ok(Heard::Begin(go_on)));
    }

    #[test]
    fn whatever_is_wrong_is_said() {
        let heard = |password: &str, lines: &[&str]| {
            let (mut talk, _) = Talk::begin(who(password, None));
            let mut last = Ok(Heard::Wait);
            for line in lines {
                last = talk.hear(line.as_bytes());
            }
            last.expect_err("the last line is refused")
        };
        let http = heard("", &["HTTP/1.1 400 Bad Request"]);
        assert!(http.contains("does not speak"), "{http}");
        let asks = heard("", &["-NOAUTH Authentication required."]);
        assert!(asks.contains("masterauth is empty"), "{asks}");
        let wrong = heard("x", &["+PONG", "-WRONGPASS invalid username-password pair"]);
        assert!(wrong.contains("WRONGPASS"), "{wrong}");
        let psync = ["+PONG", "+OK", "+OK", "+OK", "-NOMASTERLINK Can't SYNC"];
        assert!(heard("", &psync).contains("NOMASTERLINK"));
        for odd in ["+CONTINUE", "+FULLRESYNC x 1", "+FULLRESYNC", "+OK"] {
            assert!(heard("", &["+PONG", "+OK", "+OK", "+OK", odd]).contains("not known"));
        }
        let may_not = heard("", &["+PONG", "-NOPERM this user has no permissions"]);
        assert!(may_not.contains("+psync"), "{may_not}");
    }

    #[test]
    fn copies_are_delimited_by_a_length_or_by_a_mark() {
        assert_eq!(bulk(b""), Ok(None));
        assert_eq!(bulk(b"$175"), Ok(Some(Bulk::Length(175))));
        let mark = [b'x'; MARK];
        let line = [b"$EOF:", &mark[..]].concat();
        assert_eq!(bulk(&line), Ok(Some(Bulk::Mark(mark))));
        for bad in [
            &b"$-1"[..],
            b"$EOF:short",
            b"$x",
            b"-ERR BGSAVE failed, replication can't continue",
            b"*1",
        ] {
            assert!(bulk(bad).is_err());
        }
    }
}
