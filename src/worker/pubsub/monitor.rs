//! MONITOR: every command that is carried out, on any core, as a line.
//!
//! Source: the Redis command page of MONITOR. The core that owns the connection makes the line once its command ran or
//! was sent on. What administrators do is never shown, nor the passwords of AUTH, HELLO and MIGRATE.

use std::fmt::Write;

use super::super::Worker;
use super::super::client::Client;
use super::post::Kind;
use super::publish::News;
use crate::command::{Command, flag, redacted};

/// An argument between quotes, as `sds` prints it.
fn quote(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &b in bytes {
        match b {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(b),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
    out.push(b'"');
}

/// The line of one command.
fn line(us: u64, db: u16, addr: &str, row: &Command, argv: &[&[u8]]) -> Vec<u8> {
    let mut head = String::new();
    // Writing to a String does not fail.
    let _ = write!(
        head,
        "+{}.{:06} [{db} {addr}]",
        us / 1_000_000,
        us % 1_000_000
    );
    let mut out = head.into_bytes();
    for arg in redacted(row, argv) {
        out.push(b' ');
        quote(&mut out, arg);
    }
    out.extend_from_slice(b"\r\n");
    out
}

impl Worker {
    /// Shows a command to whoever MONITORs, on all cores.
    #[cold]
    pub(in crate::worker) fn show_command(
        &mut self,
        client: &Client,
        row: &Command,
        argv: &[&[u8]],
    ) {
        if row.has(flag::ADMIN) || row.has(flag::SKIP_MONITOR) {
            return;
        }
        self.show_line(line(self.clock.unix_us, client.db, &client.addr, row, argv));
    }

    /// Shows a command that runs a script, which has to stand ahead of what the script calls.
    #[cold]
    pub(in crate::worker) fn show_script(
        &mut self,
        client: &Client,
        row: &Command,
        argv: &[&[u8]],
    ) {
        self.show_line(line(self.clock.unix_us, client.db, &client.addr, row, argv));
    }

    /// Shows a command that a script called.
    #[cold]
    pub(in crate::worker) fn show_called(&mut self, db: u16, row: &Command, argv: &[&[u8]]) {
        if !row.has(flag::ADMIN) && !row.has(flag::SKIP_MONITOR) {
            self.show_line(line(self.clock.unix_us, db, "lua", row, argv));
        }
    }

    fn show_line(&mut self, line: Vec<u8>) {
        self.show(&line);
        if self.others_listen() {
            self.pubsub.outgoing.push(News::Line(line));
        }
    }

    /// Shows a line to those of this core's clients that MONITOR.
    pub(super) fn show(&mut self, line: &[u8]) -> u32 {
        let (mut post, audience) = self.post();
        for &index in &audience.monitors {
            post.push(index, Kind::Plain, line);
        }
        0
    }

    /// MONITOR.
    pub(in crate::worker) fn monitor(&mut self, client: &mut Client) {
        if !std::mem::replace(&mut client.monitors, true) {
            self.pubsub.audience.monitors.push(client.conn.index());
            self.shared.add_monitor();
            self.audience_changed();
        }
        self.reply(client).ok();
    }

    pub(super) fn stop_monitoring(&mut self, client: &mut Client) {
        if std::mem::take(&mut client.monitors) {
            let index = client.conn.index();
            self.pubsub.audience.monitors.retain(|i| *i != index);
            self.shared.remove_monitor();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::resolve;

    fn shown(argv: &[&[u8]]) -> String {
        let (row, _) = resolve(argv).unwrap();
        let line = line(1_339_518_083_107_412, 3, "127.0.0.1:60866", row, argv);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_is_as_redis_writes_it() {
        assert_eq!(
            shown(&[b"keys", b"*"]),
            "+1339518083.107412 [3 127.0.0.1:60866] \"keys\" \"*\"\r\n"
        );
        let line = shown(&[b"SET", b"a\"\\\n\r\t\x07\x08\x00\xff", b"b c"]);
        assert!(
            line.ends_with("\"SET\" \"a\\\"\\\\\\n\\r\\t\\a\\b\\x00\\xff\" \"b c\"\r\n"),
            "{line}"
        );
    }

    #[test]
    fn passwords_are_never_shown() {
        let line = shown(&[b"hello", b"3", b"AUTH", b"sesame", b"sesame"]);
        let end = "\"AUTH\" \"(redacted)\" \"(redacted)\"\r\n";
        assert!(line.ends_with(end), "{line}");
    }
}
