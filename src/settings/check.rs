//! Settings that contradict each other, each named; and what the operator must be told aloud.

use std::fmt;

use super::{OutputLimit, Settings, shown_path};

/// One setting that cannot stand beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Dotted path of the setting to change.
    pub setting: &'static str,
    /// What is wrong with it and what to do: follows the name in a sentence.
    pub why: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.why)
    }
}

/// What is said where a server is to be followed and nothing verifies it: follows the name of a setting.
pub const NO_AUTHORITY: &str = "is not set, and neither is tls.ca_file: name the authorities (PEM) that the followed \
                                server's certificate comes from, or let keys, values and masterauth travel in the clear \
                                with replication.tls = false";

impl Settings {
    /// Every contradiction, so that all can be mended at once. Empty: the settings can be served.
    pub fn check(&self) -> Vec<Complaint> {
        let mut out = Vec::new();
        let mut say = |setting, why: &str| {
            out.push(Complaint {
                setting,
                why: why.into(),
            })
        };
        let beyond_loopback = |addrs: &[std::net::IpAddr]| addrs.iter().any(|a| !a.is_loopback());
        let allowed = self.server.allow_plaintext_on_network;

        if self.server.port != 0 && beyond_loopback(&self.server.bind) && !allowed {
            say(
                "server.port",
                "would serve plaintext on an address that is not loopback (server.bind): use tls.port, bind to \
                 127.0.0.1, or say so in words with server.allow_plaintext_on_network = true",
            );
        }
        if self.metrics.port != 0
            && !self.metrics.tls
            && beyond_loopback(&self.metrics.bind)
            && !allowed
        {
            say(
                "metrics.tls",
                "is off on an address that is not loopback (metrics.bind): switch it on, bind to 127.0.0.1, or say so \
                 in words with server.allow_plaintext_on_network = true",
            );
        }
        if !self.tls.enabled && self.server.port == 0 {
            say(
                "tls.enabled",
                "is false and server.port is 0: there would be nothing to connect to",
            );
        }
        if self.tls.enabled && self.tls.port == self.server.port {
            say(
                "tls.port",
                "is the same as server.port: give TLS and plaintext a port each",
            );
        }
        if self.metrics.port != 0
            && ((self.tls.enabled && self.metrics.port == self.tls.port)
                || self.metrics.port == self.server.port)
        {
            say("metrics.port", "is also a port for clients: choose another");
        }
        let serves_tls = self.tls.enabled || (self.metrics.port != 0 && self.metrics.tls);
        if serves_tls && self.tls.cert_file.is_none() {
            say(
                "tls.cert_file",
                "is not set: name the server's certificate (PEM), or make one with scripts/generate-certs",
            );
        }
        if serves_tls && self.tls.key_file.is_none() {
            say(
                "tls.key_file",
                "is not set: name the private key of tls.cert_file (PEM)",
            );
        }
        if self.tls.require_client_cert && self.tls.ca_file.is_none() {
            say(
                "tls.ca_file",
                "is not set, but tls.require_client_cert is true: name the authorities to accept clients from",
            );
        }
        if self.tls.require_client_cert && !self.tls.enabled {
            say(
                "tls.require_client_cert",
                "is true, but tls.enabled is false: no client could show a certificate",
            );
        }
        if let (Some(a), Some(b)) = (&self.encryption.key_file, &self.encryption_file.key_file)
            && a != b
        {
            let (a, b) = (shown_path(Some(a)), shown_path(Some(b)));
            say(
                "encryption.key_file",
                &format!("is {a}, but encryption.file.key_file is {b}: keep one of them"),
            );
        }
        if self.encryption.encrypt_aof != self.encryption.encrypt_checkpoints {
            say(
                "encryption.encrypt_checkpoints",
                "is not as encryption.encrypt_aof: the log and checkpoints hold the same data, and are both sealed or \
                 both not",
            );
        }
        if self.seals_log() && self.kek_file().is_none() {
            say(
                "encryption.key_file",
                "is not set, but the log and checkpoints are to be sealed: name the file of the Kek (make one \
                 with `openssl rand -base64 32 > FILE; chmod 600 FILE`)",
            );
        }
        if usize::from(self.server.shards) > self.server.cpus.len() && !self.server.cpus.is_empty()
        {
            let (shards, cpus) = (self.server.shards, self.server.cpus.len());
            say(
                "server.shards",
                &format!(
                    "is {shards}, but server.cpus names only {cpus}: each shard needs a processor"
                ),
            );
        }
        let link = &self.replication;
        let authorities = link.ca_file.as_ref().or(self.tls.ca_file.as_ref());
        if link.replicaof.is_some() && link.tls && authorities.is_none() {
            say("replication.ca_file", NO_AUTHORITY);
        }
        if link.cert_file.is_some() != link.key_file.is_some() {
            say(
                "replication.cert_file",
                "and replication.key_file go together: set both or neither",
            );
        }
        if !self.persistence.aof_segment_size.is_multiple_of(4096) {
            say("persistence.aof_segment_size", "must be a multiple of 4KiB");
        }
        let limits = &self.server.client_output_buffer_limit;
        let upside_down = |limit: &OutputLimit| limit.hard != 0 && limit.soft > limit.hard;
        if upside_down(&limits.normal) || upside_down(&limits.pubsub) {
            say(
                "server.client_output_buffer_limit",
                "has a soft limit above its hard one",
            );
        }
        out
    }

    /// What is permitted but must be said aloud at start-up: every place where bytes are in the clear.
    pub fn warnings(&self) -> Vec<String> {
        let mut out = Vec::new();
        if self.server.port != 0 {
            out.push(format!(
                "server.port: port {} serves clients in PLAINTEXT",
                self.server.port
            ));
        }
        if self.metrics.port != 0 && !self.metrics.tls {
            out.push(format!(
                "metrics.tls: port {} serves metrics in PLAINTEXT",
                self.metrics.port
            ));
        }
        if self.server.allow_plaintext_migrate {
            out.push(
                "server.allow_plaintext_migrate: MIGRATE sends keys and passwords in PLAINTEXT"
                    .into(),
            );
        }
        if !self.replication.tls {
            out.push(
                "replication.tls: a server that is followed is spoken to in PLAINTEXT: keys, values and masterauth can be read on the way"
                    .into(),
            );
        }
        if !self.seals_log() {
            let name = if self.encryption.enabled {
                "encryption.encrypt_aof"
            } else {
                "encryption.enabled"
            };
            out.push(format!(
                "{name}: encryption at rest is OFF, the log and checkpoints hold every key and value in PLAINTEXT"
            ));
        }
        if !self.persistence.appendonly {
            out.push(
                "persistence.appendonly: there is no log, only checkpoints outlive this process"
                    .into(),
            );
        }
        let open_door = self.auth.requirepass.is_empty()
            && self.auth.acl_file.is_none()
            && !self.tls.require_client_cert;
        if open_door && self.server.bind.iter().any(|a| !a.is_loopback()) {
            out.push("auth.requirepass: not set, and client certificates are not required: anyone who can reach this server can use it".into());
        }
        out
    }
}
