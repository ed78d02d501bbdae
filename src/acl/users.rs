//! All users: what one core shares with the others, whole, and replaces when anything changes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::user::good_name;
use super::{RuleError, User};

/// The name of the user that every connection begins as.
pub const DEFAULT: &[u8] = b"default";

/// All users, by name. There is always one called [`DEFAULT`].
#[derive(Clone)]
pub struct Users {
    by_name: BTreeMap<Vec<u8>, Arc<User>>,
    default: Arc<User>,
}

/// Why a user could not be set. Displays as Redis's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// The name has blanks in it, or nothing.
    Name,
    /// A selector, shown, does not end.
    Parenthesis(String),
    /// A rule is refused. Shown unless it speaks of a password.
    Rule(String, RuleError),
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::Name => f.write_str("Usernames can't contain spaces or null characters"),
            SetError::Parenthesis(start) => write!(
                f,
                "Unmatched parenthesis in acl selector starting at '{start}'."
            ),
            SetError::Rule(rule, why) => {
                write!(f, "Error in ACL SETUSER modifier '{rule}': {why}")
            }
        }
    }
}

impl std::error::Error for SetError {}

impl Default for Users {
    fn default() -> Users {
        Users::new()
    }
}

impl Users {
    /// Only the default user, who may do everything and needs no password.
    pub fn new() -> Users {
        let default = Arc::new(User::unrestricted(DEFAULT));
        Users {
            by_name: BTreeMap::from([(DEFAULT.to_vec(), default.clone())]),
            default,
        }
    }

    /// The user of that name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user that every connection begins as.
    pub fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    /// Whether a connection has to say who it is before it may do anything.
    pub fn must_authenticate(&self) -> bool {
        !(self.default.needs_no_password() && self.default.is_enabled())
    }

    /// All users, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    fn put(&mut self, user: User) {
        let user = Arc::new(user);
        if user.name() == DEFAULT {
            self.default = user.clone();
        }
        self.by_name.insert(user.name().to_vec(), user);
    }

    /// Applies rules to the user of that name, who is made if there is none; all rules or none.
    ///
    /// # Errors
    /// The first that is refused.
    pub fn set(&mut self, name: &[u8], rules: &[&[u8]]) -> Result<(), SetError> {
        if !good_name(name) {
            return Err(SetError::Name);
        }
        let rules = join_selectors(rules)?;
        let mut user = match self.by_name.get(name) {
            Some(user) => User::clone(user),
            None => User::new(name),
        };
        for rule in &rules {
            user.apply(rule)
                .map_err(|why| SetError::Rule(shown(rule), why))?;
        }
        self.put(user);
        Ok(())
    }

    /// Removes a user; whether there was one. The default user cannot be removed.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        name != DEFAULT && self.by_name.remove(name).is_some()
    }

    /// Makes this the default user's only password; empty: none is needed.
    pub fn require_password(&mut self, password: &[u8]) {
        let mut user = User::clone(&self.default);
        let rule = match password {
            b"" => b"nopass".to_vec(),
            _ => [b">", password].concat(),
        };
        for rule in [b"resetpass", rule.as_slice()] {
            let known = user.apply(rule);
            debug_assert!(known.is_ok());
        }
        self.put(user);
    }

    /// Reads what [`Users::to_text`] writes: a line a user. A default user that no line speaks of is the one of
    /// `requirepass`, with everything allowed.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line's number. No rule that may hold a password is shown.
    pub fn from_text(text: &[u8], requirepass: &[u8]) -> Result<Users, Vec<(usize, String)>> {
        let mut users = Users::new();
        users.require_password(requirepass);
        let mut seen: Vec<&[u8]> = Vec::new();
        let mut wrong = Vec::new();
        for (i, line) in text.split(|&b| b == b'\n').enumerate() {
            let words: Vec<&[u8]> = line
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty())
                .collect();
            let mut say = |why: String| wrong.push((i + 1, why));
            let (name, rules) = match words.as_slice() {
                [] => continue,
                [b"user", name, rules @ ..] => (*name, rules),
                _ => {
                    say("a line must begin with `user` and a name".into());
                    continue;
                }
            };
            let shown_name = String::from_utf8_lossy(name).into_owned();
            if !good_name(name) {
                say(format!(
                    "the name '{shown_name}' has characters that a name cannot have"
                ));
                continue;
            }
            if seen.contains(&name) {
                say(format!("the user '{shown_name}' has a line already"));
                continue;
            }
            seen.push(name);
            let rules = match join_selectors(rules) {
                Ok(rules) => rules,
                Err(e) => {
                    say(e.to_string());
                    continue;
                }
            };
            let mut user = User::new(name);
            for rule in &rules {
                if let Err(why) = user.apply(rule) {
                    say(format!("'{}': {why}", shown(rule)));
                }
            }
            users.put(user);
        }
        if wrong.is_empty() {
            Ok(users)
        } else {
            Err(wrong)
        }
    }

    /// Takes over from `old` every user that is the same in both, so that whoever holds it sees that nothing changed.
    pub fn keep_from(&mut self, old: &Users) {
        for (name, user) in &mut self.by_name {
            if let Some(same) = old.by_name.get(name).filter(|o| *o == user) {
                *user = same.clone();
            }
        }
        if let Some(default) = self.by_name.get(DEFAULT) {
            self.default = default.clone();
        }
    }

    /// The lines of ACL LIST.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = Vec<u8>> {
        self.iter()
            .map(|user| [b"user ", user.name(), b" ", &user.rules()].concat())
    }

    /// All users as a file holds them.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for line in self.lines() {
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        text
    }
}

/// Puts the words of a selector back together that were parted at blanks: from a word that begins with a parenthesis
/// to the one that ends with one.
fn join_selectors(rules: &[&[u8]]) -> Result<Vec<Vec<u8>>, SetError> {
    let mut joined = Vec::with_capacity(rules.len());
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for rule in rules {
        let closes = rule.ends_with(b")");
        match &mut open {
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(rule);
                if closes && let Some((_, selector)) = open.take() {
                    joined.push(selector);
                }
            }
            None if rule.starts_with(b"(") && !closes => open = Some((rule, rule.to_vec())),
            None => joined.push(rule.to_vec()),
        }
    }
    match open {
        Some((start, _)) => Err(SetError::Parenthesis(shown(start))),
        None => Ok(joined),
    }
}

/// A rule for an error message, unless it may hold a password.
fn shown(rule: &[u8]) -> String {
    match rule.first() {
        Some(sign @ (b'>' | b'<' | b'#' | b'!')) => format!("{}(hidden)", *sign as char),
        _ => String::from_utf8_lossy(rule).into_owned(),
    }
}
