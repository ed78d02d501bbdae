//! Rules: read, printed, read again; and what they let through. The last part holds for every row of the command
//! table, so a new command is tried without a word about it here.

use proptest::prelude::*;

use super::*;
use crate::command::{self, Begin, Command, KeySpec, Run, acl, flag, key};

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ')
        .filter(|w| !w.is_empty())
        .map(str::as_bytes)
        .collect()
}

fn user(rules: &str) -> User {
    let mut users = Users::new();
    users.set(b"u", &words(rules)).unwrap();
    User::clone(users.get(b"u").unwrap())
}

fn printed(rules: &str) -> String {
    String::from_utf8(user(rules).rules()).unwrap()
}

#[test]
fn rules_print_as_redis_prints_them() {
    for (rules, as_printed) in [
        ("", "off sanitize-payload resetchannels -@all"),
        (
            "on nopass ~* &* +@all",
            "on nopass sanitize-payload ~* &* +@all",
        ),
        (
            "ALLKEYS AllChannels allCommands",
            "off sanitize-payload ~* &* +@all",
        ),
        (
            "skip-sanitize-payload",
            "off skip-sanitize-payload resetchannels -@all",
        ),
        (
            "~a %R~b %rW~c %W~b %w~d",
            "off sanitize-payload ~a ~b ~c %W~d resetchannels -@all",
        ),
        (
            "&a &b* &a",
            "off sanitize-payload resetchannels &a &b* -@all",
        ),
        (
            "~a resetkeys &b resetchannels",
            "off sanitize-payload resetchannels -@all",
        ),
        (
            "+@all -@dangerous +KEYS",
            "off sanitize-payload resetchannels +@all -@dangerous +keys",
        ),
        (
            "+config|get -config",
            "off sanitize-payload resetchannels -@all -config",
        ),
        (
            "+config -config|set",
            "off sanitize-payload resetchannels -@all +config -config|set",
        ),
        (
            "+get -get +get",
            "off sanitize-payload resetchannels -@all +get",
        ),
        (
            "+get nocommands +set",
            "off sanitize-payload resetchannels -@all +set",
        ),
        (
            "+select|0 +SELECT|1",
            "off sanitize-payload resetchannels -@all +select|0 +select|1",
        ),
        (
            "~a (+set %W~b) ( +get ~c &d )",
            "off sanitize-payload ~a resetchannels -@all (%W~b resetchannels -@all +set) \
             (~c resetchannels &d -@all +get)",
        ),
        (
            "(+get) clearselectors",
            "off sanitize-payload resetchannels -@all",
        ),
        (
            "on ~* +@all &* >x (+get) reset",
            "off sanitize-payload resetchannels -@all",
        ),
    ] {
        assert_eq!(printed(rules), as_printed, "{rules}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let long = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let upper = format!("#{}", long.to_uppercase());
    let short = format!("#{}", &long[1..]);
    for (rule, why) in [
        ("nope", RuleError::Syntax),
        ("%~x", RuleError::Syntax),
        ("%R", RuleError::Syntax),
        ("%RR~x", RuleError::Syntax),
        ("%X~x", RuleError::Syntax),
        ("+nope", RuleError::Unknown),
        ("-nope", RuleError::Unknown),
        ("+@nope", RuleError::Unknown),
        ("+", RuleError::Unknown),
        ("+config|nope", RuleError::Unknown),
        ("-select|0", RuleError::Unknown),
        ("+config|get|x", RuleError::SubcommandArgument),
        ("+select|", RuleError::Syntax),
        ("<nope", RuleError::NoSuchPassword),
        ("#ab", RuleError::BadHash),
        (&upper, RuleError::BadHash),
        (&short, RuleError::BadHash),
        ("!zz", RuleError::BadHash),
        ("(nopass)", RuleError::Syntax),
        ("((+get))", RuleError::Syntax),
        ("(~a b)", RuleError::Syntax),
    ] {
        let mut changed = user("on >x ~k +get");
        let before = changed.clone();
        assert_eq!(changed.apply(rule.as_bytes()), Err(why), "{rule}");
        assert!(changed == before, "{rule}");
    }
    let mut all = user("~* &*");
    assert_eq!(all.apply(b"~x"), Err(RuleError::AllKeys));
    assert_eq!(all.apply(b"%R~x"), Err(RuleError::AllKeys));
    assert_eq!(all.apply(b"&x"), Err(RuleError::AllChannels));
    // Blanks would read back as something else, and so would the end of a selector.
    for rule in [
        &b"~a b"[..],
        b"&a\nb",
        b"+select|0 on",
        b"~a\0",
        b"(~a) +get)",
    ] {
        assert_eq!(all.clone().apply(b"reset"), Ok(()));
        assert_eq!(user("").apply(rule), Err(RuleError::Syntax), "{rule:?}");
    }
    let mut users = Users::new();
    for (name, rules, why) in [
        (
            &b"a b"[..],
            "on",
            "Usernames can't contain spaces or null characters",
        ),
        (
            b"",
            "on",
            "Usernames can't contain spaces or null characters",
        ),
        (
            b"a",
            "on (+get ~x",
            "Unmatched parenthesis in acl selector starting at '(+get'.",
        ),
        (
            b"a",
            "on +nope",
            "Error in ACL SETUSER modifier '+nope': Unknown command or category name in ACL",
        ),
        (
            b"a",
            "on <sesame",
            "Error in ACL SETUSER modifier '<(hidden)': The password you are trying to remove from the user does not \
             exist",
        ),
    ] {
        let said = users.set(name, &words(rules)).unwrap_err().to_string();
        assert_eq!(said, why);
        assert!(users.get(name).is_none());
    }
}

#[test]
fn passwords_are_hashes_and_let_in_whom_they_should() {
    // The hash is NIST's example for "abc".
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut one = user("on >abc >other");
    assert_eq!(one.hashes().next().as_deref(), Some(hash));
    assert!(one.lets_in(b"abc") && one.lets_in(b"other"));
    assert!(!one.lets_in(b"abd") && !one.lets_in(b"") && !one.lets_in(hash.as_bytes()));
    one.apply(b"<abc").unwrap();
    assert!(!one.lets_in(b"abc") && one.lets_in(b"other"));
    one.apply(format!("#{hash}").as_bytes()).unwrap();
    assert!(one.lets_in(b"abc"));
    one.apply(format!("!{hash}").as_bytes()).unwrap();
    assert!(!one.lets_in(b"abc"));
    one.apply(b"nopass").unwrap();
    assert!(one.lets_in(b"anything") && one.hashes().len() == 0);
    one.apply(b"off").unwrap();
    assert!(!one.lets_in(b"anything"));
    let none = user("on");
    assert!(!none.lets_in(b""));
    assert!(
        !String::from_utf8(user("on >sesame").rules())
            .unwrap()
            .contains("sesame")
    );
}

#[test]
fn the_default_user_is_always_there() {
    let mut users = Users::new();
    assert!(!users.must_authenticate() && users.default_user().is_unrestricted());
    assert!(!users.remove(DEFAULT));
    users.require_password(b"x");
    assert!(users.must_authenticate() && users.default_user().lets_in(b"x"));
    users.require_password(b"y");
    assert!(!users.default_user().lets_in(b"x") && users.default_user().lets_in(b"y"));
    users.require_password(b"");
    assert!(!users.must_authenticate());
    users.set(DEFAULT, &[b"off"]).unwrap();
    assert!(users.must_authenticate());
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let good = b"user default off\r\n\n  user app on nopass ~app:* (+set ~x) +get\nuser empty";
    let users = Users::from_text(good, b"ignored").unwrap();
    assert!(users.must_authenticate() && users.get(b"empty").is_some());
    assert_eq!(users.get(b"app").unwrap().selectors().len(), 2);
    let again = Users::from_text(&users.to_text(), b"").unwrap();
    assert!(users.lines().eq(again.lines()));
    // Without a line for the default user, the password of the settings counts.
    assert!(
        Users::from_text(b"", b"x")
            .unwrap()
            .default_user()
            .lets_in(b"x")
    );
    assert!(!Users::from_text(b"", b"").unwrap().must_authenticate());

    let bad = b"user a on\nnope\nuser b +nope +alsonope >secret1\nuser a off\nuser c (+get\nuser d #secret2\nuser";
    let wrong = Users::from_text(bad, b"").err().unwrap();
    let lines: Vec<usize> = wrong.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 3, 4, 5, 6, 7]);
    let said: String = wrong.iter().map(|(_, why)| why.as_str()).collect();
    assert!(said.contains("'+nope'") && said.contains("'a' has a line already"));
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn users_that_stay_the_same_are_kept() {
    let mut old = Users::new();
    old.set(b"same", &words("on +get ~x")).unwrap();
    old.set(b"other", &words("on +get")).unwrap();
    let mut new = Users::from_text(&old.to_text(), b"").unwrap();
    new.set(b"other", &words("off")).unwrap();
    new.keep_from(&old);
    let same = |name: &[u8]| std::sync::Arc::ptr_eq(old.get(name).unwrap(), new.get(name).unwrap());
    assert!(same(b"same") && same(DEFAULT) && !same(b"other"));
    assert!(std::sync::Arc::ptr_eq(
        new.get(DEFAULT).unwrap(),
        new.default_user()
    ));
}

fn ask(user: &User, line: &str) -> Result<(), Denied> {
    let args = words(line);
    let (row, id) = command::resolve(&args).unwrap();
    check(user, row, id, &args)
}

#[test]
fn what_is_allowed_and_what_is_not() {
    let u = user("~x* %R~r* %W~w* +@all");
    for (line, answer) in [
        ("ping", Ok(())),
        ("get x", Ok(())),
        ("get r", Ok(())),
        ("get w", Err(Denied::Key(1))),
        ("get y", Err(Denied::Key(1))),
        ("set w 1", Ok(())),
        ("set w 1 get", Err(Denied::Key(1))),
        ("set r 1", Err(Denied::Key(1))),
        ("mget x r1 r2", Ok(())),
        ("mget x r1 w", Err(Denied::Key(3))),
        ("mset x 1 w 2", Ok(())),
        ("mset x 1 r 2", Err(Denied::Key(3))),
        ("rename x w", Ok(())),
        ("rename r x", Err(Denied::Key(1))),
        ("copy r w", Ok(())),
        ("copy w r", Err(Denied::Key(1))),
        // EXISTS looks at no value: any pattern that matches will do.
        ("exists r w", Ok(())),
        ("exists r w y", Err(Denied::Key(3))),
        ("object encoding y", Err(Denied::Key(2))),
        ("watch y", Err(Denied::Key(1))),
    ] {
        assert_eq!(ask(&u, line), answer, "{line}");
    }
    // What only several selectors together would allow is not allowed.
    let u = user("+get ~a (+set ~b)");
    assert_eq!(ask(&u, "get a"), Ok(()));
    assert_eq!(ask(&u, "set b 1"), Ok(()));
    assert_eq!(ask(&u, "get b"), Err(Denied::Key(1)));
    assert_eq!(ask(&u, "set a 1"), Err(Denied::Key(1)));
    assert_eq!(ask(&u, "del a"), Err(Denied::Command));
    // First arguments, and subcommands.
    let u = user("+select|0 +config|get +config -config|set");
    assert_eq!(ask(&u, "select 0"), Ok(()));
    assert_eq!(ask(&u, "select 1"), Err(Denied::Command));
    assert_eq!(ask(&u, "config get x"), Ok(()));
    assert_eq!(ask(&u, "config set x 1"), Err(Denied::Command));
    let u = user("+select|0 -select");
    assert_eq!(ask(&u, "select 0"), Err(Denied::Command));
    // Whoever may do nothing may still say who he is, and leave.
    for line in ["auth x", "hello", "reset", "quit"] {
        assert_eq!(ask(&user(""), line), Ok(()), "{line}");
    }
}

#[test]
fn channels_are_allowed_by_pattern_and_patterns_by_name() {
    let u = user("&news:* &a?c (&other)");
    for (channel, pattern, allowed) in [
        ("news:1", false, true),
        ("abc", false, true),
        ("other", false, true),
        ("else", false, false),
        ("news:*", true, true),
        ("news:1", true, false),
        ("*", true, false),
        ("other", true, true),
    ] {
        assert_eq!(
            channel_allowed(&u, channel.as_bytes(), pattern),
            allowed,
            "{channel}"
        );
    }
    assert!(channel_allowed(&user("&*"), b"*", true));
    assert!(!channel_allowed(&user("~* +@all"), b"x", false));
}

#[test]
fn refusals_say_what_redis_says() {
    let u = user("");
    let (row, _) = command::lookup(b"get").unwrap();
    let args: &[&[u8]] = &[b"get", b"k"];
    assert_eq!(
        Denied::Command.message(&u, row),
        "User u has no permissions to run the 'get' command"
    );
    assert_eq!(
        Denied::Key(1).message(&u, row),
        "No permissions to access a key"
    );
    assert_eq!(
        Denied::Channel(1).message(&u, row),
        "No permissions to access a channel"
    );
    let verbose = |denied: Denied| String::from_utf8(denied.verbose(&u, row, args)).unwrap();
    assert_eq!(
        verbose(Denied::Key(1)),
        "User u has no permissions to access the 'k' key"
    );
    assert_eq!(
        verbose(Denied::Channel(1)),
        "User u has no permissions to access the 'k' channel"
    );
}

#[test]
fn alike_refusals_are_one_entry() {
    let event = |object: &str| Event {
        reason: Reason::Key,
        context: Context::TopLevel,
        object: object.into(),
        user: b"u".to_vec(),
    };
    let mut log = AclLog::default();
    log.note(event("a"), "1".into(), 1_000, 3);
    log.note(event("b"), "2".into(), 2_000, 3);
    log.note(event("a"), "3".into(), 61_000, 3);
    let seen = |log: &AclLog| {
        let entries = log.newest(10);
        entries
            .iter()
            .map(|e| (e.id, e.count, e.client.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(&log), [(0, 2, "3".into()), (1, 1, "2".into())]);
    let first = &log.newest(1)[0];
    assert_eq!((first.created_ms, first.updated_ms), (1_000, 61_000));
    // A minute and a bit later it is another.
    log.note(event("a"), "4".into(), 121_001, 3);
    assert_eq!(seen(&log)[0], (2, 1, "4".into()));
    log.note(event("c"), "5".into(), 121_002, 3);
    assert_eq!(log.newest(10).len(), 3);
    log.trim(1);
    assert_eq!(seen(&log), [(3, 1, "5".into())]);
    log.clear();
    assert!(log.newest(10).is_empty());
}

/// Arguments of the fewest words that fit a row and name all its keys; every word is `ok`, so every key is.
fn example(row: &Command) -> Vec<Vec<u8>> {
    let fewest = usize::from(row.arity.unsigned_abs());
    let mut args = vec![b"ok".to_vec(); fewest];
    let grow = |args: &mut Vec<Vec<u8>>, len: usize| {
        if args.len() < len {
            args.resize(len, b"ok".to_vec());
        }
    };
    for (i, word) in row.name.split('|').enumerate() {
        args[i] = word.into();
    }
    for spec in row.keys {
        match spec.begin {
            Begin::At(first) => grow(
                &mut args,
                usize::from(first) + 1 + usize::from(spec.last.unsigned_abs()),
            ),
            Begin::Counted(at) => {
                let at = usize::from(at);
                grow(&mut args, at + 3);
                args[at] = b"2".to_vec();
            }
            // MIGRATE's key is among its fewest words; those behind KEYS stand in its place.
            Begin::Named | Begin::Listed => {}
            Begin::Behind(..) | Begin::Each(..) | Begin::Stored | Begin::Made => {}
        }
    }
    for spec in row.keys {
        if spec.begin == Begin::Stored {
            args.extend([b"store".to_vec(), b"ok".to_vec()]);
        }
        if let Begin::Behind(word, from) | Begin::Each(word, from) = spec.begin {
            grow(&mut args, usize::from(from));
            args.push(word.into());
            args.push(b"ok".to_vec());
            if let Begin::Behind(..) = spec.begin {
                args.push(b"ok".to_vec());
            }
        }
    }
    args
}

/// Every row that something can be run by, with its id and arguments.
fn rows() -> impl Iterator<Item = (&'static Command, u16, Vec<Vec<u8>>)> {
    command::all()
        .enumerate()
        .filter(|(_, row)| !matches!(row.run, Run::Container) && !row.has(flag::NO_AUTH))
        .map(|(id, row)| (row, id as u16, example(row)))
}

fn verdict(rules: &str, row: &Command, id: u16, args: &[Vec<u8>]) -> Result<(), Denied> {
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    check(&user(rules), row, id, &args)
}

#[test]
fn no_row_is_run_without_its_command() {
    for (row, id, args) in rows() {
        let name = row.name;
        let ask = |rules: &str| verdict(&format!("~* &* {rules}"), row, id, &args);
        assert_eq!(ask("+@all"), Ok(()), "{name}");
        assert_eq!(ask(&format!("+{name}")), Ok(()), "{name}");
        assert_eq!(ask(""), Err(Denied::Command), "{name}");
        assert_eq!(
            ask(&format!("+@all -{name}")),
            Err(Denied::Command),
            "{name}"
        );
        if let Some((container, _)) = name.split_once('|') {
            assert_eq!(ask(&format!("+{container}")), Ok(()), "{name}");
            let without = format!("+@all -{container}");
            assert_eq!(ask(&without), Err(Denied::Command), "{name}");
        }
        let mut some = false;
        for (bit, category) in acl::NAMES {
            if row.categories() & bit != 0 {
                some = true;
                assert_eq!(ask(&format!("+@{category}")), Ok(()), "{name} @{category}");
                let without = format!("+@all -@{category}");
                assert_eq!(ask(&without), Err(Denied::Command), "{name} @{category}");
            }
        }
        assert!(some, "{name} has no category");
    }
}

#[test]
fn no_row_touches_a_key_without_its_pattern() {
    // Sharded channels stand where keys do, and are none.
    let keyed = |row: &Command| row.keys.iter().any(|spec| spec.flags & key::NOT_KEY == 0);
    for (row, id, args) in rows().filter(|(row, ..)| keyed(row)) {
        let name = row.name;
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut keys = Vec::new();
        command::keys_with_flags(row, &refs, &mut keys);
        let elsewhere = |spec: &&KeySpec| matches!(spec.begin, Begin::Made | Begin::Listed);
        let told = row.keys.iter().filter(|spec| !elsewhere(spec));
        assert!(keys.len() >= told.count(), "{name}: {keys:?} of {args:?}");
        assert_eq!(verdict("+@all &* ~ok", row, id, &args), Ok(()), "{name}");
        for (at, bits) in keys {
            let mut other = args.clone();
            other[at] = b"another".to_vec();
            let denied = verdict("+@all &* ~ok", row, id, &other);
            assert_eq!(denied, Err(Denied::Key(at)), "{name}");
            // Reading does not allow writing, nor the other way round.
            let reads = bits & key::ACCESS != 0;
            let writes = bits & (key::INSERT | key::DELETE | key::UPDATE) != 0;
            let only = |rules: &str| verdict(&format!("+@all &* {rules}"), row, id, &other);
            let refused = Err(Denied::Key(at));
            assert_eq!(
                only("~ok %R~another"),
                if writes { refused } else { Ok(()) },
                "{name}"
            );
            assert_eq!(
                only("~ok %W~another"),
                if reads { refused } else { Ok(()) },
                "{name}"
            );
        }
    }
}

/// What the rules about reading and writing rest on.
#[test]
fn rows_that_write_say_so_of_a_key() {
    for (row, _, args) in rows().filter(|(row, ..)| !row.keys.is_empty()) {
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut keys = Vec::new();
        command::keys_with_flags(row, &refs, &mut keys);
        let change = key::INSERT | key::DELETE | key::UPDATE;
        let writes = keys.iter().any(|(_, bits)| bits & change != 0);
        // XREADGROUP changes its group, and for Redis only reads the stream.
        if row.has(flag::WRITE) && row.name != "xreadgroup" {
            let may_write = writes || row.keys.iter().any(|spec| spec.flags & change != 0);
            assert!(
                may_write,
                "{} writes, but no key of it is written",
                row.name
            );
        }
        if row.has(flag::READONLY) {
            assert!(
                !writes,
                "{} only reads, but a key of it is written",
                row.name
            );
        }
    }
}

#[test]
fn sort_reads_what_its_patterns_make_up_only_for_those_who_read_everything() {
    let (row, id) = command::lookup(b"sort").unwrap();
    let ask = |rules: &str, line: &str| sort_refusal(&user(rules), row, id, &words(line));
    let narrow = "+@all ~k*";
    assert_eq!(ask(narrow, "sort k by nosort limit 0 1 desc"), None);
    assert!(ask(narrow, "sort k by w_*").unwrap().contains("BY option"));
    assert!(
        ask(narrow, "sort k desc get v_*")
            .unwrap()
            .contains("GET option")
    );
    assert_eq!(ask("+@all %R~*", "sort k by w_* get v_*"), None);
    assert_eq!(ask("+@all ~*", "sort k by w_* get v_* store d"), None);
}

fn any_rule() -> impl Strategy<Value = String> {
    let commands: Vec<String> = command::all().map(|row| row.name.to_string()).collect();
    let categories: Vec<&str> = acl::NAMES.iter().map(|(_, name)| *name).collect();
    prop_oneof![
        4 => ("[+-]", proptest::sample::select(commands)).prop_map(|(sign, name)| format!("{sign}{name}")),
        3 => ("[+-]@", proptest::sample::select(categories)).prop_map(|(sign, name)| format!("{sign}{name}")),
        1 => "(on|off|nopass|resetpass|resetkeys|resetchannels|allkeys|allchannels|allcommands|nocommands)",
        1 => "(skip-sanitize-payload|sanitize-payload|clearselectors|reset|[+-]@all)",
        2 => "(~|%R~|%W~|%RW~)[a-c*?]{1,2}",
        2 => "&[a-c*]{1,2}",
        1 => "[<>][a-c]",
        1 => "\\+select\\|[0-9]",
        1 => "\\((~|%R~)[a-c] [+-](get|set|config|config\\|get) &[ab]\\)",
    ]
}

proptest! {
    /// What is printed reads back as the same user, by itself and from a file.
    #[test]
    fn what_is_printed_reads_back(rules in proptest::collection::vec(any_rule(), 0..20)) {
        let mut one = User::new(b"u");
        for rule in &rules {
            // A rule that is refused changes nothing, so the others still count.
            let before = one.clone();
            if one.apply(rule.as_bytes()).is_err() {
                prop_assert!(one == before, "{}", rule);
            }
        }
        let mut users = Users::new();
        let rules = one.rules();
        let parts: Vec<&[u8]> = rules.split(|b| *b == b' ').collect();
        users.set(b"u", &parts).unwrap();
        let again = users.get(b"u").unwrap();
        prop_assert_eq!(again.rules(), rules);
        prop_assert!(**again == one, "{:?}", String::from_utf8_lossy(&one.rules()));
        let text = users.to_text();
        prop_assert_eq!(Users::from_text(&text, b"").unwrap().to_text(), text);
    }

    /// Any bytes at all are a rule or are refused.
    #[test]
    fn any_rule_is_read_or_refused(rule in proptest::collection::vec(any::<u8>(), 0..12), sign in "[+~%&>(#!-]?") {
        let rule = [sign.as_bytes(), &rule].concat();
        let mut one = User::new(b"u");
        if one.apply(&rule).is_ok() {
            let mut users = Users::new();
            let rules = one.rules();
            let parts: Vec<&[u8]> = rules.split(|b| *b == b' ').collect();
            users.set(b"u", &parts).unwrap();
            prop_assert!(**users.get(b"u").unwrap() == one);
        }
    }
}
