//! Redis's replies, written down: Ferrite gives the same, whether there is a Redis to ask or not.

use super::redis::Redis;
use super::*;

/// What Redis answered when it was asked: a line `> request` in inline form, then `< reply`, escaped.
/// `= RESP3` changes the protocol; `#` begins a remark.
const TRANSCRIPT: &str = include_str!("transcript.txt");

/// Goes through the transcript with `ask`, which is told of a change of protocol by an empty request,
/// and returns where its replies differ from those written down.
fn replay(mut ask: impl FnMut(&[&[u8]], Option<Proto>) -> Vec<u8>) -> String {
    let mut differences = String::new();
    let mut lines = TRANSCRIPT.lines();
    while let Some(line) = lines.next() {
        if let Some(version) = line.strip_prefix("= RESP") {
            let proto = if version == "3" {
                Proto::Resp3
            } else {
                Proto::Resp2
            };
            ask(&[], Some(proto));
        } else if let Some(request) = line.strip_prefix("> ") {
            let args = words(request);
            let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let theirs = unescape(lines.next().and_then(|l| l.strip_prefix("< ")).unwrap());
            let ours = ask(&refs, None);
            if !agree(&args, &ours, &theirs) {
                let (ours, theirs) = (ours.escape_ascii(), theirs.escape_ascii());
                differences += &format!("{request}\n  written: {theirs}\n  given:   {ours}\n");
            }
        }
    }
    differences
}

/// Takes back what `escape_ascii` did.
fn unescape(line: &str) -> Vec<u8> {
    let mut quoted = line.to_string();
    quoted.insert_str(0, "x \"");
    // Inside double quotes an inline command knows all escapes there are here.
    quoted.push('"');
    words(&quoted.replace("\\'", "'")).pop().unwrap()
}

#[test]
fn requests_are_answered_as_written_down() {
    let mut local = Local::new();
    let differences = replay(|args, proto| match proto {
        Some(proto) => {
            local.proto = proto;
            Vec::new()
        }
        None => local.ask(args),
    });
    assert!(differences.is_empty(), "{differences}");
}

/// The transcript is what Redis answers. With `FERRITE_RECORD=file` the answers are written to that
/// file, as a transcript.
#[test]
fn redis_answers_as_written_down() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    if let Ok(file) = std::env::var("FERRITE_RECORD") {
        let mut out = String::new();
        for line in TRANSCRIPT.lines() {
            if line.starts_with("< ") {
                continue;
            }
            out += &format!("{line}\n");
            if let Some(version) = line.strip_prefix("= RESP") {
                redis.ask(&[b"HELLO", version.as_bytes()]);
            } else if let Some(request) = line.strip_prefix("> ") {
                let args = words(request);
                let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                out += &format!("< {}\n", redis.ask(&refs).escape_ascii());
            }
        }
        std::fs::write(file, out).unwrap();
        return;
    }
    let differences = replay(|args, proto| match proto {
        Some(proto) => redis.ask(&[b"HELLO", proto.number().to_string().as_bytes()]),
        None => redis.ask(args),
    });
    assert!(differences.is_empty(), "{differences}");
}
