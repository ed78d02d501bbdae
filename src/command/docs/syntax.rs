//! The grammar of the rows' `syntax`, read into a tree and printed back.
//!
//! Promise: what HELP shows and what COMMAND DOCS tells of a command's arguments come from the same words, and
//! [`print`] of what [`parse`] read is, byte for byte, what was read.
//!
//! The grammar, which is that of the Redis command pages with one spelling for each meaning:
//!
//! - `name` in lower case stands for a value, `TOKEN` in upper case or of signs for itself;
//! - a token takes the values behind it, or the one choice: `LIMIT offset count`, `AGGREGATE <SUM | MIN | MAX>`;
//! - `<a | b>` is one of several, `[..]` may be left out; `[a | b]` is both;
//! - `x [x ...]` is one or more `x`; where `x` has a choice in it, `x ...` says the same.

/// One argument, or several that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The word before it.
    pub token: Option<&'static str>,
    /// What it is made of.
    pub what: What,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be given again and again.
    pub multiple: bool,
    /// Whether the token is given again too.
    pub token_again: bool,
}

/// What an argument is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing but its token.
    Token,
    /// A value, under the name it is shown by.
    Value(&'static str),
    /// One of these.
    OneOf(Vec<Argument>),
    /// All of these, in order.
    Block(Vec<Argument>),
}

impl Argument {
    fn new(what: What) -> Argument {
        Argument {
            token: None,
            what,
            optional: false,
            multiple: false,
            token_again: false,
        }
    }

    /// Whether there is a choice in it somewhere.
    fn has_choice(&self) -> bool {
        match &self.what {
            What::Token | What::Value(_) => false,
            What::OneOf(_) => true,
            What::Block(parts) => parts.iter().any(Argument::has_choice),
        }
    }
}

/// Reads a syntax; `None` if it is not of the grammar.
pub fn parse(syntax: &'static str) -> Option<Vec<Argument>> {
    let mut reader = Reader { rest: syntax };
    let (mut choices, again) = reader.choices()?;
    let sequence = choices.pop()?;
    (choices.is_empty() && !again && reader.rest.is_empty()).then(|| bind(sequence))
}

struct Reader {
    rest: &'static str,
}

impl Reader {
    fn takes(&mut self, sign: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Sequences with bars between them, up to a bracket that closes or the end; and whether they end in dots of
    /// their own, as in `[x ...]`. Tokens are not bound to their values yet.
    fn choices(&mut self) -> Option<(Vec<Vec<Argument>>, bool)> {
        let mut choices = vec![Vec::new()];
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() || self.rest.starts_with([']', '>']) {
                return Some((choices, false));
            }
            let first = choices.len() == 1;
            let sequence = choices.last_mut()?;
            if self.takes("|") {
                choices.push(Vec::new());
            } else if self.takes("...") {
                // Behind a choice they are its own; otherwise they end what stands in brackets.
                match sequence.last_mut() {
                    Some(last) if last.has_choice() && !last.multiple => last.multiple = true,
                    _ if first && self.rest.starts_with(']') => {
                        return Some((choices, true));
                    }
                    _ => return None,
                }
            } else if self.takes("[") {
                let (inner, again) = self.choices()?;
                if !self.takes("]") {
                    return None;
                }
                if again {
                    repeat(sequence, &inner[0])?;
                } else {
                    let mut argument = one_of(inner)?;
                    argument.optional = true;
                    sequence.push(argument);
                }
            } else if self.takes("<") {
                let (inner, again) = self.choices()?;
                if again || inner.len() < 2 || !self.takes(">") {
                    return None;
                }
                sequence.push(one_of(inner)?);
            } else {
                sequence.push(self.word()?);
            }
        }
    }

    fn word(&mut self) -> Option<Argument> {
        let end = |c: char| c == ' ' || "[]<>|".contains(c);
        let (word, rest) = self
            .rest
            .split_at(self.rest.find(end).unwrap_or(self.rest.len()));
        self.rest = rest;
        let first = word.chars().next()?;
        Some(if first.is_ascii_lowercase() {
            Argument::new(What::Value(word))
        } else {
            Argument {
                token: Some(word),
                ..Argument::new(What::Token)
            }
        })
    }
}

/// Makes one argument of the sequences between bars.
fn one_of(choices: Vec<Vec<Argument>>) -> Option<Argument> {
    let mut parts = Vec::new();
    for choice in choices {
        let mut bound = bind(choice);
        parts.push(match bound.len() {
            0 => return None,
            1 => bound.pop()?,
            _ => Argument::new(What::Block(bound)),
        });
    }
    match parts.len() {
        1 => parts.pop(),
        _ => Some(Argument::new(What::OneOf(parts))),
    }
}

/// The end of the sequence may be given again: it has to be what stands in the brackets.
fn repeat(sequence: &mut Vec<Argument>, again: &[Argument]) -> Option<()> {
    let from = sequence.len().checked_sub(again.len())?;
    if again.is_empty() || sequence[from..] != *again {
        return None;
    }
    let mut parts = bind(sequence.split_off(from));
    let mut argument = match parts.len() {
        1 => parts.pop()?,
        _ => Argument::new(What::Block(parts)),
    };
    argument.multiple = true;
    argument.token_again = argument.token.is_some();
    sequence.push(argument);
    Some(())
}

/// Gives tokens the values behind them.
fn bind(sequence: Vec<Argument>) -> Vec<Argument> {
    let mut bound = Vec::new();
    let mut parts = sequence.into_iter().peekable();
    while let Some(part) = parts.next() {
        if part.what != What::Token || part.optional {
            bound.push(part);
            continue;
        }
        let is_value = |next: &Argument| {
            let plain = matches!(next.what, What::Value(_)) || next.multiple;
            plain && next.token.is_none() && !next.optional
        };
        let mut values = Vec::new();
        while let Some(value) = parts.next_if(is_value) {
            values.push(value);
        }
        if values.is_empty() {
            let is_choice = |next: &Argument| {
                matches!(next.what, What::OneOf(_)) && next.token.is_none() && !next.optional
            };
            values.extend(parts.next_if(is_choice));
        }
        let mut argument = match values.len() {
            0 => Argument::new(What::Token),
            1 => values.remove(0),
            _ => Argument::new(What::Block(values)),
        };
        argument.token = part.token;
        bound.push(argument);
    }
    bound
}

/// The syntax that [`parse`] reads as these arguments.
#[cfg(test)]
pub fn print(arguments: &[Argument]) -> String {
    let parts: Vec<String> = arguments.iter().map(print_one).collect();
    parts.join(" ")
}

#[cfg(test)]
fn print_one(argument: &Argument) -> String {
    let bare = argument.optional && !argument.multiple && argument.token.is_none();
    let inner = match &argument.what {
        What::Token => String::new(),
        What::Value(name) => (*name).to_owned(),
        What::OneOf(choices) => {
            let choices: Vec<String> = choices.iter().map(print_one).collect();
            match bare {
                true => choices.join(" | "),
                false => format!("<{}>", choices.join(" | ")),
            }
        }
        What::Block(parts) => print(parts),
    };
    let with_token = |inner: &str| {
        let token = argument.token.unwrap_or_default();
        format!("{token} {inner}").trim().to_owned()
    };
    let whole = if !argument.multiple {
        with_token(&inner)
    } else if argument.has_choice() {
        with_token(&inner) + " ..."
    } else if argument.token_again {
        format!("{0} [{0} ...]", with_token(&inner))
    } else {
        with_token(&format!("{inner} [{inner} ...]"))
    };
    match argument.optional {
        true => format!("[{whole}]"),
        false => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn every_row_is_read_and_printed_back() {
        for row in table::all() {
            let read = parse(row.syntax).unwrap_or_else(|| panic!("{}: {}", row.name, row.syntax));
            assert_eq!(print(&read), row.syntax, "{}", row.name);
        }
    }

    /// The arity of a row and its syntax say the same of how many arguments there have to be.
    #[test]
    fn the_syntax_fits_the_arity() {
        fn least(argument: &Argument) -> usize {
            if argument.optional {
                return 0;
            }
            let token = usize::from(argument.token.is_some());
            token
                + match &argument.what {
                    What::Token => 0,
                    What::Value(_) => 1,
                    What::OneOf(choices) => choices.iter().map(least).min().unwrap(),
                    What::Block(parts) => parts.iter().map(least).sum(),
                }
        }
        fn open(argument: &Argument) -> bool {
            let parts = match &argument.what {
                What::Block(parts) | What::OneOf(parts) => &parts[..],
                _ => &[],
            };
            let choice = matches!(argument.what, What::OneOf(_));
            let uneven = choice && parts.iter().any(|part| least(part) != least(&parts[0]));
            argument.optional || argument.multiple || uneven || parts.iter().any(open)
        }
        // Replicas may add a word to PSYNC that is nobody else's.
        let told = |row: &&crate::command::Command| row.name != "psync";
        for row in table::all()
            .filter(|row| row.subcommands.is_empty())
            .filter(told)
        {
            let read = parse(row.syntax).unwrap();
            let words = row.name.split('|').count();
            let needs = words + read.iter().map(least).sum::<usize>();
            let arity = usize::from(row.arity.unsigned_abs());
            // Some take a lower number at first and refuse it in words of their own.
            assert!(arity <= needs, "{}: {} for {needs}", row.name, row.arity);
            if row.arity >= 0 {
                assert_eq!(arity, needs, "{}: {}", row.name, row.syntax);
            } else if !read.is_empty() {
                assert!(read.iter().any(open), "{}: {}", row.name, row.syntax);
            }
        }
    }

    #[test]
    fn tokens_take_their_values() {
        let read = parse("a [LIMIT b c] [GET d [GET d ...]] STREAMS e [e ...] f [f ...]").unwrap();
        let [a, limit, get, streams] = &read[..] else {
            panic!("{read:?}")
        };
        assert_eq!((a.token, &a.what), (None, &What::Value("a")));
        assert!(limit.optional && matches!(&limit.what, What::Block(parts) if parts.len() == 2));
        assert!(get.optional && get.multiple && get.token_again);
        assert_eq!((get.token, &get.what), (Some("GET"), &What::Value("d")));
        let What::Block(lists) = &streams.what else {
            panic!("{streams:?}")
        };
        assert!(lists.iter().all(|list| list.multiple && !list.token_again));
    }

    #[test]
    fn what_is_not_of_the_grammar_is_refused() {
        for odd in [
            "[a",
            "a]",
            "<a>",
            "a | b",
            "a ...",
            "[a ...]",
            "a [b ...]",
            "<a | b",
            "[]",
            "a [a ...] [a ...",
        ] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
