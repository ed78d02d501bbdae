//! Settings that Ferrite will have and this version has not.
//!
//! Their names are known, so that switching one on is answered by "not available in this version" and never by
//! silence. What says "off" is accepted: a file may spell out that a feature is not wanted.

/// How a name of a later feature may stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// This key: only with one of these values, which all mean "not used".
    Only(&'static [&'static str]),
    /// This section: only empty, or with `enabled = false`.
    Section,
}

/// A name of a later feature.
#[derive(Clone, Copy, Debug)]
pub struct Later {
    /// Dotted path of a key, or of a section.
    pub path: &'static str,
    /// What may stand there today.
    pub rule: Rule,
    /// The feature, in words.
    pub feature: &'static str,
}

/// Every such name.
pub static LATER: &[Later] = &[
    key("tls.early_data", &["false", "no"], "TLS early data"),
    key(
        "tls.reload_interval",
        &["0", "off"],
        "reloading certificates",
    ),
    key(
        "tls.client_cert_user",
        &["off"],
        "logging in by client certificate",
    ),
    key("tls.crl_file", &[""], "revocation lists"),
    section("tls.acme", "certificates by ACME"),
    // Nothing of the kind is written yet, so `true` holds already and `false` would switch nothing.
    key("encryption.encrypt_rdb", &["true", "yes"], "RDB files"),
    key("encryption.new_key_file", &[""], "Kek rotation"),
    section("encryption.vault", "the Kek provider vault"),
    section("encryption.kms", "the Kek provider kms"),
    section("encryption.gcp_kms", "the Kek provider gcp_kms"),
    section("encryption.azure_kv", "the Kek provider azure_kv"),
    section("encryption.pkcs11", "the Kek provider pkcs11"),
    section("encryption.rotation", "Dek and Kek rotation"),
    section("storage.warm", "the warm tier"),
    section("storage.cold", "the cold tier"),
    section("tenant", "tenants"),
    section("audit", "the audit log"),
    section("cluster", "clusters"),
];

/// Words that a setting will take later: (path, words, feature).
pub static LATER_WORDS: &[(&str, &[&str], &str)] = &[(
    "encryption.provider",
    &["vault", "kms", "gcp_kms", "azure_kv", "pkcs11"],
    "this Kek provider",
)];

/// Redis settings whose answer is always the same here, because clients and tools ask for them. `CONFIG SET`
/// accepts the value they have, and no other.
pub static FACTS: &[(&str, &str)] = &[
    ("save", ""),
    ("cluster-enabled", "no"),
    ("acl-pubsub-default", "resetchannels"),
    // When small collections change their form: `shard::kinds` and HyperLogLog have these numbers.
    ("hash-max-listpack-entries", "512"),
    ("hash-max-listpack-value", "64"),
    ("hash-max-ziplist-entries", "512"),
    ("hash-max-ziplist-value", "64"),
    ("hll-sparse-max-bytes", "3000"),
    ("list-compress-depth", "0"),
    ("list-max-listpack-size", "-2"),
    ("list-max-ziplist-size", "-2"),
    ("set-max-intset-entries", "512"),
    ("set-max-listpack-entries", "128"),
    ("set-max-listpack-value", "64"),
    ("stream-node-max-bytes", "4096"),
    ("stream-node-max-entries", "100"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
    ("zset-max-ziplist-entries", "128"),
    ("zset-max-ziplist-value", "64"),
    // Large values are always freed in steps.
    ("lazyfree-lazy-eviction", "yes"),
    ("lazyfree-lazy-expire", "yes"),
    ("lazyfree-lazy-server-del", "yes"),
    ("lazyfree-lazy-user-del", "yes"),
    ("lazyfree-lazy-user-flush", "yes"),
    ("latency-tracking-info-percentiles", "50 99 99.9"),
    ("maxmemory-clients", "0"),
    ("enable-module-command", "no"),
    ("min-replicas-to-write", "0"),
    // Who follows another server changes nothing by itself, and leaves it to that server what has to go.
    ("replica-read-only", "yes"),
    ("replica-ignore-maxmemory", "yes"),
    ("replica-priority", "100"),
    ("unixsocket", ""),
];

const fn key(path: &'static str, only: &'static [&'static str], feature: &'static str) -> Later {
    Later {
        path,
        rule: Rule::Only(only),
        feature,
    }
}

const fn section(path: &'static str, feature: &'static str) -> Later {
    Later {
        path,
        rule: Rule::Section,
        feature,
    }
}

/// Why `text` cannot be given to the setting `path` today, when it names a later feature.
pub fn later_word(path: &str, text: &str) -> Option<String> {
    let (_, _, feature) = LATER_WORDS.iter().find(|(p, words, _)| {
        *p == path && words.iter().any(|w| w.eq_ignore_ascii_case(text.trim()))
    })?;
    Some(format!(
        "cannot be `{}`: {feature} is not available in this version",
        text.trim()
    ))
}
