//! `backup`: copies of a data directory, made, listed, verified, restored and removed.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use ferrite::Value;
use indicatif::{ProgressBar, ProgressStyle};

use super::args::Options;
use super::session::Session;
use crate::backup::{self, Bucket, Directory, Keep, Store, Vault, Verified, Watch};
use crate::config::ENV_DATA_DIR;
use crate::envelope::provider::file::FileProvider;
use crate::envelope::{FILE_NAME, Provider};

/// Environment: the file of the Kek.
const ENV_KEY_FILE: &str = "FERRITE_KEY_FILE";
const DAY_MS: u64 = 86_400_000;

/// Copies of a data directory. What is at rest is sealed, and so are the copies; who restores needs the Kek, which is
/// in none of them.
#[derive(Debug, Parser)]
#[command(name = "ferrite-cli backup", disable_version_flag = true)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a backup, whether or not a server is running.
    Create {
        #[command(flatten)]
        place: Place,
        /// Data directory [default: FERRITE_DATA_DIR, else ./ferrite-data].
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Has the server take a checkpoint first (SAVE, over the connection that the options before `backup` describe):
        /// then the backup has everything that was acknowledged before, under any appendfsync.
        #[arg(long)]
        checkpoint: bool,
    },
    /// Lists the backups.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Reads and opens all of a backup, and names what is damaged. Needs no server.
    Verify {
        #[command(flatten)]
        place: Place,
        /// Which [default: the newest].
        #[arg(long)]
        id: Option<String>,
    },
    /// Restores a backup as a new data directory.
    Restore {
        #[command(flatten)]
        place: Place,
        /// The directory, which must not be there, or be empty.
        to: PathBuf,
        /// Which [default: the newest].
        #[arg(long)]
        id: Option<String>,
        /// File of another Kek, under which the restored keyring is wrapped.
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
    },
    /// Removes old backups, and pieces that belong to none. The newest backup always stays.
    Prune {
        #[command(flatten)]
        place: Place,
        /// How many of the newest stay.
        #[arg(long, value_name = "N", required_unless_present = "keep_days")]
        keep: Option<usize>,
        /// Those of the last so many days stay too.
        #[arg(long, value_name = "DAYS")]
        keep_days: Option<u64>,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// Where the backups are: a directory, or s3://BUCKET/PREFIX (credentials and region from AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY, AWS_REGION).
    place: String,
    /// File of the Kek [default: FERRITE_KEY_FILE]; none for data that is not encrypted.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// URL of the S3 service, if it is not Amazon's [default: AWS_ENDPOINT_URL].
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Lets the S3 service be spoken to without TLS.
    #[arg(long)]
    allow_http: bool,
}

impl Place {
    /// The store; a directory is made if `make` says so.
    fn open(&self, make: bool) -> Result<Box<dyn Store>, String> {
        if self.place.starts_with("s3://") {
            let endpoint = self.endpoint.as_deref();
            let bucket = Bucket::open(&self.place, endpoint, self.allow_http)?;
            return Ok(Box::new(bucket));
        }
        let dir = Path::new(&self.place);
        let opened = match make {
            true => Directory::make(dir),
            false => Directory::open(dir),
        };
        match opened {
            Ok(opened) => Ok(Box::new(opened)),
            Err(e) => Err(format!("{}: {e}", self.place)),
        }
    }

    fn provider(&self) -> Result<Option<Arc<dyn Provider>>, String> {
        let named = std::env::var_os(ENV_KEY_FILE).filter(|file| !file.is_empty());
        let file = self.key_file.clone().or(named.map(PathBuf::from));
        file.as_deref().map(kek).transpose()
    }
}

fn kek(file: &Path) -> Result<Arc<dyn Provider>, String> {
    let provider = FileProvider::open(file).map_err(|e| e.to_string())?;
    Ok(Arc::new(provider))
}

/// Carries out `backup ...`.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    let line = match Line::try_parse_from(&options.command) {
        Ok(line) => line,
        Err(e) => {
            let _ = e.print();
            return Ok(ExitCode::from(if e.use_stderr() { 2 } else { 0 }));
        }
    };
    match &line.verb {
        Verb::Create {
            place,
            data,
            checkpoint,
        } => create(options, place, data.as_deref(), *checkpoint),
        Verb::List { place } => list(place),
        Verb::Verify { place, id } => verify(place, id.as_deref()),
        Verb::Restore {
            place,
            to,
            id,
            new_key_file,
        } => restore(place, to, id.as_deref(), new_key_file.as_deref()),
        Verb::Prune {
            place,
            keep,
            keep_days,
        } => prune(place, *keep, *keep_days),
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}

/// Has the server save: when this returns, everything it acknowledged before is on the disk.
fn save(options: &Options) -> Result<(), String> {
    let mut session = Session::new(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    match runtime.block_on(session.ask(&["SAVE"]))? {
        Value::Error(text) => Err(format!("the server took no checkpoint: {text}")),
        _ => Ok(()),
    }
}

fn create(
    options: &Options,
    place: &Place,
    data: Option<&Path>,
    checkpoint: bool,
) -> Result<ExitCode, String> {
    let data = match (data, std::env::var_os(ENV_DATA_DIR)) {
        (Some(data), _) => data.to_owned(),
        (None, Some(data)) if !data.is_empty() => data.into(),
        (None, _) => "ferrite-data".into(),
    };
    let provider = place.provider()?;
    let keyring = data.join(FILE_NAME);
    if provider.is_none() && keyring.exists() {
        return Err(format!(
            "{}: the data is encrypted: name the file of its Kek by --key-file or {ENV_KEY_FILE}",
            keyring.display()
        ));
    }
    if checkpoint {
        save(options)?;
    }
    let (store, bar) = (place.open(true)?, Bar::new("sent"));
    let vault = Vault {
        store: &*store,
        provider,
        watch: &bar,
    };
    let made = backup::create(&vault, &data)?;
    bar.end();
    let (manifest, all) = (&made.manifest, made.manifest.bytes());
    println!(
        "{}: {} files, {all} bytes, {} of them new",
        manifest.id,
        manifest.files.len(),
        made.sent
    );
    Ok(ExitCode::SUCCESS)
}

fn list(place: &Place) -> Result<ExitCode, String> {
    let store = place.open(false)?;
    let vault = Vault {
        store: &*store,
        provider: place.provider()?,
        watch: &(),
    };
    let mut fine = true;
    for listed in backup::list(&vault)? {
        match listed.manifest {
            Ok(manifest) => {
                let checkpoint = manifest.checkpoint;
                let checkpoint = checkpoint.map_or("none".to_owned(), |n| n.to_string());
                println!(
                    "{}: {} files, {} bytes, checkpoint {checkpoint}, took {} ms",
                    listed.id,
                    manifest.files.len(),
                    manifest.bytes(),
                    manifest.ended.saturating_sub(manifest.begun)
                );
            }
            Err(why) => {
                fine = false;
                eprintln!("{why}");
            }
        }
    }
    Ok(match fine {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn verify(place: &Place, id: Option<&str>) -> Result<ExitCode, String> {
    let (store, bar) = (place.open(false)?, Bar::new("verified"));
    let vault = Vault {
        store: &*store,
        provider: place.provider()?,
        watch: &bar,
    };
    let manifest = backup::find(&vault, id)?;
    let verified = backup::verify(&vault, &manifest);
    bar.end();
    let id = &manifest.id;
    match verified {
        Ok(Verified {
            files,
            bytes,
            keys,
            records,
            ..
        }) => {
            println!(
                "{id}: whole: {files} files, {bytes} bytes; {keys} keys in its checkpoint, {records} changes in the \
                 logs behind it"
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(troubles) => {
            let lines: Vec<String> = troubles
                .iter()
                .map(|trouble| format!("backup {id}: {trouble}"))
                .collect();
            Err(lines.join("\n"))
        }
    }
}

fn restore(
    place: &Place,
    to: &Path,
    id: Option<&str>,
    new_key_file: Option<&Path>,
) -> Result<ExitCode, String> {
    let rewrap = new_key_file.map(kek).transpose()?;
    let (store, bar) = (place.open(false)?, Bar::new("restored"));
    let vault = Vault {
        store: &*store,
        provider: place.provider()?,
        watch: &bar,
    };
    let manifest = backup::find(&vault, id)?;
    backup::restore(&vault, &manifest, to, rewrap, now())
        .map_err(|why| format!("backup {}: {why}", manifest.id))?;
    bar.end();
    println!("{}: restored as {}", manifest.id, to.display());
    Ok(ExitCode::SUCCESS)
}

fn prune(place: &Place, keep: Option<usize>, days: Option<u64>) -> Result<ExitCode, String> {
    let store = place.open(false)?;
    let vault = Vault {
        store: &*store,
        provider: place.provider()?,
        watch: &(),
    };
    let since = days.map_or(u64::MAX, |days| {
        now().saturating_sub(days.saturating_mul(DAY_MS))
    });
    let keep = Keep {
        newest: keep.unwrap_or(0),
        since,
    };
    let pruned = backup::prune(&vault, keep)?;
    for id in &pruned.backups {
        println!("{id}: removed");
    }
    println!("{} pieces, {} bytes", pruned.pieces, pruned.bytes);
    Ok(ExitCode::SUCCESS)
}

/// Progress on a terminal, and none elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new(what: &str) -> Bar {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(0),
            false => ProgressBar::hidden(),
        };
        let template = "{bar:40} {bytes} of {total_bytes} {msg}, {bytes_per_sec}, {eta} to go";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Bar(bar)
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Watch for Bar {
    fn total(&self, bytes: u64) {
        self.0.set_position(0);
        self.0.set_length(bytes);
    }

    fn done(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}
