//! What a command is: one row, from which lookup, arity check, routing, key extraction, ACL categories,
//! help and the COMMAND family all take what they say.

use super::{DataFn, ScriptCmd, SessionCmd};

/// One command, or one subcommand of a container such as CLIENT.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Lower case; a subcommand's name is whole, as in `client|id`.
    pub name: &'static str,
    /// Arguments including the name; negative: at least that many.
    pub arity: i16,
    /// A union of [`flag`]s.
    pub flags: u32,
    /// Where the keys stand; empty: the command has none.
    pub keys: &'static [KeySpec],
    /// ACL categories that the flags do not imply already, a union of [`acl`] bits.
    pub acl: u32,
    /// The family it belongs to.
    pub group: Group,
    /// The Redis version that introduced it, or the Ferrite version for what Redis does not have.
    pub since: &'static str,
    /// Cost in time, as a formula with its terms explained.
    pub complexity: &'static str,
    /// One sentence for help.
    pub summary: &'static str,
    /// Its arguments, as help shows them.
    pub syntax: &'static str,
    /// Hints for clients and proxies, in the words of Redis's command tips.
    pub tips: &'static [&'static str],
    /// Which shards it needs.
    pub route: Route,
    /// Who carries it out.
    pub run: Run,
    /// The rows of its subcommands; empty for a plain command.
    pub subcommands: &'static [Command],
}

impl Command {
    /// The part of the name behind the container: `id` of `client|id`.
    pub fn own_name(&self) -> &'static str {
        match self.name.split_once('|') {
            Some((_, own)) => own,
            None => self.name,
        }
    }

    /// Whether it may change the keyspace by what it runs.
    pub fn runs_writes(&self) -> bool {
        let script = |cmd| {
            matches!(
                cmd,
                ScriptCmd::Run {
                    read_only: false,
                    ..
                }
            )
        };
        matches!(self.run, Run::Script(cmd) if script(cmd))
    }

    /// Whether it carries every bit of `flags`.
    #[inline]
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// Whether `argc` arguments (name included) are a number it takes.
    #[inline]
    pub fn takes(&self, argc: usize) -> bool {
        if self.arity >= 0 {
            argc == self.arity as usize
        } else {
            argc >= self.arity.unsigned_abs() as usize
        }
    }

    /// All its ACL categories, those that its flags imply included (as Redis implies them).
    pub fn categories(&self) -> u32 {
        let mut bits = self.acl;
        for (flag, implied) in [
            (flag::WRITE, acl::WRITE),
            (flag::ADMIN, acl::ADMIN | acl::DANGEROUS),
            (flag::PUBSUB, acl::PUBSUB),
            (flag::FAST, acl::FAST),
            (flag::BLOCKING, acl::BLOCKING),
        ] {
            if self.has(flag) {
                bits |= implied;
            }
        }
        if self.has(flag::READONLY) && bits & acl::SCRIPTING == 0 {
            bits |= acl::READ;
        }
        if bits & acl::FAST == 0 {
            bits |= acl::SLOW;
        }
        bits
    }
}

/// The start of a row: a command on the one key that is its first argument.
pub(super) const ON_KEY: Command = Command {
    name: "",
    arity: 2,
    flags: 0,
    keys: &[],
    acl: 0,
    group: Group::Generic,
    since: "",
    complexity: "O(1)",
    summary: "",
    syntax: "key",
    tips: &[],
    route: Route::Key,
    run: Run::Container,
    subcommands: &[],
};

/// Who carries a command out.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// A pure function of the keyspace.
    Data(DataFn),
    /// The connection's own core: it touches the connection, the server or the log.
    Session(SessionCmd),
    /// The engine of scripts, where the shards are.
    Script(ScriptCmd),
    /// Nobody: the row only holds subcommands.
    Container,
}

/// Which shards have to be at hand for a command to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// None: it runs where the connection is.
    Here,
    /// That of its first argument, which is its only key.
    Key,
    /// Those of all its keys, see [`super::keys_of`].
    Keys,
    /// The same; every shard where its arguments make up the names of further keys, see [`super::makes_up_keys`].
    Made,
    /// Every shard: it may touch keys that it does not name.
    Script,
    /// That which keeps the libraries of functions: the one that owns slot 0.
    Libraries,
    /// Every shard.
    All,
    /// That of the slot in its cursor, see [`super::cursor_slot`].
    Cursor,
}

/// A run of keys among the arguments, and what the command does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where the run begins.
    pub begin: Begin,
    /// The last one, counted from the first; negative: counted from the end of the arguments, -1 being
    /// the last of them. Not used where the arguments say how many keys there are.
    pub last: i8,
    /// Arguments from one key to the next.
    pub step: u8,
    /// A union of [`key`] bits.
    pub flags: u32,
}

/// Where a run of keys begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the argument of this index; the command's name has index 0.
    At(u8),
    /// Behind the argument of this index, which says how many keys follow.
    Counted(u8),
    /// Behind a word, the first such from an index on; the run takes half of what follows it.
    Behind(&'static str, u8),
    /// Behind a word, each time it stands somewhere from an index on; one key each time.
    Each(&'static str, u8),
    /// Behind the last STORE among SORT's options.
    Stored,
    /// At MIGRATE's key, unless that is empty and KEYS follows.
    Named,
    /// Behind MIGRATE's KEYS.
    Listed,
    /// Nowhere: the names are made up of what the other keys hold.
    Made,
}

impl KeySpec {
    /// A single key at argument `first`.
    pub const fn one(first: u8, flags: u32) -> KeySpec {
        KeySpec {
            begin: Begin::At(first),
            last: 0,
            step: 1,
            flags,
        }
    }

    /// Keys from argument `first` to the end, `step` apart.
    pub const fn rest(first: u8, step: u8, flags: u32) -> KeySpec {
        KeySpec {
            begin: Begin::At(first),
            last: -1,
            step,
            flags,
        }
    }

    /// Keys from argument `first` to the `last` one, negative from the end.
    pub const fn range(first: u8, last: i8, flags: u32) -> KeySpec {
        KeySpec {
            begin: Begin::At(first),
            last,
            step: 1,
            flags,
        }
    }

    /// As many keys behind argument `at` as that says.
    pub const fn counted(at: u8, flags: u32) -> KeySpec {
        KeySpec {
            begin: Begin::Counted(at),
            last: 0,
            step: 1,
            flags,
        }
    }

    /// The first half of what stands behind `word`, looked for from argument `from` on (XREAD).
    pub const fn behind(word: &'static str, from: u8, flags: u32) -> KeySpec {
        KeySpec {
            begin: Begin::Behind(word, from),
            last: -1,
            step: 1,
            flags,
        }
    }

    /// The argument behind `word`, wherever that stands from argument `from` on (STORE).
    pub const fn option(word: &'static str, from: u8, flags: u32) -> KeySpec {
        KeySpec {
            begin: Begin::Each(word, from),
            last: 0,
            step: 1,
            flags,
        }
    }

    /// Keys that only the command itself can find: SORT's.
    pub const fn found(begin: Begin, flags: u32) -> KeySpec {
        KeySpec {
            begin,
            last: 0,
            step: 1,
            flags,
        }
    }
}

/// The family a command belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// `generic`: keys of any type.
    Generic,
    /// `string`
    String,
    /// `connection`
    Connection,
    /// `server`
    Server,
    /// `transactions`
    Transactions,
    /// `list`
    List,
    /// `hash`
    Hash,
    /// `set`
    Set,
    /// `sorted-set`
    SortedSet,
    /// `stream`
    Stream,
    /// `bitmap`
    Bitmap,
    /// `hyperloglog`
    HyperLogLog,
    /// `geo`
    Geo,
    /// `pubsub`
    PubSub,
    /// `scripting`
    Scripting,
    /// `cluster`
    Cluster,
}

impl Group {
    /// The name COMMAND DOCS gives it.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Transactions => "transactions",
            Group::List => "list",
            Group::Hash => "hash",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::Geo => "geo",
            Group::PubSub => "pubsub",
            Group::Scripting => "scripting",
            Group::Cluster => "cluster",
        }
    }
}

/// Declares bits and, beside them, the names they are shown by.
macro_rules! bits {
    ($(#[$doc:meta])* $module:ident { $($(#[$bit_doc:meta])* $bit:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        pub mod $module {
            bits!(@each 0, $($(#[$bit_doc])* $bit),*);
            /// Every bit with the name it is shown by, in order.
            pub const NAMES: &[(u32, &str)] = &[$(($bit, $name)),*];
        }
    };
    (@each $n:expr, $(#[$doc:meta])* $bit:ident $(, $(#[$more_doc:meta])* $more:ident)*) => {
        $(#[$doc])*
        pub const $bit: u32 = 1 << ($n);
        bits!(@each $n + 1 $(, $(#[$more_doc])* $more)*);
    };
    (@each $n:expr $(,)?) => {};
}

bits! {
    /// What a command does and where it is allowed, as COMMAND INFO shows it.
    flag {
        /// May change the keyspace.
        WRITE = "write",
        /// Only reads the keyspace.
        READONLY = "readonly",
        /// May use more memory: refused when memory is short.
        DENYOOM = "denyoom",
        /// An administrator's.
        ADMIN = "admin",
        /// Of publish / subscribe.
        PUBSUB = "pubsub",
        /// Not allowed in scripts.
        NOSCRIPT = "noscript",
        /// May wait.
        BLOCKING = "blocking",
        /// Allowed while the data is being loaded.
        LOADING = "loading",
        /// Allowed on a replica with stale data.
        STALE = "stale",
        /// Never shown by MONITOR.
        SKIP_MONITOR = "skip_monitor",
        /// Never put into the slow log.
        SKIP_SLOWLOG = "skip_slowlog",
        /// Constant or logarithmic time.
        FAST = "fast",
        /// Allowed before authentication.
        NO_AUTH = "no_auth",
        /// Not allowed while data is loaded in the background.
        NO_ASYNC_LOADING = "no_async_loading",
        /// Refused inside MULTI.
        NO_MULTI = "no_multi",
        /// Allowed while a script is overdue.
        ALLOW_BUSY = "allow_busy",
        /// May be given no keys although it takes some.
        NO_MANDATORY_KEYS = "no_mandatory_keys",
    }
}

bits! {
    /// ACL categories.
    acl {
        /// Keys of any type.
        KEYSPACE = "keyspace",
        /// Reads data.
        READ = "read",
        /// Writes data.
        WRITE = "write",
        /// Sets.
        SET = "set",
        /// Sorted sets.
        SORTEDSET = "sortedset",
        /// Lists.
        LIST = "list",
        /// Hashes.
        HASH = "hash",
        /// Strings.
        STRING = "string",
        /// Bitmaps.
        BITMAP = "bitmap",
        /// HyperLogLogs.
        HYPERLOGLOG = "hyperloglog",
        /// Geo indexes.
        GEO = "geo",
        /// Streams.
        STREAM = "stream",
        /// Publish / subscribe.
        PUBSUB = "pubsub",
        /// For administrators.
        ADMIN = "admin",
        /// Constant or logarithmic time.
        FAST = "fast",
        /// Not [`FAST`].
        SLOW = "slow",
        /// May wait.
        BLOCKING = "blocking",
        /// To be thought about before it is run.
        DANGEROUS = "dangerous",
        /// The connection or other connections.
        CONNECTION = "connection",
        /// MULTI and its company.
        TRANSACTION = "transaction",
        /// Scripts.
        SCRIPTING = "scripting",
    }
}

bits! {
    /// What a command does with a key, as COMMAND GETKEYSANDFLAGS shows it.
    key {
        /// Reads it, changes nothing.
        RO = "RO",
        /// Reads and changes it.
        RW = "RW",
        /// Overwrites it whatever it held.
        OW = "OW",
        /// Removes it whatever it held.
        RM = "RM",
        /// The value is returned, copied or compared.
        ACCESS = "access",
        /// The value is changed, depending on what it was or not.
        UPDATE = "update",
        /// Something is added, nothing changed.
        INSERT = "insert",
        /// Something is removed.
        DELETE = "delete",
        /// The other flags depend on the arguments.
        VARIABLE_FLAGS = "variable_flags",
        /// It is no key, but has a slot like one (a sharded channel).
        NOT_KEY = "not_key",
        /// There may be others that the rule does not find.
        INCOMPLETE = "incomplete",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_distinct() {
        for names in [flag::NAMES, acl::NAMES, key::NAMES] {
            let all: u32 = names.iter().map(|(bit, _)| bit).sum();
            assert_eq!(all.count_ones() as usize, names.len());
        }
        assert_eq!((flag::WRITE, flag::READONLY, flag::DENYOOM), (1, 2, 4));
    }
}
