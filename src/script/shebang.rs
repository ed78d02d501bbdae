//! The first line of a script, `#!lua flags=...`.

/// What it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shebang {
    /// Whether there is one.
    pub given: bool,
    /// Its length in bytes, without the line end.
    pub len: usize,
    /// The script writes nothing.
    pub no_writes: bool,
    /// The script may use memory where that is short.
    pub allow_oom: bool,
}

impl Shebang {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, in Redis's words.
    pub fn read(text: &[u8]) -> Result<Shebang, String> {
        let mut shebang = Shebang::default();
        if !text.starts_with(b"#!") {
            return Ok(shebang);
        }
        let Some(end) = text.iter().position(|&b| b == b'\n') else {
            return Err("Invalid script shebang".to_owned());
        };
        shebang.given = true;
        shebang.len = end;
        let line = String::from_utf8_lossy(&text[..end]).into_owned();
        let mut words = line.split_ascii_whitespace();
        let engine = words.next().unwrap_or_default();
        if engine != "#!lua" {
            return Err(format!("Unexpected engine in script shebang: {engine}"));
        }
        for word in words {
            let Some(flags) = word.strip_prefix("flags=") else {
                return Err(format!("Unknown lua shebang option: {word}"));
            };
            if flags.is_empty() {
                continue;
            }
            for flag in flags.split(',') {
                match flag {
                    "no-writes" => shebang.no_writes = true,
                    "allow-oom" => shebang.allow_oom = true,
                    "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                    _ => return Err(format!("Unexpected flag in script shebang: {flag}")),
                }
            }
        }
        Ok(shebang)
    }
}
