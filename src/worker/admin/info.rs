//! INFO: which sections, and in which order.
//!
//! Source: the Redis command page of INFO. A section is a row of [`SECTIONS`]; what stands in it is
//! written in `figures.rs`, `following.rs`, `latency.rs` and `encryption.rs`. Every figure is measured or counted;
//! those about features that do not exist are what they would be with the feature at rest, and
//! stand there because tools read them.

use std::fmt::{Display, Write};

use super::super::Worker;
use super::super::client::Client;
use super::super::gather::{Answer, Question, Whole};
use super::super::machine::{self, Allocator, CpuTime, Whose};
use super::super::shared::Shared;
use super::super::tick::Flow;
use super::{encryption, figures, following, latency};
use crate::settings::Settings;

/// What sections are written from.
pub struct View<'a> {
    /// All cores' reports.
    pub whole: &'a Whole,
    /// The settings.
    pub settings: &'a Settings,
    /// What all cores share.
    pub shared: &'a Shared,
    /// What the allocator has.
    pub allocator: Allocator,
    /// Bytes of the process in memory.
    pub resident: u64,
    /// Processor time of the process.
    pub cpu: CpuTime,
    /// Unix time in microseconds.
    pub now_us: u64,
}

/// The text of a section under the making.
#[derive(Default)]
pub struct Text(String);

impl Text {
    /// A line `name:value`.
    pub fn line(&mut self, name: impl Display, value: impl Display) {
        // Writing to a String does not fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// A number of bytes, and the same for people under `name_human`.
    pub fn bytes(&mut self, name: &str, bytes: u64) {
        self.line(name, bytes);
        self.line(format_args!("{name}_human"), human(bytes));
    }
}

/// Bytes as people read them, in powers of 1024.
fn human(bytes: u64) -> String {
    let mut n = bytes as f64;
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    for unit in ["K", "M", "G", "T"] {
        n /= 1024.0;
        if n < 1024.0 {
            return format!("{n:.2}{unit}");
        }
    }
    format!("{:.2}P", n / 1024.0)
}

struct Section {
    name: &'static str,
    title: &'static str,
    /// Whether INFO without arguments shows it.
    default: bool,
    write: fn(&View<'_>, &mut Text),
}

const fn section(
    name: &'static str,
    title: &'static str,
    default: bool,
    write: fn(&View<'_>, &mut Text),
) -> Section {
    Section {
        name,
        title,
        default,
        write,
    }
}

/// Every section, in order.
const SECTIONS: &[Section] = &[
    section("server", "Server", true, figures::server),
    section("clients", "Clients", true, figures::clients),
    section("memory", "Memory", true, figures::memory),
    section("persistence", "Persistence", true, figures::persistence),
    section("stats", "Stats", true, figures::stats),
    section("replication", "Replication", true, following::lines),
    section("cpu", "CPU", true, figures::cpu),
    section("modules", "Modules", true, |_, _| {}),
    section("commandstats", "Commandstats", false, latency::commandstats),
    section("errorstats", "Errorstats", true, latency::errorstats),
    section("latencystats", "Latencystats", false, latency::latencystats),
    section("cluster", "Cluster", true, figures::cluster),
    section("keyspace", "Keyspace", true, figures::keyspace),
    section("tls", "TLS", true, encryption::tls),
    section("encryption", "Encryption", true, encryption::info),
    section("cores", "Cores", false, figures::cores),
];

/// Which sections the arguments of INFO mean, as indexes.
fn chosen(names: &[&[u8]]) -> Vec<usize> {
    let meant = |section: &Section| {
        names.is_empty() && section.default
            || names.iter().any(|name| {
                let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
                is(section.name)
                    || is("all")
                    || is("everything")
                    || (is("default") && section.default)
            })
    };
    (0..SECTIONS.len())
        .filter(|&i| meant(&SECTIONS[i]))
        .collect()
}

impl Worker {
    pub(super) fn info(&mut self, client: &mut Client, index: u32, argv: &[&[u8]]) -> Flow {
        let chosen = chosen(&argv[1..]);
        let latencies = chosen.iter().any(|&i| SECTIONS[i].name == "latencystats");
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let whole = Whole::of(answers);
            let view = worker.view(&whole);
            let mut text = Text::default();
            for (n, &i) in chosen.iter().enumerate() {
                let gap = if n > 0 { "\r\n" } else { "" };
                let _ = write!(text.0, "{gap}# {}\r\n", SECTIONS[i].title);
                (SECTIONS[i].write)(&view, &mut text);
            }
            worker.reply(client).verbatim("txt", text.0);
        };
        self.ask(
            client,
            index,
            Question::Report { latencies },
            Box::new(then),
        )
    }

    /// What sections are written from, as of now.
    pub(super) fn view<'a>(&'a self, whole: &'a Whole) -> View<'a> {
        self.shared.measure_memory();
        View {
            whole,
            settings: &self.settings,
            shared: &self.shared,
            allocator: machine::allocated(),
            resident: machine::resident(),
            cpu: machine::cpu_time(Whose::Process),
            now_us: self.clock.unix_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Vec<&'static str> {
        let arguments: Vec<&[u8]> = arguments.iter().map(|a| a.as_bytes()).collect();
        chosen(&arguments)
            .iter()
            .map(|&i| SECTIONS[i].name)
            .collect()
    }

    #[test]
    fn sections_come_in_their_own_order_and_once() {
        assert_eq!(
            names(&["keyspace", "SERVER", "server"]),
            ["server", "keyspace"]
        );
        assert!(names(&["nonsense"]).is_empty());
        assert_eq!(names(&["everything"]).len(), SECTIONS.len());
        assert_eq!(names(&["default"]), names(&[]));
        assert!(!names(&[]).contains(&"commandstats"));
        assert_eq!(
            names(&["default", "commandstats"]).len(),
            names(&[]).len() + 1
        );
    }

    #[test]
    fn bytes_for_people() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (966_040, "943.40K"),
            (7_110_656, "6.78M"),
            (25_276_502_016, "23.54G"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
