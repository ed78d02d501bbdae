//! The fuzz targets that `fuzz/Cargo.toml` names are the files there are, and its README tells of each.

use std::collections::BTreeSet;
use std::path::Path;

use toml_edit::DocumentMut;

#[test]
fn every_fuzz_target_is_listed_and_explained() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let manifest: DocumentMut = read("Cargo.toml").parse().unwrap();
    let bins = manifest["bin"].as_array_of_tables().unwrap();
    let listed: BTreeSet<String> = bins
        .iter()
        .map(|bin| bin["path"].as_str().unwrap().to_owned())
        .collect();
    let there: BTreeSet<String> = std::fs::read_dir(dir.join("fuzz_targets"))
        .unwrap()
        .map(|file| format!("fuzz_targets/{}", file.unwrap().file_name().display()))
        .collect();
    assert_eq!(listed, there);
    let readme = read("README.md");
    for bin in bins {
        let name = bin["name"].as_str().unwrap();
        assert!(readme.contains(&format!("| `{name}` |")), "{name}");
    }
}
