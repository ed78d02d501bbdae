//! How one setting's value is written and read.
//!
//! Every value has two written forms. *Ours* is the one of the configuration file and of dotted names
//! (`storage.maxmemory` is `64MiB`, `persistence.appendonly` is `true`). *Redis's* is the one clients know
//! from `CONFIG GET` (`maxmemory` is `67108864`, `appendonly` is `yes`). Reading accepts both, whichever name
//! was used: they never contradict each other.
//!
//! A bare number is a duration only where Redis gives it a unit (`timeout` counts seconds); elsewhere the unit
//! must be written. Sizes follow Redis: `k`, `m`, `g`, `t` are powers of 1000; with a `b` (`kb`) or as `KiB`
//! they are powers of 1024.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::events;
use super::units::{Unit, parse_size, parse_span, show_size, show_span};

/// How a value is laid down in a TOML file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A number or a truth value, without quotes.
    Bare,
    /// A quoted string.
    Quoted,
    /// One quoted string, or an array of them when there are several words.
    List,
}

/// Reads and writes one type of value.
pub trait Codec {
    /// What a parsed value is.
    type Value: Clone + PartialEq;
    /// Reads either written form; the error is a sentence part such as `must be a number from 1 to 16`.
    fn read(&self, text: &str) -> Result<Self::Value, String>;
    /// The same for a value that may be given in parts: what is not given stays as it is.
    fn change(&self, _before: &Self::Value, text: &str) -> Result<Self::Value, String> {
        self.read(text)
    }
    /// Our written form.
    fn ours(&self, value: &Self::Value) -> String;
    /// Redis's written form.
    fn redis(&self, value: &Self::Value) -> String {
        self.ours(value)
    }
    /// What is accepted, in a few words, for the manual.
    fn accepts(&self) -> String;
    /// How it stands in TOML.
    fn form(&self) -> Form {
        Form::Quoted
    }
}

/// `true` or `false`; Redis writes `yes` or `no`.
pub struct Flag;
impl Codec for Flag {
    type Value = bool;
    fn read(&self, text: &str) -> Result<bool, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" => Ok(true),
            "false" | "no" => Ok(false),
            _ => Err("must be true or false (or yes or no)".into()),
        }
    }
    fn ours(&self, value: &bool) -> String {
        value.to_string()
    }
    fn redis(&self, value: &bool) -> String {
        if *value { "yes" } else { "no" }.into()
    }
    fn accepts(&self) -> String {
        "true or false".into()
    }
    fn form(&self) -> Form {
        Form::Bare
    }
}

/// A whole number in a closed range, held as `T`.
pub struct Int<T> {
    /// Least value taken.
    pub min: T,
    /// Greatest value taken.
    pub max: T,
}
impl<T> Codec for Int<T>
where
    T: Copy + PartialEq + PartialOrd + fmt::Display + std::str::FromStr,
{
    type Value = T;
    fn read(&self, text: &str) -> Result<T, String> {
        match text.trim().parse::<T>() {
            Ok(n) if n >= self.min && n <= self.max => Ok(n),
            _ => Err(format!("must be {}", self.accepts())),
        }
    }
    fn ours(&self, value: &T) -> String {
        value.to_string()
    }
    fn accepts(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }
    fn form(&self) -> Form {
        Form::Bare
    }
}

/// A number of bytes.
pub struct Size {
    /// Least value taken, in bytes.
    pub min: u64,
    /// Greatest value taken, in bytes.
    pub max: u64,
}
impl Codec for Size {
    type Value = u64;
    fn read(&self, text: &str) -> Result<u64, String> {
        let bytes = parse_size(text).ok_or("must be a size such as 64MiB, 64mb or 67108864")?;
        if bytes < self.min || bytes > self.max {
            return Err(format!("must be {}", self.accepts()));
        }
        Ok(bytes)
    }
    fn ours(&self, value: &u64) -> String {
        show_size(*value)
    }
    fn redis(&self, value: &u64) -> String {
        value.to_string()
    }
    fn accepts(&self) -> String {
        match (self.min, self.max) {
            (0, u64::MAX) => "a size".into(),
            (min, max) => format!("a size from {} to {}", show_size(min), show_size(max)),
        }
    }
}

/// A length of time.
pub struct Span {
    /// What a bare number counts.
    pub unit: Unit,
    /// Least value taken.
    pub min: Duration,
    /// Greatest value taken.
    pub max: Duration,
}
impl Codec for Span {
    type Value = Duration;
    fn read(&self, text: &str) -> Result<Duration, String> {
        let span = parse_span(text, self.unit)?;
        if span < self.min || span > self.max {
            return Err(format!("must be {}", self.accepts()));
        }
        Ok(span)
    }
    fn ours(&self, value: &Duration) -> String {
        show_span(*value)
    }
    fn redis(&self, value: &Duration) -> String {
        match self.unit {
            Unit::Written => show_span(*value),
            Unit::Micros => value.as_micros().to_string(),
            Unit::Millis => value.as_millis().to_string(),
            Unit::Seconds => value.as_secs().to_string(),
        }
    }
    fn accepts(&self) -> String {
        format!(
            "a duration from {} to {}",
            show_span(self.min),
            show_span(self.max)
        )
    }
}

/// A duration above which something happens, or `off`. Redis writes microseconds, and -1 for off.
pub struct Threshold;
impl Codec for Threshold {
    type Value = Option<Duration>;
    fn read(&self, text: &str) -> Result<Option<Duration>, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("off") || text.parse::<i64>().is_ok_and(|n| n < 0) {
            return Ok(None);
        }
        parse_span(text, Unit::Micros).map(Some)
    }
    fn ours(&self, value: &Option<Duration>) -> String {
        value.map_or_else(|| "off".into(), show_span)
    }
    fn redis(&self, value: &Option<Duration>) -> String {
        value.map_or_else(|| "-1".into(), |d| d.as_micros().to_string())
    }
    fn accepts(&self) -> String {
        "a duration, or off".into()
    }
}

/// A file or directory; empty means none.
pub struct FilePath;
impl Codec for FilePath {
    type Value = Option<PathBuf>;
    fn read(&self, text: &str) -> Result<Option<PathBuf>, String> {
        if text.contains('\0') {
            return Err("must be a path without NUL bytes".into());
        }
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }
    fn ours(&self, value: &Option<PathBuf>) -> String {
        value
            .as_ref()
            .map(|p| p.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
    fn accepts(&self) -> String {
        "a path; empty for none".into()
    }
}

/// A word without spaces; empty means none.
pub struct Word;
impl Codec for Word {
    type Value = String;
    fn read(&self, text: &str) -> Result<String, String> {
        let fits = |c: char| !c.is_whitespace() && !c.is_control();
        if text.len() > 255 || !text.chars().all(fits) {
            return Err("must be at most 255 bytes without spaces".into());
        }
        Ok(text.to_owned())
    }
    fn ours(&self, value: &String) -> String {
        value.clone()
    }
    fn accepts(&self) -> String {
        "a word; empty for none".into()
    }
}

/// A server that this one follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name or IP address, an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.host, self.port)
    }
}

/// A host and a port; empty means none.
pub struct SourceAddr;
impl Codec for SourceAddr {
    type Value = Option<Source>;
    fn read(&self, text: &str) -> Result<Option<Source>, String> {
        let mut words = text.split_whitespace();
        let (host, port) = match (words.next(), words.next(), words.next()) {
            (None, ..) => return Ok(None),
            (Some(host), Some(port), None) => (host, port),
            _ => return Err("must be a host and a port, as in \"10.0.0.7 6379\"".into()),
        };
        let host = Word.read(host)?;
        match port.parse() {
            Ok(port) if port != 0 => Ok(Some(Source { host, port })),
            _ => Err("must have a port from 1 to 65535".into()),
        }
    }
    fn ours(&self, value: &Option<Source>) -> String {
        value.as_ref().map(Source::to_string).unwrap_or_default()
    }
    fn accepts(&self) -> String {
        "a host and a port; empty for none".into()
    }
}

/// A directory that must be named.
pub struct Dir;
impl Codec for Dir {
    type Value = PathBuf;
    fn read(&self, text: &str) -> Result<PathBuf, String> {
        FilePath
            .read(text)?
            .ok_or_else(|| "must name a directory".into())
    }
    fn ours(&self, value: &PathBuf) -> String {
        value.to_string_lossy().into_owned()
    }
    fn accepts(&self) -> String {
        "a directory".into()
    }
}

/// One or more IP addresses.
pub struct Addrs;
impl Codec for Addrs {
    type Value = Vec<IpAddr>;
    fn read(&self, text: &str) -> Result<Vec<IpAddr>, String> {
        let mut out = Vec::new();
        for word in text.split_whitespace() {
            let addr = match word {
                "*" => IpAddr::from([0, 0, 0, 0]),
                "localhost" => IpAddr::from([127, 0, 0, 1]),
                _ => word
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .parse()
                    .map_err(|_| format!("must be IP addresses; `{word}` is none"))?,
            };
            if out.contains(&addr) {
                return Err(format!("names {addr} twice"));
            }
            out.push(addr);
        }
        if out.is_empty() {
            Err("must name at least one IP address".into())
        } else {
            Ok(out)
        }
    }
    fn ours(&self, value: &Vec<IpAddr>) -> String {
        value
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    }
    fn accepts(&self) -> String {
        "one or more IP addresses".into()
    }
    fn form(&self) -> Form {
        Form::List
    }
}

/// A set of processors, written as the kernel writes it: `0-3,6`; empty means any.
pub struct Cpus;
impl Codec for Cpus {
    type Value = Vec<u16>;
    fn read(&self, text: &str) -> Result<Vec<u16>, String> {
        let bad = || String::from("must be a list of processors such as 0-3,6");
        let mut out = Vec::new();
        for part in text.split([',', ' ']).filter(|p| !p.is_empty()) {
            let (lo, hi) = part.split_once('-').unwrap_or((part, part));
            let lo: u16 = lo.parse().map_err(|_| bad())?;
            let hi: u16 = hi.parse().map_err(|_| bad())?;
            if lo > hi || hi > 4095 {
                return Err(bad());
            }
            for cpu in lo..=hi {
                if out.contains(&cpu) {
                    return Err(format!("names processor {cpu} twice"));
                }
                out.push(cpu);
            }
        }
        Ok(out)
    }
    fn ours(&self, value: &Vec<u16>) -> String {
        value
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    }
    fn accepts(&self) -> String {
        "a list of processors such as 0-3,6; empty for any".into()
    }
}

/// One word of a closed list; the list holds (our word, Redis's word, value).
pub struct Choice<T: 'static> {
    /// Our word, Redis's word, the value. The first row of a value is the one written.
    pub words: &'static [(&'static str, &'static str, T)],
}
impl<T: Copy + PartialEq> Codec for Choice<T> {
    type Value = T;
    fn read(&self, text: &str) -> Result<T, String> {
        let text = text.trim();
        self.words
            .iter()
            .find(|(a, b, _)| a.eq_ignore_ascii_case(text) || b.eq_ignore_ascii_case(text))
            .map(|(_, _, v)| *v)
            .ok_or_else(|| format!("must be {}", self.accepts()))
    }
    fn ours(&self, value: &T) -> String {
        self.words
            .iter()
            .find(|(_, _, v)| v == value)
            .map_or("", |w| w.0)
            .into()
    }
    fn redis(&self, value: &T) -> String {
        self.words
            .iter()
            .find(|(_, _, v)| v == value)
            .map_or("", |w| w.1)
            .into()
    }
    fn accepts(&self) -> String {
        let written = self
            .words
            .iter()
            .filter(|(word, _, value)| *word == self.ours(value));
        written.map(|w| w.0).collect::<Vec<_>>().join(" or ")
    }
}

/// A password: shown to nobody, wiped when dropped. Empty means none is asked for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a password into keeping.
    pub fn new(text: &str) -> Secret {
        Secret(Zeroizing::new(text.to_owned()))
    }
    /// True when no password is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The password itself. For comparing only through [`Secret::matches`].
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// Compares in a time that depends on the length of `attempt` alone, not on where it differs.
    pub fn matches(&self, attempt: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let mut differs = u8::from(own.len() != attempt.len());
        for (i, byte) in attempt.iter().enumerate() {
            let mine = if own.is_empty() {
                0
            } else {
                own[i % own.len()]
            };
            differs |= std::hint::black_box(mine ^ byte);
        }
        differs == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() {
            "Secret(none)"
        } else {
            "Secret(hidden)"
        })
    }
}

/// A password setting.
pub struct Password;
impl Codec for Password {
    type Value = Secret;
    fn read(&self, text: &str) -> Result<Secret, String> {
        if text.len() > 512 {
            return Err("must be at most 512 bytes long".into());
        }
        Ok(Secret::new(text))
    }
    fn ours(&self, value: &Secret) -> String {
        value.expose().to_owned()
    }
    fn accepts(&self) -> String {
        "a password; empty for none".into()
    }
}

/// How much may wait for a client that does not read, before it is disconnected. Zero bytes: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Disconnect at once above this many bytes.
    pub hard: u64,
    /// Disconnect when above this many bytes for as long as `soft_for`.
    pub soft: u64,
    /// See `soft`.
    pub soft_for: Duration,
}

/// The limits of each class of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimitsByClass {
    /// Clients that get what they ask for.
    pub normal: OutputLimit,
    /// Clients that listen to a channel or pattern.
    pub pubsub: OutputLimit,
}

/// `CLASS HARD SOFT SECONDS` for one or more classes, as in Redis; without a class, `normal` is meant.
pub struct OutputLimits;

const NO_LIMIT: OutputLimit = OutputLimit {
    hard: 0,
    soft: 0,
    soft_for: Duration::ZERO,
};

impl OutputLimitsByClass {
    fn classes(&self) -> [(&'static str, &OutputLimit); 2] {
        [("normal", &self.normal), ("pubsub", &self.pubsub)]
    }
}

impl Codec for OutputLimits {
    type Value = OutputLimitsByClass;
    fn read(&self, text: &str) -> Result<OutputLimitsByClass, String> {
        let none = OutputLimitsByClass {
            normal: NO_LIMIT,
            pubsub: NO_LIMIT,
        };
        self.change(&none, text)
    }
    fn change(
        &self,
        before: &OutputLimitsByClass,
        text: &str,
    ) -> Result<OutputLimitsByClass, String> {
        let bad = || format!("must be {}", self.accepts());
        let mut words: Vec<&str> = text.split_whitespace().collect();
        if words.len() == 3 {
            words.insert(0, "normal");
        }
        let (classes, rest) = words.as_chunks::<4>();
        if !rest.is_empty() || classes.is_empty() {
            return Err(bad());
        }
        let mut limits = *before;
        for [class, hard, soft, span] in classes {
            let place = match class.to_ascii_lowercase().as_str() {
                "normal" => &mut limits.normal,
                "pubsub" => &mut limits.pubsub,
                "slave" | "replica" => {
                    return Err(format!(
                        "has limits for the classes `normal` and `pubsub`; `{class}` is not available in this version"
                    ));
                }
                _ => return Err(bad()),
            };
            *place = OutputLimit {
                hard: parse_size(hard).ok_or_else(bad)?,
                soft: parse_size(soft).ok_or_else(bad)?,
                soft_for: parse_span(span, Unit::Seconds)?,
            };
        }
        Ok(limits)
    }
    fn ours(&self, v: &OutputLimitsByClass) -> String {
        let one = |(class, v): (&str, &OutputLimit)| {
            format!(
                "{class} {} {} {}",
                show_size(v.hard),
                show_size(v.soft),
                show_span(v.soft_for)
            )
        };
        v.classes().map(one).join(" ")
    }
    fn redis(&self, v: &OutputLimitsByClass) -> String {
        let one = |(class, v): (&str, &OutputLimit)| {
            format!("{class} {} {} {}", v.hard, v.soft, v.soft_for.as_secs())
        };
        v.classes().map(one).join(" ")
    }
    fn accepts(&self) -> String {
        "CLASS HARD SOFT TIME for one or both of normal and pubsub, such as pubsub 32MiB 8MiB 60s"
            .into()
    }
}

/// The letters of Redis's classes of keyspace events, and their bits; `d` is for modules, whose events there are none of.
const EVENTS: &[(char, u32)] = &[
    ('g', events::GENERIC),
    ('$', events::STRING),
    ('l', events::LIST),
    ('s', events::SET),
    ('h', events::HASH),
    ('z', events::ZSET),
    ('x', events::EXPIRED),
    ('e', events::EVICTED),
    ('t', events::STREAM),
    ('d', events::MODULE),
    ('n', events::NEW),
    ('K', events::BY_KEY),
    ('E', events::BY_EVENT),
    ('m', events::MISSED),
];

/// Classes of keyspace events, by Redis's letters.
pub struct Events;
impl Codec for Events {
    type Value = u32;
    fn read(&self, text: &str) -> Result<u32, String> {
        text.chars().try_fold(0, |bits, letter| {
            let bit = match letter {
                'A' => Some(events::ALL),
                _ => EVENTS
                    .iter()
                    .find(|(l, _)| *l == letter)
                    .map(|(_, bit)| *bit),
            };
            bit.map(|bit| bits | bit)
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned())
        })
    }
    fn ours(&self, value: &u32) -> String {
        let all = value & events::ALL == events::ALL;
        let rest = if all { value & !events::ALL } else { *value };
        let letters = EVENTS.iter().filter(|(_, bit)| rest & bit != 0);
        let all = all.then_some('A').into_iter();
        all.chain(letters.map(|(letter, _)| *letter)).collect()
    }
    fn accepts(&self) -> String {
        "letters of Ag$lshzxetdnmKE; empty for none".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_can_be_off() {
        let ms = Duration::from_millis;
        assert_eq!(Threshold.read("-1"), Ok(None));
        assert_eq!(Threshold.read("0"), Ok(Some(Duration::ZERO)));
        assert_eq!(Threshold.redis(&Some(ms(10))), "10000");
    }

    #[test]
    fn lists_refuse_what_is_none_and_what_stands_twice() {
        assert_eq!(
            Addrs.read("127.0.0.1 ::1").map(|v| Addrs.ours(&v)),
            Ok("127.0.0.1 ::1".into())
        );
        assert!(Addrs.read("").is_err());
        assert!(
            Addrs
                .read("example.org")
                .unwrap_err()
                .contains("example.org")
        );
        assert!(Addrs.read("::1 [::1]").unwrap_err().contains("twice"));
        assert_eq!(Cpus.read("0-2,5"), Ok(vec![0, 1, 2, 5]));
        assert!(Cpus.read("3-1").is_err());
        assert!(Cpus.read("1,0-1").is_err());
    }

    #[test]
    fn a_secret_compares_whole_and_never_shows() {
        let s = Secret::new("open sesame");
        assert!(s.matches(b"open sesame"));
        for wrong in [
            &b"open sesam"[..],
            b"open sesame!",
            b"",
            b"open sesamE",
            b"open sesameopen sesame",
        ] {
            assert!(!s.matches(wrong));
        }
        assert!(!Secret::default().matches(b"x"));
        assert!(!format!("{s:?}").contains("sesame"));
    }

    #[test]
    fn output_limits_are_given_by_class() {
        let v = OutputLimits
            .read("normal 1gb 256mb 60 pubsub 32mb 8mb 60")
            .unwrap();
        assert_eq!(
            OutputLimits.redis(&v),
            "normal 1073741824 268435456 60 pubsub 33554432 8388608 60"
        );
        assert_eq!(OutputLimits.read(&OutputLimits.ours(&v)), Ok(v));
        assert_eq!(OutputLimits.read("0 0 0").unwrap().normal.hard, 0);
        let both = OutputLimits
            .change(&v, "pubsub 1mb 0 0 normal 2mb 0 0")
            .unwrap();
        assert_eq!((both.normal.hard, both.pubsub.hard), (2 << 20, 1 << 20));
        let one = OutputLimits.change(&both, "pubsub 3mb 0 0").unwrap();
        assert_eq!((one.normal.hard, one.pubsub.hard), (2 << 20, 3 << 20));
        let replicas = OutputLimits.read("slave 32mb 8mb 60").unwrap_err();
        assert!(replicas.contains("not available"), "{replicas}");
        for bad in ["normal 1gb", "foo 1 1 1", "", "normal 1 1 1 pubsub 1"] {
            assert!(OutputLimits.read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn classes_of_events_are_written_as_redis_writes_them() {
        for (text, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("gn", "gn"),
            ("dmtzKn", "ztdnKm"),
            ("eg$lshzxtdKE", "AKE"),
            ("xE", "xE"),
        ] {
            let bits = Events.read(text).unwrap();
            assert_eq!(Events.ours(&bits), shown);
            assert_eq!(Events.read(shown), Ok(bits));
        }
        assert!(Events.read("KEq").is_err());
    }
}
