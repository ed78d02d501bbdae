//! The command line, in redis-cli's words.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

/// Talks to a Ferrite server, or to any Redis-compatible one.
///
/// Without a COMMAND it reads commands from the terminal, or line by line from standard input. TLS is on unless
/// --no-tls is given. A certificate on loopback is checked against the development authority of the data directory
/// (FERRITE_DATA_DIR, else ./ferrite-data), if there is one; FERRITE_CACERT names another for any host.
#[derive(Debug, Parser)]
#[command(
    name = "ferrite-cli",
    version,
    disable_help_flag = true,
    args_override_self = true
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
    /// Password; others can see it in the process list, so better put it into REDISCLI_AUTH or use --askpass.
    #[arg(short = 'a', long = "pass", value_name = "PASSWORD")]
    pub password: Option<String>,
    /// User to log in as.
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
    /// Seconds between repetitions.
    #[arg(short = 'i', value_name = "SECONDS", default_value_t = 0.0)]
    pub interval: f64,
    /// Seconds for connecting.
    #[arg(short = 't', value_name = "SECONDS", default_value_t = 10.0)]
    pub timeout: f64,
    /// Reads the last argument from standard input.
    #[arg(short = 'x')]
    pub stdin_argument: bool,
    /// Speaks RESP2.
    #[arg(short = '2', conflicts_with = "resp3")]
    pub resp2: bool,
    /// Speaks RESP3.
    #[arg(short = '3')]
    pub resp3: bool,
    /// Ends with status 1 when the server answers an error.
    #[arg(short = 'e')]
    pub error_status: bool,
    /// TLS, which is the default.
    #[arg(long, conflicts_with = "no_tls")]
    pub tls: bool,
    /// No TLS: everything can be read on the way.
    #[arg(long, conflicts_with_all = ["cacert", "cert", "insecure", "sni"])]
    pub no_tls: bool,
    /// Authorities to trust (PEM).
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Own certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Private key of the own certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Name that the server's certificate must carry, when it is not HOST.
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,
    /// Trusts any server.
    #[arg(long, conflicts_with = "cacert")]
    pub insecure: bool,
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
    /// Sends all of standard input (RESP, or a command a line) and counts the replies.
    #[arg(long, conflicts_with = "command")]
    pub pipe: bool,
    /// Lists keys by SCAN.
    #[arg(long, conflicts_with = "command")]
    pub scan: bool,
    /// Only keys like this, for --scan.
    #[arg(long, value_name = "GLOB", requires = "scan")]
    pub pattern: Option<String>,
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
        ] {
            assert!(
                Options::try_parse_from([&["ferrite-cli"], line].concat()).is_err(),
                "{line:?}"
            );
        }
        assert!(Options::try_parse_from(["ferrite-cli", "--tls", "--cacert", "c", "PING"]).is_ok());
    }
}
