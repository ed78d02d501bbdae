//! The dependencies keep the rules of `deny.toml`: licences, crates that are not wanted, and one source, crates.io.
//! What is judged is what is built for this machine, development dependencies included.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use toml_edit::DocumentMut;

/// The rules, as far as they are lists.
struct Rules {
    licenses: Vec<String>,
    banned: Vec<String>,
}

impl Rules {
    fn read(text: &str) -> Rules {
        let doc: DocumentMut = text.parse().unwrap();
        let strings = |item: &toml_edit::Item| {
            item.as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_str().unwrap().to_owned())
                .collect()
        };
        let banned = doc["bans"]["deny"].as_array().unwrap().iter();
        let banned = banned
            .map(|v| {
                v.as_inline_table()
                    .unwrap()
                    .get("crate")
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        Rules {
            licenses: strings(&doc["licenses"]["allow"]),
            banned,
        }
    }

    /// What is wrong with one line of the tree, `name version [(source)]|license`.
    fn judge(&self, line: &str) -> Option<String> {
        let (package, license) = line.split_once('|')?;
        let package = package.trim_end_matches(" (*)");
        let name = package.split(' ').next().unwrap_or("");
        if self.banned.iter().any(|b| b == name) {
            return Some(format!("{name}: deny.toml bans it"));
        }
        if let Some((_, source)) = package.split_once(" (")
            && source.contains("://")
        {
            return Some(format!("{name}: comes from {source}, not from crates.io"));
        }
        let license = license.trim_end_matches(" (*)");
        (!self.permits(license))
            .then(|| format!("{name}: its licence `{license}` is not among those of deny.toml"))
    }

    /// Whether an SPDX expression can be met. `/` is an old way of writing OR; WITH only adds permissions.
    fn permits(&self, expression: &str) -> bool {
        let spaced = expression
            .replace('/', " OR ")
            .replace('(', " ( ")
            .replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut at = 0;
        let fine = self.any(&words, &mut at);
        fine && at == words.len()
    }

    fn any(&self, words: &[&str], at: &mut usize) -> bool {
        let mut fine = self.all(words, at);
        while words.get(*at) == Some(&"OR") {
            *at += 1;
            fine |= self.all(words, at);
        }
        fine
    }

    fn all(&self, words: &[&str], at: &mut usize) -> bool {
        let mut fine = self.one(words, at);
        while words.get(*at) == Some(&"AND") {
            *at += 1;
            fine &= self.one(words, at);
        }
        fine
    }

    fn one(&self, words: &[&str], at: &mut usize) -> bool {
        let word = words.get(*at).copied().unwrap_or("");
        *at += 1;
        if word == "(" {
            let fine = self.any(words, at);
            *at += 1; // the closing one
            return fine;
        }
        if words.get(*at) == Some(&"WITH") {
            *at += 2;
        }
        self.licenses
            .iter()
            .any(|l| l == word.trim_end_matches('+'))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rules() -> Rules {
    Rules::read(&std::fs::read_to_string(root().join("deny.toml")).unwrap())
}

#[test]
fn what_is_built_keeps_the_rules() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--workspace",
        "--locked",
        "--offline",
        "--edges",
        "normal,build,dev",
        "--prefix",
        "none",
    ]);
    let out = cargo
        .args(["--format", "{p}|{l}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let text = String::from_utf8(out.stdout).unwrap();
    let lines: BTreeSet<&str> = text.lines().filter(|l| !l.is_empty()).collect();
    assert!(
        lines.iter().any(|l| l.starts_with("rustls v")) && lines.len() > 100,
        "the tree was not seen: {text}"
    );
    let rules = rules();
    let wrong: Vec<String> = lines.iter().filter_map(|l| rules.judge(l)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_dependency_is_any_version_at_all() {
    for file in ["Cargo.toml", "client/Cargo.toml"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        assert!(
            !text.contains("= \"*\""),
            "{file} takes any version of something"
        );
    }
}

#[test]
fn what_breaks_a_rule_is_found() {
    let rules = rules();
    for (line, why) in [
        ("ring v0.17.0|MIT", "bans"),
        ("x v1.0.0|GPL-3.0-only", "licence"),
        ("x v1.0.0|", "licence"),
        ("x v1.0.0|MIT AND GPL-3.0-only", "licence"),
        ("x v1.0.0|(MIT OR GPL-3.0-only) AND AGPL-3.0", "licence"),
        (
            "x v1.0.0 (https://example.org/x#abc)|MIT",
            "not from crates.io",
        ),
    ] {
        let said = rules.judge(line).unwrap_or_default();
        assert!(said.contains(why), "{line}: {said}");
    }
    for line in [
        "x v1.0.0|MIT/Apache-2.0",
        "x v1.0.0|GPL-3.0-only OR MIT",
        "x v1.0.0 (proc-macro)|Apache-2.0 WITH LLVM-exception OR MIT",
        "x v1.0.0 (/a/path)|(MIT OR Apache-2.0) AND Unicode-3.0",
        "x v1.0.0|MPL-2.0+ (*)",
    ] {
        assert_eq!(rules.judge(line), None, "{line}");
    }
}
