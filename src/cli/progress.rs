//! How far something long has come: a bar on a terminal, else a line every few seconds, on standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// Between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// The state of one task, shown.
pub struct Progress {
    bar: Option<ProgressBar>,
    unit: Unit,
    total: u64,
    told: Instant,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of a file.
    Bytes,
    /// Keys.
    Keys,
}

impl Progress {
    /// Of a task that is at its end with `total`.
    pub fn new(unit: Unit, total: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let look = match unit {
                Unit::Bytes => "{bar:30} {bytes} of {total_bytes}, {msg}, {eta} to go",
                Unit::Keys => "{bar:30} {msg} of about {len}, {eta} to go",
            };
            // A template that cannot be read would show the usual one.
            if let Ok(style) = ProgressStyle::with_template(look) {
                bar.set_style(style);
            }
            bar
        });
        Progress {
            bar,
            unit,
            total,
            told: Instant::now(),
        }
    }

    /// So far it has come; `keys` in words beside it.
    pub fn at(&mut self, done: u64, words: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done.min(self.total));
            bar.set_message(words.to_owned());
        } else if self.told.elapsed() >= PAUSE {
            self.told = Instant::now();
            let line = match self.unit {
                Unit::Bytes => format!(
                    "{} of {}, {words}",
                    HumanBytes(done),
                    HumanBytes(self.total)
                ),
                Unit::Keys => format!("{words} of about {}", self.total),
            };
            say(&line);
        }
    }

    /// A line for standard error that the bar does not disturb.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// It is done, or was given up.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn say(line: &str) {
    // Nobody listens: no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}
