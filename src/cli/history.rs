//! Lines typed in earlier sessions, in a file that its owner alone can read, and the preferences.
//!
//! A line that may hold a secret goes neither into the file nor into the memory of the editor: where in doubt it is
//! kept out. The file holds a line for each, the newest last, as redis-cli's does.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::words;

/// Lines that are kept.
const KEPT: usize = 1000;

/// The file of lines: `FERRITECLI_HISTFILE`, else below the home directory. `None` when there is no such place, or it is
/// `/dev/null`.
pub fn file() -> Option<PathBuf> {
    place("FERRITECLI_HISTFILE", ".ferritecli_history").filter(|p| p != Path::new("/dev/null"))
}

/// Lines of the preferences: `FERRITECLI_RCFILE`, else below the home directory.
pub fn preferences() -> Vec<String> {
    let text = place("FERRITECLI_RCFILE", ".ferriteclirc")
        .and_then(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn place(variable: &str, name: &str) -> Option<PathBuf> {
    match std::env::var_os(variable) {
        Some(path) if path.is_empty() => None,
        Some(path) => Some(path.into()),
        None => {
            let home = std::env::var_os("HOME").filter(|h| !h.is_empty())?;
            Some(Path::new(&home).join(name))
        }
    }
}

/// The lines of `path`, the oldest first. A file that has grown far beyond what is kept is cut to that.
pub fn load(path: &Path) -> std::io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().filter(|l| !l.is_empty()).collect();
    let kept = &all[all.len().saturating_sub(KEPT)..];
    if all.len() > 2 * KEPT {
        let mut shorter = kept.join("\n");
        shorter.push('\n');
        // Beside it first: a crash leaves the one or the other.
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        open(OpenOptions::new().create_new(true), &beside)?.write_all(shorter.as_bytes())?;
        std::fs::rename(&beside, path)?;
    }
    Ok(kept.iter().map(|l| (*l).to_owned()).collect())
}

/// Adds a line to the file, which becomes its owner's alone if it was not.
pub fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = open(OpenOptions::new().create(true).append(true), path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(mode & !0o077 & 0o7777))?;
    }
    file.write_all(format!("{line}\n").as_bytes())
}

fn open(how: &mut OpenOptions, path: &Path) -> std::io::Result<std::fs::File> {
    how.write(true).mode(0o600).open(path)
}

/// Parts of the names of settings whose values are secrets, or next to one.
const SECRET_SETTINGS: [&[u8]; 7] = [
    b"pass", b"auth", b"secret", b"token", b"cred", b"kek", b"private",
];

/// Whether a line may hold a secret.
pub fn is_secret(line: &str) -> bool {
    let args = match words::split(line.as_bytes()) {
        Ok(args) => args,
        // It will be typed again with the quotes closed; what it begins with tells what it is.
        Err(_) => line
            .split_whitespace()
            .map(|w| w.trim_matches(['"', '\'']).as_bytes().to_vec())
            .collect(),
    };
    let mut args: Vec<Vec<u8>> = args.iter().map(|a| a.to_ascii_lowercase()).collect();
    // A number before a command repeats it.
    let number = |a: &Vec<u8>| std::str::from_utf8(a).is_ok_and(|a| a.parse::<i64>().is_ok());
    if args.first().is_some_and(number) {
        args.remove(0);
    }
    let word = |at: usize| args.get(at).map_or(&b""[..], |a| a.as_slice());
    let any = |from: usize, wanted: &[&[u8]]| {
        args.iter()
            .skip(from)
            .any(|a| wanted.contains(&a.as_slice()))
    };
    match word(0) {
        b"auth" => true,
        b"hello" => any(1, &[b"auth"]),
        b"acl" => matches!(word(1), b"setuser"),
        b"migrate" => any(1, &[b"auth", b"auth2"]),
        b"config" if word(1) == b"set" => args.iter().skip(2).any(|arg| names_secret(arg)),
        b"sentinel" if word(1) == b"set" || (word(1) == b"config" && word(2) == b"set") => {
            args.iter().skip(2).any(|arg| names_secret(arg))
        }
        // Verbs about keys of encryption, whatever they come to be.
        b"encryption" => args.len() > 2,
        _ => false,
    }
}

fn names_secret(arg: &[u8]) -> bool {
    SECRET_SETTINGS
        .iter()
        .any(|part| arg.windows(part.len()).any(|w| w == *part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_secrets_are_told_from_others() {
        for line in [
            "AUTH x",
            "auth ann x",
            "  3 auth x",
            "-1 auth x",
            "AUTH \"open",
            "hello 3 auth u p",
            "HELLO 3 AUTH u p SETNAME n",
            "ACL SETUSER ann on >x ~*",
            "acl setuser ann",
            "\"ACL\" 'SETUSER' ann",
            "config set requirepass x",
            "CONFIG SET maxmemory 1 masterauth x",
            "config set tls-key-file-pass x",
            "config set auth.requirepass x",
            "config set \"requirepass\" \"open",
            "migrate h 1 k 0 5 auth x",
            "MIGRATE h 1 \"\" 0 5 AUTH2 u p KEYS k",
            "sentinel set m auth-pass x",
            "encryption unlock x",
        ] {
            assert!(is_secret(line), "{line}");
        }
        for line in [
            "",
            "get auth",
            "set auth x",
            "hello 3",
            "acl whoami",
            "acl list",
            "config get requirepass",
            "config set maxmemory 1",
            "migrate h 1 k 0 5",
            "encryption status",
            "5 incr x",
        ] {
            assert!(!is_secret(line), "{line}");
        }
    }

    #[test]
    fn the_file_is_its_owners_alone_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert!(load(&path).unwrap().is_empty());
        append(&path, "get a").unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        append(&path, "get b").unwrap();
        assert_eq!(mode(), 0o600);
        assert_eq!(load(&path).unwrap(), ["get a", "get b"]);
        let many: String = (0..2 * KEPT + 5).map(|i| format!("get {i}\n")).collect();
        std::fs::write(&path, many).unwrap();
        let kept = load(&path).unwrap();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept.last().unwrap(), &format!("get {}", 2 * KEPT + 4));
        assert_eq!(load(&path).unwrap(), kept);
        assert_eq!(mode(), 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
