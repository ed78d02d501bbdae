//! `import FILE`: Redis's files into a running server.
//!
//! Promise: keys go in by RESTORE, libraries by FUNCTION LOAD, commands of a log as they stand there; a bounded amount is
//! under way at a time; and what did not go in is told by name, with the place where it stands, and fails the program.
//! What the file has is never changed silently: a key that is there already stays unless it may be replaced.

mod expiry;
mod jobs;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ferrite::{Client, Value};

use self::jobs::{Batch, Job, Rules, What};
use super::args;
use super::connect::Way;
use super::keys::KeyOptions;
use super::progress::{Progress, Unit};
use super::words::escaped;
use crate::limits::BULK_LEN;
use crate::transfer::Input;

/// Failures that are told one by one.
const TOLD: u64 = 50;

/// Puts the data of a file into the server: an RDB file (of Redis up to 8.2, Valkey up to 9.1, or written by `export`), an
/// append-only file, or the directory of one (its manifest says which files belong to it).
///
/// Keys that exist stay as they are and are listed as failures, unless --replace is given. The data arrive while other
/// clients are served, key by key. Keys that have expired are left out. Status 1 if anything was not taken.
#[derive(Debug, Parser)]
#[command(name = "ferrite-cli [OPTIONS] import", disable_version_flag = true)]
struct Options {
    /// Replaces keys and libraries of functions that exist.
    #[arg(long)]
    replace: bool,
    /// Lets the commands of an append-only file change keys that are there; without it the server has to be empty.
    #[arg(long)]
    merge: bool,
    /// Takes an append-only file that ends within a command, or within a transaction, up to there.
    #[arg(long)]
    allow_truncated: bool,
    #[command(flatten)]
    keys: KeyOptions,
    /// File, or directory of an append-only file.
    file: PathBuf,
}

/// What became of it.
#[derive(Debug, Default)]
struct Summary {
    keys: u64,
    databases: BTreeSet<u32>,
    libraries: u64,
    commands: u64,
    expired: u64,
    failures: u64,
}

impl Summary {
    fn words(&self) -> String {
        let count =
            |n: u64, one: &str, more: &str| format!("{n} {}", if n == 1 { one } else { more });
        let mut words = format!(
            "{} into {}, {}",
            count(self.keys, "key", "keys"),
            count(self.databases.len() as u64, "database", "databases"),
            count(
                self.libraries,
                "library of functions",
                "libraries of functions"
            ),
        );
        if self.commands > 0 {
            words += &format!(", {}", count(self.commands, "command", "commands"));
        }
        if self.expired > 0 {
            words += &format!("; {} had expired", count(self.expired, "key", "keys"));
        }
        match self.failures {
            0 => words,
            n => format!("{words}; {} NOT taken", count(n, "item", "items")),
        }
    }
}

/// `import ...`, after the word itself.
pub fn run(options: &args::Options, rest: &[OsString]) -> Result<ExitCode, String> {
    let name = OsString::from("ferrite-cli import");
    let own = match Options::try_parse_from(std::iter::once(&name).chain(rest)) {
        Ok(own) => own,
        Err(e) => {
            let _ = e.print();
            return Ok(ExitCode::from(if e.use_stderr() { 2 } else { 0 }));
        }
    };
    let way = Way::new(options)?;
    if way.database != 0 {
        return Err(
            "import puts keys into the databases that they come from: no database can be named"
                .into(),
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(import(&way, &own))
}

/// What `CONFIG GET` says, where the user may ask and the server knows.
async fn setting(client: &Client, name: &str) -> Option<u64> {
    let reply: Vec<String> = client.command(["CONFIG", "GET", name]).await.ok()?;
    reply.get(1)?.parse().ok()
}

/// Keys in all databases, as far as the server tells.
async fn keys_there(client: &Client) -> Result<u64, String> {
    let info: String = client
        .command(["INFO", "keyspace"])
        .await
        .map_err(|e| format!("INFO: {e}"))?;
    let counts = info.lines().filter_map(|line| {
        let (_, keys) = line.strip_prefix("db")?.split_once(":keys=")?;
        keys.split(',').next()?.parse::<u64>().ok()
    });
    Ok(counts.sum())
}

async fn import(way: &Way, own: &Options) -> Result<ExitCode, String> {
    let client = way.connect(0, false).await?;
    let most = setting(&client, "proto-max-bulk-len").await;
    let most = most.map_or(BULK_LEN, |most| most.min(BULK_LEN as u64) as usize);
    let rules = Rules {
        replace: own.replace,
        merge: own.merge,
        databases: setting(&client, "databases").await,
        occupied: keys_there(&client).await?,
        most,
    };
    let keys = own.keys.open()?.map(|(provider, _)| provider);
    let input =
        Input::open(&own.file, most, own.allow_truncated, keys).map_err(|e| e.to_string())?;
    let (total, _) = input.progress();
    let mut progress = Progress::new(Unit::Bytes, total);
    let mut summary = Summary::default();
    // One batch is under way while the next is made.
    let (sender, mut batches) = tokio::sync::mpsc::channel(1);
    let maker = std::thread::Builder::new()
        .name("reader".into())
        .spawn(move || jobs::make(input, rules, &sender))
        .map_err(|e| format!("no thread to read the file: {e}"))?;
    let mut sent = Ok(());
    while let Some(batch) = batches.recv().await {
        sent = send(&client, &batch, &mut summary, &progress).await;
        if sent.is_err() {
            break;
        }
        let keys = summary.keys + summary.commands;
        progress.at(batch.read, &format!("{keys} keys and commands"));
    }
    drop(batches); // the reader ends, if it has not
    let Ok(made) = maker.join() else {
        return Err("the reader of the file failed".into());
    };
    // Whatever happened, what was put off is set right as far as there is a server.
    let settled = match &sent {
        Ok(()) => expiry::settle(&client, &made.put_off).await,
        Err(_) => Ok(0),
    };
    progress.end();
    summary.expired += settled.as_ref().map_or(0, |n| *n);
    // Standard output may be closed; the status says how it went.
    let _ = std::io::Write::write_all(
        &mut std::io::stdout(),
        format!("{}\n", summary.words()).as_bytes(),
    );
    if let Some(place) = &made.cut_at {
        eprintln!("{place}: what begins here is not whole and was left out");
    }
    if summary.failures > TOLD {
        eprintln!("{} more failures are not listed", summary.failures - TOLD);
    }
    sent?;
    made.ended?;
    settled?;
    Ok(match summary.failures {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Sends a batch and takes its replies into account. The error ends the import.
async fn send(
    client: &Client,
    batch: &Batch,
    summary: &mut Summary,
    progress: &Progress,
) -> Result<(), String> {
    let failed = |summary: &mut Summary, text: String| {
        summary.failures += 1;
        if summary.failures <= TOLD {
            progress.line(&text);
        }
    };
    summary.expired += batch.expired;
    for text in &batch.failures {
        failed(summary, text.clone());
    }
    if batch.jobs.is_empty() {
        return Ok(());
    }
    let commands = batch.jobs.iter().map(|job| &job.args);
    let replies = client.pipeline(commands).await.map_err(|e| {
        format!("{e}: the import is not complete; what was sent last may be in the server or not")
    })?;
    for (job, reply) in batch.jobs.iter().zip(replies) {
        match (&reply, &job.what) {
            (Value::Error(text), What::Select) => {
                return Err(format!("{}: {}: {text}", job.place, job.words()));
            }
            (Value::Error(text), _) => {
                failed(summary, format!("{}: {}: {text}", job.place, job.words()));
            }
            (_, What::Key(db)) => {
                summary.keys += 1;
                summary.databases.insert(*db);
            }
            (_, What::Library) => summary.libraries += 1,
            (_, What::Select) => {}
            (reply, What::Command(db)) => {
                summary.commands += 1;
                summary.databases.insert(*db);
                // What a transaction's commands were answered comes with its EXEC.
                if let Value::Array(replies) = reply
                    && job.is("exec")
                {
                    for reply in replies {
                        if let Value::Error(text) = reply {
                            failed(
                                summary,
                                format!("{}: in this transaction: {text}", job.place),
                            );
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

impl Job {
    /// What it does, for people.
    fn words(&self) -> String {
        let shown = |at: usize| {
            self.args
                .get(at)
                .map(|bytes| escaped(bytes))
                .unwrap_or_default()
        };
        match &self.what {
            What::Key(db) => format!("key {} of database {db}", shown(1)),
            What::Library => "library of functions".into(),
            What::Select => format!("database {}", shown(1)),
            What::Command(_) => format!("{} {}", shown(0), shown(1)).trim_end().to_owned(),
        }
    }
}
