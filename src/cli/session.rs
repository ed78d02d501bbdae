//! One connection of the program: a command, many, or a conversation.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::Duration;

use ferrite::{Builder, Client, Error, Protocol, Value};

use super::args::Options;
use super::format::{self, Style};
use super::{pipe, trust, words};

/// Commands whose reply is text to be shown as it is.
const TEXT: [&str; 9] = [
    "info",
    "client list",
    "client info",
    "memory doctor",
    "memory malloc-stats",
    "latency doctor",
    "latency graph",
    "cluster info",
    "cluster nodes",
];

/// Commands that are answered by a stream.
const STREAMS: [&str; 4] = ["monitor", "subscribe", "psubscribe", "ssubscribe"];

/// Does what the command line asks for. The error is a line for standard error.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    let (builder, place) = builder(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let client = builder.connect().await.map_err(|e| refused(&place, e))?;
        let mut session = Session {
            client,
            style: style(options),
            place,
            database: options.database,
            transaction: false,
        };
        let fine = if options.pipe {
            pipe::run(&session.client, std::io::stdin().lock()).await?
        } else if options.scan {
            session.scan(options.pattern.as_deref()).await?
        } else if options.command.is_empty() && !options.stdin_argument {
            session.converse().await?;
            true
        } else {
            session.repeat(options).await?
        };
        Ok(if fine || !(options.error_status || options.pipe) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}

/// Why there is no connection, in a line.
fn refused(place: &str, e: Error) -> String {
    match e {
        Error::Connect { source, .. } => {
            format!("Could not connect to Ferrite at {place}: {source}")
        }
        Error::Server(e) => format!("{place}: login failed: {}", e.text()),
        Error::Tls(why) if why.contains("(CA)") => {
            format!(
                "Error: TLS handshake failed: {why}\nName the authority with --cacert FILE or FERRITE_CACERT."
            )
        }
        Error::Config(why) => why,
        other => format!("Error: {other}"),
    }
}

fn builder(options: &Options) -> Result<(Builder, String), String> {
    let port = options
        .port
        .unwrap_or(if options.no_tls { 6379 } else { 6380 });
    let host = &options.host;
    let v6 = host.contains(':') && !host.starts_with('[');
    let address = if v6 {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let mut builder = Client::builder(options.uri.as_deref().unwrap_or(&address));
    let place = builder.address();
    let plain_url = options
        .uri
        .as_ref()
        .is_some_and(|u| u.starts_with("redis://"))
        && !options.tls;
    if options.no_tls || plain_url {
        builder = builder.plaintext();
    } else if options.insecure {
        builder = builder.insecure();
    } else if let Some(ca) = &options.cacert {
        builder = builder.ca_file(ca);
    } else {
        let host = place
            .rsplit_once(':')
            .map_or("", |(host, _)| host.trim_matches(['[', ']']));
        if let Some(ca) = trust::development_authority(host) {
            builder = builder.ca_file(ca);
        }
    }
    if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
        builder = builder.client_cert(cert, key);
    }
    if let Some(name) = &options.sni {
        builder = builder.server_name(name);
    }
    if let Some(user) = &options.user {
        builder = builder.user(user);
    }
    if options.uri.is_none() {
        builder = builder.database(options.database);
    }
    if let Some(password) = password(options)? {
        builder = builder.password(password);
    }
    let three = options.resp3 || (options.json && !options.resp2);
    let seconds = Duration::try_from_secs_f64(options.timeout)
        .map_err(|_| "-t must be a number of seconds")?;
    builder = builder
        .protocol(if three {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        })
        .connect_timeout(seconds);
    Ok((builder, place))
}

fn password(options: &Options) -> Result<Option<String>, String> {
    let in_url = options.uri.as_ref().is_some_and(|u| u.contains('@'));
    if (options.password.is_some() || in_url) && !options.no_auth_warning {
        eprintln!(
            "Warning: a password on the command line ('-a', '-u') can be read by other users of this machine."
        );
    }
    if options.askpass {
        return ask().map(Some);
    }
    let from_environment = || {
        ["FERRITECLI_AUTH", "REDISCLI_AUTH"]
            .iter()
            .find_map(|v| std::env::var(v).ok())
    };
    Ok(options
        .password
        .clone()
        .or_else(|| if in_url { None } else { from_environment() }))
}

/// Reads a line from the terminal without showing it.
fn ask() -> Result<String, String> {
    use std::os::fd::AsRawFd;
    let tty = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty");
    let tty = tty.map_err(|e| format!("--askpass needs a terminal: {e}"))?;
    let fd = tty.as_raw_fd();
    // SAFETY: `termios` is plain data, valid when zeroed; `fd` stays open as long as `tty`; both calls check it.
    let before = unsafe {
        let mut state: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(fd, &mut state) != 0 {
            return Err("--askpass: the terminal does not say how it is set".into());
        }
        state
    };
    let mut silent = before;
    silent.c_lflag &= !libc::ECHO;
    // SAFETY: as above; `silent` is what the terminal gave us, with one flag off.
    if unsafe { libc::tcsetattr(fd, libc::TCSANOW, &silent) } != 0 {
        return Err("--askpass: the terminal cannot be silenced".into());
    }
    let mut line = String::new();
    let read = (&tty)
        .write_all(b"Please input password: ")
        .and_then(|()| std::io::BufReader::new(&tty).read_line(&mut line));
    // SAFETY: as above, with the terminal's own state. A failure leaves it silent, which `stty sane` mends.
    unsafe { libc::tcsetattr(fd, libc::TCSANOW, &before) };
    let _ = (&tty).write_all(b"\n");
    read.map_err(|e| format!("--askpass: {e}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn style(options: &Options) -> Style {
    match options {
        o if o.csv => Style::Csv,
        o if o.json => Style::Json,
        o if o.raw => Style::Raw,
        o if o.no_raw || std::io::stdout().is_terminal() => Style::People,
        _ => Style::Raw,
    }
}

struct Session {
    client: Client,
    style: Style,
    place: String,
    database: u32,
    transaction: bool,
}

impl Session {
    /// The command of the command line, as often as asked for. True when no reply was an error.
    async fn repeat(&mut self, options: &Options) -> Result<bool, String> {
        let mut args: Vec<Vec<u8>> = options
            .command
            .iter()
            .map(|w| w.as_bytes().to_vec())
            .collect();
        if options.stdin_argument {
            let mut last = Vec::new();
            std::io::stdin()
                .read_to_end(&mut last)
                .map_err(|e| format!("standard input: {e}"))?;
            args.push(last);
        }
        let pause = Duration::try_from_secs_f64(options.interval)
            .map_err(|_| "-i must be a number of seconds")?;
        let mut left = options.repeat;
        let mut fine = true;
        while left != 0 {
            fine &= self
                .command(&args)
                .await
                .map_err(|e| format!("Error: {e}"))?;
            left -= i64::from(left > 0);
            if left != 0 && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(fine)
    }

    /// One command, its reply printed. False when the reply is an error.
    async fn command(&mut self, args: &[Vec<u8>]) -> Result<bool, Error> {
        let name =
            String::from_utf8_lossy(args.first().map_or(&[][..], |a| a)).to_ascii_lowercase();
        if STREAMS.contains(&name.as_str()) {
            self.client.listen(args).await?;
            loop {
                let items = self.client.next_push().await?;
                let message = if items.len() == 1 {
                    items.into_iter().next().unwrap_or(Value::Null)
                } else {
                    Value::Push(items)
                };
                self.print(&format::reply(&message, self.style));
            }
        }
        let reply = match self.client.command::<Value>(args).await {
            Ok(value) => value,
            Err(Error::Server(e)) => Value::Error(e.text().to_owned()),
            Err(other) => return Err(other),
        };
        for push in self.client.take_pushes().await {
            self.print(&format::reply(&Value::Push(push), self.style));
        }
        self.remember(&name, args, &reply);
        let sub = args
            .get(1)
            .map(|a| String::from_utf8_lossy(a).to_ascii_lowercase())
            .unwrap_or_default();
        let both = format!("{name} {sub}");
        let as_text = TEXT.contains(&name.as_str()) || TEXT.contains(&both.as_str());
        let lines = if both == "encryption status" {
            format::name_and_value_lines(&reply)
        } else {
            None
        };
        let plain = matches!(self.style, Style::People | Style::Raw);
        match (lines, &reply) {
            (Some(lines), _) if plain => self.print(&lines),
            (_, Value::Bulk(text) | Value::Verbatim(_, text)) if plain && as_text => {
                self.print(text);
                if text.last() != Some(&b'\n') {
                    self.print(b"\n");
                }
            }
            _ => self.print(&format::reply(&reply, self.style)),
        }
        Ok(!matches!(reply, Value::Error(_)))
    }

    /// What the prompt shows.
    fn remember(&mut self, name: &str, args: &[Vec<u8>], reply: &Value) {
        let fine = !matches!(reply, Value::Error(_));
        match name {
            "multi" if fine => self.transaction = true,
            "exec" | "discard" => self.transaction = false,
            "reset" if fine => (self.transaction, self.database) = (false, 0),
            "select" if *reply == Value::Simple("OK".into()) => {
                self.database = args
                    .get(1)
                    .and_then(|a| std::str::from_utf8(a).ok()?.parse().ok())
                    .unwrap_or(self.database);
            }
            _ => {}
        }
    }

    /// Lines from the terminal or from standard input, each a command, until it ends.
    async fn converse(&mut self) -> Result<(), String> {
        let first = self.database;
        let terminal = std::io::stdin().is_terminal();
        let mut line = Vec::new();
        loop {
            if terminal {
                let database = if self.database == 0 {
                    String::new()
                } else {
                    format!("[{}]", self.database)
                };
                let transaction = if self.transaction { "(TX)" } else { "" };
                self.print(format!("{}{database}{transaction}> ", self.place).as_bytes());
            }
            line.clear();
            // Blocks the one thread there is: nothing else is going on.
            let n = std::io::stdin()
                .lock()
                .read_until(b'\n', &mut line)
                .map_err(|e| format!("standard input: {e}"))?;
            if n == 0 {
                return Ok(());
            }
            let args = match words::split(&line) {
                Ok(args) => args,
                Err(why) => {
                    println!("{why}");
                    continue;
                }
            };
            let Some(name) = args.first() else { continue };
            match name.to_ascii_lowercase().as_slice() {
                b"exit" | b"quit" => return Ok(()),
                b"clear" if terminal => self.print(b"\x1b[H\x1b[2J"),
                b"help" if terminal => self.print(b"COMMAND DOCS name describes a command; COMMAND LIST names them all; quit ends.\n"),
                _ => {
                    if let Err(e) = self.command(&args).await {
                        eprintln!("Error: {e}");
                        // The next command makes a new connection, which knows nothing of these.
                        (self.transaction, self.database) = (false, first);
                    }
                }
            }
        }
    }

    /// All keys, by SCAN, one a line.
    async fn scan(&mut self, pattern: Option<&str>) -> Result<bool, String> {
        let mut cursor = b"0".to_vec();
        loop {
            let args: [&[u8]; 4] = [
                b"SCAN",
                &cursor,
                b"MATCH",
                pattern.unwrap_or("*").as_bytes(),
            ];
            let reply: Value = self
                .client
                .command(args)
                .await
                .map_err(|e| format!("Error: {e}"))?;
            let Value::Array(parts) = reply else {
                return Err("Error: SCAN answers no list".into());
            };
            let Ok([Value::Bulk(next), Value::Array(keys)]) = <[Value; 2]>::try_from(parts) else {
                return Err("Error: SCAN answers no cursor and keys".into());
            };
            for key in &keys {
                self.print(&format::reply(key, self.style));
            }
            if next == b"0" {
                return Ok(true);
            }
            cursor = next;
        }
    }

    fn print(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            // Nobody reads on: `ferrite-cli ... | head` is no failure.
            std::process::exit(0);
        }
    }
}
