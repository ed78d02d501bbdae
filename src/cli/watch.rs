//! `--stat` and `--latency` with its variants: the server watched until the user has seen enough.
//!
//! A connection that breaks is made anew, since a server that comes back is worth seeing.

use std::time::{Duration, Instant};

use ferrite::Value;

use super::format::Style;
use super::session::{Session, print};

/// Between two round trips that are measured.
const SAMPLE: Duration = Duration::from_millis(10);

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// Lines below one heading.
const PAGE: u64 = 20;

/// The reply to a command, when there is a server to give it.
async fn patiently(session: &mut Session<'_>, args: &[&str]) -> Result<Value, String> {
    loop {
        match session.ask(args).await {
            Ok(Value::Error(text)) => return Err(format!("ERROR: {text}")),
            Ok(value) => return Ok(value),
            Err(why) => eprintln!("{why}"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// `--stat`: a line of INFO's figures again and again.
pub async fn stat(session: &mut Session<'_>) -> Result<(), String> {
    // The first connection must come about.
    session.client().await?;
    let pause = or(session.options.interval, Duration::from_secs(1));
    let mut before = None;
    for line in 0_u64.. {
        let info = match patiently(session, &["INFO"]).await? {
            Value::Bulk(text) | Value::Verbatim(_, text) => {
                String::from_utf8_lossy(&text).into_owned()
            }
            other => return Err(format!("Error: INFO answers {}", other.kind())),
        };
        if line.is_multiple_of(PAGE) {
            print(HEADING.as_bytes());
        }
        print(stat_line(&info, &mut before).as_bytes());
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

const HEADING: &str = "\
------- data ------ --------------------- load -------------------- - child -
keys       mem      clients blocked requests            connections          
";

fn or(given: Duration, default: Duration) -> Duration {
    if given.is_zero() { default } else { given }
}

/// One figure of INFO.
fn figure(info: &str, name: &str) -> Option<i64> {
    info.lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

/// One line of `--stat`; `before` is how many commands there had been at the last.
fn stat_line(info: &str, before: &mut Option<i64>) -> String {
    let number = |name: &str| figure(info, name).unwrap_or(0);
    let keys: i64 = info
        .lines()
        .filter_map(|l| {
            let (db, rest) = l.strip_prefix("db")?.split_once(":keys=")?;
            db.parse::<u32>().ok()?;
            rest.split(',').next()?.parse::<i64>().ok()
        })
        .sum();
    let commands = number("total_commands_processed");
    let more = commands - before.replace(commands).unwrap_or(commands);
    let mut children = Vec::new();
    for (name, word) in [
        ("rdb_bgsave_in_progress", "SAVE"),
        ("aof_rewrite_in_progress", "AOF"),
        ("loading", "LOAD"),
    ] {
        if number(name) != 0 {
            children.push(word);
        }
    }
    format!(
        "{keys:<11}{:<8} {:<8}{:<8}{:<19} {:<12}{}\n",
        bytes(number("used_memory").max(0) as u64),
        number("connected_clients"),
        number("blocked_clients"),
        format!("{commands} (+{more})"),
        number("total_connections_received"),
        children.join("+")
    )
}

/// Bytes with a unit, as people read them.
fn bytes(n: u64) -> String {
    if n < 1024 {
        return format!("{n}B");
    }
    let mut size = n as f64 / 1024.0;
    for unit in ["K", "M", "G"] {
        if size < 1024.0 {
            return format!("{size:.2}{unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.2}T")
}

/// Round trips of one report.
#[derive(Default)]
struct Trips {
    min: Duration,
    max: Duration,
    sum: Duration,
    count: u32,
}

impl Trips {
    fn add(&mut self, time: Duration) {
        self.min = if self.count == 0 {
            time
        } else {
            self.min.min(time)
        };
        self.max = self.max.max(time);
        self.sum += time;
        self.count += 1;
    }

    /// In milliseconds.
    fn report(&self, style: Style) -> String {
        let (min, max, count) = (self.min.as_millis(), self.max.as_millis(), self.count);
        let avg = self.sum.as_secs_f64() * 1000.0 / f64::from(count.max(1));
        match style {
            Style::People => format!("min: {min}, max: {max}, avg: {avg:.2} ({count} samples)"),
            Style::Raw => format!("{min} {max} {avg:.2} {count}\n"),
            Style::Csv => format!("{min},{max},{avg:.2},{count}\n"),
            Style::Json | Style::QuotedJson => format!(
                "{{\"min\": {min}, \"max\": {max}, \"avg\": {avg:.2}, \"count\": {count}}}\n"
            ),
        }
    }
}

/// One round trip.
async fn trip(session: &mut Session<'_>) -> Result<Duration, String> {
    // A new connection is no part of what is measured.
    while session.client().await.is_err() {
        tokio::time::sleep(RETRY).await;
    }
    let began = Instant::now();
    patiently(session, &["PING"]).await?;
    Ok(began.elapsed())
}

/// `--latency` and `--latency-history`.
pub async fn latency(session: &mut Session<'_>) -> Result<(), String> {
    session.client().await?;
    let history = session.options.latency_history;
    let default = if history { 15 } else { 1 };
    let interval = or(session.options.interval, Duration::from_secs(default));
    let style = session.look.style;
    let mut trips = Trips::default();
    let mut began = Instant::now();
    loop {
        trips.add(trip(session).await?);
        if style == Style::People {
            // The same line again.
            print(format!("\x1b[0G\x1b[2K{}", trips.report(style)).as_bytes());
        }
        let elapsed = began.elapsed();
        if elapsed > interval {
            match (style, history) {
                (Style::People, true) => {
                    let seconds = elapsed.as_secs_f64();
                    print(format!(" -- {seconds:.2} seconds range\n").as_bytes());
                }
                (Style::People, false) => {}
                (_, true) => print(trips.report(style).as_bytes()),
                (_, false) => {
                    print(trips.report(style).as_bytes());
                    return Ok(());
                }
            }
            if history {
                (trips, began) = (Trips::default(), Instant::now());
            }
        }
        tokio::time::sleep(SAMPLE).await;
    }
}

/// Columns of the spectrum: the longest round trip in it, in microseconds, and its sign.
const SPECTRUM: [(u64, char); 21] = [
    (125, '.'),
    (250, '-'),
    (500, '*'),
    (750, '+'),
    (1_000, '#'),
    (2_000, '1'),
    (3_000, '2'),
    (4_000, '3'),
    (5_000, '4'),
    (6_000, '5'),
    (7_000, '6'),
    (8_000, '7'),
    (9_000, '8'),
    (10_000, '9'),
    (20_000, 'A'),
    (30_000, 'B'),
    (50_000, 'C'),
    (100_000, 'D'),
    (500_000, 'E'),
    (1_000_000, 'F'),
    (u64::MAX, 'X'),
];

/// `--latency-dist`: a line of coloured cells for every interval, the warmer the more round trips fall into it.
pub async fn spectrum(session: &mut Session<'_>) -> Result<(), String> {
    session.client().await?;
    let interval = or(session.options.interval, Duration::from_secs(1));
    for line in 0_u64.. {
        if line.is_multiple_of(PAGE) {
            print(legend().as_bytes());
        }
        let mut cells = [0_u32; SPECTRUM.len()];
        let began = Instant::now();
        while began.elapsed() < interval {
            let time = trip(session).await?.as_micros() as u64;
            cells[SPECTRUM.partition_point(|(limit, _)| *limit < time)] += 1;
            tokio::time::sleep(SAMPLE).await;
        }
        print(cells_line(&cells).as_bytes());
    }
    Ok(())
}

fn legend() -> String {
    let mut out = String::from("---------------------------------------------\n");
    for row in SPECTRUM.chunks(5) {
        for (limit, sign) in row {
            let text = match *limit {
                u64::MAX => "more".into(),
                l if l < 1000 => format!("<= {}.{:03} ms", l / 1000, l % 1000),
                l => format!("<= {} ms", l / 1000),
            };
            out.push_str(&format!("{sign} {text:<13} "));
        }
        out = out.trim_end().to_owned() + "\n";
    }
    let scale: String = (1..=10).map(|part| cell(' ', part, 10)).collect();
    out + "From 0 to 100%: " + &scale + "\n---------------------------------------------\n"
}

/// Backgrounds of the 256-colour palette, from cold to hot; an empty cell has none.
const HEAT: [u8; 10] = [17, 18, 19, 54, 90, 125, 161, 197, 202, 226];

fn cell(sign: char, part: u32, whole: u32) -> String {
    if part == 0 {
        return " ".into();
    }
    let heat = (part as usize * HEAT.len()).div_ceil(whole.max(1) as usize);
    format!(
        "\x1b[48;5;{}m{sign}\x1b[0m",
        HEAT[heat.clamp(1, HEAT.len()) - 1]
    )
}

fn cells_line(cells: &[u32]) -> String {
    let whole = cells.iter().sum();
    let signs = SPECTRUM.iter().map(|(_, sign)| *sign);
    let mut out: String = signs
        .zip(cells)
        .map(|(sign, part)| cell(sign, *part, whole))
        .collect();
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_figures_is_redis_cli_s() {
        let info = "# Server\r\nused_memory:1059061\r\nused_memory_rss:5\r\nconnected_clients:1\r\n\
                    blocked_clients:0\r\ntotal_commands_processed:2\r\ntotal_connections_received:2\r\n\
                    rdb_bgsave_in_progress:0\r\naof_rewrite_in_progress:1\r\n\
                    db0:keys=1,expires=0,avg_ttl=0\r\ndb9:keys=2,expires=0\r\n";
        let mut before = None;
        assert_eq!(
            stat_line(info, &mut before),
            "3          1.01M    1       0       2 (+0)              2           AOF\n"
        );
        let later = info.replace("processed:2", "processed:12");
        assert!(stat_line(&later, &mut before).contains("12 (+10) "));
    }

    #[test]
    fn round_trips_are_summed_up_in_every_style() {
        let mut trips = Trips::default();
        for us in [500, 1500, 2500] {
            trips.add(Duration::from_micros(us));
        }
        assert_eq!(trips.report(Style::Raw), "0 2 1.50 3\n");
        assert_eq!(trips.report(Style::Csv), "0,2,1.50,3\n");
        assert_eq!(
            trips.report(Style::People),
            "min: 0, max: 2, avg: 1.50 (3 samples)"
        );
        let json: serde_json::Value = serde_json::from_str(&trips.report(Style::Json)).unwrap();
        assert_eq!(json["count"], 3);
    }

    #[test]
    fn the_spectrum_has_a_cell_for_every_time() {
        assert!(SPECTRUM.is_sorted_by(|a, b| a.0 < b.0));
        let mut cells = [0; SPECTRUM.len()];
        assert_eq!(cells_line(&cells).trim(), "");
        cells[0] = 99;
        cells[4] = 1;
        let line = cells_line(&cells);
        assert!(line.contains("\x1b[48;5;226m.") && line.contains("\x1b[48;5;17m#"));
        assert_eq!(cell(' ', 0, 0), " ");
    }
}
