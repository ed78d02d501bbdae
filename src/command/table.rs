//! The table: every row, and the way from a name to its row.
//!
//! Lookup is on the path of every command, so it is a hash table laid out by the compiler. A name of up
//! to sixteen bytes is folded into two words (its first and its last eight bytes, which overlap in short
//! names, with the case bit set in every byte); together with the length they determine the name. The
//! words are hashed into an open-addressed table of row numbers and compared as words. Setting the case
//! bit is exact for letters; a row whose name holds anything else, or is longer, is compared byte for byte as well.

use super::row::{Begin, Command, Run, key};
use super::{Error, KeySpec};
use super::{
    absent, bitmap, docs, dump, expire, geo, hash, hyperloglog, keyspace, list, migrate, object,
    pubsub, rename, scan, scripting, server, session, set, sort, stream, string, zset,
};
use crate::resp::number::parse_i64;

const FAMILIES: &[&[Command]] = &[
    string::basic::ROWS,
    string::set::ROWS,
    string::number::ROWS,
    string::range::ROWS,
    string::many::ROWS,
    string::lcs::ROWS,
    bitmap::single::ROWS,
    bitmap::many::ROWS,
    bitmap::field::ROWS,
    hyperloglog::ROWS,
    list::ends::ROWS,
    list::inner::ROWS,
    list::blocking::ROWS,
    hash::ROWS,
    hash::number::ROWS,
    hash::random::ROWS,
    hash::expiry::ROWS,
    hash::timed::ROWS,
    set::ROWS,
    set::random::ROWS,
    set::algebra::ROWS,
    zset::add::ROWS,
    zset::look::ROWS,
    zset::range::ROWS,
    zset::pop::ROWS,
    zset::combine::ROWS,
    geo::ROWS,
    geo::search::ROWS,
    stream::ROWS,
    sort::ROWS,
    pubsub::ROWS,
    scripting::ROWS,
    scripting::FUNCTION_ROWS,
    keyspace::ROWS,
    rename::ROWS,
    dump::ROWS,
    migrate::ROWS,
    expire::ROWS,
    scan::ROWS,
    object::ROWS,
    server::ROWS,
    docs::ROWS,
    session::ROWS,
    absent::ROWS,
];

const COUNT: usize = {
    let mut n = 0;
    let mut f = 0;
    while f < FAMILIES.len() {
        n += FAMILIES[f].len();
        f += 1;
    }
    n
};

/// All rows, in the order of their ids.
static TABLE: [Command; COUNT] = {
    let mut table = [FAMILIES[0][0]; COUNT];
    let (mut n, mut f) = (0, 0);
    while f < FAMILIES.len() {
        let mut r = 0;
        while r < FAMILIES[f].len() {
            table[n] = FAMILIES[f][r];
            n += 1;
            r += 1;
        }
        f += 1;
    }
    table
};

/// The id of each container's first subcommand, and in the last place the number of all ids.
static SUB_IDS: [u16; COUNT + 1] = {
    let mut ids = [0u16; COUNT + 1];
    let mut next = COUNT;
    let mut i = 0;
    while i < COUNT {
        ids[i] = next as u16;
        next += TABLE[i].subcommands.len();
        i += 1;
    }
    ids[COUNT] = next as u16;
    ids
};

/// Longest name of a command (not of a subcommand).
const NAME_MAX: usize = 24;
const BUCKETS: usize = 1024;
const EMPTY: u16 = u16::MAX;
const CASE: u64 = 0x2020_2020_2020_2020;

/// A bucket of the hash table.
#[derive(Clone, Copy)]
struct Bucket {
    words: (u64, u64),
    len: u16,
    id: u16,
    /// The name has bytes other than letters, or more than the words hold.
    exact: bool,
}

/// A name's two words.
#[inline(always)]
const fn fold(name: &[u8]) -> (u64, u64) {
    let (a, b) = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) => (
                u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32,
                0,
            ),
            _ => {
                let n = name.len();
                let word = [name[0], name[n / 2], name[n - 1], 0];
                (u32::from_le_bytes(word) as u64, 0)
            }
        },
    };
    (a | CASE, b | CASE)
}

#[inline(always)]
const fn bucket_of(words: (u64, u64), len: usize) -> usize {
    let mixed =
        (words.0 ^ words.1.rotate_left(29) ^ len as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 54) as usize
}

static INDEX: [Bucket; BUCKETS] = {
    assert!(COUNT * 3 < BUCKETS);
    let mut index = [Bucket {
        words: (0, 0),
        len: 0,
        id: EMPTY,
        exact: false,
    }; BUCKETS];
    let mut id = 0;
    while id < COUNT {
        let name = TABLE[id].name.as_bytes();
        assert!(!name.is_empty() && name.len() <= NAME_MAX);
        // Two words hold sixteen bytes.
        let mut exact = name.len() > 16;
        let mut i = 0;
        while i < name.len() {
            assert!(!name[i].is_ascii_uppercase());
            exact |= !name[i].is_ascii_lowercase();
            i += 1;
        }
        let words = fold(name);
        let mut at = bucket_of(words, name.len());
        while index[at].id != EMPTY {
            at = (at + 1) % BUCKETS;
        }
        index[at] = Bucket {
            words,
            len: name.len() as u16,
            id: id as u16,
            exact,
        };
        id += 1;
    }
    index
};

/// Finds a command by its name, in any case. The number is its id: dense, below the length of
/// [`all`], and the index under which its calls are counted.
#[inline]
pub fn lookup(name: &[u8]) -> Option<(&'static Command, u16)> {
    if name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    let words = fold(name);
    let mut at = bucket_of(words, name.len());
    loop {
        let bucket = &INDEX[at];
        if bucket.id == EMPTY {
            return None;
        }
        if bucket.words == words && bucket.len as usize == name.len() {
            let row = &TABLE[bucket.id as usize];
            if bucket.exact && !name.eq_ignore_ascii_case(row.name.as_bytes()) {
                return None;
            }
            return Some((row, bucket.id));
        }
        at = (at + 1) % BUCKETS;
    }
}

/// From a command's arguments to the row that is to run, its id, and the certainty that the number of
/// arguments fits. `args` holds at least the name. Never returns a row with [`Run::Container`].
pub fn resolve(args: &[&[u8]]) -> Result<(&'static Command, u16), Error> {
    let (row, id) = match args.first().and_then(|name| lookup(name)) {
        Some(found) => found,
        None => return Err(Error::unknown_command(args)),
    };
    let (row, id) = match args.get(1) {
        Some(sub) if !row.subcommands.is_empty() => {
            subcommand(row, id, sub).ok_or_else(|| Error::unknown_subcommand(args[0], sub))?
        }
        _ => (row, id),
    };
    if !row.takes(args.len()) || matches!(row.run, Run::Container) {
        return Err(Error::Arity(row.name));
    }
    Ok((row, id))
}

/// The subcommand `name` of the container `row` with id `id`.
pub(super) fn subcommand(
    row: &'static Command,
    id: u16,
    name: &[u8],
) -> Option<(&'static Command, u16)> {
    let at = row
        .subcommands
        .iter()
        .position(|sub| sub.own_name().as_bytes().eq_ignore_ascii_case(name))?;
    Some((&row.subcommands[at], SUB_IDS[id as usize] + at as u16))
}

/// The row of a command, or of a subcommand written `container|sub`, with its id.
pub fn named(name: &[u8]) -> Option<(&'static Command, u16)> {
    match name.iter().position(|&b| b == b'|') {
        None => lookup(name),
        Some(at) => {
            let (row, id) = lookup(&name[..at])?;
            subcommand(row, id, &name[at + 1..])
        }
    }
}

/// The id of the first subcommand of the command with that id; the others' follow. None for what is no command but
/// a subcommand itself.
pub fn first_subcommand(id: u16) -> Option<u16> {
    let id = usize::from(id);
    (id < COUNT).then(|| SUB_IDS[id])
}

/// Every row in the order of the ids: the commands, then the subcommands of all containers.
pub fn all() -> impl ExactSizeIterator<Item = &'static Command> {
    (0..SUB_IDS[COUNT]).map(|id| by_id(id).unwrap_or(&TABLE[0]))
}

/// The commands, without subcommands.
pub(super) fn commands() -> &'static [Command] {
    &TABLE
}

/// The row with that id.
pub fn by_id(id: u16) -> Option<&'static Command> {
    if let Some(row) = TABLE.get(id as usize) {
        return Some(row);
    }
    let container = SUB_IDS
        .partition_point(|&first| first <= id)
        .checked_sub(1)?;
    let first = SUB_IDS[container];
    TABLE.get(container)?.subcommands.get((id - first) as usize)
}

const INVALID: Error = Error::Text("ERR Invalid arguments specified for command");

/// Calls `f` with the index of each key of one run.
fn each_key(spec: &KeySpec, args: &[&[u8]], mut f: impl FnMut(usize)) -> Result<(), Error> {
    let argc = args.len();
    let (first, end, step) = match spec.begin {
        Begin::At(first) => {
            let first = first as usize;
            let last = match spec.last {
                n if n >= 0 => first + n as usize,
                n => argc.checked_sub(n.unsigned_abs() as usize).ok_or(INVALID)?,
            };
            if spec.last < 0 && last + 1 == first {
                return Ok(()); // a run to the end may be empty
            }
            if first > last || last >= argc {
                return Err(INVALID);
            }
            (first, last + 1, spec.step as usize)
        }
        Begin::Counted(at) => {
            let at = at as usize;
            let count = args.get(at).and_then(|n| parse_i64(n)).unwrap_or(-1);
            let count = usize::try_from(count).map_err(|_| INVALID)?;
            let end = count.checked_add(at + 1).ok_or(INVALID)?;
            if end > argc {
                return Err(INVALID);
            }
            (at + 1, end, 1)
        }
        Begin::Behind(word, from) => {
            let at = (from as usize..argc).find(|&i| args[i].eq_ignore_ascii_case(word.as_bytes()));
            let first = at.ok_or(INVALID)? + 1;
            let half = (argc - first) / 2;
            if half == 0 || half * 2 != argc - first {
                return Err(INVALID);
            }
            (first, first + half, 1)
        }
        Begin::Each(word, from) => {
            for i in (from as usize..argc).filter(|&i| i + 1 < argc) {
                if args[i].eq_ignore_ascii_case(word.as_bytes()) {
                    f(i + 1);
                }
            }
            return Ok(());
        }
        Begin::Stored => {
            sort::destination(args).into_iter().for_each(f);
            return Ok(());
        }
        Begin::Named | Begin::Listed => {
            let range = migrate::key_range(args);
            let listed = range.start != 3;
            if listed == matches!(spec.begin, Begin::Listed) {
                range.for_each(f);
            }
            return Ok(());
        }
        Begin::Made => return Ok(()),
    };
    (first..end).step_by(step).for_each(f);
    Ok(())
}

/// The runs of a command's keys, without those of names that only have a slot.
fn keys_proper(cmd: &Command) -> impl Iterator<Item = &'static KeySpec> {
    cmd.keys
        .iter()
        .filter(|spec| spec.flags & key::NOT_KEY == 0)
}

/// Appends the indexes of a command's keys among `args` to `out`, with what it does to each: a union of [`key`]
/// bits.
pub fn keys_with_flags(cmd: &Command, args: &[&[u8]], out: &mut Vec<(usize, u32)>) {
    for spec in keys_proper(cmd) {
        let bits = bits_of(cmd, spec.flags, args);
        // What does not fit has no keys to tell of.
        let _ = each_key(spec, args, |i| out.push((i, bits)));
    }
}

/// The flags of a key where they depend on the arguments: SET reads the key only if it is to return it, BITFIELD
/// may only read.
fn bits_of(cmd: &Command, bits: u32, args: &[&[u8]]) -> u32 {
    if bits & key::VARIABLE_FLAGS == 0 {
        return bits;
    }
    let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    match cmd.name {
        "set" if args.iter().skip(3).any(|a| is(a, "get")) => key::RW | key::ACCESS | key::UPDATE,
        "set" => key::OW | key::UPDATE,
        "bitfield" if !args.iter().skip(2).any(|a| is(a, "set") || is(a, "incrby")) => {
            key::RO | key::ACCESS
        }
        _ => bits & !key::VARIABLE_FLAGS,
    }
}

/// Appends the indexes of a command's keys among `args` to `out`. The number of arguments has been
/// checked; `out` stays empty for a command without keys. Where the arguments do not say where the keys are, the
/// command is run nowhere in particular and says itself what is wrong with them.
pub fn keys_of(cmd: &Command, args: &[&[u8]], out: &mut Vec<usize>) -> Result<(), Error> {
    for spec in keys_proper(cmd) {
        each_key(spec, args, |i| out.push(i))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_is_found_in_any_case() {
        for (id, row) in commands().iter().enumerate() {
            let name = row.name.as_bytes();
            for name in [name.to_vec(), name.to_ascii_uppercase()] {
                let (found, found_id) = lookup(&name).unwrap();
                assert_eq!((found.name, found_id as usize), (row.name, id));
            }
        }
    }

    #[test]
    fn ids_are_dense_and_lead_back() {
        let mut names = HashSet::new();
        for (id, row) in all().enumerate() {
            assert_eq!(by_id(id as u16).map(|r| r.name), Some(row.name));
            assert!(names.insert(row.name), "{} twice", row.name);
            for (i, sub) in row.subcommands.iter().enumerate() {
                let own = sub.own_name().as_bytes();
                let (found, sub_id) = subcommand(row, id as u16, own).unwrap();
                assert_eq!(found.name, sub.name);
                assert_eq!(by_id(sub_id).map(|r| r.name), Some(sub.name));
                assert_eq!(row.subcommands[i].name, sub.name);
                assert!(sub.name.starts_with(&format!("{}|", row.name)));
            }
        }
        assert!(by_id(all().len() as u16).is_none());
    }

    /// What help, COMMAND and routing rely on.
    #[test]
    fn rows_are_whole() {
        for row in all() {
            let name = row.name;
            assert!(
                !row.summary.is_empty() && row.summary.ends_with('.'),
                "{name}"
            );
            assert!(
                !row.since.is_empty() && !row.complexity.is_empty(),
                "{name}"
            );
            assert_ne!(row.arity, 0, "{name}");
            let container = matches!(row.run, Run::Container);
            assert!(!container || !row.subcommands.is_empty(), "{name}");
            // A route by keys has keys, and the other way round.
            use super::super::Route;
            let by_key = matches!(
                row.route,
                Route::Key | Route::Keys | Route::Made | Route::Script
            );
            assert_eq!(by_key, keys_proper(row).count() > 0, "{name}");
            if row.route == Route::Key {
                assert_eq!(
                    (row.keys[0].begin, row.keys[0].last, row.keys.len()),
                    (Begin::At(1), 0, 1)
                );
            }
            // The fewest arguments that fit hold all its keys, where the keys stand in fixed places.
            let args = vec![&b""[..]; row.arity.unsigned_abs() as usize];
            let mut keys = Vec::new();
            if row
                .keys
                .iter()
                .all(|spec| matches!(spec.begin, Begin::At(_)))
            {
                assert_eq!(keys_of(row, &args, &mut keys), Ok(()), "{name}");
                assert_eq!(keys.is_empty(), keys_proper(row).count() == 0, "{name}");
            }
        }
    }

    #[test]
    fn keys_are_where_the_rows_say() {
        let keys = |words: &str| {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            let (row, _) = resolve(&args).unwrap();
            let mut keys = Vec::new();
            keys_of(row, &args, &mut keys).unwrap();
            keys
        };
        assert_eq!(keys("get k"), [1]);
        assert_eq!(keys("set k v ex 10"), [1]);
        assert_eq!(keys("del a b c"), [1, 2, 3]);
        assert_eq!(keys("mset a 1 b 2"), [1, 3]);
        assert_eq!(keys("mset a 1 b"), [1, 3]);
        assert_eq!(keys("rename a b"), [1, 2]);
        assert_eq!(keys("copy a b replace"), [1, 2]);
        assert_eq!(keys("lcs a b len"), [1, 2]);
        assert_eq!(keys("object encoding a"), [2]);
        assert_eq!(keys("sort a by store get store store d store e"), [1, 9]);
        assert_eq!(keys("sort a desc store"), [1]);
        assert_eq!(keys("watch a b"), [1, 2]);
        assert_eq!(keys("ping"), [0usize; 0]);
    }

    #[test]
    fn what_is_refused_before_it_runs() {
        let error = |words: &str| {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            resolve(&args).map(|_| ()).unwrap_err().to_string()
        };
        assert_eq!(
            error("nope x"),
            "ERR unknown command 'nope', with args beginning with: 'x' "
        );
        assert_eq!(
            error("get"),
            "ERR wrong number of arguments for 'get' command"
        );
        assert_eq!(
            error("CLIENT"),
            "ERR wrong number of arguments for 'client' command"
        );
        assert_eq!(
            error("client id x"),
            "ERR wrong number of arguments for 'client|id' command"
        );
        assert_eq!(
            error("client NoPe"),
            "ERR unknown subcommand 'NoPe'. Try CLIENT HELP."
        );
        assert!(resolve(&[]).is_err());
        assert!(resolve(&[b""]).is_err());
    }

    proptest! {
        #[test]
        fn only_names_are_found(name in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Some((row, _)) = lookup(&name) {
                prop_assert!(name.eq_ignore_ascii_case(row.name.as_bytes()));
            }
        }

        /// A name with one bit changed is another name, unless the bit is that of a letter's case.
        #[test]
        fn near_names_are_not_found(id in 0..COUNT, at: proptest::sample::Index, bit in 0u8..8) {
            let mut name = TABLE[id].name.as_bytes().to_vec();
            let at = at.index(name.len());
            name[at] ^= 1 << bit;
            let found = lookup(&name).map(|(row, _)| row.name);
            prop_assert!(found.is_none_or(|n| name.eq_ignore_ascii_case(n.as_bytes())));
        }
    }
}
