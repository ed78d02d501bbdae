//! The parser's laws: the same commands however the input is cut, Redis's words when it is broken, and
//! no byte looked at twice.

use super::*;
use crate::limits::REQUEST_LEN;
use proptest::prelude::*;

type Commands = Vec<Vec<Vec<u8>>>;

/// Feeds `input` in pieces that end at `cuts`, dropping consumed bytes whenever `compact` says so, as a
/// connection does. Returns the commands, and the fault that ended the stream.
fn feed(
    input: &[u8],
    cuts: &[usize],
    compact: impl Fn(usize) -> bool,
    limits: &Limits,
) -> (Commands, Option<Fault>) {
    let mut parser = Parser::default();
    let (mut buf, mut pos, mut args) = (Vec::new(), 0, Vec::new());
    let mut commands = Vec::new();
    let mut fed = 0;
    let ends = cuts.iter().copied().chain([input.len()]);
    for (round, end) in ends.enumerate() {
        buf.extend_from_slice(&input[fed..end]);
        fed = end;
        loop {
            // Arguments of other commands may stand before these.
            let before = args.len();
            match parser.step(&mut buf, &mut pos, &mut args, limits) {
                Step::Command => {
                    assert!(args.len() > before);
                    let words = args[before..].iter().map(|a| a.of(&buf).to_vec());
                    commands.push(words.collect());
                    if args.len() > 100 {
                        args.clear();
                    }
                }
                Step::NeedMore => {
                    assert_eq!(args.len(), before);
                    break;
                }
                Step::Fault(fault) => {
                    assert_eq!(args.len(), before);
                    return (commands, Some(fault));
                }
            }
        }
        if compact(round) {
            buf.drain(..pos);
            pos = 0;
            args.clear();
        }
    }
    (commands, None)
}

fn whole(input: &[u8]) -> (Commands, Option<Fault>) {
    feed(input, &[], |_| false, &Limits::default())
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|w| w.as_bytes().to_vec()).collect()
}

#[test]
fn commands_of_both_forms() {
    let input = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n\r\nset k 'a b'\n*0\r\n*-1\r\n  \r\nPING\r\n*1\r\n$0\r\n\r\n";
    let (commands, fault) = whole(input);
    assert_eq!(fault, None);
    assert_eq!(
        commands,
        [
            words(&["GET", "k"]),
            words(&["set", "k", "a b"]),
            words(&["PING"]),
            words(&[""]),
        ]
    );
}

#[test]
fn faults_and_their_words() {
    let long = |head: &str| [head.as_bytes(), &[b'1'; 70_000]].concat();
    let rows: &[(&[u8], &str)] = &[
        (b"*x\r\n", "Protocol error: invalid multibulk length"),
        (b"*\r\n", "Protocol error: invalid multibulk length"),
        (b"*01\r\n", "Protocol error: invalid multibulk length"),
        (
            b"*2147483648\r\n",
            "Protocol error: invalid multibulk length",
        ),
        (
            b"*9999999999999999999\r\n",
            "Protocol error: invalid multibulk length",
        ),
        (b"*1\r\nx\r\n", "Protocol error: expected '$', got 'x'"),
        (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        (
            b"*1\r\n$536870913\r\n",
            "Protocol error: invalid bulk length",
        ),
        (
            b"set \"a\r\n",
            "Protocol error: unbalanced quotes in request",
        ),
        (&long("*"), "Protocol error: too big mbulk count string"),
        (
            &long("*1\r\n$"),
            "Protocol error: too big bulk count string",
        ),
        (&long(""), "Protocol error: too big inline request"),
    ];
    for (input, text) in rows {
        let (commands, fault) = whole(input);
        assert_eq!(commands, Commands::new());
        assert_eq!(fault.map(|f| f.to_string()).as_deref(), Some(*text));
    }
    // A command before a fault is still served.
    let (commands, fault) = whole(b"PING\r\n*x\r\nPING\r\n");
    assert_eq!(commands, [words(&["PING"])]);
    assert_eq!(fault, Some(Fault::MultibulkLength));
}

#[test]
fn before_authentication_little_is_taken() {
    let limits = Limits::unauthenticated();
    let faults = |input: &[u8]| feed(input, &[], |_| false, &limits).1;
    assert_eq!(faults(b"*10\r\n"), None);
    assert_eq!(
        faults(b"*11\r\n"),
        Some(Fault::UnauthenticatedMultibulkLength)
    );
    assert_eq!(faults(b"*1\r\n$16384\r\n"), None);
    assert_eq!(
        faults(b"*1\r\n$16385\r\n"),
        Some(Fault::UnauthenticatedBulkLength)
    );
}

#[test]
fn a_request_has_a_limit_as_a_whole() {
    let limits = Limits {
        request_len: 100,
        ..Limits::default()
    };
    let request = |n: usize| format!("*2\r\n$3\r\nGET\r\n${n}\r\n{}\r\n", "k".repeat(n));
    let fits = 100 - request(10).len() + 10 - ARG_WEIGHT;
    let run = |n: usize| feed(request(n).as_bytes(), &[20], |_| true, &limits);
    assert_eq!(run(fits).1, None);
    assert_eq!(run(fits + 1).1, Some(Fault::LongRequest));
}

/// As many arguments may be announced as Redis takes; that takes no memory, and what they take when they come is
/// bounded.
#[test]
fn many_arguments_are_bounded_by_what_they_weigh() {
    const MANY: usize = 1_200_000;
    let mut input = b"*2147483647\r\n".to_vec();
    assert_eq!(
        feed(&input, &[], |_| false, &Limits::default()),
        (vec![], None)
    );
    input.extend_from_slice(&b"$0\r\n\r\n".repeat(MANY));
    for (request_len, fault) in [
        (REQUEST_LEN, None),
        (MANY * (ARG_WEIGHT + 6), None),
        (MANY * (ARG_WEIGHT + 6) - 200, Some(Fault::LongRequest)),
    ] {
        let limits = Limits {
            request_len,
            ..Limits::default()
        };
        let cuts: Vec<usize> = (1..input.len()).step_by(10_000).collect();
        for cuts in [&[][..], &cuts] {
            let got = feed(&input, cuts, |_| false, &limits);
            assert_eq!(got, (vec![], fault), "{request_len}");
        }
    }
}

#[test]
fn wanted_is_what_is_missing() {
    let mut parser = Parser::default();
    let mut buf = b"*2\r\n$3\r\nGET\r\n$1000\r\nabc".to_vec();
    let (mut pos, mut args) = (0, Vec::new());
    let limits = Limits::default();
    let step = parser.step(&mut buf, &mut pos, &mut args, &limits);
    assert_eq!((step, parser.wanted()), (Step::NeedMore, 999));
    buf.extend_from_slice(&[b'x'; 999]);
    let step = parser.step(&mut buf, &mut pos, &mut args, &limits);
    assert_eq!((step, parser.wanted()), (Step::Command, 0));
    assert_eq!((pos, args.len()), (buf.len(), 2));
}

/// A million arguments in small pieces: if every piece began anew this would take 10^10 steps.
#[test]
fn a_cut_command_is_not_read_anew() {
    const COUNT: usize = 1_000_000;
    let mut input = format!("*{COUNT}\r\n").into_bytes();
    for _ in 0..COUNT {
        input.extend_from_slice(b"$1\r\nx\r\n");
    }
    let cuts: Vec<usize> = (1..input.len()).step_by(100).collect();
    let (commands, fault) = feed(&input, &cuts, |_| false, &Limits::default());
    assert_eq!(fault, None);
    assert_eq!(commands.len(), 1);
    assert_eq!(commands[0].len(), COUNT);
}

/// Text made of the pieces that requests are made of, whole and broken.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..5).prop_map(|args| {
            let mut out = format!("*{}\r\n", args.len()).into_bytes();
            for arg in args {
                out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                out.extend_from_slice(&arg);
                out.extend_from_slice(b"\r\n");
            }
            out
        }),
        3 => "[a-z'\"\\\\x0-9 \t]{0,12}\r?\n".prop_map(String::into_bytes),
        1 => "[*$\r\n0-9-]{1,6}".prop_map(String::into_bytes),
        1 => "\\*[0-3]\r\n".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..10),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Cases tried: enough for every change; `FERRITE_FUZZ_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("FERRITE_FUZZ_CASES");
    ProptestConfig::with_cases(cases.ok().and_then(|n| n.parse().ok()).unwrap_or(2000))
}

proptest! {
    #![proptest_config(config())]

    /// Arbitrary bytes, arbitrary cuts: the same commands and the same fault as uncut.
    #[test]
    fn cuts_change_nothing(
        input in stream(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        compact: u64,
        inline_len in 4usize..40,
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        for limits in [Limits::default(), Limits { inline_len, ..Limits::default() }] {
            let uncut = feed(&input, &[], |_| false, &limits);
            let cut = feed(&input, &cuts, |round| compact >> (round % 64) & 1 == 1, &limits);
            prop_assert_eq!(&uncut, &cut);
            let each: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(&uncut, &feed(&input, &each, |_| true, &limits));
        }
    }

    /// What a client library writes is read as it was meant.
    #[test]
    fn multibulk_commands_come_back(commands in proptest::collection::vec(
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..6), 0..6)) {
        let mut input = Vec::new();
        for command in &commands {
            input.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for arg in command {
                input.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                input.extend_from_slice(arg);
                input.extend_from_slice(b"\r\n");
            }
        }
        prop_assert_eq!(whole(&input), (commands, None));
    }
}
