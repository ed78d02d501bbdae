//! The fuzz targets, without a fuzzer: what each holds to is tried on its seeds and on variations of them.
//!
//! The crate in `fuzz/` needs a fuzzer's run-time library; what its targets do does not, and is built here as a module.
//! So a change that breaks a target is seen with the ordinary tests, as is anything a short run of it finds.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml_edit::DocumentMut;

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut files: Vec<_> = fs::read_dir(dir.join(name))
        .unwrap_or_else(|e| panic!("seeds of {name}: {e}"))
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A seed with some bytes changed, added, removed, or put in from another.
fn vary(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[rng.below(seeds.len())].clone();
    for _ in 0..=rng.below(6) {
        let at = rng.below(input.len());
        match rng.below(6) {
            0 if !input.is_empty() => input[at] ^= 1 << rng.below(8),
            1 if !input.is_empty() => input[at] = rng.next() as u8,
            2 => {
                let few = (0..rng.below(4)).map(|_| rng.next() as u8);
                input.splice(at..at, few.collect::<Vec<u8>>());
            }
            3 => drop(input.drain(at..(at + rng.below(16)).min(input.len()))),
            4 => input.truncate(at),
            _ => {
                let other = &seeds[rng.below(seeds.len())];
                let from = rng.below(other.len());
                let to = (from + rng.below(64)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    input
}

fn try_out(name: &str, variations: usize) {
    let (_, check) = targets::TARGETS.iter().find(|(n, _)| *n == name).unwrap();
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds.iter().for_each(|seed| check(seed));
    let start = std::env::var("FERRITE_SEED").ok();
    let mut rng = Rng(start.and_then(|s| s.parse().ok()).unwrap_or(1));
    for _ in 0..variations {
        let input = vary(&mut rng, &seeds);
        // What broke, in a form to put into a file.
        let said = std::panic::catch_unwind(|| check(&input));
        assert!(said.is_ok(), "{name} fails on \"{}\"", input.escape_ascii());
    }
}

#[test]
fn commands() {
    try_out("commands", 1000);
}

#[test]
fn effects() {
    try_out("effects", 500);
}

#[test]
fn files() {
    try_out("files", 3000);
}

#[test]
fn keyring() {
    try_out("keyring", 300);
}

#[test]
fn log() {
    try_out("log", 300);
}

#[test]
fn rdb() {
    try_out("rdb", 20_000);
}

#[test]
fn resp() {
    try_out("resp", 20_000);
}

#[test]
fn settings() {
    try_out("settings", 1000);
}

#[test]
fn tls() {
    try_out("tls", 1000);
}

/// The targets are those of the manifest, of the directories and of the README, and each is a call of its `check`.
#[test]
fn every_target_is_listed_and_explained() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let names = |of: &str| -> BTreeSet<String> {
        fs::read_dir(dir.join(of))
            .unwrap()
            .map(|file| file.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let manifest: DocumentMut = read("Cargo.toml").parse().unwrap();
    let bins = manifest["bin"].as_array_of_tables().unwrap();
    let listed: BTreeSet<String> = bins
        .iter()
        .map(|bin| bin["name"].as_str().unwrap().to_owned())
        .collect();
    let tried: BTreeSet<String> = targets::TARGETS
        .iter()
        .map(|(n, _)| n.to_string())
        .collect();
    assert_eq!(listed, tried);
    assert_eq!(listed, names("fuzz_targets"));
    assert_eq!(listed, names("seeds"));
    let readme = read("README.md");
    for name in &listed {
        assert!(readme.contains(&format!("| `{name}` |")), "{name}");
        let call = format!("|data: &[u8]| ferrite_fuzz::{name}::check(data)");
        assert!(read(&format!("fuzz_targets/{name}.rs")).contains(&call));
    }
}
