//! The manifest of a log in several files: a line a file, with its name, its number and what it is.
//!
//! Source: Redis's documentation of its multi-part AOF.

/// What to read: the base, if there is one, and then what was appended to it, in order.
///
/// # Errors
/// In words, with the line.
pub(super) fn files(text: &str) -> Result<Vec<String>, String> {
    let (mut base, mut appended) = (None, Vec::new());
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| Err(format!("line {}: {what}", number + 1));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(words) = words(line) else {
            return wrong("a quoted name does not end");
        };
        let (mut name, mut seq, mut kind) = (None, None, None);
        for pair in words.chunks(2) {
            let [key, value] = pair else {
                return wrong("a word stands alone");
            };
            match key.as_str() {
                "file" => name = Some(value.clone()),
                "seq" => seq = value.parse::<u64>().ok(),
                "type" => kind = Some(value.clone()),
                _ => {} // as Redis does
            }
        }
        let (Some(name), Some(seq), Some(kind)) = (name, seq, kind) else {
            return wrong("file, seq or type is missing");
        };
        // Only what lies beside the manifest belongs to it.
        if name.is_empty() || name.contains('/') || name == ".." {
            return wrong("a file of another directory");
        }
        match kind.as_str() {
            "b" if base.is_some() => return wrong("a second base"),
            "b" => base = Some(name),
            "i" if appended.last().is_some_and(|(last, _)| seq <= *last) => {
                return wrong("the numbers do not go up");
            }
            "i" => appended.push((seq, name)),
            "h" => {} // replaced already, about to be deleted
            _ => return wrong("an unknown type"),
        }
    }
    let appended = appended.into_iter().map(|(_, name)| name);
    let all: Vec<String> = base.into_iter().chain(appended).collect();
    match all.is_empty() {
        true => Err("it names no file".to_owned()),
        false => Ok(all),
    }
}

/// The words of a line; quoted ones as Redis quotes names with spaces.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut out, mut rest) = (Vec::new(), line.trim_start());
    while !rest.is_empty() {
        let mut word = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut letters = quoted.char_indices();
            rest = loop {
                match letters.next()? {
                    (at, '"') => break &quoted[at + 1..],
                    (_, '\\') => word.push(letters.next()?.1),
                    (_, letter) => word.push(letter),
                }
            };
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            word.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        out.push(word);
        rest = rest.trim_start();
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_comes_first_and_what_was_replaced_is_not_read() {
        let text = "file a.aof.3.base.rdb seq 3 type b\nfile a.aof.2.base.rdb seq 2 type h\n\
                    # a remark\n\nfile \"b \\\"c\\\".aof\" seq 7 type i\nfile d seq 8 type i new 1\n";
        let read = files(text).unwrap();
        assert_eq!(read, ["a.aof.3.base.rdb", "b \"c\".aof", "d"]);
        assert_eq!(files("file x seq 1 type i\n").unwrap(), ["x"]);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (text, why) in [
            ("", "no file"),
            ("file a seq 1 type h\n", "no file"),
            (
                "file a seq 1 type b\nfile b seq 2 type b\n",
                "line 2: a second base",
            ),
            (
                "file a seq 2 type i\nfile b seq 2 type i\n",
                "line 2: the numbers",
            ),
            ("file a seq 1\n", "is missing"),
            ("file a seq x type b\n", "is missing"),
            ("file a seq 1 type\n", "alone"),
            ("file a seq 1 type z\n", "unknown type"),
            ("file \"a seq 1 type b\n", "does not end"),
            ("file ../a seq 1 type b\n", "another directory"),
            ("file .. seq 1 type b\n", "another directory"),
            ("file /etc/passwd seq 1 type i\n", "another directory"),
        ] {
            let told = files(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
