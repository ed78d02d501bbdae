//! MEMORY DOCTOR, MALLOC-STATS, PURGE and STATS. MEMORY USAGE is a data command.
//!
//! Source: the Redis command pages of the three.

use super::super::Worker;
use super::super::client::Client;
use super::super::gather::{Answer, Question, Whole};
use super::super::machine::{self, Allocator};
use super::super::tick::Flow;
use super::figures::{ratio, uses};
use super::info::View;

/// Memory below which there is nothing to say about its use, in bytes.
const LITTLE: u64 = 5 * 1024 * 1024;

/// What MEMORY DOCTOR has to say of `used` bytes, of `peak` at most, with `resident` in memory.
fn diagnosis(used: u64, peak: u64, resident: u64) -> String {
    if used < LITTLE {
        return "Very little memory is in use: there is nothing to be said about it.\n".to_owned();
    }
    let mut found = Vec::new();
    if ratio(peak, used) > 1.5 {
        found.push(format!(
            "Peak: {peak} bytes were in use once, {used} are now. Memory that was given back may still count as \
             resident; MEMORY PURGE hands it to the system."
        ));
    }
    if ratio(resident, used) > 1.4 && resident - used > 10 * 1024 * 1024 {
        found.push(format!(
            "Resident: {resident} bytes are in memory for {used} in use. Part of it is fragmentation, buffers of \
             the rings and the log, and the program itself."
        ));
    }
    if found.is_empty() {
        "Nothing is wrong with the use of memory.\n".to_owned()
    } else {
        found.join("\n") + "\n"
    }
}

/// A value of MEMORY STATS.
enum Figure {
    Int(i64),
    Ratio(f64),
}

fn figures(v: &View<'_>) -> Vec<(&'static str, Figure)> {
    use Figure::{Int, Ratio};
    let m = uses(v);
    let a = &v.allocator;
    let startup = v.shared.startup_memory;
    let net = m.used.saturating_sub(startup);
    let keys = v.whole.keys().0;
    let int = |n: u64| Int(n as i64);
    let less = |a: u64, b: u64| Int(a as i64 - b as i64);
    let mut list: Vec<(&'static str, Figure)> = Vec::new();
    let mut put = |name, figure| list.push((name, figure));
    put("peak.allocated", int(m.peak));
    put("total.allocated", int(m.used));
    put("startup.allocated", int(startup));
    put("replication.backlog", Int(0));
    put("clients.slaves", Int(0));
    put("clients.normal", int(m.clients));
    put("cluster.links", Int(0));
    put("aof.buffer", int(v.whole.log.pending));
    put("lua.caches", Int(0));
    put("functions.caches", Int(0));
    put("overhead.total", int(m.overhead));
    put("keys.count", int(keys));
    put(
        "keys.bytes-per-key",
        int(m.dataset.checked_div(keys).unwrap_or(0)),
    );
    put("dataset.bytes", int(m.dataset));
    put(
        "dataset.percentage",
        Ratio((ratio(m.dataset, net) * 100.0).min(100.0)),
    );
    put("peak.percentage", Ratio(ratio(m.used, m.peak) * 100.0));
    put("allocator.allocated", int(a.allocated));
    put("allocator.active", int(a.active));
    put("allocator.resident", int(a.resident));
    put(
        "allocator-fragmentation.ratio",
        Ratio(ratio(a.active, a.allocated)),
    );
    put("allocator-fragmentation.bytes", less(a.active, a.allocated));
    put("allocator-rss.ratio", Ratio(ratio(a.resident, a.active)));
    put("allocator-rss.bytes", less(a.resident, a.active));
    put("rss-overhead.ratio", Ratio(ratio(v.resident, a.resident)));
    put("rss-overhead.bytes", less(v.resident, a.resident));
    put("fragmentation", Ratio(ratio(v.resident, m.used)));
    put("fragmentation.bytes", less(v.resident, m.used));
    list
}

impl Worker {
    pub(super) fn memory_stats(&mut self, client: &mut Client, index: u32) -> Flow {
        let then = |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let whole = Whole::of(answers);
            let figures = figures(&worker.view(&whole));
            let mut reply = worker.reply(client);
            reply.map(figures.len());
            for (name, figure) in &figures {
                reply.bulk(name);
                match figure {
                    Figure::Int(n) => reply.int(*n),
                    Figure::Ratio(n) => reply.double(*n),
                }
            }
        };
        let question = Question::Report { latencies: false };
        self.ask(client, index, question, Box::new(then))
    }

    pub(super) fn memory_doctor(&mut self, client: &mut Client) -> Flow {
        self.shared.measure_memory();
        let (used, peak) = self.shared.memory();
        let text = diagnosis(used, peak, machine::resident());
        self.reply(client).verbatim("txt", text);
        Flow::Next
    }

    pub(super) fn memory_malloc_stats(&mut self, client: &mut Client) -> Flow {
        let Allocator {
            allocated,
            active,
            resident,
            metadata,
        } = machine::allocated();
        let text = format!(
            "jemalloc, in bytes\n\
             allocated: {allocated} (handed out)\n\
             active: {active} (in pages that hold something handed out)\n\
             metadata: {metadata} (its own bookkeeping)\n\
             resident: {resident} (in memory, bookkeeping included)\n"
        );
        self.reply(client).verbatim("txt", text);
        Flow::Next
    }

    pub(super) fn memory_purge(&mut self, client: &mut Client, index: u32) -> Flow {
        self.errand(client, index, machine::purge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctor_names_what_is_wrong() {
        const MIB: u64 = 1 << 20;
        assert!(diagnosis(MIB, 50 * MIB, 90 * MIB).starts_with("Very little"));
        assert!(diagnosis(100 * MIB, 110 * MIB, 120 * MIB).starts_with("Nothing is wrong"));
        let text = diagnosis(100 * MIB, 200 * MIB, 190 * MIB);
        assert!(
            text.contains("Peak:") && text.contains("\nResident:"),
            "{text}"
        );
    }
}
