//! `check DIR`: what a data directory holds, file by file, and whether a server would start from it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use serde_json::json;

use super::args;
use super::keys::KeyOptions;
use crate::devcert::DevFiles;
use crate::envelope::provider::FileProvider;
use crate::envelope::{FILE_NAME, Provider};
use crate::offline::{self, Report, Row};

/// Verifies every file of a data directory whose server is stopped, and says whether a start would succeed. It changes
/// nothing.
///
/// Status: 0 if nothing is damaged or missing and a start would succeed, else 1. Without --key-file and --config the Kek is
/// the development one, if there is one in the directory.
#[derive(Debug, Parser)]
#[command(name = "ferrite-cli check", disable_version_flag = true)]
struct Options {
    #[command(flatten)]
    keys: KeyOptions,
    /// A JSON document instead of text.
    #[arg(long)]
    json: bool,
    /// Data directory.
    dir: PathBuf,
}

/// `check ...`, after the word itself.
pub fn run(options: &args::Options, rest: &[OsString]) -> Result<ExitCode, String> {
    let name = OsString::from("ferrite-cli check");
    let own = match Options::try_parse_from(std::iter::once(&name).chain(rest)) {
        Ok(own) => own,
        Err(e) => {
            let _ = e.print();
            return Ok(ExitCode::from(if e.use_stderr() { 2 } else { 0 }));
        }
    };
    let kek = DevFiles::below(&own.dir).kek;
    let provider: Option<Arc<dyn Provider>> = match own.keys.open()? {
        Some((provider, _)) => Some(provider),
        None if kek.exists() => {
            let provider = FileProvider::open(&kek).map_err(|e| e.to_string())?;
            Some(Arc::new(provider))
        }
        None if own.dir.join(FILE_NAME).exists() => {
            return Err("the data are sealed: name the Kek with --key-file FILE, or the server's settings with \
                        --config FILE"
                .into());
        }
        None => None,
    };
    let report = offline::check(&own.dir, provider)?;
    let text = match own.json || options.json {
        true => document(&report),
        false => lines(&report),
    };
    // Standard output may be closed; the status says how it went.
    let _ = writeln!(io::stdout(), "{text}");
    let sound = report.start.is_ok() && report.rows.iter().all(|r| !r.state.is_bad());
    Ok(ExitCode::from(u8::from(!sound)))
}

fn lines(report: &Report) -> String {
    let mut out: Vec<String> = report.rows.iter().map(line).collect();
    let bad = report.rows.iter().filter(|r| r.state.is_bad()).count();
    out.push(format!(
        "{} files, {bad} damaged or missing",
        report.rows.len()
    ));
    out.push(match &report.start {
        Ok(o) => {
            let from = match o.checkpoint {
                0 => "the log from its beginning".to_owned(),
                n => format!("checkpoint {n}"),
            };
            let (run, records) = (o.run, o.records);
            format!("a start would succeed: from {from}, up to run {run}, {records} records")
        }
        Err(why) => format!("a start would be refused: {why}"),
    });
    out.join("\n")
}

fn line(row: &Row) -> String {
    let mut text = format!("{}: {}", row.file, row.state.word());
    if let Some(offset) = row.offset {
        text.push_str(&format!(" at offset {offset}"));
    }
    if !row.note.is_empty() {
        text.push_str(&format!(" ({})", row.note));
    }
    if row.frames > 0 {
        let (frames, units, bytes) = (row.frames, row.units, row.bytes);
        text.push_str(&format!(", {frames} frames, {units} units, {bytes} bytes"));
    }
    if let Some(keys) = row.keys {
        text.push_str(&format!(", {keys} keys"));
    }
    if let Some(dek) = row.dek {
        text.push_str(&format!(", Dek {dek}"));
    }
    text
}

fn document(report: &Report) -> String {
    let files: Vec<_> = report
        .rows
        .iter()
        .map(|r| {
            json!({
                "file": r.file, "state": r.state.word(), "dek": r.dek.map(|d| d.to_string()), "frames": r.frames,
                "units": r.units, "bytes": r.bytes, "keys": r.keys, "offset": r.offset, "note": r.note,
            })
        })
        .collect();
    let start = match &report.start {
        Ok(o) => {
            json!({"succeeds": true, "checkpoint": o.checkpoint, "run": o.run, "records": o.records})
        }
        Err(why) => json!({"succeeds": false, "why": why}),
    };
    json!({"files": files, "start": start}).to_string()
}
