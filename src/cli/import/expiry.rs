//! What expires while a log is played.
//!
//! A log says at which time a key was to expire, and often says later that it was to expire later: a session that was
//! used again. Whoever plays it when the first of these times is past must not let the key go before he has heard the
//! last word. Redis suspends all expiry while it loads. A server that is running does not, so a time that is past, or soon
//! will be, is put off by a length of time that no real one has; and in the end whatever still stands at such a time is set
//! to the one it was meant to have, which ends what has expired.

use std::collections::HashSet;

use ferrite::{Client, Value};

/// By how much times are put off: more than two thousand years, in milliseconds. A power of two below 2^48, the end of
/// time for fields of hashes.
const FAR: u64 = 1 << 46;
/// What expires within a day from the start is put off: the import should be done by then.
const SOON: u64 = 24 * 3600 * 1000;
/// Keys that are asked for at a time.
const ASKED: usize = 1000;

/// A key that was put off, or had fields that were.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Late {
    db: u32,
    name: Box<[u8]>,
    fields: bool,
}

impl Late {
    pub(super) fn key(db: u32, name: &[u8]) -> Late {
        Late {
            db,
            name: name.into(),
            fields: false,
        }
    }
}

/// The time to be given in place of `at`, if it is to be put off.
pub(super) fn put_off(at: u64, now: u64) -> Option<u64> {
    (at < now.saturating_add(SOON)).then_some(at + FAR)
}

/// The time that was meant, of one that was put off.
fn meant(at: u64, now: u64) -> Option<u64> {
    // The import may have begun later than the log's day, but not in another age.
    let at = at.checked_sub(FAR)?;
    (at < now.saturating_add(2 * SOON)).then_some(at)
}

/// Puts the time off that a command of a log gives, if it gives one that is to be put off.
pub(super) fn put_off_in(name: &str, args: &mut [Vec<u8>], now: u64, db: u32) -> Option<Late> {
    let option = |args: &[Vec<u8>], from: usize, word: &str| {
        let options = args.get(from..)?;
        let found = options
            .iter()
            .position(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))?;
        Some(from + found + 1)
    };
    // Where the time stands, and in how many milliseconds it counts.
    let (place, unit) = match name {
        "pexpireat" | "hpexpireat" => (2, 1),
        "expireat" | "hexpireat" => (2, 1000),
        "restore" => {
            option(args, 4, "absttl")?;
            (2, 1)
        }
        "set" => match option(args, 3, "pxat") {
            Some(at) => (at, 1),
            None => (option(args, 3, "exat")?, 1000),
        },
        "getex" | "hgetex" | "hsetex" => {
            // The names of fields come last, and may look like anything.
            let end = option(args, 2, "fields").unwrap_or(args.len());
            match option(&args[..end], 2, "pxat") {
                Some(at) => (at, 1),
                None => (option(&args[..end], 2, "exat")?, 1000),
            }
        }
        _ => return None,
    };
    let time = std::str::from_utf8(args.get(place)?)
        .ok()?
        .parse::<u64>()
        .ok()?;
    if name == "restore" && time == 0 {
        return None;
    }
    let later = put_off(time.checked_mul(unit)?, now)?;
    args[place] = (later / unit).to_string().into_bytes();
    Some(Late {
        db,
        name: args.get(1)?.as_slice().into(),
        fields: name.starts_with('h'),
    })
}

fn number(reply: &Value) -> Option<u64> {
    match reply {
        Value::Int(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

/// Sets what still stands at a time that was put off to the one that was meant; how many keys that ended.
pub(super) async fn settle(client: &Client, late: &HashSet<Late>) -> Result<u64, String> {
    let failed = |e: ferrite::Error| {
        format!("{e}: keys that have expired were not removed: import once more")
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_millis() as u64);
    let mut late: Vec<&Late> = late.iter().collect();
    late.sort_by(|a, b| (a.db, &a.name).cmp(&(b.db, &b.name)));
    let mut ended = 0;
    for one_db in late.chunk_by(|a, b| a.db == b.db) {
        let db = one_db.first().map_or(0, |late| late.db).to_string();
        client
            .command::<Value>(["SELECT", &db])
            .await
            .map_err(failed)?;
        for some in one_db.chunks(ASKED) {
            let (fields, keys): (Vec<&Late>, Vec<&Late>) =
                some.iter().partition(|late| late.fields);
            let ask = keys.iter().map(|late| [&b"PEXPIRETIME"[..], &late.name]);
            let times = client.pipeline(ask).await.map_err(failed)?;
            let mut set = Vec::new();
            for (late, time) in keys.iter().zip(&times) {
                if let Some(at) = number(time).and_then(|at| meant(at, now)) {
                    set.push([
                        b"PEXPIREAT".to_vec(),
                        late.name.to_vec(),
                        at.to_string().into_bytes(),
                    ]);
                    ended += u64::from(at <= now);
                }
            }
            client.pipeline(&set).await.map_err(failed)?;
            for late in fields {
                settle_fields(client, &late.name, now)
                    .await
                    .map_err(failed)?;
            }
        }
    }
    Ok(ended)
}

/// The same for the fields of a hash.
async fn settle_fields(client: &Client, key: &[u8], now: u64) -> ferrite::Result<()> {
    let Ok(names) = client.command::<Vec<Vec<u8>>>([&b"HKEYS"[..], key]).await else {
        return Ok(()); // it is something else by now
    };
    for names in names.chunks(ASKED) {
        let count = names.len().to_string().into_bytes();
        let mut ask = vec![
            b"HPEXPIRETIME".to_vec(),
            key.to_vec(),
            b"FIELDS".to_vec(),
            count,
        ];
        ask.extend_from_slice(names);
        let Value::Array(times) = client.command(ask).await? else {
            continue;
        };
        let set = names.iter().zip(&times).filter_map(|(name, time)| {
            let at = meant(number(time)?, now)?.to_string().into_bytes();
            let words = [
                b"HPEXPIREAT".to_vec(),
                key.to_vec(),
                at,
                b"FIELDS".to_vec(),
                b"1".to_vec(),
            ];
            Some(words.into_iter().chain([name.clone()]))
        });
        client.pipeline(set).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    /// A command after it, and what is remembered of it.
    fn after(line: &str) -> (String, Option<Late>) {
        let mut args: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        let name = line.split(' ').next().unwrap().to_ascii_lowercase();
        let late = put_off_in(&name, &mut args, NOW, 3);
        (String::from_utf8(args.join(&b' ')).unwrap(), late)
    }

    #[test]
    fn times_that_are_past_are_put_off_wherever_they_stand() {
        let (past, late) = (NOW - 5000, NOW - 5000 + FAR);
        let (seconds, later) = (past / 1000, (past / 1000 * 1000 + FAR) / 1000);
        for (line, wants) in [
            (format!("PEXPIREAT k {past}"), format!("PEXPIREAT k {late}")),
            (
                format!("EXPIREAT k {seconds}"),
                format!("EXPIREAT k {later}"),
            ),
            (
                format!("SET k v PXAT {past}"),
                format!("SET k v PXAT {late}"),
            ),
            (
                format!("set k pxat get exat {seconds}"),
                format!("set k pxat get exat {later}"),
            ),
            (
                format!("RESTORE k {past} payload ABSTTL"),
                format!("RESTORE k {late} payload ABSTTL"),
            ),
            (
                format!("GETEX k PXAT {past}"),
                format!("GETEX k PXAT {late}"),
            ),
            (
                format!("HPEXPIREAT k {past} FIELDS 1 f"),
                format!("HPEXPIREAT k {late} FIELDS 1 f"),
            ),
            (
                format!("HSETEX k PXAT {past} FIELDS 1 f v"),
                format!("HSETEX k PXAT {late} FIELDS 1 f v"),
            ),
        ] {
            let (line, late) = after(&line);
            assert_eq!(line, wants);
            let late = late.unwrap();
            assert_eq!(
                (late.db, &late.name[..], late.fields),
                (3, &b"k"[..], line.starts_with('H'))
            );
        }
        assert_eq!(meant(late, NOW), Some(past));
        assert_eq!(meant(past, NOW), None);
        assert_eq!(meant(NOW * 2, NOW), None);
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let future = NOW + 2 * SOON;
        for line in [
            "SET k pxat".to_owned(),
            "SET k v PXAT".to_owned(),
            "SET k v".to_owned(),
            "SET k v PX 5".to_owned(),
            "SET k v PXAT x".to_owned(),
            "RESTORE k 5 payload".to_owned(),
            "RESTORE k 0 payload ABSTTL".to_owned(),
            "HSETEX k FIELDS 2 pxat 5 f v".to_owned(),
            "LPUSH k PXAT 5".to_owned(),
            "PEXPIREAT".to_owned(),
            format!("PEXPIREAT k {future}"),
            format!("SET k v EXAT {}", future / 1000),
            format!("EXPIREAT k {}", u64::MAX),
        ] {
            assert_eq!(after(&line), (line, None));
        }
    }
}
