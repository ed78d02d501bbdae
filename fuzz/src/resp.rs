//! Requests: a stream gives the same commands and the same fault however it is cut into pieces.

use ferrite_server::limits::Limits;
use ferrite_server::resp::{Fault, Parser, Step};

type Commands = Vec<Vec<Vec<u8>>>;

/// Feeds `input` in pieces of `piece` bytes, dropping what was consumed after each.
fn feed(input: &[u8], piece: usize, limits: &Limits) -> (Commands, Option<Fault>) {
    let mut parser = Parser::default();
    let (mut buf, mut pos) = (Vec::new(), 0);
    let mut commands = Commands::new();
    for part in input.chunks(piece.max(1)) {
        buf.extend_from_slice(part);
        loop {
            let mut args = Vec::new();
            match parser.step(&mut buf, &mut pos, &mut args, limits) {
                Step::Command => commands.push(args.iter().map(|a| a.of(&buf).to_vec()).collect()),
                Step::NeedMore => break,
                Step::Fault(fault) => return (commands, Some(fault)),
            }
        }
        buf.drain(..pos);
        pos = 0;
    }
    (commands, None)
}

/// One input.
pub fn check(data: &[u8]) {
    let [first, input @ ..] = data else { return };
    let limits = Limits {
        unauthenticated: first & 1 == 1,
        // Short, so that a small input reaches them.
        inline_len: 64,
        ..Limits::default()
    };
    let whole = feed(input, input.len(), &limits);
    let cut = feed(input, usize::from(first >> 1), &limits);
    assert_eq!(whole, cut);
}
