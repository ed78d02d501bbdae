//! The conversation at a pseudo-terminal: what is typed, and what then stands on the screen.
//!
//! A test waits for what must appear, however long it takes; it never waits for a time.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::ferrite::Ferrite;
use super::{Redis, output};

/// Passing it means that what is waited for will never come.
const PATIENCE: Duration = Duration::from_secs(60);

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const UP: &str = "\x1b[A";

struct Terminal {
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    /// How far of the plain text the test has looked.
    at: usize,
    child: Child,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program at a terminal, with a home directory of its own.
fn open(cli: &Command, home: &Path, more: &[&str]) -> Terminal {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits() as i32)
        .open(name.to_str().unwrap())
        .unwrap();
    let size = Winsize {
        ws_row: 50,
        ws_col: 150,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&slave, size).unwrap();
    // setsid makes the terminal the one that Ctrl-C comes from.
    let mut command = Command::new("setsid");
    command
        .arg("--ctty")
        .arg(cli.get_program())
        .args(cli.get_args())
        .args(more);
    for (name, value) in cli.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("TERM", "xterm-256color").env("HOME", home);
    let end = || slave.try_clone().unwrap();
    let child = command
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .expect("setsid of util-linux must be installed");
    let keys = File::from(master);
    let mut output = keys.try_clone().unwrap();
    let (sender, screen) = channel();
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(n) = output.read(&mut chunk) {
            if n == 0 || sender.send(chunk[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    Terminal {
        keys,
        screen,
        seen: Vec::new(),
        at: 0,
        child,
    }
}

/// What is left of a terminal's output without escape sequences and returns.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => {
                // ESC [ parameters letter
                if rest.next() == Some('[') {
                    for c in rest.by_ref() {
                        if c.is_ascii_alphabetic() {
                            break;
                        }
                    }
                }
            }
            '\r' => {}
            c => out.push(c),
        }
    }
    out
}

impl Terminal {
    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line and its end.
    fn line(&mut self, text: &str) {
        self.press(&format!("{text}\r"));
    }

    /// Waits until `wanted` stands behind what was waited for last.
    #[track_caller]
    fn expect(&mut self, wanted: &str) {
        let began = Instant::now();
        loop {
            let text = plain(&self.seen);
            if let Some(found) = text.get(self.at..).and_then(|t| t.find(wanted)) {
                self.at += found + wanted.len();
                return;
            }
            match self.screen.recv_timeout(Duration::from_millis(100)) {
                Ok(bytes) => self.seen.extend_from_slice(&bytes),
                Err(RecvTimeoutError::Timeout) if began.elapsed() < PATIENCE => {}
                Err(_) => panic!(
                    "{wanted:?} did not come:\n{}",
                    &text[self.at.min(text.len())..]
                ),
            }
        }
    }

    /// What has stood on the screen so far.
    fn all(&self) -> String {
        plain(&self.seen)
    }

    /// Waits for the program's end.
    #[track_caller]
    fn ends(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                began.elapsed() < PATIENCE,
                "it does not end: {}",
                self.all()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn lines_are_edited_completed_and_answered() {
    let ferrite = Ferrite::start();
    let (home, place) = (home(), format!("127.0.0.1:{}", ferrite.port));
    let mut t = open(&ferrite.cli(), home.path(), &[]);
    t.expect(&format!("{place}> "));
    t.line("set greeting \"hello world\"");
    t.expect("\nOK\n");
    // The case typed is kept, and two words are completed too.
    t.press("config res\t");
    t.expect("config resetstat");
    t.press("\x15DBS\t");
    t.expect("DBSIZE");
    t.line("");
    t.expect("\n(integer) 1\n");
    // Ctrl-A and a word before.
    t.press("greeting\x01get ");
    t.line("");
    t.expect("\n\"hello world\"\n");
    t.line("3 incr n");
    t.expect("\n(integer) 1\n(integer) 2\n(integer) 3\n");
    t.line("get \"open");
    t.expect("\nInvalid argument(s)");
    t.line("encryption status");
    t.expect("\nenabled: true\n");
    t.expect(&format!("\n{place}> "));
    t.line("multi");
    t.expect(&format!("\nOK\n{place}(TX)> "));
    t.line("select 3");
    t.expect(&format!("QUEUED\n{place}[3](TX)> "));
    t.line("discard");
    t.expect(&format!("\nOK\n{place}> "));
    t.line("select 2");
    t.expect(&format!("\nOK\n{place}[2]> "));
    // A line that is given up does nothing.
    t.press(&format!("flushall{CTRL_C}"));
    t.expect(&format!("{place}[2]> "));
    t.line("help get");
    t.expect("\n  GET key");
    t.expect("summary: ");
    t.expect("group: string");
    t.line("help @connection");
    t.expect("\n  AUTH ");
    t.line("help");
    t.expect("\"quit\" to exit");
    t.line("exit");
    assert_eq!(t.ends(), Some(0));
    let out = output(ferrite.cli().args(["GET", "greeting"]), b"");
    assert_eq!(out.stdout, b"hello world\n");
}

#[test]
fn hints_follow_what_is_typed_and_can_be_switched_off() {
    let redis = Redis::open_to_all();
    let home = home();
    let mut t = open(&redis.cli(), home.path(), &[]);
    t.expect("> ");
    t.press("set k");
    t.expect("set k value [NX|XX] [GET] [EX seconds|PX milliseconds|");
    t.press(" v get ex");
    t.expect("set k v get ex seconds [NX|XX]");
    t.press(" 5");
    t.expect("set k v get ex 5 [NX|XX]");
    t.line("");
    t.expect("\n(nil)\n");
    t.line(":set nohints");
    t.expect("> ");
    t.press("mget x");
    t.expect("mget x");
    t.line("");
    t.expect("\n1) (nil)\n");
    let after = t.all();
    assert!(!after[t.at - 40..].contains("[key ...]"), "{after}");
    t.line("quit");
    assert_eq!(t.ends(), Some(0));

    // The preference can be kept, and other hints are none of it.
    std::fs::write(home.path().join(".ferriteclirc"), ":set nohints\n").unwrap();
    let mut t = open(&redis.cli(), home.path(), &[]);
    t.expect("> ");
    t.press("incr kk");
    t.expect("incr kk");
    t.line("");
    t.expect("\n(integer) 1\n");
    t.line("get");
    t.expect("wrong number of arguments");
    assert!(!t.all().contains("get key"), "{}", t.all());
}

#[test]
fn the_history_is_kept_without_secrets() {
    let ferrite = Ferrite::start();
    let home = home();
    let mut t = open(&ferrite.cli(), home.path(), &[]);
    t.expect("> ");
    for line in [
        "set kept 1",
        "auth nothing-to-see-1",
        "acl setuser ann on >nothing-to-see-2",
        "hello 2 auth ann nothing-to-see-3",
        "config set requirepass \"nothing-to-see-4",
        "2 auth nothing-to-see-5",
    ] {
        t.line(line);
        t.expect(&format!("\n127.0.0.1:{}> ", ferrite.port));
    }
    // What is pasted in one piece is judged line by line.
    t.press("\x1b[200~get kept\nauth nothing-to-see-6\x1b[201~");
    t.line("");
    t.expect("\n\"1\"\n");
    // The arrow does not lead back to it either.
    t.press(UP);
    t.expect("get kept");
    t.press("\x15");
    t.press(CTRL_D);
    assert_eq!(t.ends(), Some(0));
    let path = home.path().join(".ferritecli_history");
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept, "set kept 1\nget kept\n");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut t = open(&ferrite.cli(), home.path(), &[]);
    t.expect("> ");
    t.press(&format!("{UP}{UP}"));
    t.expect("set kept 1");
    t.line("");
    t.expect(&format!("\nOK\n127.0.0.1:{}> ", ferrite.port));
    t.press(CTRL_C);
    assert_eq!(t.ends(), Some(0));
}

#[test]
fn ctrl_c_leaves_what_waits_and_comes_back_to_the_prompt() {
    let ferrite = Ferrite::start();
    let say = |words: &[&str]| drop(output(ferrite.cli().args(words), b""));
    for protocol in ["-2", "-3"] {
        let home = home();
        let place = format!("127.0.0.1:{}", ferrite.port);
        let mut t = open(&ferrite.cli(), home.path(), &[protocol]);
        t.expect(&format!("{place}> "));
        t.line("subscribe ch other");
        t.expect("1) \"subscribe\"\n2) \"other\"\n3) (integer) 2\n");
        t.expect(&format!("{place}(subscribed mode)> "));
        say(&["PUBLISH", "ch", "one"]);
        t.expect("1) \"message\"\n2) \"ch\"\n3) \"one\"\n");
        // A line half typed survives a message.
        t.press("unsub");
        t.expect("unsub");
        say(&["PUBLISH", "other", "two"]);
        t.expect("3) \"two\"\n");
        t.expect("unsub");
        t.line("scribe other");
        t.expect("1) \"unsubscribe\"\n2) \"other\"\n3) (integer) 1\n");
        t.line("ping");
        t.expect(if protocol == "-2" {
            "1) \"pong\"\n"
        } else {
            "PONG\n"
        });
        t.expect(&format!("{place}(subscribed mode)> "));
        t.press(CTRL_C);
        t.expect(&format!("{place}> "));
        t.line("set after 1");
        t.expect("\nOK\n");
        t.line("monitor");
        t.expect("\nOK\n");
        say(&["GET", "watched"]);
        t.expect("\"GET\" \"watched\"");
        t.press(CTRL_C);
        t.expect(&format!("{place}> "));
        t.line("blpop nothing 0");
        t.expect("blpop nothing 0");
        // It waits when the server says so.
        let waits = || {
            let out = output(ferrite.cli().args(["INFO", "clients"]), b"");
            String::from_utf8(out.stdout)
                .unwrap()
                .contains("blocked_clients:1")
        };
        let began = Instant::now();
        while !waits() {
            assert!(began.elapsed() < PATIENCE, "{}", t.all());
        }
        t.press(CTRL_C);
        t.expect(&format!("{place}> "));
        t.line("get after");
        t.expect(&format!("\n\"1\"\n{place}> "));
        t.press(CTRL_C);
        assert_eq!(t.ends(), Some(0));
    }
}

#[test]
fn keys_to_forget_are_shown_as_they_come() {
    let ferrite = Ferrite::start();
    let home = home();
    for (more, shown) in [(&["-3"][..], true), (&["-3", "--show-pushes", "no"], false)] {
        let mut t = open(&ferrite.cli(), home.path(), more);
        t.expect("> ");
        t.line("client tracking on");
        t.expect("\nOK\n");
        t.line("get tracked");
        t.expect("(nil)\n");
        output(ferrite.cli().args(["SET", "tracked", "1"]), b"");
        if shown {
            t.expect("-> invalidate: 'tracked'\n");
        }
        t.line("get tracked");
        t.expect("\n\"1\"\n");
        assert_eq!(t.all().contains("invalidate"), shown, "{}", t.all());
        output(ferrite.cli().args(["DEL", "tracked"]), b"");
    }
}

#[test]
fn a_server_that_went_away_is_found_again() {
    let mut ferrite = Ferrite::start();
    let home = home();
    let place = format!("127.0.0.1:{}", ferrite.port);
    let mut t = open(&ferrite.cli(), home.path(), &[]);
    t.expect(&format!("{place}> "));
    t.line("select 4");
    t.expect(&format!("{place}[4]> "));
    ferrite.stop();
    t.expect("Error: ");
    t.line("get x");
    t.expect("Could not connect to Ferrite at ");
    t.expect("not connected> ");
    ferrite.start_again();
    t.line("set back 1");
    t.expect("\nOK\n");
    // The database is the one from before.
    t.expect(&format!("{place}[4]> "));
    let out = output(ferrite.cli().args(["-n", "4", "GET", "back"]), b"");
    assert_eq!(out.stdout, b"1\n");
    let other = Ferrite::start();
    t.line(&format!("connect 127.0.0.1 {}", other.port));
    // Another authority: it is refused, in words.
    t.expect("TLS handshake failed: certificate verify failed");
    t.expect("not connected> ");
    t.line(&format!("connect 127.0.0.1 {}", ferrite.port));
    t.expect(&format!("{place}> "));
    t.line("shutdown nosave");
    t.expect("not connected> ");
    t.press(CTRL_D);
    assert_eq!(t.ends(), Some(0));
}
