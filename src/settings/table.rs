//! The table of settings: one row each. The row gives the field that the server reads, the name in the file,
//! Redis's name for it, what is accepted, the default, whether `CONFIG SET` may change it, whether it may be
//! shown, and its line in the manual. Nothing about a setting is written anywhere else.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::units::Unit;
use super::value::*;
use super::{
    Algorithm, DebugCommand, Fsync, KekProvider, LogFormat, LogLevel, MaxmemoryPolicy, Row,
    TlsVersion,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const NEVER: Duration = Duration::from_secs(3650 * 86_400);

/// Builds the sections, their defaults and the rows. `live` settings can be changed by `CONFIG SET`, `fixed`
/// ones need a restart; `open` ones are shown, `secret` ones never.
macro_rules! settings {
    ($(
        $(#[$sdoc:meta])* $section:ident : $Section:ident = $prefix:literal {
            $( $field:ident : $T:ty = $default:literal, $codec:expr, $alias:expr, $when:ident, $who:ident, $doc:literal; )*
        }
    )*) => {
        $(
            $(#[$sdoc])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section { $( #[doc = $doc] pub $field: $T, )* }
        )*

        /// Every setting, resolved: plain data, cheap to clone, one copy a core.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings { $( $(#[$sdoc])* pub $section: $Section, )* }

        impl Default for Settings {
            fn default() -> Self {
                Settings { $( $section: $Section {
                    // A default that does not read is caught by `every_default_reads`.
                    $( $field: Codec::read(&$codec, $default).unwrap_or_else(|e| panic!("default of {}: {e}", stringify!($field))), )*
                }, )* }
            }
        }

        /// Every row, in the order of the manual.
        pub static ROWS: &[Row] = &[ $( $( Row {
            path: concat!($prefix, ".", stringify!($field)),
            alias: $alias,
            default: $default,
            live: settings!(@ $when),
            secret: settings!(@ $who),
            doc: $doc,
            accepts: || Codec::accepts(&$codec),
            form: || Codec::form(&$codec),
            read_into: |s, text| { s.$section.$field = Codec::change(&$codec, &s.$section.$field, text)?; Ok(()) },
            ours: |s| Codec::ours(&$codec, &s.$section.$field),
            redis: |s| Codec::redis(&$codec, &s.$section.$field),
        }, )* )* ];
    };
    (@ live) => { true };
    (@ fixed) => { false };
    (@ secret) => { true };
    (@ open) => { false };
}

settings! {
    /// `[server]`: the process, its cores and its clients.
    server: Server = "server" {
        bind: Vec<IpAddr> = "127.0.0.1", Addrs, Some("bind"), fixed, open,
            "Addresses that client ports listen on.";
        port: u16 = "0", Int { min: 0, max: 65535 }, Some("port"), fixed, open,
            "Plaintext RESP port; 0 means none. Beyond loopback it also needs allow_plaintext_on_network.";
        allow_plaintext_on_network: bool = "false", Flag, None, fixed, open,
            "Says in words that bytes may leave this machine in the clear: permits a plaintext port (clients or metrics) on an address that is not loopback.";
        allow_plaintext_migrate: bool = "false", Flag, None, fixed, open,
            "Says in words that MIGRATE speaks to other servers in the clear: keys, values and passwords leave unprotected. Otherwise it speaks TLS, and verifies them by tls.ca_file.";
        shards: u16 = "0", Int { min: 0, max: 1024 }, None, fixed, open,
            "Cores that serve, each with its own part of the keys; 0 means one for every processor allowed.";
        cpus: Vec<u16> = "", Cpus, None, fixed, open,
            "Processors to pin the shards to, such as 0-3,6; empty means those the process may use.";
        data_dir: PathBuf = "./ferrite-data", Dir, Some("dir"), fixed, open,
            "Directory of the log, the keyring and everything else that lasts.";
        databases: u16 = "16", Int { min: 1, max: 65535 }, Some("databases"), fixed, open,
            "Databases that SELECT can choose from.";
        maxclients: u32 = "10000", Int { min: 1, max: 1_000_000 }, Some("maxclients"), live, open,
            "Connections served at once; more are refused.";
        timeout: Duration = "0s", Span { unit: Unit::Seconds, min: Duration::ZERO, max: NEVER }, Some("timeout"), live, open,
            "Close a connection that has sent nothing for this long; 0 means never.";
        tcp_keepalive: Duration = "300s", Span { unit: Unit::Seconds, min: Duration::ZERO, max: NEVER }, Some("tcp-keepalive"), live, open,
            "Probe a silent peer this often; 0 means never.";
        client_output_buffer_limit: OutputLimitsByClass = "normal 1GiB 256MiB 60s pubsub 32MiB 8MiB 60s", OutputLimits, Some("client-output-buffer-limit"), live, open,
            "Bytes that may wait for a client that does not read: at once, or for as long as the time given; by class of client. 0 means no limit.";
        notify_keyspace_events: u32 = "", Events, Some("notify-keyspace-events"), live, open,
            "Classes of changes of keys that are published, by Redis's letters, K or E among them; empty publishes none.";
        tracking_table_max_keys: u64 = "1000000", Int { min: 0, max: u64::MAX }, Some("tracking-table-max-keys"), live, open,
            "Keys remembered for clients that keep copies (CLIENT TRACKING); the oldest make room for new ones. 0 means no limit.";
        proto_max_bulk_len: u64 = "512MiB", Size { min: MIB, max: 512 * MIB }, Some("proto-max-bulk-len"), live, open,
            "Longest single argument or value.";
        busy_reply_threshold: Duration = "5s", Span { unit: Unit::Millis, min: Duration::ZERO, max: NEVER }, Some("busy-reply-threshold"), live, open,
            "Time a script may take before others hear that it is busy and may end it by SCRIPT KILL; 0 means for ever.";
        max_wait: Duration = "50us", Span { unit: Unit::Written, min: Duration::ZERO, max: Duration::from_millis(1) }, None, fixed, open,
            "Longest time a busy core waits for more requests to serve together. More saves processor time and costs latency; 0 waits for nobody.";
        enable_debug_command: DebugCommand = "local", Choice { words: &[("yes", "yes", DebugCommand::Yes), ("local", "local", DebugCommand::Local), ("no", "no", DebugCommand::No)] },
            Some("enable-debug-command"), fixed, open,
            "Who may use DEBUG: everybody (yes), clients on this machine (local), nobody (no).";
    }
    /// `[auth]`: who may come in.
    auth: Auth = "auth" {
        requirepass: Secret = "", Password, Some("requirepass"), live, secret,
            "Password of the user `default`; empty means none is asked for.";
        requirepass_file: Option<PathBuf> = "", FilePath, None, fixed, open,
            "File that holds requirepass, instead of writing it here; one line end at its end is not part of it.";
        acl_file: Option<PathBuf> = "", FilePath, Some("aclfile"), fixed, open,
            "File of the users, one a line, as ACL LIST shows them; ACL SAVE writes it and ACL LOAD reads it anew. Without one, users live as long as the process.";
        acllog_max_len: u32 = "128", Int { min: 0, max: 1_000_000 }, Some("acllog-max-len"), live, open,
            "Entries that ACL LOG keeps.";
    }
    /// `[tls]`: the sockets.
    tls: Tls = "tls" {
        enabled: bool = "true", Flag, None, fixed, open,
            "Serve TLS. Switching it off leaves only the plaintext port.";
        port: u16 = "6380", Int { min: 1, max: 65535 }, Some("tls-port"), fixed, open,
            "TLS port.";
        cert_file: Option<PathBuf> = "", FilePath, Some("tls-cert-file"), fixed, open,
            "Certificate chain of the server, PEM, its own certificate first.";
        key_file: Option<PathBuf> = "", FilePath, Some("tls-key-file"), fixed, open,
            "Private key of the certificate, PEM.";
        ca_file: Option<PathBuf> = "", FilePath, Some("tls-ca-cert-file"), fixed, open,
            "Authorities that client certificates must come from, and the certificates of servers that MIGRATE speaks to, PEM.";
        require_client_cert: bool = "false", Flag, Some("tls-auth-clients"), fixed, open,
            "Refuse clients that show no certificate from ca_file.";
        min_version: TlsVersion = "1.3", Choice { words: &[("1.3", "TLSv1.3", TlsVersion::V1_3), ("1.2", "TLSv1.2 TLSv1.3", TlsVersion::V1_2)] },
            Some("tls-protocols"), fixed, open,
            "Oldest TLS version spoken.";
        prefer_server_ciphers: bool = "true", Flag, Some("tls-prefer-server-ciphers"), fixed, open,
            "Choose the cipher suite by the server's order, not the client's.";
        handshake_timeout: Duration = "10s", Span { unit: Unit::Seconds, min: Duration::from_millis(100), max: Duration::from_secs(3600) }, None, fixed, open,
            "Close a connection whose handshake has not ended after this long.";
    }
    /// `[persistence]`: the log and checkpoints.
    persistence: Persistence = "persistence" {
        appendonly: bool = "true", Flag, Some("appendonly"), fixed, open,
            "Keep a log of every write. Without it only checkpoints outlive the process.";
        appendfsync: Fsync = "everysec", Choice { words: &[("always", "always", Fsync::Always), ("everysec", "everysec", Fsync::EverySec), ("no", "no", Fsync::No)] },
            Some("appendfsync"), live, open,
            "When a write is durable: always (before its reply), everysec (within the second), no (when the kernel likes).";
        batch_window: Duration = "5ms", Span { unit: Unit::Written, min: Duration::from_micros(100), max: Duration::from_secs(1) }, None, fixed, open,
            "Under everysec and no, how long writes gather before they are sealed and handed to the disk: what a kill -9 can lose.";
        aof_segment_size: u64 = "64MiB", Size { min: MIB, max: 4 * GIB }, None, fixed, open,
            "Size of one file of the log.";
        checkpoint_interval: Duration = "1h", Span { unit: Unit::Written, min: Duration::ZERO, max: NEVER }, None, live, open,
            "Take a checkpoint after this long, if something has changed; 0 takes none by the clock.";
        auto_aof_rewrite_percentage: u64 = "100", Int { min: 0, max: 1_000_000 }, Some("auto-aof-rewrite-percentage"), live, open,
            "Take a checkpoint, which makes the log before it needless, when the log has this share of the last checkpoint's size; 0 takes none for that.";
        auto_aof_rewrite_min_size: u64 = "64MiB", Size { min: MIB, max: u64::MAX }, Some("auto-aof-rewrite-min-size"), live, open,
            "But not before the log has this size.";
    }
    /// `[storage]`: memory.
    storage: Storage = "storage" {
        maxmemory: u64 = "0", Size { min: 0, max: u64::MAX }, Some("maxmemory"), live, open,
            "Refuse writes above this much memory, or make room by maxmemory_policy; 0 means no limit.";
        maxmemory_policy: MaxmemoryPolicy = "noeviction", Choice { words: MaxmemoryPolicy::WORDS },
            Some("maxmemory-policy"), live, open,
            "What happens at maxmemory: noeviction refuses writes and keeps every key; the others remove keys, of all or of those that expire (volatile), by last use (lru), frequency of use (lfu), time of expiry (ttl) or none of them (random).";
        maxmemory_samples: u32 = "5", Int { min: 1, max: 64 }, Some("maxmemory-samples"), live, open,
            "Keys that are looked at to find one to remove; more are slower and choose better.";
        lfu_log_factor: u32 = "10", Int { min: 0, max: 1_000_000 }, Some("lfu-log-factor"), live, open,
            "Under the lfu policies, how much rarer each next use counts.";
        lfu_decay_time: u32 = "1", Int { min: 0, max: 65_535 }, Some("lfu-decay-time"), live, open,
            "Under the lfu policies, minutes after which a key's count shrinks by one; 0 means never.";
    }
    /// `[encryption]`: what lies on the disk.
    encryption: Encryption = "encryption" {
        enabled: bool = "true", Flag, None, fixed, open,
            "Seal everything that is written to disk.";
        algorithm: Algorithm = "aes256gcm", Choice { words: &[
            ("aes256gcm", "aes256gcm", Algorithm::Aes256Gcm), ("chacha20poly1305", "chacha20poly1305", Algorithm::ChaCha20Poly1305)] }, None, fixed, open,
            "Cipher of new files; files of the other stay readable.";
        provider: KekProvider = "file", Choice { words: &[("file", "file", KekProvider::File)] }, None, fixed, open,
            "Who holds the Kek, the secret that guards all others.";
        key_file: Option<PathBuf> = "", FilePath, None, fixed, open,
            "File of the Kek: 32 bytes, raw or in base64 or hex, readable by its owner only.";
        encrypt_aof: bool = "true", Flag, None, fixed, open,
            "Seal the log. Switching it off writes every key and value to disk in the clear.";
        encrypt_checkpoints: bool = "true", Flag, None, fixed, open,
            "Seal checkpoints. They are sealed as the log is: both of these or neither.";
    }
    /// `[encryption.file]`: the provider `file`.
    encryption_file: EncryptionFile = "encryption.file" {
        key_file: Option<PathBuf> = "", FilePath, None, fixed, open,
            "The same as encryption.key_file, in the provider's own section.";
    }
    /// `[replication]`: another server that this one follows.
    replication: Replication = "replication" {
        replicaof: Option<Source> = "", SourceAddr, Some("replicaof"), fixed, open,
            "Redis or Valkey server to follow, as \"host port\": this one takes over its keys and goes on as its replica, read-only. REPLICAOF changes it; once REPLICAOF NO ONE has ended it, the same name here is passed over.";
        masteruser: String = "", Word, Some("masteruser"), live, open,
            "User to be for that server; empty means its user `default`.";
        masterauth: Secret = "", Password, Some("masterauth"), live, secret,
            "Password for that server; empty means that none is sent.";
        masterauth_file: Option<PathBuf> = "", FilePath, None, fixed, open,
            "File that holds masterauth, instead of writing it here; one line end at its end is not part of it.";
        tls: bool = "true", Flag, Some("tls-replication"), fixed, open,
            "Speak TLS with that server. Switching it off lets masterauth and every key and value travel in the clear.";
        ca_file: Option<PathBuf> = "", FilePath, None, fixed, open,
            "Authorities that the certificate of that server must come from, PEM; empty means those of tls.ca_file.";
        cert_file: Option<PathBuf> = "", FilePath, None, fixed, open,
            "Certificate to show to that server, PEM; empty means tls.cert_file.";
        key_file: Option<PathBuf> = "", FilePath, None, fixed, open,
            "Private key of that certificate, PEM; empty means tls.key_file.";
        server_name: String = "", Word, None, fixed, open,
            "Name that the certificate of that server must bear; empty means the host it is reached by.";
        serve_stale_data: bool = "true", Flag, Some("replica-serve-stale-data"), live, open,
            "Answer reads while that server cannot be reached; else they are refused with MASTERDOWN.";
        timeout: Duration = "60s", Span { unit: Unit::Seconds, min: Duration::from_secs(1), max: Duration::from_secs(86_400) }, Some("repl-timeout"), live, open,
            "How long that server may be silent before the connection is given up and made anew.";
    }
    /// `[metrics]`: figures for Prometheus.
    metrics: Metrics = "metrics" {
        bind: Vec<IpAddr> = "127.0.0.1", Addrs, None, fixed, open,
            "Addresses that the metrics port listens on.";
        port: u16 = "0", Int { min: 0, max: 65535 }, None, fixed, open,
            "Port of the metrics page; 0 means none.";
        tls: bool = "true", Flag, None, fixed, open,
            "Serve the metrics page over TLS, with the certificate of [tls].";
    }
    /// `[log]`: what the server tells its operator.
    log: Log = "log" {
        level: LogLevel = "info", Choice { words: &[
            ("error", "error", LogLevel::Error), ("warn", "warning", LogLevel::Warn), ("info", "notice", LogLevel::Info),
            ("verbose", "verbose", LogLevel::Verbose), ("debug", "debug", LogLevel::Debug), ("trace", "trace", LogLevel::Trace)] }, Some("loglevel"), live, open,
            "Least urgent messages shown.";
        format: LogFormat = "text", Choice { words: &[("text", "text", LogFormat::Text), ("json", "json", LogFormat::Json)] }, None, fixed, open,
            "Lines for people (text) or one JSON object a line (json).";
        file: Option<PathBuf> = "", FilePath, Some("logfile"), fixed, open,
            "File to append to; empty means standard error.";
    }
    /// `[latency]`: what is measured about commands.
    latency: Latency = "latency" {
        slowlog_log_slower_than: Option<Duration> = "10ms", Threshold, Some("slowlog-log-slower-than"), live, open,
            "Commands that took longer are kept in SLOWLOG; off keeps none.";
        slowlog_max_len: u32 = "128", Int { min: 0, max: 1_000_000 }, Some("slowlog-max-len"), live, open,
            "Entries that SLOWLOG keeps.";
        tracking: bool = "true", Flag, Some("latency-tracking"), live, open,
            "Keep a latency histogram of every command.";
        monitor_threshold: Duration = "0s", Span { unit: Unit::Millis, min: Duration::ZERO, max: Duration::from_secs(3600) }, Some("latency-monitor-threshold"), live, open,
            "What takes this long is noted for LATENCY: commands, writes and syncs of the log, expiry, eviction. 0 notes nothing.";
    }
}
