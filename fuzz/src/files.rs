//! Files that `ferrite-cli import` reads: RDB files, logs of commands, sealed exports. Refused somewhere, or items one after
//! the other; a value is the same whether it is read at once or taken as a payload; nothing is given out of a sealed file
//! that was altered.

use ferrite_server::envelope::{KekInfo, Provider, ProviderError, Wrapped};
use ferrite_server::rdb::file::{FileError, FileReader, Item, Why};
use ferrite_server::rdb::undump;
use ferrite_server::transfer::{Commands, Opened};
use std::io::Read;
use zeroize::Zeroizing;

/// One input.
pub fn check(data: &[u8]) {
    rdb(data);
    // Whatever the input, what follows a good beginning is looked at.
    for magic in ["REDIS0012", "VALKEY080"] {
        rdb(&[magic.as_bytes(), data].concat());
    }
    let mut commands = Commands::new(data, 0);
    let mut from = 0;
    while let Ok(Some(args)) = commands.next() {
        assert!(!args.is_empty() && commands.from() >= from);
        from = commands.from() + 1;
    }
    if let Ok(mut opened) = Opened::open(data, &Anyone) {
        // The Dek is right, so only what was sealed under it opens.
        let _ = opened.read_to_end(&mut Vec::new());
    }
}

fn rdb(data: &[u8]) {
    let (Ok(mut values), Ok(mut payloads)) = (FileReader::open(data), FileReader::open(data))
    else {
        return;
    };
    loop {
        let (item, same) = match (values.next(), payloads.next()) {
            (Ok(Some(item)), Ok(Some(same))) => (item, same),
            (Ok(None), Ok(None)) => {
                assert_eq!(values.consumed(), payloads.consumed());
                return;
            }
            (Err(_), Err(_)) => return,
            (a, b) => panic!("{a:?} and {b:?}"),
        };
        assert_eq!(item, same);
        assert!(values.consumed() <= data.len() as u64);
        if !matches!(item, Item::Key(_)) {
            continue;
        }
        match (values.value(), payloads.payload(1 << 20)) {
            (Ok(value), Ok(Some(payload))) => assert_eq!(undump(&payload), Ok(value)),
            (Ok(_), Ok(None)) => {}
            // A payload is not looked into; where one is damaged the reader of values is lost.
            (
                Err(FileError {
                    why: Why::Module(a),
                    ..
                }),
                Err(FileError {
                    why: Why::Module(b),
                    ..
                }),
            ) => {
                assert_eq!(a, b);
            }
            (Err(_), _) => return,
            (Ok(_), Err(e)) => panic!("a value that has no end: {e}"),
        }
    }
}

/// Holds the Kek of the page's test vector, and takes any wrapping for that of its Dek.
struct Anyone;

impl Provider for Anyone {
    fn describe(&self) -> KekInfo {
        KekInfo {
            provider: "file".into(),
            id: String::new(),
            version: 1,
        }
    }

    fn wrap(&self, _: &[u8], _: &[u8]) -> Result<Wrapped, ProviderError> {
        Err(ProviderError::Unauthentic)
    }

    fn unwrap(&self, _: &Wrapped, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        Ok(Zeroizing::new(vec![0xde; 32]))
    }
}
