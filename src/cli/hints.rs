//! The arguments that a command still wants, as text behind the cursor.
//!
//! [`syntax`] writes arguments as the Redis documentation does. [`rest`] matches what has been typed against them and
//! writes what is left: optional arguments may come in any order, a value must look like its type.

use super::docs::Argument;

/// Arguments in the documentation's notation: `key [EX seconds|PX milliseconds] [field ...]`.
pub fn syntax(arguments: &[Argument]) -> String {
    let all: Vec<String> = arguments.iter().map(whole).collect();
    all.join(" ")
}

fn whole(argument: &Argument) -> String {
    let text = repeated(argument);
    if argument.optional {
        format!("[{text}]")
    } else {
        text
    }
}

/// With its repetitions, without the brackets of an optional one.
fn repeated(argument: &Argument) -> String {
    let once = once(argument);
    match (argument.multiple, &argument.token) {
        (false, _) => once,
        (true, Some(_)) if !argument.multiple_token => {
            let body = body(argument);
            format!("{once} [{body} ...]")
        }
        (true, _) => format!("{once} [{once} ...]"),
    }
}

fn once(argument: &Argument) -> String {
    let body = body(argument);
    match argument.token.as_deref().filter(|t| !t.is_empty()) {
        Some(token) if argument.kind == "pure-token" => token.to_owned(),
        Some(token) if argument.kind == "oneof" => format!("{token} <{body}>"),
        Some(token) => format!("{token} {body}"),
        None if argument.kind == "oneof" && !argument.optional && !body.starts_with('<') => {
            format!("<{body}>")
        }
        None => body,
    }
}

fn body(argument: &Argument) -> String {
    let parts = argument.parts.iter().map(whole).collect::<Vec<_>>();
    match argument.kind.as_str() {
        "oneof" => parts.join("|"),
        "block" => parts.join(" "),
        _ => argument.name.clone(),
    }
}

/// How far typed words go with an argument.
enum Match {
    /// They are something else.
    No,
    /// It is complete after this many.
    Done(usize),
    /// They end within it; this is what it still wants.
    Open(String),
}

/// What is left to type after `words`. `None` when the words do not fit the arguments.
pub fn rest(arguments: &[Argument], words: &[String]) -> Option<String> {
    let mut walk = Walk::default();
    walk.sequence(arguments, words)?;
    (walk.used == words.len()).then(|| walk.missing.join(" "))
}

/// Arguments being matched with words.
#[derive(Default)]
struct Walk {
    /// Words that have been matched.
    used: usize,
    /// What could follow them.
    missing: Vec<String>,
    /// Something of that must follow.
    open: bool,
}

impl Walk {
    /// Arguments in their order. `None` for a word that is none of them where one must be.
    fn sequence(&mut self, arguments: &[Argument], words: &[String]) -> Option<()> {
        let mut next = 0;
        while next < arguments.len() {
            let options = arguments[next..].iter().take_while(|a| a.optional).count();
            if options > 0 {
                self.any_order(&arguments[next..next + options], words);
                next += options;
                continue;
            }
            let argument = &arguments[next];
            next += 1;
            if self.used == words.len() {
                self.missing.push(whole(argument));
                self.open = true;
            } else if !self.step(argument, words) {
                return None;
            }
        }
        Some(())
    }

    /// Optional arguments, whichever comes first.
    fn any_order(&mut self, options: &[Argument], words: &[String]) {
        let mut left: Vec<&Argument> = options.iter().collect();
        while self.used < words.len() {
            let Some(i) = left.iter().position(|option| self.step(option, words)) else {
                break;
            };
            left.remove(i);
        }
        // Words behind them are of what follows: there is no place for these any more.
        if self.used == words.len() {
            self.missing.extend(left.into_iter().map(whole));
        }
    }

    /// One argument with its repetitions; false when the next word is not its beginning.
    fn step(&mut self, argument: &Argument, words: &[String]) -> bool {
        let (found, more) = repetitions(argument, &words[self.used..]);
        match found {
            Match::No => return false,
            Match::Done(n) => {
                self.used += n;
                // More of it can follow only while nothing else has.
                if self.used == words.len() {
                    self.missing.extend(more);
                }
            }
            Match::Open(left) => {
                self.used = words.len();
                self.missing.push(left);
                self.open = true;
            }
        }
        true
    }
}

/// One argument as often as the words repeat it; beside the match, how it could go on.
fn repetitions(argument: &Argument, words: &[String]) -> (Match, Option<String>) {
    let mut at = match single(argument, words, true) {
        Match::Done(n) => n,
        other => return (other, None),
    };
    if !argument.multiple {
        return (Match::Done(at), None);
    }
    let with_token = argument.multiple_token;
    while at < words.len() {
        match single(argument, &words[at..], with_token) {
            Match::Done(n) => at += n,
            Match::Open(left) => return (Match::Open(left), None),
            Match::No => return (Match::Done(at), None),
        }
    }
    let again = if with_token {
        once(argument)
    } else {
        body(argument)
    };
    (Match::Done(at), Some(format!("[{again} ...]")))
}

/// One argument once, its token before it where there is one.
fn single(argument: &Argument, words: &[String], with_token: bool) -> Match {
    let token = argument
        .token
        .as_deref()
        .filter(|t| !t.is_empty() && with_token);
    let mut at = 0;
    if let Some(token) = token {
        if !words.first().is_some_and(|w| w.eq_ignore_ascii_case(token)) {
            return Match::No;
        }
        at = 1;
        if argument.kind == "pure-token" {
            return Match::Done(1);
        }
        if words.len() == 1 {
            return Match::Open(body(argument));
        }
    }
    let words = &words[at..];
    match argument.kind.as_str() {
        "oneof" => {
            for part in &argument.parts {
                match repetitions(part, words).0 {
                    Match::No => continue,
                    Match::Done(n) => return Match::Done(at + n),
                    open => return open,
                }
            }
            Match::No
        }
        "block" => {
            let mut walk = Walk::default();
            if walk.sequence(&argument.parts, words).is_none() || walk.used == 0 {
                Match::No
            } else if walk.open {
                Match::Open(walk.missing.join(" "))
            } else {
                Match::Done(at + walk.used)
            }
        }
        "integer" | "unix-time" if words[0].parse::<i64>().is_err() => Match::No,
        "double" if words[0].parse::<f64>().is_err() => Match::No,
        "pure-token" => Match::No,
        _ => Match::Done(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, kind: &str) -> Argument {
        Argument {
            name: name.into(),
            kind: kind.into(),
            ..Argument::default()
        }
    }
    fn token(word: &str, kind: &str, name: &str) -> Argument {
        Argument {
            token: Some(word.into()),
            ..value(name, kind)
        }
    }
    fn group(kind: &str, parts: Vec<Argument>) -> Argument {
        Argument {
            parts,
            ..value("group", kind)
        }
    }
    fn optional(argument: Argument) -> Argument {
        Argument {
            optional: true,
            ..argument
        }
    }
    fn multiple(argument: Argument) -> Argument {
        Argument {
            multiple: true,
            ..argument
        }
    }

    fn set() -> Vec<Argument> {
        let when = group(
            "oneof",
            vec![
                token("NX", "pure-token", "nx"),
                token("XX", "pure-token", "xx"),
            ],
        );
        let until = group(
            "oneof",
            vec![
                token("EX", "integer", "seconds"),
                token("PX", "integer", "milliseconds"),
                token("KEEPTTL", "pure-token", "keepttl"),
            ],
        );
        vec![
            value("key", "key"),
            value("value", "string"),
            optional(when),
            optional(token("GET", "pure-token", "get")),
            optional(until),
        ]
    }

    fn left(arguments: &[Argument], line: &str) -> Option<String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        rest(arguments, &words)
    }

    #[test]
    fn arguments_are_written_as_the_documentation_does() {
        assert_eq!(
            syntax(&set()),
            "key value [NX|XX] [GET] [EX seconds|PX milliseconds|KEEPTTL]"
        );
        assert_eq!(syntax(&[multiple(value("key", "key"))]), "key [key ...]");
        let pair = group("block", vec![value("key", "key"), value("value", "string")]);
        assert_eq!(syntax(&[multiple(pair)]), "key value [key value ...]");
        let get = Argument {
            multiple_token: true,
            ..optional(multiple(token("GET", "pattern", "pattern")))
        };
        assert_eq!(syntax(&[get]), "[GET pattern [GET pattern ...]]");
    }

    #[test]
    fn what_has_been_typed_is_hinted_at_no_more() {
        let set = set();
        let left = |line| left(&set, line);
        assert_eq!(left(""), Some(syntax(&set)));
        assert_eq!(
            left("k").unwrap(),
            "value [NX|XX] [GET] [EX seconds|PX milliseconds|KEEPTTL]"
        );
        assert_eq!(
            left("k v get").unwrap(),
            "[NX|XX] [EX seconds|PX milliseconds|KEEPTTL]"
        );
        assert_eq!(left("k v EX").unwrap(), "seconds [NX|XX] [GET]");
        assert_eq!(left("k v ex 5 xx").unwrap(), "[GET]");
        assert_eq!(left("k v nosuch"), None);
        assert_eq!(left("k v ex soon"), None);
    }

    #[test]
    fn options_that_have_been_passed_by_are_hinted_at_no_more() {
        let pair = group(
            "block",
            vec![value("score", "double"), value("member", "string")],
        );
        let zadd = [
            value("key", "key"),
            optional(token("CH", "pure-token", "change")),
            multiple(pair),
        ];
        assert_eq!(
            left(&zadd, "z").unwrap(),
            "[CH] score member [score member ...]"
        );
        assert_eq!(left(&zadd, "z 1").unwrap(), "member");
        assert_eq!(left(&zadd, "z ch 1 m").unwrap(), "[score member ...]");
    }

    #[test]
    fn repetitions_go_on() {
        let del = [multiple(value("key", "key"))];
        assert_eq!(left(&del, "a b").unwrap(), "[key ...]");
        let pair = group("block", vec![value("key", "key"), value("value", "string")]);
        let mset = [multiple(pair)];
        assert_eq!(left(&mset, "a").unwrap(), "value");
        assert_eq!(left(&mset, "a 1").unwrap(), "[key value ...]");
        assert_eq!(left(&mset, "a 1 b").unwrap(), "value");
        let streams = [group(
            "block",
            vec![
                multiple(value("key", "key")),
                optional(token("COUNT", "integer", "count")),
            ],
        )];
        assert_eq!(left(&streams, "a").unwrap(), "");
    }
}
