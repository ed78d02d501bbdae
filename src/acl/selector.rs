//! A selector: commands, keys and channels that go together. A user has one of its own, and may have more; what any
//! one of them allows is allowed.

use super::{RuleError, has_blanks};
use crate::command::{self, Command, key};

/// The number of rows of the command table.
fn rows() -> usize {
    command::all().len()
}

/// A pattern of keys and what may be done with keys like it.
#[derive(Clone, PartialEq)]
struct KeyPattern {
    read: bool,
    write: bool,
    pattern: Vec<u8>,
}

/// What is allowed together.
#[derive(Clone, PartialEq)]
pub struct Selector {
    all_commands: bool,
    all_keys: bool,
    all_channels: bool,
    /// Whether commands that come to be later are allowed: the rules began with all.
    future: bool,
    /// One bit for every row of the command table, by its id.
    commands: Box<[u64]>,
    /// First arguments with which a command is allowed that otherwise is not.
    first_args: Vec<(u16, Vec<u8>)>,
    /// The rules about commands in the order they were given in, without `+@all` or `-@all` in front. The bits alone
    /// would not tell whether a command was meant or its category.
    rules: Vec<(bool, Vec<u8>)>,
    keys: Vec<KeyPattern>,
    channels: Vec<Vec<u8>>,
}

impl Selector {
    /// One that allows nothing.
    pub fn nothing() -> Selector {
        Selector {
            all_commands: false,
            all_keys: false,
            all_channels: false,
            future: false,
            commands: vec![0; rows().div_ceil(64)].into(),
            first_args: Vec::new(),
            rules: Vec::new(),
            keys: Vec::new(),
            channels: Vec::new(),
        }
    }

    /// Whether it allows everything, so that nothing has to be asked.
    pub fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Applies one rule.
    ///
    /// # Errors
    /// [`RuleError`]; nothing has changed then.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("allkeys") || rule == b"~*" {
            self.all_keys = true;
            self.keys.clear();
        } else if is("resetkeys") {
            self.all_keys = false;
            self.keys.clear();
        } else if is("allchannels") || rule == b"&*" {
            self.all_channels = true;
            self.channels.clear();
        } else if is("resetchannels") {
            self.all_channels = false;
            self.channels.clear();
        } else if is("allcommands") || is("+@all") {
            self.set_all(true);
        } else if is("nocommands") || is("-@all") {
            self.set_all(false);
        } else {
            match rule {
                [b'~', pattern @ ..] => self.add_keys(true, true, pattern)?,
                [b'%', ..] if self.all_keys => return Err(RuleError::AllKeys),
                [b'%', rest @ ..] => {
                    let (read, write, pattern) = permissions(rest).ok_or(RuleError::Syntax)?;
                    self.add_keys(read, write, pattern)?;
                }
                [b'&', pattern @ ..] => self.add_channels(pattern)?,
                [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                    self.set_category(category, *sign == b'+')?;
                }
                [b'+', name @ ..] => self.allow(name)?,
                [b'-', name @ ..] => {
                    let (row, id) = command::named(name).ok_or(RuleError::Unknown)?;
                    self.set_row(row, id, false);
                    self.note_rule(false, name);
                }
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    fn set_all(&mut self, allow: bool) {
        self.all_commands = allow;
        self.future = allow;
        self.commands.fill(if allow { u64::MAX } else { 0 });
        self.first_args.clear();
        self.rules.clear();
    }

    fn add_keys(&mut self, read: bool, write: bool, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AllKeys);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|k| k.pattern == pattern) {
            Some(known) => {
                known.read |= read;
                known.write |= write;
            }
            None => self.keys.push(KeyPattern {
                read,
                write,
                pattern: pattern.to_vec(),
            }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AllChannels);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|c| c == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    fn set_category(&mut self, name: &[u8], allow: bool) -> Result<(), RuleError> {
        let bit = command::category(name).ok_or(RuleError::Unknown)?;
        for (id, row) in command::all().enumerate() {
            if row.categories() & bit != 0 {
                self.set_row(row, id as u16, allow);
            }
        }
        self.note_rule(allow, &[b"@", name].concat());
        Ok(())
    }

    /// `+name`, where the name may be that of a subcommand or have a first argument.
    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let Some(at) = name.iter().position(|&b| b == b'|') else {
            let (row, id) = command::named(name).ok_or(RuleError::Unknown)?;
            self.set_row(row, id, true);
            self.note_rule(true, name);
            return Ok(());
        };
        let (container, argument) = (&name[..at], &name[at + 1..]);
        let (row, id) = command::named(container).ok_or(RuleError::Unknown)?;
        if argument.is_empty() {
            return Err(RuleError::Syntax);
        }
        if !row.subcommands.is_empty() {
            let (sub, sub_id) = match command::named(name) {
                Some(found) => found,
                None if argument.contains(&b'|') => return Err(RuleError::SubcommandArgument),
                None => return Err(RuleError::Unknown),
            };
            self.set_row(sub, sub_id, true);
        } else if has_blanks(argument) {
            return Err(RuleError::Syntax);
        } else {
            // In the order of the rules, of which the latest counts.
            let known = (id, argument.to_ascii_lowercase());
            self.first_args.retain(|other| *other != known);
            self.first_args.push(known);
        }
        self.note_rule(true, name);
        Ok(())
    }

    /// Allows or forbids a row, and with a container its subcommands.
    fn set_row(&mut self, row: &Command, id: u16, allow: bool) {
        self.set_bit(id, allow);
        self.first_args.retain(|(of, _)| *of != id);
        if let Some(first) = command::first_subcommand(id) {
            for sub in 0..row.subcommands.len() as u16 {
                self.set_bit(first + sub, allow);
            }
        }
    }

    fn set_bit(&mut self, id: u16, allow: bool) {
        let bit = 1u64 << (id % 64);
        let word = &mut self.commands[usize::from(id / 64)];
        if allow {
            *word |= bit;
        } else {
            *word &= !bit;
            self.all_commands = false;
        }
    }

    /// Keeps a rule for printing. One about the same command or category is out of force, and so are those about
    /// subcommands of a command.
    fn note_rule(&mut self, allow: bool, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        self.rules.retain(|(_, old)| {
            let rest = old.strip_prefix(name.as_slice());
            !matches!(rest, Some([] | [b'|', ..]))
        });
        self.rules.push((allow, name));
    }

    /// Whether a command may be run, leaving its keys and channels aside.
    pub fn allows_command(&self, id: u16, args: &[&[u8]]) -> bool {
        if self.all_commands {
            return true;
        }
        let word = self.commands.get(usize::from(id / 64)).copied();
        if word.unwrap_or(0) >> (id % 64) & 1 == 1 {
            return true;
        }
        args.get(1).is_some_and(|first| {
            self.first_args
                .iter()
                .any(|(of, known)| *of == id && known.eq_ignore_ascii_case(first))
        })
    }

    /// Whether it allows all keys, whatever is done with them.
    pub fn allows_all_keys(&self) -> bool {
        self.all_keys
    }

    /// Whether it allows all channels.
    pub fn allows_all_channels(&self) -> bool {
        self.all_channels
    }

    /// Whether what the bits of [`key`] say may be done with a key.
    pub fn allows_key(&self, name: &[u8], bits: u32) -> bool {
        let (read, write) = needs(bits);
        self.all_keys
            || self.keys.iter().any(|k| {
                (k.read || !read)
                    && (k.write || !write)
                    && command::glob_matches(&k.pattern, name, false)
            })
    }

    /// Whether any key at all may be read.
    pub fn reads_every_key(&self) -> bool {
        self.all_keys || self.keys.iter().any(|k| k.read && k.pattern == b"*")
    }

    /// Whether a channel may be used. A pattern that somebody subscribes to has to be among the patterns allowed as
    /// it is: what it matches cannot be compared with what they match.
    pub fn allows_channel(&self, name: &[u8], pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|allowed| match pattern {
                true => allowed == name,
                false => command::glob_matches(allowed, name, false),
            })
    }

    /// The rules about commands as they read back.
    pub fn command_rules(&self) -> Vec<u8> {
        let mut out = if self.future { b"+@all" } else { b"-@all" }.to_vec();
        for (allow, name) in &self.rules {
            out.extend_from_slice(if *allow { b" +" } else { b" -" });
            out.extend_from_slice(name);
        }
        out
    }

    /// The patterns of keys as they read back, parted by blanks.
    pub fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let rules = self.keys.iter().map(|k| {
            let sign: &[u8] = match (k.read, k.write) {
                // As `~*` it would read back as all keys, to which no pattern can be added.
                (true, true) if k.pattern == b"*" => b"%RW~",
                (true, true) => b"~",
                (true, false) => b"%R~",
                _ => b"%W~",
            };
            [sign, &k.pattern].concat()
        });
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels as they read back, parted by blanks.
    pub fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let rules = self.channels.iter().map(|c| [b"&", c.as_slice()].concat());
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// All its rules as they read back.
    pub fn rules(&self) -> Vec<u8> {
        let mut words = vec![self.key_rules()];
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        words.extend([self.channel_rules(), self.command_rules()]);
        words.retain(|word| !word.is_empty());
        words.join(&b' ')
    }
}

/// What a command that does this with a key has to be allowed: to read, to write.
fn needs(bits: u32) -> (bool, bool) {
    let read = bits & key::ACCESS != 0;
    let write = bits & (key::INSERT | key::DELETE | key::UPDATE) != 0;
    (read, write)
}

/// `R~pattern`, `W~pattern`, `RW~pattern`.
fn permissions(rest: &[u8]) -> Option<(bool, bool, &[u8])> {
    let (mut read, mut write) = (false, false);
    for (i, b) in rest.iter().enumerate() {
        match b {
            b'R' | b'r' if !read => read = true,
            b'W' | b'w' if !write => write = true,
            b'~' if read || write => return Some((read, write, &rest[i + 1..])),
            _ => return None,
        }
    }
    None
}
