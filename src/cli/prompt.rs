//! The conversation at a terminal: a line is edited on a thread of its own, while messages of the server are shown above
//! it as they come.
//!
//! Ctrl-C takes back a line, ends a command that waits, and leaves MONITOR and subscriptions; on an empty line it ends
//! the program, as Ctrl-D and `quit` do.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use ferrite::Value;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, ExternalPrinter, Helper};
use tokio::signal::unix::{SignalKind, signal};

use super::docs::{self, Docs};
use super::format::Style;
use super::session::{Ended, Session, print};
use super::{hints, history, words};

/// A command that takes this long has its time shown.
const SLOW: Duration = Duration::from_millis(500);

/// What the editor's thread and the conversation both look at.
#[derive(Default)]
struct Shared {
    docs: Mutex<Docs>,
    hints: AtomicBool,
    /// Something stands on the line being edited.
    typed: AtomicBool,
}

impl Shared {
    fn docs<T>(&self, look: impl FnOnce(&mut Docs) -> T) -> T {
        look(&mut self.docs.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the editor asks while a line is typed.
struct Assistant(Arc<Shared>);

/// A hint is looked at and never taken over.
struct Shown(String);

impl Hint for Shown {
    fn display(&self) -> &str {
        &self.0
    }
    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Completer for Assistant {
    type Candidate = String;
    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        if at < line.len() {
            return Ok((at, Vec::new()));
        }
        Ok((0, self.0.docs(|docs| docs.complete(line))))
    }
}

impl Hinter for Assistant {
    type Hint = Shown;
    fn hint(&self, line: &str, at: usize, _: &Context<'_>) -> Option<Shown> {
        self.0.typed.store(!line.is_empty(), Relaxed);
        if at < line.len() || !self.0.hints.load(Relaxed) {
            return None;
        }
        let hint = self.0.docs(|docs| hint(docs, line))?;
        let space = if line.ends_with(' ') { "" } else { " " };
        (!hint.is_empty()).then(|| Shown(format!("{space}{hint}")))
    }
}

/// The arguments that the command on a line still takes.
fn hint(docs: &Docs, line: &str) -> Option<String> {
    let typed = words::split(line.as_bytes()).ok()?;
    let mut typed: Vec<String> = typed
        .iter()
        .map(|w| String::from_utf8_lossy(w).into_owned())
        .collect();
    if typed.len() > 1 && typed[0].parse::<i64>().is_ok() {
        typed.remove(0);
    }
    let (entry, named) = docs.find(&typed)?;
    hints::rest(&entry.arguments, &typed[named..])
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[90m{hint}\x1b[0m"))
    }
}

impl Validator for Assistant {}
impl Helper for Assistant {}

enum Request {
    Read(String),
    Remember(String),
}

/// The thread that edits lines, seen from the conversation.
struct Seat {
    requests: mpsc::Sender<Request>,
    lines: tokio::sync::mpsc::UnboundedReceiver<Result<String, ReadlineError>>,
    /// Shows text above the line being edited; without a capable terminal there is none.
    above: Option<mpsc::Sender<String>>,
}

impl Seat {
    fn start(shared: Arc<Shared>, earlier: Vec<String>) -> Result<Seat, String> {
        let failed = |e: ReadlineError| format!("terminal: {e}");
        let config = Config::builder().auto_add_history(false).build();
        let kept = MemHistory::with_config(&config);
        let mut editor = Editor::<Assistant, _>::with_history(config, kept).map_err(failed)?;
        editor.set_helper(Some(Assistant(shared)));
        for line in earlier {
            editor.add_history_entry(line).map_err(failed)?;
        }
        let above = editor.create_external_printer().ok().map(|mut printer| {
            // A thread of its own: it may have to wait for the editor.
            let (sender, texts) = mpsc::channel::<String>();
            std::thread::spawn(move || {
                for text in texts {
                    if printer.print(text).is_err() {
                        break;
                    }
                }
            });
            sender
        });
        let (requests, asked) = mpsc::channel();
        let (typed, lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for request in asked {
                match request {
                    Request::Read(prompt) => {
                        if typed.send(editor.readline(&prompt)).is_err() {
                            break;
                        }
                    }
                    // Memory takes every line.
                    Request::Remember(line) => drop(editor.add_history_entry(line)),
                }
            }
        });
        Ok(Seat {
            requests,
            lines,
            above,
        })
    }

    fn ask(&self, request: Request) -> Result<(), String> {
        self.requests
            .send(request)
            .map_err(|_| "the line editor has ended".into())
    }

    /// Shows text, whether a line is being edited or not.
    fn show(&self, text: Vec<u8>) {
        match &self.above {
            Some(above) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                // It fails only when the terminal is gone, which the next line will tell.
                let _ = above.send(text);
            }
            None => print(&text),
        }
    }
}

/// The conversation.
struct Talk<'s, 'o> {
    session: &'s mut Session<'o>,
    shared: Arc<Shared>,
    seat: Seat,
    file: Option<std::path::PathBuf>,
}

/// Reads and carries out lines until the user ends it. True unless `-e` has met an error.
pub async fn run(session: &mut Session<'_>) -> Result<bool, String> {
    let shared = Arc::new(Shared::default());
    shared.hints.store(true, Relaxed);
    let file = history::file();
    let earlier = match file.as_deref().map(history::load) {
        Some(Ok(lines)) => lines,
        Some(Err(e)) => {
            eprintln!("The history cannot be read: {e}");
            Vec::new()
        }
        None => Vec::new(),
    };
    let seat = Seat::start(shared.clone(), earlier)?;
    let mut talk = Talk {
        session,
        shared,
        seat,
        file,
    };
    for line in history::preferences() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !words.is_empty() && !talk.prefer(&words) {
            eprintln!("preferences: unknown: {line}");
        }
    }
    talk.connect().await;
    loop {
        let lines = match talk.read().await? {
            Ok(lines) => lines,
            Err(ReadlineError::Interrupted) if talk.shared.typed.load(Relaxed) => continue,
            Err(ReadlineError::Interrupted) if talk.session.state.subscribed() => {
                talk.leave().await;
                continue;
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(true),
            Err(other) => return Err(format!("terminal: {other}")),
        };
        // A pasted text may hold several.
        for line in lines.split(['\n', '\r']) {
            match talk.line(line).await? {
                Next::Go => {}
                Next::End => return Ok(true),
                Next::Fail => return Ok(false),
            }
        }
    }
}

/// What follows a line.
enum Next {
    Go,
    End,
    Fail,
}

impl Talk<'_, '_> {
    fn prompt(&self) -> String {
        let session = &self.session;
        if !session.connected() {
            return "not connected> ".into();
        }
        let state = &session.state;
        let mut out = session.way.place.clone();
        if state.database != 0 {
            out.push_str(&format!("[{}]", state.database));
        }
        if state.transaction.is_some() {
            out.push_str("(TX)");
        }
        if state.subscribed() {
            out.push_str("(subscribed mode)");
        }
        out + "> "
    }

    /// One line from the editor. What the server sends meanwhile is shown above it.
    async fn read(&mut self) -> Result<Result<String, ReadlineError>, String> {
        self.shared.typed.store(false, Relaxed);
        self.seat.ask(Request::Read(self.prompt()))?;
        loop {
            let connected = self.session.connected();
            tokio::select! {
                line = self.seat.lines.recv() => {
                    return line.ok_or_else(|| "the line editor has ended".into());
                }
                message = self.session.message(), if connected => {
                    let text = match message {
                        Ok(message) => self.session.shown(message),
                        Err(why) => Some(format!("{why}\n").into_bytes()),
                    };
                    if let Some(text) = text {
                        self.seat.show(text);
                    }
                }
            }
        }
    }

    /// Connects and reads what the server says of its commands.
    async fn connect(&mut self) {
        let mut interrupt = match signal(SignalKind::interrupt()) {
            Ok(interrupt) => interrupt,
            Err(e) => return eprintln!("{e}"),
        };
        let connected = tokio::select! {
            connected = self.session.client() => connected,
            _ = interrupt.recv() => return println!(),
        };
        match connected {
            Ok(_) => self.learn().await,
            Err(why) => eprintln!("{why}"),
        }
    }

    /// Leaves MONITOR or subscriptions, for which the connection has to end.
    async fn leave(&mut self) {
        self.session.disconnect();
        self.connect().await;
    }

    async fn learn(&mut self) {
        let state = &self.session.state;
        if state.transaction.is_some() || state.subscribed() || !self.session.connected() {
            return;
        }
        let docs = self.session.ask(&["COMMAND", "DOCS"]).await;
        let docs = docs.unwrap_or(Value::Null);
        let commands = if Docs::lacking(&docs) && self.session.connected() {
            self.session.ask(&["COMMAND"]).await.unwrap_or(Value::Null)
        } else {
            Value::Null
        };
        let read = Docs::read(&docs, &commands);
        self.shared.docs(|docs| *docs = read);
    }

    /// Carries out one line.
    async fn line(&mut self, line: &str) -> Result<Next, String> {
        if line.trim().is_empty() {
            return Ok(Next::Go);
        }
        if !history::is_secret(line) {
            self.seat.ask(Request::Remember(line.to_owned()))?;
            if let Some(Err(e)) = self.file.as_deref().map(|f| history::append(f, line)) {
                eprintln!("The history cannot be written: {e}");
                self.file = None;
            }
        }
        let args = match words::split(line.as_bytes()) {
            Ok(args) => args,
            Err(why) => {
                println!("{why}");
                return Ok(Next::Go);
            }
        };
        let typed: Vec<String> = args
            .iter()
            .map(|a| String::from_utf8_lossy(a).into_owned())
            .collect();
        let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
        let Some(first) = typed.first() else {
            return Ok(Next::Go);
        };
        match (first.to_ascii_lowercase().as_str(), &typed[1..]) {
            ("quit" | "exit", []) => return Ok(Next::End),
            ("clear", []) => print(b"\x1b[H\x1b[2J"),
            ("help" | "?", []) => print(docs::help_on_help().as_bytes()),
            ("help" | "?", topic) => {
                let topic: Vec<String> = topic.iter().map(|w| (*w).to_owned()).collect();
                let colour = std::env::var_os("NO_COLOR").is_none();
                let text = self.shared.docs(|docs| docs.help(&topic, colour));
                print(text.as_bytes());
            }
            (":set", _) => {
                if !self.prefer(&typed) {
                    println!("Say `:set hints` or `:set nohints`.");
                }
            }
            ("connect", [host, port]) => match port.parse() {
                Ok(port) if port > 0 => {
                    self.session.go_elsewhere(host, port)?;
                    self.connect().await;
                }
                _ => println!("connect: `{port}` is no port"),
            },
            ("connect", _) => println!("connect wants a host and a port"),
            _ => return self.command(&args).await,
        }
        Ok(Next::Go)
    }

    /// Sets a preference; false when there is none of that name.
    fn prefer(&self, words: &[&str]) -> bool {
        let on = match words {
            [":set", "hints"] => true,
            [":set", "nohints"] => false,
            _ => return false,
        };
        self.shared.hints.store(on, Relaxed);
        true
    }

    /// A command for the server, as often as a number before it says.
    async fn command(&mut self, args: &[Vec<u8>]) -> Result<Next, String> {
        let (times, args) = words::counted(args);
        if times < 1 {
            println!("A command is repeated once or more often.");
            return Ok(Next::Go);
        }
        for turn in 0..times {
            let interval = self.session.options.interval;
            if turn > 0 && !interval.is_zero() && !self.pause(interval).await? {
                break;
            }
            match self.once(args).await? {
                Some(Ended::Fine) => {}
                Some(Ended::Refused) if self.session.options.error_status => return Ok(Next::Fail),
                Some(Ended::Refused) => {}
                Some(Ended::Streaming) | None => break,
            }
        }
        Ok(Next::Go)
    }

    /// Waits; false when the user does not want to.
    async fn pause(&self, time: Duration) -> Result<bool, String> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
        Ok(tokio::select! {
            () = tokio::time::sleep(time) => true,
            _ = interrupt.recv() => false,
        })
    }

    /// One command once; `None` when it did not come to an end.
    async fn once(&mut self, args: &[Vec<u8>]) -> Result<Option<Ended>, String> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
        let name = args[0].to_ascii_lowercase();
        let (new, subscribed) = (!self.session.connected(), self.session.state.subscribed());
        let began = Instant::now();
        let ended = tokio::select! {
            ended = self.session.command(args) => ended,
            _ = interrupt.recv() => {
                println!();
                // A server that lets one wait for the connection is not asked again unasked.
                if new {
                    self.session.disconnect();
                } else {
                    self.leave().await;
                }
                return Ok(None);
            }
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(why) => {
                eprintln!("{why}");
                return Ok(None);
            }
        };
        if ended == Ended::Streaming {
            tokio::select! {
                Err(why) = self.session.listen() => eprintln!("{why}"),
                _ = interrupt.recv() => println!(),
            }
            self.leave().await;
            return Ok(None);
        }
        if began.elapsed() >= SLOW && self.session.look.style == Style::People {
            println!("({:.2}s)", began.elapsed().as_secs_f64());
        }
        if self.session.state.subscribed() && !subscribed {
            println!("Reading messages... (press Ctrl-C to quit, or type a command)");
        }
        // Whoever logs in may be told more of the commands.
        let login = matches!(name.as_slice(), b"auth" | b"hello" | b"reset");
        if new || (login && ended == Ended::Fine) {
            self.learn().await;
        }
        Ok(Some(ended))
    }
}
