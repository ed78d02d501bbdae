//! `ferrite-cli`: redis-cli's options and output, over TLS unless told otherwise.
//!
//! `args` reads the command line, `connect` makes connections of it and `trust` finds the authority to trust, `session`
//! talks to the server, `words` splits typed lines, `format` writes replies. At a terminal `prompt` has the conversation,
//! with `docs` and `hints` for help and `history` for what was typed before. `pipe` sends masses of commands, `scan` and
//! `sample` look through the keys, `watch` measures, `import` and `export` move data between
//! files and the server, `backup` copies data directories, and `check` looks at one without a server. Server commands are
//! passed on as they are; the few words that are the program's own are in [`run`].

mod args;
mod backup;
mod check;
mod connect;
mod docs;
mod export;
mod format;
mod hints;
mod history;
mod import;
mod keys;
mod pipe;
mod progress;
mod prompt;
mod sample;
mod scan;
mod session;
mod trust;
mod watch;
mod words;

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use args::Options;

use crate::devcert::DevFiles;

/// Words of the program itself that this version does not have yet.
const LATER: [&str; 1] = ["audit"];

/// The whole program.
pub fn run() -> ExitCode {
    let options = match Options::read(std::env::args_os()) {
        Ok(options) => options,
        Err(e) => {
            // Help and version come this way too, and are no failure.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    let verb = options.command.first().and_then(|w| w.to_str());
    let done = match verb {
        Some(word) if LATER.contains(&word) => {
            Err(format!("`{word}` is not available in this version"))
        }
        Some("cert") => cert(&options.command[1..]),
        Some("check") => check::run(&options, &options.command[1..]),
        Some("export") => export::run(&options, &options.command[1..]),
        Some("import") => import::run(&options, &options.command[1..]),
        Some("backup") => backup::run(&options),
        _ => talk(&options),
    };
    match done {
        Ok(code) => code,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Does with the server what the command line asks for. The error is a line for standard error.
fn talk(options: &Options) -> Result<ExitCode, String> {
    let args = session::command_line(options)?;
    let mut session = session::Session::new(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let fine = runtime.block_on(async {
        if options.pipe {
            let client = session.client().await?;
            pipe::run(&client, std::io::stdin().lock(), options.pipe_timeout).await
        } else if options.scan {
            scan::list(&mut session).await.map(|()| true)
        } else if options.samples() {
            sample::run(&mut session).await.map(|()| true)
        } else if options.stat {
            watch::stat(&mut session).await.map(|()| true)
        } else if options.latency_dist {
            watch::spectrum(&mut session).await.map(|()| true)
        } else if options.any_latency() {
            watch::latency(&mut session).await.map(|()| true)
        } else if !args.is_empty() || options.stdin_argument {
            session.repeat(args).await
        } else if std::io::stdin().is_terminal() {
            prompt::run(&mut session).await
        } else {
            session.lines().await
        }
    })?;
    Ok(if fine || !(options.error_status || options.pipe) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `cert DIR [HOST...]`: an authority, a server and a client certificate, and a Kek.
fn cert(args: &[std::ffi::OsString]) -> Result<ExitCode, String> {
    let Some((dir, hosts)) = args.split_first() else {
        return Err("usage: ferrite-cli cert DIRECTORY [HOST...]".into());
    };
    let hosts: Option<Vec<String>> = hosts
        .iter()
        .map(|h| h.to_str().map(str::to_owned))
        .collect();
    let hosts = hosts.ok_or("a host name must be text")?;
    let files = DevFiles::within(Path::new(<std::ffi::OsString as AsRef<OsStr>>::as_ref(dir)));
    if files.ca_cert.exists() && !hosts.is_empty() {
        return Err(format!(
            "{} is there already: choose another directory, or remove it",
            files.ca_cert.display()
        ));
    }
    files.make_for(&hosts).map_err(|e| e.to_string())?;
    for (what, path) in [
        ("authority", &files.ca_cert),
        ("server certificate", &files.server_cert),
        ("server key", &files.server_key),
        ("client certificate", &files.client_cert),
        ("client key", &files.client_key),
        ("Kek", &files.kek),
    ] {
        println!("{what}: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
