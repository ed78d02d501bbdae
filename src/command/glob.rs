//! Glob patterns as KEYS, SCAN and CONFIG GET take them.
//!
//! `?` stands for any byte, `*` for any number of them, `[abc]`, `[a-z]` and `[^a]` for one of a class,
//! `\x` for `x`. Every element but the star takes exactly one byte, so when a match fails only the last
//! star can be made longer: the cost is at most the product of the two lengths, whatever the pattern.
//!
//! The odd ends are Redis's: a class that is not closed reaches to the end of the pattern; range ends
//! are compared as signed bytes, in either order; and an empty text is matched by an empty pattern only.

/// Whether `pattern` matches all of `text`. `fold`: letters match in either case.
pub fn matches(pattern: &[u8], text: &[u8], fold: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last star: where the pattern goes on, and the text if the star takes one byte more.
    let mut star = None;
    if text.is_empty() {
        return pattern.is_empty();
    }
    loop {
        if t == text.len() {
            return pattern[p..].iter().all(|&b| b == b'*');
        }
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            star = Some((p, t));
            continue;
        }
        if p < pattern.len()
            && let Some(next) = one(pattern, p, text[t], fold)
        {
            p = next;
            t += 1;
            continue;
        }
        let Some((after, from)) = star else {
            return false;
        };
        star = Some((after, from + 1));
        (p, t) = (after, from + 1);
    }
}

fn lower(b: u8, fold: bool) -> u8 {
    if fold { b.to_ascii_lowercase() } else { b }
}

/// If the element at `p`, which is no star, matches `b`: where the next one begins.
fn one(pattern: &[u8], p: usize, b: u8, fold: bool) -> Option<usize> {
    match pattern[p] {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, b, fold),
        b'\\' if p + 1 < pattern.len() => {
            (lower(pattern[p + 1], fold) == lower(b, fold)).then_some(p + 2)
        }
        literal => (lower(literal, fold) == lower(b, fold)).then_some(p + 1),
    }
}

/// [`one`] for a class whose content begins at `p`.
fn class(pattern: &[u8], mut p: usize, b: u8, fold: bool) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    p += negated as usize;
    let mut found = false;
    loop {
        match pattern[p..] {
            [] => break,
            [b'\\', escaped, ..] => {
                // Folding does not reach behind a backslash in a class.
                found |= escaped == b;
                p += 2;
            }
            [b']', ..] => {
                p += 1;
                break;
            }
            [start, b'-', end, ..] => {
                let (start, end) = if (start as i8) <= end as i8 {
                    (start, end)
                } else {
                    (end, start)
                };
                let range = lower(start, fold) as i8..=lower(end, fold) as i8;
                found |= range.contains(&(lower(b, fold) as i8));
                p += 3;
            }
            [single, ..] => {
                found |= lower(single, fold) == lower(b, fold);
                p += 1;
            }
        }
    }
    (found != negated).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", false),
            ("", "a", false),
            ("*", "abc", true),
            ("**", "abc", true),
            ("a*", "a", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbcd", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("[", "a", false),
            ("[a", "a", true),
            ("[^", "a", true),
            ("[^]", "a", true),
            ("[]", "a", false),
            ("[]a]", "a]", false),
            ("[\\]]", "]", true),
            ("[a-]", "-", false),
            ("[a-", "-", true),
            ("foo*bar", "foobazbar", true),
            ("*.txt", "a.txt.txt", true),
            ("?*", "a", true),
            ("?*?", "a", false),
            ("A", "a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes(), false),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(matches(b"ABC[D-F]", b"abce", true));
        assert!(!matches(b"[\\D]", b"d", true));
        assert!(matches(b"[\xff-\x01]", b"\x00", false));
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product() {
        let pattern = "*a".repeat(2000) + "b";
        let text = "a".repeat(20_000);
        // Exponential backtracking would not end.
        assert!(!matches(pattern.as_bytes(), text.as_bytes(), false));
    }
}
