//! The command line, in redis-cli's words.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

/// Talks to a Ferrite server, or to any Redis-compatible one.
///
/// Without a COMMAND it reads commands from the terminal (`help` there says more), or line by line from standard
/// input. TLS is on unless --no-tls or a redis:// URL is given. A certificate on loopback is checked against the
/// development authority of the data directory (FERRITE_DATA_DIR, else ./ferrite-data), if there is one;
/// FERRITE_CACERT names another for any host.
///
/// Words of its own: `cert DIRECTORY [HOST...]` makes certificates and a Kek for trials; `import FILE` brings data in from
/// an RDB file or an append-only file of Redis, and `export FILE` writes an RDB file, sealed unless it says --plain;
/// `check DIR` verifies the data directory of a stopped server (these three have a --help of their own); `backup` (`backup
/// help` says more) makes backups of a data directory, verifies and restores them.
#[derive(Debug, Parser)]
#[command(
    name = "ferrite-cli",
    version,
    disable_help_flag = true,
    args_override_self = true,
    after_help = AFTER,
    group = clap::ArgGroup::new("mode").multiple(false),
)]
pub struct Options {
    /// Server's name or address.
    #[arg(
        short = 'h',
        long = "host",
        default_value = "127.0.0.1",
        value_name = "HOST"
    )]
    pub host: String,
    /// Server's port [default: 6380, with --no-tls 6379].
    #[arg(short = 'p', long = "port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Server as an URL: rediss://user:password@host:port/database, or redis:// without TLS.
    #[arg(short = 'u', long = "uri", value_name = "URL", conflicts_with_all = ["host", "port", "database"])]
    pub uri: Option<String>,
    /// Password; others can see it in the process list, so better put it into FERRITECLI_AUTH (or REDISCLI_AUTH) or
    /// use --askpass.
    #[arg(short = 'a', long = "pass", value_name = "PASSWORD")]
    pub password: Option<String>,
    /// User to log in as; needs a password.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Asks for the password.
    #[arg(long, conflicts_with = "password")]
    pub askpass: bool,
    /// Does not warn of a password on the command line.
    #[arg(long)]
    pub no_auth_warning: bool,
    /// Database.
    #[arg(short = 'n', value_name = "DB", default_value_t = 0)]
    pub database: u32,
    /// Repeats the command; -1 for ever.
    #[arg(
        short = 'r',
        value_name = "COUNT",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    pub repeat: i64,
    /// Seconds between repetitions, lines of --stat, reports of --latency-history and --latency-dist, and 100 SCANs of
    /// --scan, --bigkeys, --memkeys and --hotkeys.
    #[arg(short = 'i', value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub interval: Duration,
    /// Seconds for connecting; 0 for as long as the system lets it take.
    #[arg(short = 't', value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
    /// Reads the last argument from standard input.
    #[arg(short = 'x')]
    pub stdin_argument: bool,
    /// Reads the argument that is TAG from standard input.
    #[arg(short = 'X', value_name = "TAG", conflicts_with = "stdin_argument")]
    pub stdin_tag: Option<OsString>,
    /// Stands between the items of a reply, in raw output [default: a line end].
    #[arg(
        short = 'd',
        value_name = "TEXT",
        default_value = "\n",
        hide_default_value = true
    )]
    pub item_delimiter: OsString,
    /// Stands after each reply, in raw output [default: a line end].
    #[arg(
        short = 'D',
        value_name = "TEXT",
        default_value = "\n",
        hide_default_value = true
    )]
    pub reply_delimiter: OsString,
    /// Speaks RESP2.
    #[arg(short = '2', conflicts_with = "resp3")]
    pub resp2: bool,
    /// Speaks RESP3.
    #[arg(short = '3')]
    pub resp3: bool,
    /// Ends with status 1 when the server answers an error, which goes to standard error.
    #[arg(short = 'e')]
    pub error_status: bool,
    /// TLS, which is the default.
    #[arg(long, conflicts_with = "no_tls")]
    pub tls: bool,
    /// No TLS: everything can be read on the way.
    #[arg(long, conflicts_with_all = ["cacert", "cacertdir", "cert", "insecure", "sni", "tls_ciphers", "tls_ciphersuites"])]
    pub no_tls: bool,
    /// Name that the server's certificate must carry, when it is not HOST.
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,
    /// Authorities to trust (PEM).
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Directory of authorities to trust (files in PEM).
    #[arg(long, value_name = "DIRECTORY")]
    pub cacertdir: Option<PathBuf>,
    /// Trusts any server.
    #[arg(long, conflicts_with_all = ["cacert", "cacertdir"])]
    pub insecure: bool,
    /// Own certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Private key of the own certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Cipher suites of TLS 1.2 to offer, in order, with colons between.
    #[arg(long, value_name = "LIST")]
    pub tls_ciphers: Option<String>,
    /// Cipher suites of TLS 1.3 to offer, in order, with colons between.
    #[arg(long, value_name = "LIST")]
    pub tls_ciphersuites: Option<String>,
    /// Replies as they are; the default when the output is no terminal.
    #[arg(long, conflicts_with = "no_raw")]
    pub raw: bool,
    /// Replies for people; the default on a terminal.
    #[arg(long)]
    pub no_raw: bool,
    /// Replies as CSV.
    #[arg(long, conflicts_with_all = ["raw", "no_raw"])]
    pub csv: bool,
    /// Replies as JSON; asks for RESP3 unless -2 is given.
    #[arg(long, conflicts_with_all = ["raw", "no_raw", "csv"])]
    pub json: bool,
    /// As --json, with the bytes of strings escaped as in quoted output, so that all is ASCII and none is lost.
    #[arg(long, conflicts_with_all = ["raw", "no_raw", "csv", "json"])]
    pub quoted_json: bool,
    /// Takes every argument of the command as a quoted string, as one types it at the prompt.
    #[arg(long)]
    pub quoted_input: bool,
    /// Whether messages that answer no command are shown (RESP3) [default: yes on a terminal].
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no)]
    pub show_pushes: Option<bool>,
    /// Figures of the server, a line every second, or as -i says.
    #[arg(long, group = "mode")]
    pub stat: bool,
    /// Measures round trips (PING) for ever on a terminal; else for one second, or as -i says, and ends.
    #[arg(long, group = "mode")]
    pub latency: bool,
    /// As --latency, with a line for every 15 seconds, or as -i says.
    #[arg(long, group = "mode")]
    pub latency_history: bool,
    /// Round trips as a spectrum, a line every second, or as -i says; for terminals with 256 colours.
    #[arg(long, group = "mode")]
    pub latency_dist: bool,
    /// Sends all of standard input (RESP, or a command a line) and counts the replies.
    #[arg(long, group = "mode")]
    pub pipe: bool,
    /// Seconds that --pipe waits for the next reply when everything is sent; 0 for ever.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub pipe_timeout: Duration,
    /// Looks through the keys for those with the most elements.
    #[arg(long, group = "mode")]
    pub bigkeys: bool,
    /// Looks through the keys for those with the most memory.
    #[arg(long, group = "mode")]
    pub memkeys: bool,
    /// As --memkeys, looking at COUNT elements of a key; 0 for all.
    #[arg(long, value_name = "COUNT", group = "mode")]
    pub memkeys_samples: Option<u64>,
    /// Looks through the keys for those used most; needs an LFU policy (maxmemory-policy).
    #[arg(long, group = "mode")]
    pub hotkeys: bool,
    /// Lists keys by SCAN.
    #[arg(long, group = "mode")]
    pub scan: bool,
    /// Only keys like this, for --scan, --bigkeys, --memkeys and --hotkeys.
    #[arg(long, value_name = "GLOB")]
    pub pattern: Option<OsString>,
    /// As --pattern, given as a quoted string.
    #[arg(long, value_name = "GLOB", conflicts_with = "pattern")]
    pub quoted_pattern: Option<OsString>,
    /// COUNT of each SCAN, for --scan, --bigkeys, --memkeys and --hotkeys.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Sends the Lua script in FILE by EVAL: keys come first, and after a comma on its own the other arguments.
    #[arg(long, value_name = "FILE", group = "mode")]
    pub eval: Option<PathBuf>,
    /// Tells of every connection that is made, on standard error.
    #[arg(long)]
    pub verbose: bool,
    /// Prints this help.
    #[arg(long, action = clap::ArgAction::Help)]
    pub help: Option<bool>,
    /// Command and its arguments.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<OsString>,
}

const AFTER: &str = "\
Files: ~/.ferritecli_history (FERRITECLI_HISTFILE) keeps the lines typed, except those with secrets; ~/.ferriteclirc
(FERRITECLI_RCFILE) holds preferences such as `:set nohints`. Status: 0; 1 for no connection, and with -e or --pipe for
an error; 2 for a wrong command line.";

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    Duration::try_from_secs_f64(number).map_err(|_| "not a number of seconds".into())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("say yes or no".into()),
    }
}

/// What redis-cli has and this program has not, with the reason.
const ABSENT: [(&str, &str); 10] = [
    ("-s", "Ferrite listens on no Unix socket: give -h and -p"),
    (
        "-c",
        "a Ferrite server is no cluster, so no redirections are followed",
    ),
    ("--cluster", "a Ferrite server is no cluster"),
    ("--rdb", "use `export FILE`"),
    (
        "--functions-rdb",
        "`export FILE` takes keys and functions together",
    ),
    ("--replica", "this program does not act as a replica"),
    ("--ldb", "there is no Lua debugger"),
    ("--ldb-sync-mode", "there is no Lua debugger"),
    ("--lru-test", "this program makes no load: use a benchmark"),
    (
        "--intrinsic-latency",
        "it would measure this machine and no server",
    ),
];

impl Options {
    /// Reads a command line. The error is to be printed as it is.
    pub fn read<T>(line: impl IntoIterator<Item = T>) -> Result<Options, clap::Error>
    where
        T: Into<OsString> + Clone,
    {
        let options = Options::try_parse_from(line)?;
        // An option that is not known would be taken for the command, which none begins like.
        if let Some(name) = options.command.first().and_then(|w| w.to_str())
            && name.len() > 1
            && name.starts_with('-')
            && options.eval.is_none()
        {
            let name = name.split('=').next().unwrap_or(name);
            return Err(match ABSENT.iter().find(|(absent, _)| *absent == name) {
                Some((name, why)) => wrong(format!("'{name}' of redis-cli is not here: {why}")),
                None => wrong(format!("there is no option '{name}'")),
            });
        }
        let alone = options.stat
            || options.any_latency()
            || options.pipe
            || options.samples()
            || options.scan;
        if alone && !options.command.is_empty() {
            return Err(wrong("this option takes no COMMAND".into()));
        }
        if !(options.scan || options.samples())
            && (options.pattern.is_some()
                || options.quoted_pattern.is_some()
                || options.count.is_some())
        {
            return Err(wrong(
                "--pattern, --quoted-pattern and --count go with --scan, --bigkeys, --memkeys or --hotkeys".into(),
            ));
        }
        Ok(options)
    }

    /// Whether round trips are to be measured.
    pub fn any_latency(&self) -> bool {
        self.latency || self.latency_history || self.latency_dist
    }

    /// Whether all keys are to be looked at.
    pub fn samples(&self) -> bool {
        self.bigkeys || self.memkeys || self.memkeys_samples.is_some() || self.hotkeys
    }
}

fn wrong(text: String) -> clap::Error {
    Options::command().error(ErrorKind::ArgumentConflict, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_where_the_command_begins() {
        let o =
            Options::try_parse_from(["ferrite-cli", "-p", "7", "-3", "-n", "2", "SET", "-p", "8"])
                .unwrap();
        assert_eq!((o.port, o.resp3, o.database), (Some(7), true, 2));
        assert_eq!(o.command, ["SET", "-p", "8"]);
        let o = Options::try_parse_from([
            "ferrite-cli",
            "-r",
            "-1",
            "-2",
            "-h",
            "x",
            "DECRBY",
            "k",
            "-3",
        ])
        .unwrap();
        assert_eq!((o.repeat, o.resp2, o.host.as_str()), (-1, true, "x"));
        assert_eq!(o.command, ["DECRBY", "k", "-3"]);
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for line in [
            &["--tls", "--no-tls"][..],
            &["--no-tls", "--insecure"],
            &["--cert", "x"],
            &["-2", "-3"],
            &["--raw", "--json"],
            &["-p", "0"],
            &["--scan", "--stat"],
            &["--scan", "GET", "x"],
            &["--pattern", "x"],
            &["-i", "-1"],
            &["--show-pushes", "perhaps"],
        ] {
            assert!(
                Options::read([&["ferrite-cli"], line].concat()).is_err(),
                "{line:?}"
            );
        }
        assert!(Options::read(["ferrite-cli", "--tls", "--cacert", "c", "PING"]).is_ok());
    }

    #[test]
    fn what_only_redis_cli_has_is_said_to_be_missing() {
        for (name, why) in ABSENT {
            for line in [vec!["ferrite-cli", name], vec!["ferrite-cli", name, "x"]] {
                let said = Options::read(line).unwrap_err().to_string();
                assert!(said.contains(why), "{name}: {said}");
            }
        }
        for line in [&["--nosuch", "x"][..], &["-n", "1", "-y"]] {
            let said = Options::read([&["ferrite-cli"], line].concat()).unwrap_err();
            assert!(said.to_string().contains("there is no option"), "{said}");
        }
    }
}
