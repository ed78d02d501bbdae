//! The configuration file: TOML text to settings, and changed settings back into the text.
//!
//! Reading finds every trouble in the file and names each with its line. Writing back (`CONFIG REWRITE`) changes
//! only what differs and leaves comments, order and spelling of everything else alone.

use std::fmt;
use std::ops::Range;

use toml_edit::{Array, Document, DocumentMut, Item, TableLike, Value};

use super::later::{LATER, Rule};
use super::value::Form;
use super::{ROWS, Row, Settings, nearest, row};

/// One thing wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Line it stands on, from 1; 0 when none can be told.
    pub line: usize,
    /// What is wrong and what to do.
    pub text: String,
}

/// Everything wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError(pub Vec<Trouble>);

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, t) in self.0.iter().enumerate() {
            let sep = if i == 0 { "" } else { "\n" };
            if t.line == 0 {
                write!(f, "{sep}{}", t.text)?
            } else {
                write!(f, "{sep}line {}: {}", t.line, t.text)?
            }
        }
        Ok(())
    }
}

impl std::error::Error for FileError {}

impl Settings {
    /// Reads the text of a file over the defaults. Contradictions are not looked for: see [`Settings::check`].
    pub fn from_toml(text: &str) -> Result<Settings, FileError> {
        let doc = Document::parse(text).map_err(|e| {
            FileError(vec![Trouble {
                line: line_of(text, e.span()),
                text: format!("not TOML: {}", e.message().trim()),
            }])
        })?;
        let mut reader = Reader {
            text,
            settings: Settings::default(),
            troubles: Vec::new(),
        };
        reader.table("", doc.as_table());
        if reader.troubles.is_empty() {
            Ok(reader.settings)
        } else {
            Err(FileError(reader.troubles))
        }
    }

    /// The file's text with every setting that differs from it changed: `original` read back equals `self`.
    pub fn rewrite(&self, original: &str) -> Result<String, FileError> {
        let before = Settings::from_toml(original)?;
        let mut doc: DocumentMut = original.parse().map_err(|e: toml_edit::TomlError| {
            FileError(vec![Trouble {
                line: 0,
                text: e.message().to_owned(),
            }])
        })?;
        for row in ROWS {
            // A password that came from its file stays there.
            let from_file = match row.path {
                "auth.requirepass" => self.auth.requirepass_file.is_some(),
                "replication.masterauth" => self.replication.masterauth_file.is_some(),
                _ => false,
            };
            if (row.ours)(self) != (row.ours)(&before) && !from_file {
                put(&mut doc, row, &(row.ours)(self));
            }
        }
        Ok(doc.to_string())
    }
}

struct Reader<'a> {
    text: &'a str,
    settings: Settings,
    troubles: Vec<Trouble>,
}

impl Reader<'_> {
    fn trouble(&mut self, span: Option<Range<usize>>, text: String) {
        self.troubles.push(Trouble {
            line: line_of(self.text, span),
            text,
        });
    }

    fn table(&mut self, prefix: &str, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            let path = if prefix.is_empty() {
                name.to_owned()
            } else {
                format!("{prefix}.{name}")
            };
            let span = table
                .key(name)
                .and_then(|k| k.span())
                .or_else(|| item.span());
            self.item(&path, item, span);
        }
    }

    fn item(&mut self, path: &str, item: &Item, span: Option<Range<usize>>) {
        if let Some(later) = LATER.iter().find(|l| l.path == path) {
            let off = match later.rule {
                Rule::Only(words) => words_of(item).is_ok_and(|w| words.contains(&w.as_str())),
                Rule::Section => item.as_table_like().is_some_and(|t| {
                    t.is_empty() || t.get("enabled").and_then(Item::as_bool) == Some(false)
                }),
            };
            if !off {
                self.trouble(
                    span,
                    format!(
                        "{path}: {} not available in this version; remove it",
                        is_or_are(later.feature)
                    ),
                );
            }
        } else if let Some(row) = ROWS.iter().find(|r| r.path == path) {
            match words_of(item).and_then(|words| row.read(&mut self.settings, &words)) {
                Ok(()) => {}
                Err(why) => self.trouble(item.span().or(span), format!("{path} {why}")),
            }
        } else if is_section(path) {
            match item.as_table_like() {
                Some(table) => self.table(path, table),
                None => self.trouble(span, format!("{path} must be a section: write [{path}]")),
            }
        } else {
            let near = match row(path) {
                Some(row) => Some(row.path.to_owned()),
                None => nearest(path),
            };
            let hint = near
                .map(|n| format!("; did you mean {n}?"))
                .unwrap_or_default();
            let what = if item.is_table_like() || item.is_array_of_tables() {
                "section"
            } else {
                "setting"
            };
            self.trouble(span, format!("{path}: there is no such {what}{hint}"));
        }
    }
}

fn is_or_are(feature: &str) -> String {
    let plural =
        feature.ends_with('s') && !feature.starts_with("the ") && !feature.starts_with("reloading");
    format!("{feature} {}", if plural { "are" } else { "is" })
}

/// Some row or later name lies below `path`.
fn is_section(path: &str) -> bool {
    let below = |p: &str| {
        p.strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    ROWS.iter().any(|r| below(r.path)) || LATER.iter().any(|l| below(l.path))
}

/// A TOML value as the words that a codec reads; arrays become words with spaces between.
fn words_of(item: &Item) -> Result<String, String> {
    fn scalar(value: &Value) -> Result<String, String> {
        match value {
            Value::String(s) => Ok(s.value().clone()),
            Value::Integer(i) => Ok(i.value().to_string()),
            Value::Boolean(b) => Ok(b.value().to_string()),
            _ => Err("must be a string, a whole number, true or false".into()),
        }
    }
    match item {
        Item::Value(Value::Array(list)) => Ok(list
            .iter()
            .map(scalar)
            .collect::<Result<Vec<_>, _>>()?
            .join(" ")),
        Item::Value(value) => scalar(value),
        _ => Err("must be a value, not a section".into()),
    }
}

/// Line, from 1, where a span of `text` begins; 0 without one.
fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    span.map_or(0, |s| {
        text.as_bytes()[..s.start.min(text.len())]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1
    })
}

/// Lays a setting's value into the document, keeping the decoration of what stood there.
fn put(doc: &mut DocumentMut, row: &Row, ours: &str) {
    let (section, key) = row.split();
    let mut table = doc.as_table_mut() as &mut dyn TableLike;
    for name in section.split('.') {
        let item = table
            .entry(name)
            .or_insert_with(|| Item::Table(toml_edit::Table::new()));
        match item.as_table_like_mut() {
            Some(next) => table = next,
            None => return, // unreachable: the text was read as settings before
        }
    }
    let mut value = match (row.form)() {
        Form::Bare => ours
            .parse::<bool>()
            .map(Value::from)
            .or_else(|_| ours.parse::<i64>().map(Value::from))
            .unwrap_or_else(|_| ours.into()),
        Form::List if ours.contains(' ') => Value::Array(ours.split(' ').collect::<Array>()),
        Form::List | Form::Quoted => Value::from(ours),
    };
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        _ => {
            table.insert(key, Item::Value(value));
        }
    }
}
