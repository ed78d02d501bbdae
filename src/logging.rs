//! The server's own messages: lines for people or JSON objects, to standard error or to a file.
//!
//! Secrets do not come here: passwords, Keks and Deks are types that print nothing, and keys and values of clients
//! are never put into a message. Libraries below us are held to warnings, whatever level is set, because what they
//! print at finer levels is not ours to vouch for.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::reload;

use crate::settings::{Log, LogFormat, LogLevel};

/// Changes the level while the server runs.
#[derive(Clone)]
pub struct Handle(reload::Handle<Targets, Registry>);

impl Handle {
    /// From now on shows what is at least as urgent as `level`.
    pub fn set_level(&self, level: LogLevel) {
        // It fails only when the subscriber is gone, and then there is nothing to set.
        let _ = self.0.reload(filter(level));
    }
}

/// Why there can be no log.
#[derive(Debug)]
pub enum LoggingError {
    /// `log.file` cannot be opened for appending.
    File(PathBuf, io::Error),
    /// A subscriber has been installed before.
    Twice,
}

impl fmt::Display for LoggingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoggingError::File(path, e) => {
                write!(f, "log.file cannot be opened: {}: {e}", path.display())
            }
            LoggingError::Twice => f.write_str("the log has been set up already"),
        }
    }
}

impl std::error::Error for LoggingError {}

/// Sends every message of this process where the settings say. Once, before the first thread is started.
pub fn start(log: &Log) -> Result<Handle, LoggingError> {
    let (subscriber, handle) = subscriber(log)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)?;
    Ok(handle)
}

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber(log: &Log) -> Result<(Subscriber, Handle), LoggingError> {
    let writer = match &log.file {
        None => BoxMakeWriter::new(io::stderr),
        Some(path) => {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(path);
            BoxMakeWriter::new(Mutex::new(
                file.map_err(|e| LoggingError::File(path.clone(), e))?,
            ))
        }
    };
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(writer);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    };
    Ok((
        Box::new(tracing_subscriber::registry().with(lines.with_filter(filter))),
        Handle(handle),
    ))
}

fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Verbose | LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let others = if level == Level::ERROR {
        LevelFilter::ERROR
    } else {
        LevelFilter::WARN
    };
    Targets::new()
        .with_default(others)
        .with_target("ferrite", level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn log_to(dir: &tempfile::TempDir, format: LogFormat) -> (Log, PathBuf) {
        let path = dir.path().join("log");
        let log = Log {
            format,
            file: Some(path.clone()),
            ..Settings::default().log
        };
        (log, path)
    }

    #[test]
    fn lines_go_to_the_file_and_the_level_can_change() {
        let dir = tempfile::tempdir().unwrap();
        let (log, path) = log_to(&dir, LogFormat::Text);
        let (subscriber, handle) = subscriber(&log).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(shards = 2, "first");
            tracing::debug!("second");
            handle.set_level(LogLevel::Debug);
            tracing::debug!("third");
            tracing::info!(target: "rustls::client", "fourth");
            tracing::warn!(target: "rustls::client", "fifth");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        for (word, there) in [
            ("first shards=2", true),
            ("second", false),
            ("third", true),
            ("fourth", false),
            ("fifth", true),
        ] {
            assert_eq!(text.contains(word), there, "{word}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "no colours in a file");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let (log, path) = log_to(&dir, LogFormat::Json);
        let (subscriber, _handle) = subscriber(&log).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(port = 6380, "two\nlines");
            tracing::warn!("more");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (&lines[0]["message"], &lines[0]["port"], &lines[0]["level"]),
            (&"two\nlines".into(), &6380.into(), &"INFO".into())
        );
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let log = Log {
            file: Some("/no/such/log".into()),
            ..Settings::default().log
        };
        let said = subscriber(&log).err().unwrap().to_string();
        assert!(
            said.starts_with("log.file cannot be opened: /no/such/log: "),
            "{said}"
        );
    }
}
