//! Random commands over every type: right ones and wrong ones, over few keys with many elements, such as have one
//! answer only. Expiries lie far away or in the past, ids of entries are given, waits find what they wait for.
//!
//! A *form* says how a command is made: words in capitals stand for themselves, the others for something random
//! ([`Maker::word`]). `a|b` is one of both, `?a` is there or not, `a+` once or more; `_` joins words inside of these.

use crate::common::random::Random;

/// A command's words.
pub type Words = Vec<Vec<u8>>;

/// Commands that must go to one connection one after the other.
pub type Unit = Vec<Words>;

/// Writes whose outcome depends on the keys alone. Each changes the keys of one slot if the maker has one prefix.
const WRITES: &[&str] = &[
    "SET str v",
    "SET str v ?NX|XX ?EX_secs|PX_millis|EXAT_at|KEEPTTL",
    "SET str v ?NX|XX ?GET ?KEEPTTL",
    "SETNX str v",
    "SETEX str secs v",
    "PSETEX str millis v",
    "GETSET str v",
    "GETDEL str",
    "GETEX str ?PERSIST|EX_secs|PXAT_millisat",
    "APPEND str v",
    "SETRANGE str small v",
    "INCR num",
    "DECR num",
    "INCRBY num int",
    "DECRBY num int",
    "INCRBYFLOAT num float",
    "INCRBYFLOAT str float",
    "INCR str",
    "SET num v",
    "SET num small",
    "MSET str_v+ num_small",
    "MSETNX str_v+",
    "SET weight small",
    "HSET object f small g v",
    "LPUSH list v+",
    "RPUSH list v+",
    "RPUSH list v+",
    "RPUSH list v",
    "LPUSHX list v",
    "RPUSHX list v+",
    "LPOP list",
    "RPOP list",
    "LPOP list small",
    "RPOP list small",
    "LSET list index v",
    "LINSERT list BEFORE|AFTER v v",
    "LREM list index v",
    "LTRIM list 0|1|index 100|-1|-2|index",
    "LMOVE list list LEFT|RIGHT LEFT|RIGHT",
    "RPOPLPUSH list list",
    "LMPOP 2 list list LEFT|RIGHT ?COUNT_small",
    "SADD set m+",
    "SADD set m+",
    "SADD intset int+",
    "SREM set m+",
    "SREM intset int+",
    "SMOVE set set m",
    "SINTERSTORE set set set",
    "SUNIONSTORE set set intset",
    "SDIFFSTORE set set set",
    "HSET hash m_v+",
    "HSET hash m_v+",
    "HMSET hash m_v",
    "HSETNX hash m v",
    "HDEL hash m+",
    "HINCRBY hash count int",
    "HINCRBYFLOAT hash total float",
    "ZADD zset score_m+",
    "ZADD zset score_m+",
    "ZADD zset ?NX|XX|GT|LT|XX_GT ?CH score_m+",
    "ZADD zset ?XX|GT|NX INCR score m",
    "ZADD lex 0_m+",
    "ZINCRBY zset score m",
    "ZREM zset m+",
    "ZREM lex m+",
    "ZPOPMIN zset ?small",
    "ZPOPMAX zset ?small",
    "ZMPOP 2 zset zset MIN|MAX ?COUNT_small",
    "ZREMRANGEBYRANK zset index 1|-2|3",
    "ZREMRANGEBYSCORE zset bound bound",
    "ZREMRANGEBYLEX lex [w1|(w20 [w15|(w22",
    "ZRANGESTORE zset zset 0 index",
    "ZUNIONSTORE zset 2 zset zset ?WEIGHTS_score_score ?AGGREGATE_MIN|MAX|SUM",
    "ZINTERSTORE zset 2 zset set ?AGGREGATE_MIN|MAX",
    "ZDIFFSTORE zset 2 zset zset",
    "GEOADD geo ?NX|XX ?CH place_m+",
    "GEOADD geo place_m+",
    "ZREM geo m+",
    "GEOSEARCHSTORE geo geo FROMLONLAT place BYRADIUS 2000|200000 M|KM ASC",
    "GEOSEARCHSTORE zset geo FROMLONLAT place BYBOX 300 300 KM STOREDIST",
    "XADD stream newid field_v+",
    "XADD stream newid field_v+",
    "XADD stream ?NOMKSTREAM ?MAXLEN_30|MAXLEN_=_20|MINID_entry newid field_v+",
    "XDEL stream entry+",
    "XTRIM stream MAXLEN|MAXLEN_= 20|40|60",
    "XTRIM stream MINID entry",
    "XSETID stream newid",
    "XGROUP CREATE stream group 0|$|entry ?MKSTREAM",
    "XGROUP CREATECONSUMER stream group consumer",
    "XGROUP DELCONSUMER stream group consumer",
    "XGROUP SETID stream group 0|$|entry",
    "XACK stream group entry+",
    "SETBIT bits offset 0|1",
    "SETBIT bits offset 0|1",
    "BITFIELD bits INCRBY_type_offset_int+|SET_type_offset_int ?OVERFLOW_SAT_INCRBY_u8_offset_int",
    "BITOP AND|OR|XOR bits bits bits",
    "BITOP NOT bits bits",
    "PFADD hll m+",
    "PFMERGE hll hll hll",
    "SORT list ALPHA ?DESC ?LIMIT_1_20 STORE list",
    "EXPIRE any secs ?NX|XX",
    "PEXPIRE any millis ?NX|XX",
    "EXPIREAT any at ?NX|XX|GT|LT",
    "PEXPIREAT any millisat ?NX|XX|GT|LT",
    "PERSIST any",
    "PERSIST any",
    "DEL any",
    "UNLINK any any",
    "RENAME any same",
    "RENAMENX any same",
    "COPY any same ?REPLACE",
];

/// Reads, and writes that need more databases, or fail, or wait.
const OTHERS: &[&str] = &[
    "GET str",
    "GET num",
    "STRLEN str",
    "GETRANGE str index index",
    "MGET str+ num",
    "MGET any+",
    "LCS str str ?LEN|IDX_WITHMATCHLEN|IDX_MINMATCHLEN_2",
    "EXPIRE any -1",
    "EXPIREAT any 1",
    "TTL any",
    "PTTL any",
    "EXPIRETIME any",
    "PEXPIRETIME any",
    "TYPE any",
    "EXISTS any+",
    "TOUCH any any",
    "OBJECT ENCODING any",
    "KEYS *",
    "KEYS *list?|{x}*|*[hz]*2|*o?",
    "DBSIZE",
    "COPY any same DB 0|1|2 ?REPLACE",
    "MOVE any 0|1|2",
    "SELECT 0|0|0|0|1|2",
    "LLEN list",
    "LRANGE list index index",
    "LRANGE list 0 -1",
    "LINDEX list index",
    "LPOS list v ?RANK_2|RANK_-1 ?COUNT_0|COUNT_2",
    "BLPOP list list 1",
    "SCARD set",
    "SISMEMBER set m",
    "SMISMEMBER set m+",
    "SMEMBERS set",
    "SMEMBERS intset",
    "SRANDMEMBER set 10000",
    "SPOP set 10000",
    "SINTER set+ ?intset",
    "SUNION set+",
    "SDIFF set+ ?intset",
    "SINTERCARD 2 set set ?LIMIT_small",
    "SSCAN set 0 COUNT 1000",
    "HGET hash m",
    "HMGET hash m+",
    "HGETALL hash",
    "HKEYS hash",
    "HVALS hash",
    "HLEN hash",
    "HEXISTS hash m",
    "HSTRLEN hash m",
    "HRANDFIELD hash 10000 ?WITHVALUES",
    "HSCAN hash 0 COUNT 1000",
    "ZCARD zset",
    "ZSCORE zset m",
    "ZMSCORE zset m+",
    "ZRANK zset m",
    "ZREVRANK zset m",
    "ZCOUNT zset bound bound",
    "ZLEXCOUNT lex [w1|-|(w20 [w5|+|(w33",
    "ZRANGE zset index index ?REV ?WITHSCORES",
    "ZRANGE zset bound bound BYSCORE ?REV ?LIMIT_small_small ?WITHSCORES",
    "ZRANGE lex [w1|-|(w20 [w5|+|(w33 BYLEX ?LIMIT_small_small",
    "ZREVRANGE zset index index",
    "ZRANGEBYSCORE zset bound bound ?WITHSCORES",
    "ZREVRANGEBYSCORE zset bound bound",
    "ZRANGEBYLEX lex [w1|- [w5|+",
    "ZUNION 2 zset zset ?WITHSCORES",
    "ZINTER 2 zset set WITHSCORES",
    "ZDIFF 2 zset zset ?WITHSCORES",
    "ZINTERCARD 2 zset zset ?LIMIT_small",
    "ZRANDMEMBER zset 10000",
    "ZSCAN zset 0 COUNT 1000",
    "GEOPOS geo m+",
    "GEODIST geo m m ?M|KM|MI",
    "GEOHASH geo m+",
    "GEOSEARCH geo FROMLONLAT place BYRADIUS 200|2000 KM ASC|DESC ?WITHDIST ?WITHHASH ?WITHCOORD",
    "GEOSEARCH geo FROMMEMBER m BYBOX 200 300 KM ASC ?COUNT_3",
    "GEORADIUS geo place 500 KM ASC ?STORE_geo",
    "XLEN stream",
    "XRANGE stream -|entry +|entry ?COUNT_small",
    "XREVRANGE stream + entry|- ?COUNT_small",
    "XREAD ?COUNT_3 STREAMS stream stream entry entry",
    "XPENDING stream group",
    "XPENDING stream group - + 10 ?consumer",
    "XINFO STREAM stream",
    "XINFO STREAM stream FULL COUNT 5",
    "XINFO GROUPS stream",
    "XINFO CONSUMERS stream group",
    "XGROUP DESTROY stream group",
    "GETBIT bits offset",
    "BITCOUNT bits",
    "BITCOUNT bits small -1|-3|small ?BIT|BYTE",
    "BITPOS bits 0|1",
    "BITPOS bits 1 small|-9 -1|-3|small ?BIT",
    "GET bits",
    "BITFIELD_RO bits GET_type_offset+",
    "PFCOUNT hll",
    "PFCOUNT hll hll hll",
    "SORT list ALPHA ?ASC|DESC ?LIMIT_index_index",
    "SORT intset ?DESC ?LIMIT_2_30 ?GET_#|GET_# ?GET_pattern ?STORE_list",
    "SORT intset BY pattern ?GET_# ?GET_objects ?STORE_list",
    "SORT_RO list BY nosort GET # GET pattern",
    "ECHO v",
    "PING v",
    "GET any any",
    "NOSUCH any",
    "SET str",
    "INCRBY num 1.5",
    "INCRBYFLOAT num x|nan|inf",
    "SET str v NX|XX nonsense|XX|EX",
    "SET str v EX 0|-1|abc|9223372036854775807",
    "MSET str v str",
    "EXPIRE any secs NX XX",
    "LCS str str MINMATCHLEN",
    "COPY str num DB 99|x",
    "SELECT 16|-1|x",
    "LPUSH list",
    "HSET hash m",
    "ZADD zset x m",
    "ZADD zset NX XX 1 m",
    "XADD stream 0 f v",
    "XADD stream newid f",
    "PFADD list|zset m",
    "PFCOUNT hll set",
    "LINSERT list NEAR v v",
    "SETBIT bits -1 1",
    "GEOADD geo 500 500 m",
    "EXPIRE any soon",
    "OBJECT NONSENSE any",
    "ZUNIONSTORE zset 0 zset",
];

/// What waits for one of these forms is there already, for the first of each pair puts it there.
const WAITS: &[(&str, &str)] = &[
    ("RPUSH list v+", "BLPOP key 5"),
    ("RPUSH list v", "BRPOP key list 5"),
    ("LPUSH list v v", "BLMOVE key list LEFT|RIGHT LEFT|RIGHT 5"),
    ("RPUSH list v", "BRPOPLPUSH key list 5"),
    (
        "LPUSH list v+",
        "BLMPOP 5 2 key list LEFT|RIGHT ?COUNT_small",
    ),
    ("ZADD zset score_m+", "BZPOPMIN key 5"),
    ("ZADD zset score_m", "BZPOPMAX key zset 5"),
    ("ZADD zset score_m", "BZMPOP 5 2 key zset MIN|MAX"),
    (
        "XADD stream newid field v",
        "XREAD BLOCK 5000 STREAMS key 0",
    ),
];

/// A wait, and what ends it on another connection.
const HANDOVERS: &[(&str, &str)] = &[
    ("BLPOP FROM KEY 0", "RPUSH KEY v+"),
    ("BRPOP KEY FROM 0", "LPUSH KEY v+"),
    ("BLMOVE KEY list LEFT|RIGHT LEFT|RIGHT 0", "RPUSH KEY v"),
    (
        "BRPOPLPUSH KEY list 0",
        "MULTI; RPUSH KEY v v; LPUSH FROM v; EXEC",
    ),
    ("BLMPOP 0 1 KEY LEFT COUNT 2", "RPUSH KEY v+"),
    (
        "BLMPOP 0 2 FROM KEY RIGHT",
        "MULTI; LPUSH FROM v; RPUSH KEY v; EXEC",
    ),
    ("BZPOPMIN KEY 0", "ZADD KEY score_m+"),
    ("BZMPOP 0 2 FROM KEY MAX COUNT 3", "ZADD KEY score_m+"),
    ("XREAD BLOCK 0 STREAMS KEY 0", "XADD KEY newid f v"),
    ("BLPOP KEY 0", "RPUSH FROM v; LMOVE FROM KEY LEFT LEFT"),
    ("BRPOP KEY 0", "RPUSH FROM 1 3 2; SORT FROM STORE KEY"),
    ("BLPOP KEY 0", "RPUSH FROM v v; RENAME FROM KEY"),
    ("BLPOP KEY 0", "RPUSH FROM v v; COPY FROM KEY"),
    ("BLPOP KEY 0", "SET KEY v; DEL KEY; RPUSH KEY v"),
    (
        "BZPOPMAX KEY 0",
        "ZADD FROM score_m+; ZUNIONSTORE KEY 2 FROM FROM",
    ),
    (
        "BZPOPMIN KEY 0",
        "ZADD FROM 1 a 2 b; ZRANGESTORE KEY FROM 0 -1",
    ),
    (
        "BZPOPMIN KEY 0",
        "GEOADD FROM place_m; GEOSEARCHSTORE KEY FROM FROMLONLAT 13.361389 38.115556 BYRADIUS 9000 KM ASC",
    ),
];

/// What a consumer does. It is made before: Redis 7.2 makes whoever asks a consumer, 7.0 only who gets something.
const CONSUMES: &[&str] = &[
    "XREADGROUP GROUP group consumer ?COUNT_3 ?NOACK STREAMS key >",
    "XREADGROUP GROUP group consumer COUNT 5 STREAMS key >",
    "XREADGROUP GROUP group consumer ?COUNT_3 STREAMS key 0|entry",
    "XCLAIM key group consumer 0 entry+ ?FORCE ?JUSTID",
    "XCLAIM key group consumer 0 entry+ IDLE|RETRYCOUNT 5 ?FORCE",
    "XAUTOCLAIM key group consumer 0 0|entry ?COUNT_4 ?JUSTID",
    "XACK key group entry+",
];

/// Types by the names of their keys, which tell what belongs there.
const TYPES: &[&str] = &[
    "str", "num", "list", "set", "intset", "hash", "zset", "geo", "stream", "bits",
];

/// Types that no other command may touch: a range of members wants equal scores, and the bytes of a HyperLogLog are
/// each server's own affair.
const ALONE: &[&str] = &["lex", "hll"];

/// Keys of one type under one prefix.
const NAMES: usize = 3;

/// Makes commands over keys of its own.
pub struct Maker {
    pub random: Random,
    /// Each key begins with one of these.
    prefixes: Vec<String>,
    now: u64,
    /// Ids of entries count by this.
    tick: u64,
    /// Type and name of the key that was made last.
    last: (&'static str, Vec<u8>),
    /// The group and the consumer of a unit, once chosen.
    role: Option<(&'static str, &'static str)>,
    /// Of this many keys one is of any type; 0 for none.
    astray: usize,
}

impl Maker {
    /// A maker at a time, in seconds since 1970, from which absolute expiries count.
    pub fn new(random: Random, prefixes: Vec<String>, now: u64) -> Maker {
        Maker {
            random,
            prefixes,
            now,
            tick: 1,
            last: ("str", Vec::new()),
            role: None,
            astray: 60,
        }
    }

    /// The name of a random key of a type.
    fn key(&mut self, kind: &'static str) -> Vec<u8> {
        let astray =
            !ALONE.contains(&kind) && self.astray > 0 && self.random.below(self.astray) == 0;
        let kind = if astray {
            self.random.pick(TYPES)
        } else {
            kind
        };
        let prefix = &self.prefixes[self.random.below(self.prefixes.len())];
        let name = format!("{prefix}{kind}{}", self.random.below(NAMES)).into_bytes();
        self.last = (kind, name.clone());
        name
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(16) {
            0 => Vec::new(),
            1 | 2 => (self.random.below(2000) as i64 - 500)
                .to_string()
                .into_bytes(),
            3 => {
                // SORT compares by the locale, for which a string ends at a zero byte.
                let n = self.random.below(200);
                let bytes = self.random.bytes(n);
                bytes.into_iter().map(|b| b.max(1)).collect()
            }
            4 if self.random.below(12) == 0 => vec![b'L'; 1000 + self.random.below(4000)],
            5 => {
                let edges: [&str; 8] = [
                    "9223372036854775807",
                    "-9223372036854775808",
                    "9223372036854775808",
                    "3.5",
                    " 12",
                    "012",
                    "+5",
                    "\r\n",
                ];
                self.random.pick(&edges).as_bytes().to_vec()
            }
            _ => format!("v{}", self.random.below(60)).into_bytes(),
        }
    }

    fn member(&mut self) -> Vec<u8> {
        match self.random.below(40) {
            0 => Vec::new(),
            1 => self.random.below(50).to_string().into_bytes(),
            2 => {
                let n = 60 + self.random.below(8);
                vec![b'm'; n]
            }
            _ => format!("w{}", self.random.below(700)).into_bytes(),
        }
    }

    /// What a word of a form stands for.
    fn word(&mut self, word: &str) -> Vec<u8> {
        if let Some(kind) = TYPES.iter().chain(ALONE).find(|&&kind| kind == word) {
            return self.key(kind);
        }
        let text = match word {
            "any" => {
                let kinds = if self.random.below(8) == 0 {
                    ALONE
                } else {
                    TYPES
                };
                let kind = self.random.pick(kinds);
                return self.key(kind);
            }
            "same" => {
                let kind = self.last.0;
                return self.key(kind);
            }
            "key" => return self.last.1.clone(),
            "v" => return self.value(),
            "m" => return self.member(),
            "weight" | "object" | "pattern" | "objects" => {
                let prefix = self.prefixes[self.random.below(self.prefixes.len())].clone();
                match word {
                    "weight" => format!("{prefix}weight{}", self.random.below(100)),
                    "object" => format!("{prefix}object{}", self.random.below(100)),
                    "pattern" => format!("{prefix}weight*"),
                    _ => format!("{prefix}object*->f"),
                }
            }
            "field" => self.random.pick(&["f", "g", "name"]).to_owned(),
            "small" => self.random.below(30).to_string(),
            "int" => match self.random.below(30) {
                0 => "9223372036854775807".into(),
                1 => "-9223372036854775808".into(),
                2 => (self.random.next() as i64 >> self.random.below(64)).to_string(),
                _ => (self.random.below(700) as i64 - 100).to_string(),
            },
            "index" => match self.random.below(8) {
                0 => self
                    .random
                    .pick(&["1000", "-1000", "x", "-9223372036854775807"])
                    .to_owned(),
                _ => (self.random.below(40) as i64 - 15).to_string(),
            },
            "float" => self
                .random
                .pick(&["0.1", "-0.25", "1e3", "3", "1.5e-5", "100.125", "-7"])
                .to_owned(),
            "score" => match self.random.below(12) {
                0 => self
                    .random
                    .pick(&["inf", "-inf", "1e300", "0.1"])
                    .to_owned(),
                1..4 => format!("{}.5", self.random.below(40) as i64 - 10),
                _ => (self.random.below(40) as i64 - 10).to_string(),
            },
            "bound" => match self.random.below(8) {
                0 => "-inf".into(),
                1 => "+inf".into(),
                2 | 3 => format!("({}", self.random.below(40) as i64 - 10),
                _ => (self.random.below(40) as i64 - 10).to_string(),
            },
            "place" => unreachable!("two words"),
            "secs" => (5000 + self.random.below(5000)).to_string(),
            "millis" => (5_000_000 + self.random.below(5_000_000)).to_string(),
            "at" => (self.now + 40_000 + self.random.below(1000) as u64 * 10).to_string(),
            "millisat" => {
                ((self.now + 40_000 + self.random.below(1000) as u64 * 10) * 1000).to_string()
            }
            "newid" => {
                self.tick += self.random.next() % 2;
                match self.random.below(4) {
                    0 => format!("{}-*", self.tick),
                    1 => self.tick.to_string(),
                    _ => {
                        self.tick += 1;
                        format!("{}-{}", self.tick, self.random.below(3))
                    }
                }
            }
            "entry" => {
                let back = self.random.below(400) as u64;
                format!(
                    "{}-{}",
                    self.tick.saturating_sub(back),
                    self.random.below(3)
                )
            }
            "group" | "consumer" => {
                let role = match self.role {
                    Some(role) => role,
                    None => (
                        *self.random.pick(&[&"g", &"h"]),
                        *self.random.pick(&[&"alice", &"bob", &"carol"]),
                    ),
                };
                if word == "group" { role.0 } else { role.1 }.to_owned()
            }
            "offset" => match self.random.below(20) {
                0 => (self.random.below(40_000)).to_string(),
                _ => (self.random.below(300)).to_string(),
            },
            "type" => self
                .random
                .pick(&["u1", "u8", "i16", "i33", "u63", "i64"])
                .to_owned(),
            itself => itself.to_owned(),
        };
        text.into_bytes()
    }

    fn expand(&mut self, token: &str, out: &mut Words) {
        if let Some(rest) = token.strip_prefix('?') {
            if self.random.below(2) == 0 {
                self.expand(rest, out);
            }
        } else if token.contains('|') {
            let choices: Vec<&str> = token.split('|').collect();
            let choice = self.random.pick(&choices).to_owned();
            self.expand(&choice, out);
        } else if let Some(inner) = token.strip_suffix('+').filter(|t| !t.is_empty()) {
            let most = if self.random.below(12) == 0 { 60 } else { 5 };
            for _ in 0..1 + self.random.below(most) {
                self.expand(inner, out);
            }
        } else {
            for word in token.split('_') {
                if word == "place" {
                    let (east, north) = (self.random.below(3000), self.random.below(2000));
                    out.push(format!("{}", 13.0 + east as f64 / 1000.0).into_bytes());
                    out.push(format!("{}", 37.0 + north as f64 / 1000.0).into_bytes());
                } else {
                    let word = self.word(word);
                    out.push(word);
                }
            }
        }
    }

    /// A command of this form.
    fn make(&mut self, form: &str) -> Words {
        // Names may have an underscore; nothing else in a form's first word stands for something else.
        let (name, rest) = form.split_once(' ').unwrap_or((form, ""));
        let mut words = vec![name.as_bytes().to_vec()];
        for token in rest.split(' ').filter(|token| !token.is_empty()) {
            self.expand(token, &mut words);
        }
        words
    }

    /// A write whose outcome the keys alone decide, to keys with these prefixes that are of the type it is for.
    pub fn write(&mut self, prefixes: &[String]) -> Unit {
        self.astray = 0;
        self.prefixes = prefixes.to_vec();
        if self.random.below(12) == 0 {
            return self.consume();
        }
        let form = self.random.pick(WRITES);
        vec![self.make(form)]
    }

    fn consume(&mut self) -> Unit {
        self.role = Some((
            *self.random.pick(&[&"g", &"h"]),
            *self.random.pick(&[&"alice", &"bob", &"carol"]),
        ));
        let first = self.make("XGROUP CREATECONSUMER stream group consumer");
        let form = self.random.pick(CONSUMES);
        let unit = vec![first, self.make(form)];
        self.role = None;
        unit
    }

    /// A command, or a few that belong together.
    fn simple(&mut self) -> Unit {
        match self.random.below(40) {
            0 => {
                let (first, second) = WAITS[self.random.below(WAITS.len())];
                vec![self.make(first), self.make(second)]
            }
            1 | 2 => self.consume(),
            3..20 => {
                let form = self.random.pick(OTHERS);
                // It would wait where there is nothing.
                if form.starts_with("BLPOP") {
                    return vec![self.make("LLEN list")];
                }
                vec![self.make(form)]
            }
            _ => {
                let form = self.random.pick(WRITES);
                vec![self.make(form)]
            }
        }
    }

    /// What one client asks next: a command, a transaction, or the start of one to come.
    pub fn unit(&mut self) -> Unit {
        match self.random.below(100) {
            0..6 => {
                let mut unit = vec![vec![b"MULTI".to_vec()]];
                for _ in 0..1 + self.random.below(7) {
                    let inner = match self.random.below(15) {
                        // Inside of a transaction nobody waits.
                        0 => vec![self.make("BLPOP list list 1")],
                        1 => vec![self.make("BZPOPMIN zset zset 1")],
                        _ => self.simple(),
                    };
                    unit.extend(inner);
                }
                let end = if self.random.below(12) == 0 {
                    "DISCARD"
                } else {
                    "EXEC"
                };
                unit.push(vec![end.as_bytes().to_vec()]);
                unit
            }
            // Redis takes a change of a stream's groups for none of the stream, and PFCOUNT for one of the key.
            6 => vec![self.make("WATCH str|list|set|hash|zset|geo num|lex|bits|intset")],
            7 if self.random.below(4) == 0 => {
                let form = self.random.pick(&["UNWATCH", "EXEC", "DISCARD"]);
                vec![self.make(form)]
            }
            7 if self.random.below(600) == 0 => {
                let form = self.random.pick(&["FLUSHDB", "FLUSHALL", "FLUSHDB ASYNC"]);
                vec![self.make(form)]
            }
            _ => self.simple(),
        }
    }

    /// A draw that each server would make in its own way: SPOP of one member.
    pub fn draw(&mut self) -> Words {
        self.make("SPOP set|intset")
    }

    /// A wait for what is not there, and what ends it; they name keys that nothing else names.
    pub fn handover(&mut self) -> (Words, Unit) {
        let (wait, end) = HANDOVERS[self.random.below(HANDOVERS.len())];
        let turn = self.random.next();
        let mut names = Vec::new();
        for what in ["hand", "from"] {
            let prefix = &self.prefixes[self.random.below(self.prefixes.len())];
            names.push(format!("{prefix}{what}{turn:x}").into_bytes());
        }
        let mut put = |form: &str| {
            let mut words = self.make(form);
            for word in &mut words {
                match &word[..] {
                    b"KEY" => *word = names[0].clone(),
                    b"FROM" => *word = names[1].clone(),
                    _ => {}
                }
            }
            words
        };
        let wait = put(wait);
        let mut unit: Unit = end.split("; ").map(&mut put).collect();
        unit.push(put("DEL KEY FROM"));
        (wait, unit)
    }
}
