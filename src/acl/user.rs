//! A user: whether it may come in, by which passwords, and its selectors.

use sha2::{Digest, Sha256};

use super::selector::Selector;
use super::{RuleError, has_blanks};

/// The SHA-256 of a password. Compared only through [`User::lets_in`].
type Hash = [u8; 32];

/// A user. Has no `Debug`: it holds hashes.
#[derive(Clone, PartialEq)]
pub struct User {
    name: Vec<u8>,
    enabled: bool,
    no_password: bool,
    skips_sanitizing: bool,
    passwords: Vec<Hash>,
    /// The first is the user's own.
    selectors: Vec<Selector>,
}

impl User {
    /// A new user, which may do nothing and not come in.
    pub fn new(name: &[u8]) -> User {
        User {
            name: name.to_vec(),
            enabled: false,
            no_password: false,
            skips_sanitizing: false,
            passwords: Vec::new(),
            selectors: vec![Selector::nothing()],
        }
    }

    /// A user who may do everything, and come in without a password.
    pub fn unrestricted(name: &[u8]) -> User {
        let mut user = User::new(name);
        user.enabled = true;
        user.no_password = true;
        for rule in [&b"~*"[..], b"&*", b"+@all"] {
            let known = user.selectors[0].apply(rule);
            debug_assert!(known.is_ok());
        }
        user
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether it may come in.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether any password lets it in, and none has to be given.
    pub fn needs_no_password(&self) -> bool {
        self.no_password
    }

    /// Its selectors, its own first.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Whether everything is allowed: all commands on all keys and channels, together.
    pub fn is_unrestricted(&self) -> bool {
        self.selectors.iter().any(Selector::is_unrestricted)
    }

    /// Whether the password lets this user in. Takes a time that depends on the attempt's length and on the number
    /// of passwords, not on what they are.
    pub fn lets_in(&self, password: &[u8]) -> bool {
        let attempt = hash(password);
        let mut right = false;
        for known in &self.passwords {
            let differs = known.iter().zip(&attempt).fold(0, |sum, (a, b)| {
                std::hint::black_box(sum) | std::hint::black_box(a ^ b)
            });
            right |= std::hint::black_box(differs) == 0;
        }
        self.enabled && (self.no_password || right)
    }

    /// Applies one rule; one in parentheses is a whole selector.
    ///
    /// # Errors
    /// [`RuleError`]; nothing has changed then.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("on") || is("off") {
            self.enabled = is("on");
        } else if is("nopass") {
            self.no_password = true;
            self.passwords.clear();
        } else if is("resetpass") {
            self.no_password = false;
            self.passwords.clear();
        } else if is("sanitize-payload") || is("skip-sanitize-payload") {
            self.skips_sanitizing = is("skip-sanitize-payload");
        } else if is("clearselectors") {
            self.selectors.truncate(1);
        } else if is("reset") {
            *self = User::new(&self.name);
        } else {
            match rule {
                [b'>', password @ ..] => self.add_password(hash(password)),
                [b'#', digits @ ..] => self.add_password(read_hash(digits)?),
                [b'<', password @ ..] => self.remove_password(&hash(password))?,
                [b'!', digits @ ..] => self.remove_password(&read_hash(digits)?)?,
                [b'(', rules @ .., b')'] => {
                    let mut selector = Selector::nothing();
                    let words = rules.split(u8::is_ascii_whitespace);
                    for rule in words.filter(|word| !word.is_empty()) {
                        // Printed, it would read back as the end of the selector.
                        if rule.ends_with(b")") {
                            return Err(RuleError::Syntax);
                        }
                        selector.apply(rule)?;
                    }
                    self.selectors.push(selector);
                }
                _ => self.selectors[0].apply(rule)?,
            }
        }
        Ok(())
    }

    fn add_password(&mut self, password: Hash) {
        if !self.passwords.contains(&password) {
            self.passwords.push(password);
        }
        self.no_password = false;
    }

    fn remove_password(&mut self, password: &Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known == password);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// The words that say what it is, as ACL GETUSER lists them.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.no_password {
            flags.push("nopass");
        }
        flags.push(match self.skips_sanitizing {
            true => "skip-sanitize-payload",
            false => "sanitize-payload",
        });
        flags
    }

    /// Its passwords' SHA-256, in hexadecimal.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(|hash| hex(hash))
    }

    /// All its rules as they read back, without its name.
    pub fn rules(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = self
            .flags()
            .iter()
            .map(|flag| flag.as_bytes().to_vec())
            .collect();
        words.extend(self.hashes().map(|hash| format!("#{hash}").into_bytes()));
        for (i, selector) in self.selectors.iter().enumerate() {
            let rules = selector.rules();
            words.push(match i {
                0 => rules,
                _ => [b"(", rules.as_slice(), b")"].concat(),
            });
        }
        words.join(&b' ')
    }
}

/// Whether a name can be a user's.
pub(super) fn good_name(name: &[u8]) -> bool {
    !name.is_empty() && !has_blanks(name)
}

fn hash(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read_hash(digits: &[u8]) -> Result<Hash, RuleError> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Ok(b - b'0'),
        b'a'..=b'f' => Ok(b - b'a' + 10),
        _ => Err(RuleError::BadHash),
    };
    let mut hash = [0; 32];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != hash.len() || !rest.is_empty() {
        return Err(RuleError::BadHash);
    }
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Ok(hash)
}
