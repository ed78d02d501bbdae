//! One way to the server: commands and their replies, and what the prompt must know of the connection.
//!
//! At a terminal a broken connection is made anew by the next command, on the database that was selected last; without
//! one it ends the program. No command is sent twice.

use std::io::{IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ferrite::{Client, Error, Value};

use super::args::Options;
use super::connect::Way;
use super::format::{Look, Style};
use super::words;

/// Commands whose reply is text to be shown as it is.
const TEXT: [&str; 12] = [
    "info",
    "lolwut",
    "client list",
    "client info",
    "memory doctor",
    "memory malloc-stats",
    "latency doctor",
    "latency graph",
    "cluster info",
    "cluster nodes",
    "debug htstats",
    "encryption status",
];

/// Commands that are answered once for every channel, in RESP3 by messages.
const CHANNELS: [&str; 6] = [
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "unsubscribe",
    "punsubscribe",
    "sunsubscribe",
];

/// Messages of subscriptions, which come unasked in RESP2 too.
const MESSAGES: [&[u8]; 3] = [b"message", b"pmessage", b"smessage"];

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a reply that is no error.
    Fine,
    /// With an error reply.
    Refused,
    /// The server streams what others do (MONITOR): read it with [`Session::message`].
    Streaming,
}

/// What the prompt shows beside the place, and what a new connection must restore.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    /// The database selected.
    pub database: u32,
    /// Inside MULTI, with the database that DISCARD returns to.
    pub transaction: Option<u32>,
    /// Channels and patterns that send messages, and channels of slots that do.
    pub channels: [i64; 2],
    /// The protocol is RESP3.
    pub resp3: bool,
}

impl State {
    /// Whether channels may send messages.
    pub fn subscribed(&self) -> bool {
        self.channels != [0, 0]
    }

    /// Follows a command that has been answered.
    fn follow(&mut self, name: &str, args: &[Vec<u8>], reply: &Value) {
        let fine = !matches!(reply, Value::Error(_));
        let number = |at: usize| -> Option<u32> {
            let text = args.get(at)?;
            std::str::from_utf8(text).ok()?.parse().ok()
        };
        match name {
            "multi" if fine => self.transaction = Some(self.database),
            "exec" | "discard" => {
                // A transaction that was not executed has not selected anything either.
                let executed = name == "exec" && fine && *reply != Value::Null;
                if let Some(before) = self.transaction.take()
                    && !executed
                {
                    self.database = before;
                }
            }
            "reset" if fine => *self = State::default(),
            "select" if fine => self.database = number(1).unwrap_or(self.database),
            "hello" if fine => self.resp3 = number(1).map_or(self.resp3, |v| v == 3),
            _ => {}
        }
    }
}

/// A command's name, and its first two words, in lower case.
fn names(args: &[Vec<u8>]) -> (String, String) {
    let lower = |at: usize| {
        args.get(at)
            .map(|a| String::from_utf8_lossy(a).to_ascii_lowercase())
            .unwrap_or_default()
    };
    (lower(0), format!("{} {}", lower(0), lower(1)))
}

/// The program's side of one connection.
pub struct Session<'o> {
    /// The command line.
    pub options: &'o Options,
    /// The way to the server.
    pub way: Way,
    /// How replies are written.
    pub look: Look,
    /// What is known of the connection.
    pub state: State,
    client: Option<Client>,
    show_pushes: bool,
}

impl<'o> Session<'o> {
    /// A session that is not connected yet.
    pub fn new(options: &'o Options) -> Result<Session<'o>, String> {
        let way = Way::new(options)?;
        let terminal = std::io::stdout().is_terminal();
        Ok(Session {
            options,
            look: Look {
                style: style(options, terminal),
                between: options.item_delimiter.as_bytes().to_vec(),
                after: options.reply_delimiter.as_bytes().to_vec(),
            },
            state: State {
                database: way.database,
                resp3: way.resp3,
                ..State::default()
            },
            way,
            client: None,
            show_pushes: options.show_pushes.unwrap_or(terminal),
        })
    }

    /// Whether there is a connection, as far as is known.
    pub fn connected(&self) -> bool {
        self.client.is_some()
    }

    /// The connection, made when there is none. A new one has no transaction and no subscriptions.
    pub async fn client(&mut self) -> Result<Client, String> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        (self.state.channels, self.state.transaction) = ([0, 0], None);
        let client = self
            .way
            .connect(self.state.database, self.state.resp3)
            .await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Ends the connection.
    pub fn disconnect(&mut self) {
        self.client = None;
        if let Some(before) = self.state.transaction.take() {
            self.state.database = before;
        }
        self.state.channels = [0, 0];
    }

    /// Another server from now on; the connection is made by the next command.
    pub fn go_elsewhere(&mut self, host: &str, port: u16) -> Result<(), String> {
        self.way = self.way.elsewhere(self.options, host, port)?;
        self.disconnect();
        self.state.database = 0;
        Ok(())
    }

    /// A reply as it came, printed by nobody. Server's errors are replies too.
    pub async fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, String> {
        let client = self.client().await?;
        match client.command::<Value>(args).await {
            Ok(value) => Ok(value),
            Err(Error::Server(e)) => Ok(Value::Error(e.text().to_owned())),
            Err(other) => {
                self.disconnect();
                Err(format!("Error: {other}"))
            }
        }
    }

    /// One command, its reply printed.
    pub async fn command(&mut self, args: &[Vec<u8>]) -> Result<Ended, String> {
        let (name, both) = names(args);
        let client = self.client().await?;
        if name == "monitor" {
            client.listen(args).await.map_err(|e| self.lost(e))?;
            // The first reply says whether the server will stream.
            return match self.message().await? {
                reply @ Value::Error(_) => Ok(self.finish(&name, args, &reply, false)),
                reply => {
                    self.print(&self.look.reply(&reply));
                    Ok(Ended::Streaming)
                }
            };
        }
        if CHANNELS.contains(&name.as_str()) {
            return self.channels(&client, &name, args).await;
        }
        let reply = if self.state.subscribed() {
            client.listen(args).await.map_err(|e| self.lost(e))?;
            loop {
                match self.message().await? {
                    message if self.unasked(&message) => self.print_message(message),
                    reply => break reply,
                }
            }
        } else {
            match client.command::<Value>(args).await {
                Ok(value) => value,
                Err(Error::Server(e)) => Value::Error(e.text().to_owned()),
                // The server ends as it was told to.
                Err(Error::Closed) if name == "shutdown" => {
                    self.disconnect();
                    return Ok(Ended::Fine);
                }
                Err(other) => return Err(self.lost(other)),
            }
        };
        for push in client.take_pushes().await {
            self.print_message(Value::Push(push));
        }
        let as_text = TEXT.contains(&name.as_str()) || TEXT.contains(&both.as_str());
        Ok(self.finish(&name, args, &reply, as_text))
    }

    /// SUBSCRIBE and its like: one confirmation for each channel, among messages.
    async fn channels(
        &mut self,
        client: &Client,
        name: &str,
        args: &[Vec<u8>],
    ) -> Result<Ended, String> {
        client.listen(args).await.map_err(|e| self.lost(e))?;
        let mut missing = (args.len() - 1).max(1);
        while missing > 0 {
            let value = self.message().await?;
            if let Value::Error(_) | Value::Simple(_) = value {
                return Ok(self.finish(name, args, &value, false));
            }
            let confirmation = confirmed(&value, name);
            if let Some(left) = confirmation {
                missing -= 1;
                let of_slots = name.starts_with('s') && name != "subscribe";
                self.state.channels[usize::from(of_slots)] = left;
            }
            if confirmation.is_some() {
                self.print(&self.look.reply(&value));
            } else {
                self.print_message(value);
            }
        }
        Ok(Ended::Fine)
    }

    fn finish(&mut self, name: &str, args: &[Vec<u8>], reply: &Value, as_text: bool) -> Ended {
        self.state.follow(name, args, reply);
        if let (Value::Error(text), true) = (reply, self.options.error_status) {
            eprintln!("{text}");
            return Ended::Refused;
        }
        let shown = if as_text {
            self.look.text(reply)
        } else {
            self.look.reply(reply)
        };
        self.print(&shown);
        match reply {
            Value::Error(_) => Ended::Refused,
            _ => Ended::Fine,
        }
    }

    /// The next value the server sends, awaited for as long as it takes.
    pub async fn message(&mut self) -> Result<Value, String> {
        let Some(client) = self.client.clone() else {
            return Err("Error: Server closed the connection".into());
        };
        client.receive().await.map_err(|e| self.lost(e))
    }

    fn lost(&mut self, e: Error) -> String {
        self.disconnect();
        format!("Error: {e}")
    }

    /// Whether a value answers no command.
    fn unasked(&self, value: &Value) -> bool {
        match value {
            Value::Push(_) => true,
            Value::Array(items) => {
                !self.state.resp3
                    && matches!(items.first(), Some(Value::Bulk(kind)) if MESSAGES.contains(&kind.as_slice()))
            }
            _ => false,
        }
    }

    /// What is shown of a value that answers no command.
    pub fn shown(&self, message: Value) -> Option<Vec<u8>> {
        match message {
            Value::Push(items) => {
                // Those that were subscribed to are wanted whatever the option says.
                let asked = matches!(items.first(), Some(Value::Bulk(kind)) if MESSAGES.contains(&kind.as_slice()));
                (self.show_pushes || asked).then(|| self.look.push(items))
            }
            other => Some(self.look.reply(&other)),
        }
    }

    /// Prints a value that answers no command.
    pub fn print_message(&self, message: Value) {
        if let Some(shown) = self.shown(message) {
            self.print(&shown);
        }
    }

    /// Prints what the server sends, for ever.
    pub async fn listen(&mut self) -> Result<(), String> {
        loop {
            let message = self.message().await?;
            self.print_message(message);
        }
    }

    /// The command of the command line, as often as asked for. True when no reply was an error.
    pub async fn repeat(&mut self, mut args: Vec<Vec<u8>>) -> Result<bool, String> {
        let options = self.options;
        read_standard_input(options, &mut args)?;
        let mut left = options.repeat;
        let mut fine = true;
        while left != 0 {
            match self.command(&args).await? {
                Ended::Fine if self.state.subscribed() => self.listen().await?,
                Ended::Fine => {}
                Ended::Refused if options.error_status => return Ok(false),
                Ended::Refused => fine = false,
                Ended::Streaming => self.listen().await?,
            }
            left -= i64::from(left > 0);
            if left != 0 && !options.interval.is_zero() {
                tokio::time::sleep(options.interval).await;
            }
        }
        Ok(fine)
    }

    /// Lines of standard input, each a command, until it ends. True when `-e` has found nothing to complain of.
    pub async fn lines(&mut self) -> Result<bool, String> {
        let input = std::io::stdin().lock();
        for line in std::io::BufRead::split(input, b'\n') {
            let line = line.map_err(|e| format!("standard input: {e}"))?;
            let args = match words::split(&line) {
                Ok(args) => args,
                Err(why) => {
                    println!("{why}");
                    continue;
                }
            };
            let Some(name) = args.first() else { continue };
            if let b"exit" | b"quit" = name.to_ascii_lowercase().as_slice() {
                break;
            }
            let (times, args) = words::counted(&args);
            for _ in 0..times {
                match self.command(args).await? {
                    Ended::Refused if self.options.error_status => return Ok(false),
                    Ended::Streaming => self.listen().await?,
                    Ended::Fine if self.state.subscribed() => self.listen().await?,
                    _ => {}
                }
            }
        }
        Ok(true)
    }

    /// Writes to standard output, now.
    pub fn print(&self, bytes: &[u8]) {
        print(bytes);
    }
}

/// Writes to standard output, now. When nobody reads on, the program ends.
pub fn print(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        // `ferrite-cli ... | head` is no failure.
        std::process::exit(0);
    }
}

/// How many subscriptions are left after the confirmation of `name`; `None` when `value` is none.
fn confirmed(value: &Value, name: &str) -> Option<i64> {
    let (Value::Push(items) | Value::Array(items)) = value else {
        return None;
    };
    match items.as_slice() {
        [Value::Bulk(kind), _, Value::Int(left)] if kind.eq_ignore_ascii_case(name.as_bytes()) => {
            Some(*left)
        }
        _ => None,
    }
}

/// The words of the command line, unquoted where it says so.
pub fn command_line(options: &Options) -> Result<Vec<Vec<u8>>, String> {
    let mut args = Vec::new();
    for word in &options.command {
        args.push(if options.quoted_input {
            words::unquoted(word.as_bytes()).ok_or("Invalid quoted string")?
        } else {
            word.as_bytes().to_vec()
        });
    }
    if let Some(path) = &options.eval {
        args = script(path, args)?;
    }
    Ok(args)
}

/// EVAL of the script in a file, with keys before and arguments after the comma.
fn script(path: &Path, words: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
    let text =
        std::fs::read(path).map_err(|e| format!("Can't open file '{}': {e}", path.display()))?;
    let comma = words.iter().position(|w| w == b",");
    let keys = comma.unwrap_or(words.len());
    let mut args = vec![b"EVAL".to_vec(), text, keys.to_string().into_bytes()];
    let others = words.into_iter().enumerate();
    args.extend(others.filter(|(i, _)| Some(*i) != comma).map(|(_, w)| w));
    Ok(args)
}

/// Puts standard input where `-x` or `-X` wants it.
fn read_standard_input(options: &Options, args: &mut Vec<Vec<u8>>) -> Result<(), String> {
    let read = || {
        let mut all = Vec::new();
        std::io::stdin()
            .read_to_end(&mut all)
            .map_err(|e| format!("standard input: {e}"))?;
        Ok::<_, String>(all)
    };
    if options.stdin_argument {
        args.push(read()?);
    } else if let Some(tag) = &options.stdin_tag {
        let place = args.iter_mut().find(|a| a.as_slice() == tag.as_bytes());
        *place.ok_or("Using -X option but no stdin tag is found among the arguments")? = read()?;
    }
    Ok(())
}

fn style(options: &Options, terminal: bool) -> Style {
    match options {
        o if o.csv => Style::Csv,
        o if o.json => Style::Json,
        o if o.quoted_json => Style::QuotedJson,
        o if o.raw => Style::Raw,
        o if o.no_raw || terminal => Style::People,
        _ => Style::Raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(commands: &[(&str, Value)]) -> State {
        let mut state = State {
            database: 2,
            ..State::default()
        };
        for (line, reply) in commands {
            let args = words::split(line.as_bytes()).unwrap();
            state.follow(&names(&args).0, &args, reply);
        }
        state
    }

    #[test]
    fn the_prompt_knows_database_and_transaction() {
        let ok = || Value::Simple("OK".into());
        let queued = || Value::Simple("QUEUED".into());
        let no = || Value::Error("ERR".into());
        assert_eq!(after(&[("select 5", ok())]).database, 5);
        assert_eq!(after(&[("SELECT 5", no())]).database, 2);
        assert_eq!(after(&[("multi", ok())]).transaction, Some(2));
        assert_eq!(after(&[("multi", no())]).transaction, None);
        let queue = [("multi", ok()), ("select 5", queued())];
        let end = |line: &'static str, reply: Value| {
            let state = after(&[queue.to_vec(), vec![(line, reply)]].concat());
            assert_eq!(state.transaction, None);
            state.database
        };
        assert_eq!(end("exec", Value::Array(vec![ok()])), 5);
        assert_eq!(end("exec", Value::Null), 2);
        assert_eq!(end("exec", Value::Error("EXECABORT".into())), 2);
        assert_eq!(end("discard", ok()), 2);
        assert!(after(&[("hello 3", Value::Map(vec![]))]).resp3);
        assert_eq!(after(&[("reset", ok())]), State::default());
    }

    #[test]
    fn a_script_gets_keys_and_arguments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.lua");
        std::fs::write(&path, "return 1").unwrap();
        let run = |words: &[&str]| {
            let words = words.iter().map(|w| w.as_bytes().to_vec()).collect();
            let args = script(&path, words).unwrap();
            let args: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a)).collect();
            args.join(" ")
        };
        assert_eq!(run(&[]), "EVAL return 1 0");
        assert_eq!(run(&["k", "l"]), "EVAL return 1 2 k l");
        assert_eq!(run(&["k", ",", "a", ","]), "EVAL return 1 1 k a ,");
        assert!(script(Path::new("/nonexistent"), vec![]).is_err());
    }
}
