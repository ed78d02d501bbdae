//! What the connected server says about its commands (COMMAND DOCS): names to complete, arguments to hint at, help.
//!
//! Nothing is known here of any command. A server that does not describe a command's arguments is asked for the number
//! of them and the places of keys (COMMAND), and the hint is made of these.

use std::collections::BTreeMap;

use ferrite::Value;

/// One argument, or a group of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Argument {
    /// What stands for it in a hint.
    pub name: String,
    /// `string`, `integer`, `oneof`, `block`, `pure-token` and so on.
    pub kind: String,
    /// The word before it.
    pub token: Option<String>,
    /// It may be left out.
    pub optional: bool,
    /// It may be repeated.
    pub multiple: bool,
    /// Each repetition has the token before it.
    pub multiple_token: bool,
    /// Its parts, or its alternatives.
    pub parts: Vec<Argument>,
}

/// What is known of one command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// A sentence.
    pub summary: String,
    /// The version of Redis that brought it.
    pub since: String,
    /// Its group.
    pub group: String,
    /// Its arguments in order.
    pub arguments: Vec<Argument>,
}

/// All commands of a server, by name in upper case; a subcommand's name has two words.
#[derive(Clone, Debug, Default)]
pub struct Docs(pub BTreeMap<String, Entry>);

/// The pairs of a map, or of the flat array that RESP2 sends for one.
fn pairs(value: &Value) -> Vec<(&Value, &Value)> {
    match value {
        Value::Map(pairs) => pairs.iter().map(|(k, v)| (k, v)).collect(),
        Value::Array(flat) => flat.chunks_exact(2).map(|p| (&p[0], &p[1])).collect(),
        _ => Vec::new(),
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) | Value::Set(items) => items,
        _ => &[],
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(b) | Value::Verbatim(_, b) => String::from_utf8_lossy(b).into_owned(),
        Value::Simple(s) => s.clone(),
        _ => String::new(),
    }
    // It goes to a terminal, which obeys control characters.
    .replace(char::is_control, " ")
}

impl Argument {
    fn read(value: &Value) -> Argument {
        let mut out = Argument::default();
        let mut shown = None;
        for (field, value) in pairs(value) {
            match text(field).as_str() {
                "name" => out.name = text(value),
                "display_text" => shown = Some(text(value)),
                "type" => out.kind = text(value),
                "token" => out.token = Some(text(value)),
                "flags" => {
                    for flag in items(value) {
                        match text(flag).as_str() {
                            "optional" => out.optional = true,
                            "multiple" => out.multiple = true,
                            "multiple_token" => out.multiple_token = true,
                            _ => {}
                        }
                    }
                }
                "arguments" => out.parts = items(value).iter().map(Argument::read).collect(),
                _ => {}
            }
        }
        if let Some(shown) = shown {
            out.name = shown;
        }
        out
    }

    fn plain(name: &str) -> Argument {
        Argument {
            name: name.into(),
            kind: "string".into(),
            ..Argument::default()
        }
    }
}

impl Docs {
    /// Reads the reply of COMMAND DOCS, and for what it leaves open that of COMMAND.
    pub fn read(docs: &Value, commands: &Value) -> Docs {
        let mut all = Docs::default();
        all.add(docs, "");
        for command in items(commands) {
            all.count(command);
        }
        all
    }

    fn add(&mut self, docs: &Value, container: &str) {
        for (name, doc) in pairs(docs) {
            let name = text(name).to_uppercase();
            // Subcommands come as `container|sub`.
            let last = name.rsplit('|').next().unwrap_or("");
            let name = format!("{container}{last}");
            let mut entry = Entry::default();
            let mut sub = None;
            for (field, value) in pairs(doc) {
                match text(field).as_str() {
                    "summary" => entry.summary = text(value),
                    "since" => entry.since = text(value),
                    "group" => entry.group = text(value),
                    "arguments" => {
                        entry.arguments = items(value).iter().map(Argument::read).collect();
                    }
                    "subcommands" => sub = Some(value),
                    _ => {}
                }
            }
            if let Some(sub) = sub {
                self.add(sub, &format!("{name} "));
            }
            self.0.insert(name, entry);
        }
    }

    /// Makes arguments out of their number and the places of keys, where there are none yet.
    fn count(&mut self, command: &Value) {
        let [
            name,
            Value::Int(arity),
            _,
            Value::Int(first),
            Value::Int(last),
            Value::Int(step),
            rest @ ..,
        ] = items(command)
        else {
            return;
        };
        let subcommands = rest.last().map(items).unwrap_or_default();
        if !subcommands.is_empty() {
            subcommands.iter().for_each(|sub| self.count(sub));
            return;
        }
        let name = text(name).to_uppercase().replace('|', " ");
        let words = name.split(' ').count() as i64;
        let entry = self.0.entry(name).or_default();
        if !entry.arguments.is_empty() {
            return;
        }
        // A few of them: a command with more says so by a negative number.
        for place in words..arity.unsigned_abs().min(16) as i64 {
            let key = place >= *first
                && *first > 0
                && (*last < 0 || place <= *last)
                && (place - first) % step.max(&1) == 0;
            let name = if key { "key" } else { "arg" };
            entry.arguments.push(Argument::plain(name));
        }
        if *arity < 0 {
            let repeated = *last < 0 && *step == 1;
            entry.arguments.push(Argument {
                optional: true,
                multiple: true,
                ..Argument::plain(if repeated { "key" } else { "arg" })
            });
        }
    }

    /// Commands whose arguments are not described: COMMAND knows how many there are.
    pub fn lacking(docs: &Value) -> bool {
        pairs(docs).iter().all(|(_, doc)| {
            pairs(doc)
                .iter()
                .all(|(field, _)| text(field) != "arguments")
        })
    }

    /// The command that a line of words begins with, and how many words name it.
    pub fn find(&self, words: &[String]) -> Option<(&Entry, usize)> {
        (1..=words.len().min(2)).rev().find_map(|n| {
            let name = words[..n].join(" ").to_uppercase();
            Some((self.0.get(&name)?, n))
        })
    }

    /// Whether subcommands of `name` are known.
    fn contains(&self, name: &str) -> bool {
        let prefix = format!("{name} ");
        self.0.keys().any(|k| k.starts_with(&prefix))
    }

    /// What a line can be completed to: names of commands, after `help` of groups too. They have the letters' case of
    /// what is typed.
    pub fn complete(&self, line: &str) -> Vec<String> {
        let (help, typed) = match line.get(..5) {
            Some(word) if word.eq_ignore_ascii_case("help ") => line.split_at(5),
            _ => ("", line),
        };
        let typed = typed.trim_start();
        let lower = typed.chars().any(char::is_lowercase) || typed.is_empty();
        let wanted = typed.to_uppercase();
        let mut out = Vec::new();
        if !help.is_empty() {
            let mut groups: Vec<&String> = self.0.values().map(|e| &e.group).collect();
            groups.sort();
            groups.dedup();
            for group in groups.iter().filter(|g| !g.is_empty()) {
                out.push(format!("@{group}"));
            }
        }
        for name in self.0.keys() {
            // A container alone is no command; its subcommands come behind it.
            if help.is_empty() && self.contains(name) && self.0[name].arguments.is_empty() {
                continue;
            }
            out.push(if lower {
                name.to_lowercase()
            } else {
                name.clone()
            });
        }
        out.retain(|name| name.to_uppercase().starts_with(&wanted));
        out.iter().map(|name| format!("{help}{name}")).collect()
    }

    /// What `help TOPIC` prints: a command, those that begin like it, or the commands of a group (`@list`).
    pub fn help(&self, topic: &[String], colour: bool) -> String {
        let topic = topic.join(" ");
        let group = topic.strip_prefix('@').map(str::to_lowercase);
        let name = topic.to_uppercase();
        let mut out = String::new();
        for (command, entry) in &self.0 {
            let wanted = match &group {
                Some(group) => entry.group == *group,
                None => {
                    command == &name
                        || command
                            .strip_prefix(&name)
                            .is_some_and(|rest| rest.starts_with(' '))
                }
            };
            if wanted {
                out.push_str(&self.page(command, entry, group.is_none(), colour));
            }
        }
        if out.is_empty() {
            return format!("\n  The server has no help for '{topic}'.\n\n");
        }
        out + "\n"
    }

    fn page(&self, command: &str, entry: &Entry, with_group: bool, colour: bool) -> String {
        let paint = |code: &str, text: &str| {
            if colour {
                format!("\x1b[{code}m{text}\x1b[0m")
            } else {
                text.to_owned()
            }
        };
        let syntax = super::hints::syntax(&entry.arguments);
        let mut out = format!("\n  {}", paint("1", command));
        if !syntax.is_empty() {
            out.push_str(&format!(" {}", paint("90", &syntax)));
        }
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                out.push_str(&format!("\n  {} {value}", paint("33", &format!("{name}:"))));
            }
        };
        line("summary", &entry.summary);
        line("since", &entry.since);
        if with_group {
            line("group", &entry.group);
        }
        out.push('\n');
        out
    }
}

/// What `help` prints on its own.
pub fn help_on_help() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "ferrite-cli {version}
To get help about commands of the server type:
      \"help @<group>\" to get a list of commands in <group>
      \"help <command>\" for help on <command>
      \"help <tab>\" to get a list of possible help topics
      \"connect <host> <port>\" to go to another server
      \"clear\" to clear the screen
      \"<n> <command>\" to repeat a command
      \"quit\" to exit

To set preferences:
      \":set hints\" enable online hints
      \":set nohints\" disable online hints
Set your preferences in ~/.ferriteclirc
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(s: &str) -> Value {
        Value::Bulk(s.into())
    }
    fn map(pairs: &[(&str, Value)]) -> Value {
        Value::Map(pairs.iter().map(|(k, v)| (bulk(k), v.clone())).collect())
    }

    fn some() -> Docs {
        let argument = map(&[
            ("name", bulk("key")),
            ("type", bulk("key")),
            ("flags", Value::Set(vec![Value::Simple("multiple".into())])),
        ]);
        let docs = map(&[
            (
                "del",
                map(&[
                    ("summary", bulk("Removes.\x1b[2J")),
                    ("group", bulk("generic")),
                    ("since", bulk("1.0.0")),
                    ("arguments", Value::Array(vec![argument])),
                ]),
            ),
            (
                "config",
                map(&[
                    ("group", bulk("server")),
                    (
                        "subcommands",
                        map(&[("config|get", map(&[("summary", bulk("Gets."))]))]),
                    ),
                ]),
            ),
        ]);
        let number = Value::Int;
        let sub = Value::Array(vec![
            bulk("config|get"),
            number(-3),
            Value::Set(vec![]),
            number(0),
            number(0),
            number(0),
        ]);
        let command = |name: &str, numbers: [i64; 4], more: Value| {
            let mut items = vec![bulk(name), number(numbers[0]), Value::Set(vec![])];
            items.extend(numbers[1..].iter().map(|n| number(*n)));
            items.push(more);
            Value::Array(items)
        };
        let commands = Value::Array(vec![
            command("mset", [-3, 1, -1, 2], Value::Array(vec![])),
            command("config", [-2, 0, 0, 0], Value::Array(vec![sub])),
        ]);
        Docs::read(&docs, &commands)
    }

    #[test]
    fn commands_are_found_with_one_word_or_two() {
        let docs = some();
        let find = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            docs.find(&words)
                .map(|(e, n)| (super::super::hints::syntax(&e.arguments), n))
        };
        assert_eq!(find("del x"), Some(("key [key ...]".into(), 1)));
        assert_eq!(
            find("Config get x"),
            Some(("arg [arg [arg ...]]".into(), 2))
        );
        assert_eq!(find("mset"), Some(("key arg [arg [arg ...]]".into(), 1)));
        assert_eq!(find("nosuch x"), None);
    }

    #[test]
    fn names_are_completed_in_the_case_typed() {
        let docs = some();
        assert_eq!(docs.complete("d"), ["del"]);
        assert_eq!(docs.complete("D"), ["DEL"]);
        assert_eq!(docs.complete("config g"), ["config get"]);
        assert_eq!(docs.complete("help @g"), ["help @generic"]);
        assert!(docs.complete("del x").is_empty());
    }

    #[test]
    fn help_is_what_the_server_says_without_control_characters() {
        let docs = some();
        let help = |topic: &str| {
            let words: Vec<String> = topic.split(' ').map(str::to_owned).collect();
            docs.help(&words, false)
        };
        assert_eq!(
            help("del"),
            "\n  DEL key [key ...]\n  summary: Removes. [2J\n  since: 1.0.0\n  group: generic\n\n"
        );
        assert!(help("config").contains("CONFIG GET arg [arg [arg ...]]\n  summary: Gets."));
        assert!(help("@GENERIC").contains("DEL") && !help("@GENERIC").contains("group:"));
        assert!(help("nosuch").contains("no help for 'nosuch'"));
    }
}
