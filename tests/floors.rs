//! The house stands on floors, and imports go down only: a module may use those below it and, without going round in
//! circles, those beside it. So what is pure stays pure, and every part can be understood from the ground up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by floor, from the ground up. A module that stands nowhere here is an error.
const FLOORS: &[(&str, &[&str])] = &[
    (
        "words",
        &["seal", "resp", "slot", "limits", "settings", "event"],
    ),
    ("doors", &["envelope", "disk"]),
    ("logic", &["shard", "rdb", "command", "acl", "script"]),
    ("durable", &["log", "checkpoint", "tier"]),
    ("seat", &["net", "worker"]),
    (
        "company",
        &["observe", "backup", "rotation", "replication", "cluster"],
    ),
    (
        "front",
        &[
            "cli", "config", "devcert", "logging", "offline", "server", "transfer",
        ],
    ),
];

/// Exceptions, each with its reason. Empty is best.
const PERMITTED: &[(&str, &str, &str)] = &[];

fn floor(module: &str) -> Option<usize> {
    FLOORS
        .iter()
        .position(|(_, modules)| modules.contains(&module))
}

/// One import: the module that imports, the module imported, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: String,
    to: String,
    place: String,
}

/// Source text without comments and without what stands in quotes, line breaks kept.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| bytes[at..].starts_with(what.as_bytes());
    while at < bytes.len() {
        let end = if starts(at, "//") {
            text[at..].find('\n').map_or(bytes.len(), |n| at + n)
        } else if starts(at, "/*") {
            text[at..].find("*/").map_or(bytes.len(), |n| at + n + 2)
        } else if let Some(hashes) = raw_string(&bytes[at..]) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = at + 2 + hashes;
            text[open..]
                .find(&close)
                .map_or(bytes.len(), |n| open + n + close.len())
        } else if bytes[at] == b'"' {
            let mut end = at + 1;
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            (end + 1).min(bytes.len())
        } else if starts(at, "'\"'") || starts(at, "b'\"'") {
            at + if bytes[at] == b'b' { 4 } else { 3 }
        } else if starts(at, "'\\\"'") {
            at + 4
        } else {
            out.push(bytes[at]);
            at += 1;
            continue;
        };
        out.extend(bytes[at..end].iter().filter(|b| **b == b'\n'));
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Number of `#` when a raw string begins here.
fn raw_string(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(b"r")?;
    let hashes = rest.iter().take_while(|b| **b == b'#').count();
    (rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// Modules named by `crate::x` and by `crate::{x, y::z, ...}` in the code, with their lines.
fn crate_paths(code: &str, crate_name: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let marker = format!("{crate_name}::");
    let mut from = 0;
    while let Some(n) = code[from..].find(&marker) {
        let at = from + n;
        let after = at + marker.len();
        from = after;
        let line = code[..at].matches('\n').count() + 1;
        let inside_word =
            code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        if inside_word {
            continue;
        }
        let rest = code[after..].trim_start();
        match rest.strip_prefix('{') {
            None => found.extend(first_word(rest).map(|w| (w, line))),
            Some(list) => {
                // Each name that follows the brace or a comma at this depth begins a path.
                let (mut depth, mut start) = (0, true);
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && depth == 0 && !c.is_whitespace() => {
                            found.extend(first_word(&list[i..]).map(|w| (w, line)));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!word.is_empty()).then_some(word)
}

/// Every import of one file of the module `from`.
fn imports(from: &str, place: &str, text: &str) -> Vec<Import> {
    let code = code_only(text);
    crate_paths(&code, "crate")
        .into_iter()
        // Macros and other things of the crate's root belong to no floor.
        .filter(|(to, _)| {
            to != from
                && (floor(to).is_some()
                    || to
                        .chars()
                        .all(|c| c.is_lowercase() || c == '_' || c.is_numeric()))
        })
        .map(|(to, line)| Import {
            from: from.into(),
            to,
            place: format!("{place}:{line}"),
        })
        .collect()
}

/// What is wrong with a set of imports.
fn judge(imports: &[Import]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut beside: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for i in imports {
        if PERMITTED
            .iter()
            .any(|(from, to, _)| *from == i.from && *to == i.to)
        {
            continue;
        }
        match (floor(&i.from), floor(&i.to)) {
            (None, _) => wrong.push(format!(
                "{}: the module `{}` stands on no floor",
                i.place, i.from
            )),
            (_, None) => wrong.push(format!(
                "{}: `{}` imports `{}`, which stands on no floor",
                i.place, i.from, i.to
            )),
            (Some(a), Some(b)) if b > a => {
                wrong.push(format!(
                    "{}: `{}` ({}) imports `{}` ({}), which is above it",
                    i.place, i.from, FLOORS[a].0, i.to, FLOORS[b].0
                ));
            }
            (Some(a), Some(b)) if a == b => {
                beside.entry(&i.from).or_default().insert(&i.to);
            }
            _ => {}
        }
    }
    for start in beside.keys() {
        let mut seen = BTreeSet::new();
        let mut todo: Vec<&str> = beside[start].iter().copied().collect();
        while let Some(next) = todo.pop() {
            if next == *start {
                wrong.push(format!("`{start}` imports itself by way of its neighbours"));
                break;
            }
            if seen.insert(next) {
                todo.extend(beside.get(next).into_iter().flatten().copied());
            }
        }
    }
    wrong
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out
}

/// Imports of the whole house, and the modules that were seen.
fn house() -> (Vec<Import>, BTreeSet<String>) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut all, mut modules) = (Vec::new(), BTreeSet::new());
    for file in rust_files(&src) {
        let below = file.strip_prefix(&src).unwrap();
        let first = below
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        if ["lib", "bin"].contains(&module) {
            continue; // they hang the floors together, and stand on the roof
        }
        modules.insert(module.to_owned());
        all.extend(imports(
            module,
            &format!("src/{}", below.display()),
            &fs::read_to_string(&file).unwrap(),
        ));
    }
    (all, modules)
}

#[test]
fn imports_go_down_only() {
    let (all, modules) = house();
    let homeless: Vec<_> = modules.iter().filter(|m| floor(m).is_none()).collect();
    assert!(
        homeless.is_empty(),
        "these modules stand on no floor: {homeless:?}"
    );
    // A check that sees nothing would pass for ever.
    assert!(
        all.iter().any(|i| i.from == "config" && i.to == "settings"),
        "the imports of src/config.rs were not seen"
    );
    let wrong = judge(&all);
    assert!(
        wrong.is_empty(),
        "imports that do not go down:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_floor_that_the_design_names_is_one_of_the_library() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for module in lib
        .lines()
        .filter_map(|l| l.trim().strip_prefix("pub mod "))
    {
        let module = module.trim_end_matches(';');
        assert!(
            floor(module).is_some(),
            "src/lib.rs names `{module}`, which stands on no floor"
        );
    }
}

/// What the check says of one file of `module`.
fn verdict(module: &str, text: &str) -> String {
    judge(&imports(module, "sample.rs", text)).join("\n")
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    for sample in [
        "use crate::worker::Worker;",
        "use crate::{slot, worker::Worker};",
        "use crate::{\n    slot::{self, Map},\n    worker,\n};",
        "pub use crate::worker;",
        "fn f() { crate::worker::run() }",
        "fn f(x: &crate::worker::Worker) {}",
        "use crate::slot; use crate :: worker;"
            .replace(" :: ", "::")
            .as_str(),
        "let s = \"a // b\"; use crate::worker;",
        "/* x */ use crate::worker;",
        "let c = '\"'; use crate::worker; let d = '\"';",
        "let c = r#\"a \" b\"#; use crate::worker;",
    ] {
        assert!(
            verdict("shard", sample).contains("imports `worker` (seat), which is above it"),
            "{sample}"
        );
    }
    assert!(verdict("shard", "\n\nuse crate::worker;").starts_with("sample.rs:3: "));
    assert!(verdict("shard", "use crate::cellar::wine;").contains("stands on no floor"));
}

#[test]
fn downward_imports_and_mere_words_are_let_be() {
    for sample in [
        "use crate::slot::Map;",
        "use crate::{resp, settings::{Settings, Row}};",
        "// use crate::worker;",
        "/* use crate::worker; */",
        "let s = \"use crate::worker;\";",
        "let s = r#\"use crate::worker;\"#;",
        "use other_crate::worker;",
        "use super::worker;",
        "use crate::shard::worker;",
    ] {
        assert_eq!(verdict("shard", sample), "", "{sample}");
    }
}

#[test]
fn neighbours_may_not_go_round_in_circles() {
    let import = |from: &str, to: &str| Import {
        from: from.into(),
        to: to.into(),
        place: "x".into(),
    };
    assert!(judge(&[import("command", "shard")]).is_empty());
    let circle = judge(&[
        import("config", "devcert"),
        import("devcert", "logging"),
        import("logging", "config"),
    ]);
    assert_eq!(circle.len(), 3);
    assert!(circle[0].contains("by way of its neighbours"));
}
