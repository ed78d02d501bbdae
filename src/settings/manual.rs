//! The manual of every setting, as a configuration file: `config/ferrite.toml` is its text, and a test keeps it so.

use super::value::Form;
use super::{ROWS, Row};

const HEAD: &str = "\
# Ferrite: every setting, with its default.
#
# Start with this file:    ferrite --config ferrite.toml
# Only check it:           ferrite --check-config --config ferrite.toml
#
# A line that is commented out shows the default. Unknown names are refused. Sizes are \"64MiB\" or, as in Redis,
# \"64mb\"; durations \"50us\", \"5ms\", \"30s\", \"10m\", \"1h\", \"90d\". CONFIG GET and CONFIG SET know a setting as
# section.name and, where it has one, by the Redis name given in [brackets]; `live` settings can be changed by
# CONFIG SET, and CONFIG REWRITE writes them back into this file without touching its comments.
";

/// What a section is for, where its name does not say it.
const SECTIONS: [(&str, &str); 11] = [
    ("server", "The process, its cores and its clients."),
    ("auth", "Who may come in."),
    ("tls", "Encryption on the wire."),
    ("persistence", "The log: what outlives the process."),
    ("storage", "Memory."),
    ("encryption", "Encryption on the disk."),
    (
        "encryption.file",
        "The Kek in a file: the provider \"file\".",
    ),
    (
        "replication",
        "A server to follow, until this one takes its place.",
    ),
    ("metrics", "Figures for Prometheus."),
    ("log", "What the server tells its operator."),
    ("latency", "What is measured about commands."),
];

/// Settings that have no default that could serve: the manual shows where their files usually lie.
const EXAMPLES: [(&str, &str); 3] = [
    ("tls.cert_file", "/etc/ferrite/certs/server.crt"),
    ("tls.key_file", "/etc/ferrite/certs/server.key"),
    ("encryption.key_file", "/etc/ferrite/encryption.key"),
];

/// The whole text.
pub fn manual() -> String {
    let mut out = String::from(HEAD);
    let mut section = "";
    for row in ROWS {
        let (its, key) = row.split();
        if its != section {
            section = its;
            let about = SECTIONS
                .iter()
                .find(|(name, _)| *name == section)
                .map_or("", |s| s.1);
            out.push_str(&format!("\n\n# {about}\n[{section}]\n"));
        }
        for line in wrapped(&about(row)) {
            out.push_str(&format!("\n# {line}"));
        }
        let example = EXAMPLES
            .iter()
            .find(|(path, _)| *path == row.path)
            .map(|e| e.1);
        let value = example.unwrap_or(row.default);
        let value = if (row.form)() == Form::Bare {
            value.to_owned()
        } else {
            format!("{value:?}")
        };
        let mark = if example.is_some() { "" } else { "#" };
        out.push_str(&format!("\n{mark}{key} = {value}\n"));
    }
    out
}

fn about(row: &Row) -> String {
    let alias = row.alias.map(|a| format!(" [{a}]")).unwrap_or_default();
    let live = if row.live { "; live" } else { "" };
    format!("{} Takes {}{live}.{alias}", row.doc, (row.accepts)())
}

/// Lines of at most 110 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let full = lines
            .last()
            .is_some_and(|l| !l.is_empty() && l.len() + 1 + word.len() > 110);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    /// Set `FERRITE_WRITE_MANUAL` to write the file anew.
    #[test]
    fn the_file_in_config_is_the_manual() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/ferrite.toml");
        if std::env::var_os("FERRITE_WRITE_MANUAL").is_some() {
            std::fs::write(path, manual()).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap() == manual(),
            "config/ferrite.toml is behind the table: run this test once with FERRITE_WRITE_MANUAL=1"
        );
    }

    #[test]
    fn every_line_of_it_reads_and_says_the_default() {
        let text = manual();
        let given = Settings::from_toml(&text).unwrap();
        assert_eq!(given.check(), []);
        let mut without = given.clone();
        without.tls.cert_file = None;
        without.tls.key_file = None;
        without.encryption.key_file = None;
        assert_eq!(without, Settings::default());
        // With every default spelled out, nothing changes.
        let spelled: String = text
            .lines()
            .map(|l| {
                format!(
                    "{}\n",
                    l.strip_prefix('#')
                        .filter(|r| !r.starts_with(' '))
                        .unwrap_or(l)
                )
            })
            .collect();
        assert_eq!(
            spelled
                .lines()
                .filter(|l| l.contains(" = ") && !l.starts_with('#'))
                .count(),
            ROWS.len()
        );
        assert_eq!(Settings::from_toml(&spelled).unwrap(), given);
    }
}
