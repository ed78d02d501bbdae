//! INFO encryption, INFO tls and ENCRYPTION STATUS: what is sealed, under what, how fast, and how
//! often that failed. Identifiers are shown, secrets never.

use std::fmt::Write;

use super::super::Worker;
use super::super::client::Client;
use super::super::gather::{Answer, Question, Whole};
use super::super::shared::Shared;
use super::super::tick::Flow;
use super::info::{Text, View};
use crate::envelope::{DekInfo, DekState, KekInfo};
use crate::settings::{Algorithm, Settings, TlsVersion};

/// What the keyring says.
struct Keys {
    kek: KekInfo,
    generation: u64,
    deks: Vec<DekInfo>,
}

impl Keys {
    fn of(shared: &Shared) -> Option<Keys> {
        let keyring = shared.keyring.as_ref()?;
        let keyring = keyring.lock().unwrap_or_else(|e| e.into_inner());
        Some(Keys {
            kek: keyring.kek(),
            generation: keyring.generation(),
            deks: keyring.list(),
        })
    }

    fn count(&self, state: DekState) -> usize {
        self.deks.iter().filter(|dek| dek.state == state).count()
    }
}

fn algorithm(settings: &Settings) -> &'static str {
    match settings.encryption.algorithm {
        _ if !settings.seals_log() => "off",
        Algorithm::Aes256Gcm => "aes256gcm",
        Algorithm::ChaCha20Poly1305 => "chacha20poly1305",
    }
}

pub fn info(v: &View<'_>, t: &mut Text) {
    let keys = Keys::of(v.shared);
    t.line("enabled", v.settings.seals_log());
    t.line("algorithm", algorithm(v.settings));
    if let Some(keys) = &keys {
        t.line("provider", &keys.kek.provider);
        t.line("kek_id", &keys.kek.id);
        t.line("kek_version", keys.kek.version);
        t.line("keyring_generation", keys.generation);
        t.line("active_deks", keys.count(DekState::Active));
        t.line("retiring_deks", keys.count(DekState::Retiring));
        t.line("destroyed_deks", keys.count(DekState::Destroyed));
        let active = keys.deks.iter().filter(|d| d.state == DekState::Active);
        for (n, dek) in active.enumerate() {
            t.line(
                format_args!("dek{n}"),
                format_args!(
                    "id={},purpose={},core={},algorithm={},epoch={},created_ms={},sealed_bytes={},sealed_messages={}",
                    dek.id,
                    dek.purpose,
                    dek.core,
                    dek.algorithm.name(),
                    dek.epoch,
                    dek.created_ms,
                    dek.bytes,
                    dek.messages,
                ),
            );
        }
    } else {
        t.line("provider", "none");
        t.line("active_deks", 0);
    }
    t.line("hardware_acceleration", v.whole.accelerated());
    for report in &v.whole.reports {
        let Some(a) = report.acceleration else {
            continue;
        };
        let (flags, speed, log) = (a.flags, a.chosen(), &report.log);
        t.line(
            format_args!("core{}", report.core),
            format_args!(
                "aes_ni={},vaes={},avx512={},pclmul={},backend={},gbps_256={:.2},gbps_4096={:.2},gbps_65536={:.2},\
                 sealed_messages={},sealed_bytes={},opened_messages={},opened_bytes={},failures={}",
                flags.aes_ni,
                flags.vaes,
                flags.avx512,
                flags.pclmul,
                a.backend.name(),
                speed.gbps_256,
                speed.gbps_4k,
                speed.gbps_64k,
                log.sealed.0,
                log.sealed.1,
                log.opened.0,
                log.opened.1,
                log.open_failures,
            ),
        );
    }
    let log = &v.whole.log;
    t.line("sealed_messages", log.sealed.0);
    t.line("sealed_bytes", log.sealed.1);
    t.line("opened_messages", log.opened.0);
    t.line("opened_bytes", log.opened.1);
    t.line("failures", log.open_failures);
}

pub fn tls(v: &View<'_>, t: &mut Text) {
    let (settings, stats) = (&v.settings.tls, &v.whole.stats);
    t.line("tls_enabled", if settings.enabled { "yes" } else { "no" });
    if settings.enabled {
        t.line("tls_port", settings.port);
        let oldest = match settings.min_version {
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        };
        t.line("tls_min_version", oldest);
        let required = if settings.require_client_cert {
            "yes"
        } else {
            "no"
        };
        t.line("tls_client_certificates_required", required);
        if let Some(ends) = v.shared.certificate_ends {
            t.line("tls_certificate_ends", ends);
        }
    }
    let failures: u64 = stats.tls_failures.values().sum();
    t.line("tls_handshakes", stats.tls_handshakes);
    t.line("tls_failures", failures);
    for (reason, n) in &stats.tls_failures {
        let name = reason.to_ascii_lowercase().replace([' ', '-'], "_");
        t.line(format_args!("tls_failure_{name}"), n);
    }
}

/// The text of ENCRYPTION STATUS.
fn status(settings: &Settings, keys: Option<&Keys>, whole: &Whole) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a String does not fail.
        let _ = write!(text, "{name}: {value}\r\n");
    };
    line("enabled", &settings.seals_log());
    line("algorithm", &algorithm(settings));
    line("hardware_acceleration", &whole.accelerated());
    let mut retiring = 0;
    if let Some(keys) = keys {
        retiring = keys.count(DekState::Retiring);
        line("provider", &keys.kek.provider);
        line("kek_id", &keys.kek.id);
        line("kek_version", &keys.kek.version);
        line("active_deks", &keys.count(DekState::Active));
        line("retiring_deks", &retiring);
        line("destroyed_deks", &keys.count(DekState::Destroyed));
    } else {
        line("provider", &"none");
    }
    line("sealed_messages", &whole.log.sealed.0);
    line("sealed_bytes", &whole.log.sealed.1);
    line("failures", &whole.log.open_failures);
    line("rotation_state", &"idle");
    // Nothing is rotated yet: without a retiring Dek nothing has to be, with one all of it has.
    let progress = if retiring == 0 { 100 } else { 0 };
    line(
        "rotation_progress",
        &format_args!("{progress}%, keys_rotated: 0"),
    );
    text
}

impl Worker {
    pub(super) fn encryption_status(&mut self, client: &mut Client, index: u32) -> Flow {
        let then = |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let keys = Keys::of(&worker.shared);
            let text = status(&worker.settings, keys.as_ref(), &Whole::of(answers));
            worker.reply(client).verbatim("txt", text);
        };
        let question = Question::Report { latencies: false };
        self.ask(client, index, question, Box::new(then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{DekId, Purpose};

    #[test]
    fn status_tells_of_retiring_deks() {
        let dek = |state| DekInfo {
            id: DekId([7; 16]),
            purpose: Purpose::Aof,
            core: 0,
            tenant: String::new(),
            algorithm: crate::seal::Algorithm::Aes256Gcm,
            epoch: 1,
            state,
            kek_id: "k".to_owned(),
            kek_version: 1,
            created_ms: 0,
            bytes: 0,
            messages: 0,
        };
        let mut keys = Keys {
            kek: KekInfo {
                provider: "file".to_owned(),
                id: "abc".to_owned(),
                version: 1,
            },
            generation: 3,
            deks: vec![dek(DekState::Active)],
        };
        let (settings, whole) = (Settings::default(), Whole::of(Vec::new()));
        let text = status(&settings, Some(&keys), &whole);
        assert!(text.contains("rotation_progress: 100%, keys_rotated: 0\r\n"));
        assert!(text.contains("kek_id: abc\r\n") && text.contains("active_deks: 1\r\n"));
        keys.deks.push(dek(DekState::Retiring));
        let text = status(&settings, Some(&keys), &whole);
        assert!(text.contains("rotation_progress: 0%,") && text.contains("retiring_deks: 1"));
        let text = status(&settings, None, &whole);
        assert!(
            text.contains("provider: none\r\n") && text.contains("hardware_acceleration: false")
        );
    }
}
