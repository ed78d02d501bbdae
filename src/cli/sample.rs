//! `--bigkeys`, `--memkeys`, `--hotkeys`: every key is looked at, and the largest or most used of each type are named.
//!
//! The keys come by SCAN while others go on changing them, so the figures are those of no single moment. Ctrl-C ends the
//! run early, with the summary of what has been seen.

use std::collections::BTreeMap;

use ferrite::Value;

use super::format::quoted;
use super::scan::Scan;
use super::session::{Session, print};

/// Keys between two words on how far the run is.
const REPORT: u64 = 1_000_000;

/// Hot keys that are named.
const HOTTEST: usize = 16;

/// A type, the command that measures its keys, and what that counts.
const MEASURES: [(&str, &str, &str); 6] = [
    ("string", "STRLEN", "bytes"),
    ("list", "LLEN", "items"),
    ("set", "SCARD", "members"),
    ("zset", "ZCARD", "members"),
    ("hash", "HLEN", "fields"),
    ("stream", "XLEN", "entries"),
];

/// What has been seen of one type.
#[derive(Default)]
struct Kind {
    keys: u64,
    total: u64,
    biggest: Option<(Vec<u8>, u64)>,
}

impl Kind {
    /// Counts a key; true when none before was as large.
    fn see(&mut self, key: &[u8], size: u64) -> bool {
        self.keys += 1;
        self.total += size;
        let new = self.biggest.as_ref().is_none_or(|(_, most)| size > *most);
        if new {
            self.biggest = Some((key.to_owned(), size));
        }
        new
    }
}

/// How large each key is.
enum By {
    Elements,
    Memory(Option<u64>),
}

impl By {
    fn unit(&self, kind: &str) -> &'static str {
        match self {
            By::Elements => measure(kind).map_or("?", |m| m.2),
            By::Memory(_) => "bytes",
        }
    }

    /// The command that measures a key of a type, if there is one.
    fn command(&self, kind: &str, key: &[u8]) -> Option<Vec<Vec<u8>>> {
        let words = |words: &[&[u8]]| Some(words.iter().map(|w| w.to_vec()).collect());
        match self {
            By::Elements => words(&[measure(kind)?.1.as_bytes(), key]),
            By::Memory(None) => words(&[b"MEMORY", b"USAGE", key]),
            By::Memory(Some(n)) => words(&[
                b"MEMORY",
                b"USAGE",
                key,
                b"SAMPLES",
                n.to_string().as_bytes(),
            ]),
        }
    }
}

fn measure(kind: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    MEASURES.iter().find(|(name, _, _)| *name == kind)
}

/// Part of a hundred, however little there is.
fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// Carries out the sample that the command line asks for.
pub async fn run(session: &mut Session<'_>) -> Result<(), String> {
    let options = session.options;
    if options.hotkeys {
        return hot(session).await;
    }
    let by = if options.bigkeys {
        By::Elements
    } else {
        By::Memory(options.memkeys_samples)
    };
    big(session, &by).await
}

fn announce(what: &str) {
    print(
        format!(
            "\n# Scanning the entire keyspace to find {what} keys as well as
# average sizes per key type.  You can use -i 0.1 to sleep 0.1 sec
# per 100 SCAN commands (not usually needed).\n\n"
        )
        .as_bytes(),
    );
}

/// The next keys of a run; `None` at its end, or when the user ends it.
async fn next(scan: &mut Scan, session: &mut Session<'_>) -> Result<Option<Vec<Vec<u8>>>, String> {
    let keys = tokio::select! {
        keys = scan.next(session) => keys?,
        _ = tokio::signal::ctrl_c() => None,
    };
    let bytes = |key| match key {
        Value::Bulk(key) => Some(key),
        _ => None,
    };
    Ok(keys.map(|keys| keys.into_iter().filter_map(bytes).collect()))
}

/// Sends commands together.
async fn all(session: &mut Session<'_>, commands: Vec<Vec<Vec<u8>>>) -> Result<Vec<Value>, String> {
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    let client = session.client().await?;
    client
        .pipeline(commands)
        .await
        .map_err(|e| format!("Error: {e}"))
}

async fn big(session: &mut Session<'_>, by: &By) -> Result<(), String> {
    let total = database_size(session).await?;
    announce("biggest");
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    for (name, _, _) in MEASURES {
        kinds.insert(name.into(), Kind::default());
    }
    let (mut sampled, mut length) = (0, 0);
    let mut scan = Scan::new(session.options)?;
    while let Some(keys) = next(&mut scan, session).await? {
        let ask = |key: &Vec<u8>| vec![b"TYPE".to_vec(), key.clone()];
        let types = all(session, keys.iter().map(ask).collect()).await?;
        let mut measured = Vec::new();
        let mut commands = Vec::new();
        for (key, kind) in keys.into_iter().zip(types) {
            let kind = match kind {
                Value::Simple(kind) => kind,
                Value::Error(text) => return Err(format!("Error: {text}")),
                other => return Err(format!("Error: TYPE answers {}", other.kind())),
            };
            // It has expired or been deleted meanwhile.
            if kind == "none" {
                continue;
            }
            let command = by.command(&kind, &key);
            measured.push((key, kind, command.is_some()));
            commands.extend(command);
        }
        let mut sizes = all(session, commands).await?.into_iter();
        let done = percent(sampled, total);
        for (key, kind, has_size) in measured {
            let size = match if has_size { sizes.next() } else { None } {
                Some(Value::Int(n)) => n.max(0) as u64,
                Some(Value::Error(text)) => {
                    eprintln!("Warning: {} was not measured: {text}", quoted(&key));
                    0
                }
                // Of a type that has no measure, or gone meanwhile.
                _ => 0,
            };
            sampled += 1;
            length += key.len() as u64;
            if kinds.entry(kind.clone()).or_default().see(&key, size) {
                print(
                    format!(
                        "[{done:05.2}%] Biggest {kind:<6} found so far '{}' with {size} {}\n",
                        quoted(&key),
                        by.unit(&kind)
                    )
                    .as_bytes(),
                );
            }
            if sampled % REPORT == 0 {
                let done = percent(sampled, total);
                print(format!("[{done:05.2}%] Sampled {sampled} keys so far\n").as_bytes());
            }
        }
    }
    print(summary(&kinds, by, sampled, length).as_bytes());
    Ok(())
}

fn summary(kinds: &BTreeMap<String, Kind>, by: &By, sampled: u64, length: u64) -> String {
    let average = |total: u64, n: u64| total as f64 / n.max(1) as f64;
    let mut out = format!(
        "\n-------- summary -------\n\nSampled {sampled} keys in the keyspace!\n\
         Total key length in bytes is {length} (avg len {:.2})\n\n",
        average(length, sampled)
    );
    for (name, kind) in kinds {
        if let Some((key, size)) = &kind.biggest {
            let (key, unit) = (quoted(key), by.unit(name));
            out.push_str(&format!(
                "Biggest {name:>6} found '{key}' has {size} {unit}\n"
            ));
        }
    }
    out.push('\n');
    for (name, kind) in kinds {
        out.push_str(&format!(
            "{} {name}s with {} {} ({:05.2}% of keys, avg size {:.2})\n",
            kind.keys,
            kind.total,
            by.unit(name),
            percent(kind.keys, sampled),
            average(kind.total, kind.keys)
        ));
    }
    out
}

async fn database_size(session: &mut Session<'_>) -> Result<u64, String> {
    match session.ask(&["DBSIZE"]).await? {
        Value::Int(n) => Ok(n.max(0) as u64),
        Value::Error(text) => Err(format!("Error: {text}")),
        other => Err(format!("Error: DBSIZE answers {}", other.kind())),
    }
}

async fn hot(session: &mut Session<'_>) -> Result<(), String> {
    let total = database_size(session).await?;
    announce("hot");
    let mut sampled = 0;
    // The most used first.
    let mut hottest: Vec<(i64, Vec<u8>)> = Vec::new();
    let mut scan = Scan::new(session.options)?;
    while let Some(keys) = next(&mut scan, session).await? {
        let ask = |key: &Vec<u8>| vec![b"OBJECT".to_vec(), b"FREQ".to_vec(), key.clone()];
        let uses = all(session, keys.iter().map(ask).collect()).await?;
        let done = percent(sampled, total);
        for (key, uses) in keys.into_iter().zip(uses) {
            let uses = match uses {
                Value::Int(n) => n,
                // Gone meanwhile.
                Value::Null => continue,
                Value::Error(text) if text.contains("no such key") => continue,
                Value::Error(text) => return Err(format!("Error: {text}")),
                other => return Err(format!("Error: OBJECT FREQ answers {}", other.kind())),
            };
            sampled += 1;
            let place = hottest.partition_point(|(n, _)| *n >= uses);
            if place < HOTTEST && uses > 0 {
                print(
                    format!(
                        "[{done:05.2}%] Hot key '{}' found so far with counter {uses}\n",
                        quoted(&key)
                    )
                    .as_bytes(),
                );
                hottest.insert(place, (uses, key));
                hottest.truncate(HOTTEST);
            }
        }
    }
    let mut out =
        format!("\n-------- summary -------\n\nSampled {sampled} keys in the keyspace!\n");
    for (uses, key) in &hottest {
        out.push_str(&format!(
            "hot key found with counter: {uses}\tkeyname: {}\n",
            quoted(key)
        ));
    }
    print(out.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_redis_cli_s() {
        let mut kinds = BTreeMap::from([("list".into(), Kind::default())]);
        let string: &mut Kind = kinds.entry("string".into()).or_default();
        assert!(string.see(b"a\n", 1));
        assert!(!string.see(b"b", 1));
        assert!(string.see(b"c", 4));
        assert_eq!(
            summary(&kinds, &By::Elements, 3, 4),
            "\n-------- summary -------\n\nSampled 3 keys in the keyspace!\n\
             Total key length in bytes is 4 (avg len 1.33)\n\n\
             Biggest string found '\"c\"' has 4 bytes\n\n\
             0 lists with 0 items (00.00% of keys, avg size 0.00)\n\
             3 strings with 6 bytes (100.00% of keys, avg size 2.00)\n"
        );
    }
}
