//! The server as a process: boot, wait, end.
//!
//! Boot goes in the order in which a mistake is cheapest to tell: settings, limits, directory,
//! keys, certificates, ports; then the log is recovered, and only when every core's log is open
//! and durable does a client get in.

mod aclfile;
mod boot;
mod import;
pub mod in_use;
mod limits;
mod load;
mod waiting;

use std::process::ExitCode;
use std::sync::Arc;

pub use boot::kek;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::{self, Args};
use crate::worker::saves::Last;
use crate::worker::shared::Shared;
use crate::{logging, observe, seal};

/// Runs the server until it is told to stop.
pub fn main(args: &Args) -> ExitCode {
    let loaded = match config::load(args) {
        Ok(loaded) => loaded,
        Err(e) => {
            eprintln!("ferrite: {e}");
            return ExitCode::FAILURE;
        }
    };
    if args.check_config {
        return check(&loaded);
    }
    let logging = match logging::start(&loaded.settings.log) {
        Ok(logging) => logging,
        Err(e) => {
            eprintln!("ferrite: {e}");
            return ExitCode::FAILURE;
        }
    };
    let log_is_a_file = loaded.settings.log.file.is_some();
    abort_on_panic();
    match serve(loaded, logging) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e}");
            if log_is_a_file {
                // Whoever started the server looks here.
                eprintln!("Error: {e}");
            }
            ExitCode::FAILURE
        }
    }
}

/// A core that panicked may have left its shard half changed: the process ends at once, and what
/// was acknowledged is in the log.
fn abort_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        tracing::error!("a defect stops the server: {info}");
        std::process::abort();
    }));
}

fn check(loaded: &config::Loaded) -> ExitCode {
    match boot::try_files(loaded) {
        Ok(()) => {
            print!("{}", config::report(loaded));
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("ferrite: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve(loaded: config::Loaded, logging: logging::Handle) -> Result<(), String> {
    let hardening = seal::harden();
    hardening
        .undumpable
        .and(hardening.no_core_files)
        .map_err(|e| format!("the process cannot be kept out of core dumps: {e}"))?;
    let (stop_tx, mut stop_rx) = mpsc::unbounded_channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the control thread cannot start: {e}"))?;
    // While the data is being loaded the loading thread ends the process at a signal. Those that come later wait here.
    let mut signals = None;
    let heed = || {
        let _runtime = runtime.enter();
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
        let [term, int] = kinds.map(signal);
        signals = Some(term.and_then(|term| Ok((term, int?)))?);
        Ok(())
    };
    let stop = move || {
        // The receiver lives as long as the process.
        let _ = stop_tx.send(());
    };
    let running = boot::boot(&loaded, logging, heed, stop)?;
    let signals = signals.ok_or("signals cannot be received")?;
    let (shared, ended) = (running.shared.clone(), running.shared.clone());
    let metrics = observe::metrics::prepare(&loaded.settings, running.identity.as_ref())?;
    let control = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let metrics = observe::metrics::serve(metrics, shared.clone());
                tokio::select! {
                    () = wait_for_stop(&shared, signals, &mut stop_rx) => {}
                    () = metrics => {}
                }
            });
        })
        .map_err(|e| format!("the control thread cannot start: {e}"))?;
    let result = running.join();
    drop(control);
    if result.is_ok() {
        let logged = loaded.settings.persistence.appendonly;
        match logged || ended.saves.last() == Last::Over {
            true => tracing::info!("stopped: everything is sealed and on the disk"),
            false => tracing::warn!(
                "stopped: there is no log, and what was changed since the last checkpoint is given up"
            ),
        }
    }
    result
}

async fn wait_for_stop(
    shared: &Arc<Shared>,
    (mut term, mut int): (Signal, Signal),
    asked: &mut mpsc::UnboundedReceiver<()>,
) {
    let mut times = 0;
    loop {
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: stopping"),
            _ = int.recv() => tracing::info!("SIGINT: stopping"),
            Some(()) = asked.recv() => tracing::info!("SHUTDOWN: stopping"),
        }
        times += 1;
        if times > 1 {
            tracing::warn!(
                "asked twice: ending at once; the log's tail is recovered at the next start"
            );
            std::process::exit(130);
        }
        shared.stop_cores();
    }
}
