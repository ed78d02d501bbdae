//! All keys of the database, a SCAN at a time: for `--scan` and for the samples.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use ferrite::Value;

use super::args::Options;
use super::session::Session;
use super::words;

/// SCANs between two pauses of `-i`.
const BETWEEN_PAUSES: u64 = 100;

/// Where a run through the keys stands.
pub struct Scan {
    cursor: Option<Vec<u8>>,
    pattern: Option<Vec<u8>>,
    count: Option<u64>,
    pause: Duration,
    calls: u64,
}

impl Scan {
    /// A run from the start, with pattern, count and pauses of the command line.
    pub fn new(options: &Options) -> Result<Scan, String> {
        let pattern = match (&options.pattern, &options.quoted_pattern) {
            (Some(plain), _) => Some(plain.as_bytes().to_vec()),
            (None, Some(quoted)) => {
                Some(words::unquoted(quoted.as_bytes()).ok_or("Invalid quoted string")?)
            }
            (None, None) => None,
        };
        Ok(Scan {
            cursor: Some(b"0".to_vec()),
            pattern,
            count: options.count,
            pause: options.interval,
            calls: 0,
        })
    }

    /// The next keys, perhaps none; `None` when all have been seen.
    pub async fn next(&mut self, session: &mut Session<'_>) -> Result<Option<Vec<Value>>, String> {
        let Some(cursor) = self.cursor.take() else {
            return Ok(None);
        };
        if self.calls > 0 && self.calls.is_multiple_of(BETWEEN_PAUSES) && !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        self.calls += 1;
        let mut args = vec![b"SCAN".to_vec(), cursor];
        if let Some(pattern) = &self.pattern {
            args.extend([b"MATCH".to_vec(), pattern.clone()]);
        }
        if let Some(count) = self.count {
            args.extend([b"COUNT".to_vec(), count.to_string().into_bytes()]);
        }
        let (next, keys) = match session.ask(&args).await? {
            Value::Error(text) => return Err(format!("Error: {text}")),
            Value::Array(parts) => match <[Value; 2]>::try_from(parts) {
                Ok([Value::Bulk(next), Value::Array(keys)]) => (next, keys),
                _ => return Err("Error: SCAN answers no cursor and keys".into()),
            },
            _ => return Err("Error: SCAN answers no list".into()),
        };
        self.cursor = (next != b"0").then_some(next);
        Ok(Some(keys))
    }
}

/// `--scan`: the keys, one a line.
pub async fn list(session: &mut Session<'_>) -> Result<(), String> {
    let mut scan = Scan::new(session.options)?;
    while let Some(keys) = scan.next(session).await? {
        for key in &keys {
            session.print(&session.look.reply(key));
        }
    }
    Ok(())
}
