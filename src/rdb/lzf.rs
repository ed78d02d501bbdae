//! LZF, the compression of strings in RDB files.
//!
//! The form: a control byte below 32 and that many bytes more than one as they are; or three bits of length (7: another
//! byte to be added) and thirteen bits of distance, which stand for two bytes more than the length, copied from one byte
//! more than the distance before. Nothing is read but what was given, and nothing written beyond the length asked for.
//!
//! Source: M. Lehmann, liblzf.

/// Longest run of bytes as they are.
const RUN: usize = 32;
/// Longest copy.
const COPY: usize = 264;
/// Farthest copy.
const FAR: usize = 1 << 13;
/// Most bits of a hash of three bytes.
const BITS: u32 = 13;
/// How many bytes come of one at most.
const GROWTH: usize = COPY / 3 + 1;

/// Undoes the compression; `None` unless exactly `len` bytes come of it.
pub(super) fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > input.len().saturating_mul(GROWTH) {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = input;
    while let Some((&control, behind)) = rest.split_first() {
        let control = usize::from(control);
        if control < RUN {
            let (run, behind) = behind.split_at_checked(control + 1)?;
            out.extend_from_slice(run);
            rest = behind;
        } else {
            let (more, behind) = match control >> 5 {
                7 => {
                    let (&more, behind) = behind.split_first()?;
                    (usize::from(more), behind)
                }
                _ => (0, behind),
            };
            let (&low, behind) = behind.split_first()?;
            let distance = ((control & 0x1f) << 8 | usize::from(low)) + 1;
            let start = out.len().checked_sub(distance)?;
            let count = (control >> 5) + more + 2;
            if count <= distance {
                out.extend_from_within(start..start + count);
            } else {
                // The copy repeats what it has just written.
                for at in start..start + count {
                    out.push(*out.get(at)?);
                }
            }
            rest = behind;
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

fn hash(bytes: [u8; 3], bits: u32) -> usize {
    let [a, b, c] = bytes;
    let word = u32::from_le_bytes([a, b, c, 0]);
    (word.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

fn put_run(out: &mut Vec<u8>, mut run: &[u8]) {
    while !run.is_empty() {
        let (now, later) = run.split_at(run.len().min(RUN));
        out.push((now.len() - 1) as u8);
        out.extend_from_slice(now);
        run = later;
    }
}

/// Compresses; `None` if less than four bytes would be saved.
pub(super) fn compress(input: &[u8]) -> Option<Vec<u8>> {
    let most = input.len().checked_sub(4)?;
    // A short string needs no large table, and to clear one takes time.
    let bits = (input.len().ilog2() + 1).min(BITS);
    let mut seen = vec![0u32; 1 << bits]; // one more than where the three bytes stood last
    let mut out = Vec::new();
    let (mut at, mut run) = (0, 0);
    while let Some(three) = input.get(at..).and_then(<[u8]>::first_chunk::<3>) {
        let place = &mut seen[hash(*three, bits)];
        let before = *place as usize;
        // Positions are noted as 32 bits; what lies farther is not found again, which is harmless.
        *place = (at + 1) as u32;
        let found = before.checked_sub(1).filter(|&before| {
            before < at && at - before <= FAR && input[before..].starts_with(three)
        });
        let Some(before) = found else {
            at += 1;
            continue;
        };
        let same = input[at..].iter().zip(&input[before..]).take(COPY);
        let count = same.take_while(|(a, b)| a == b).count();
        put_run(&mut out, &input[run..at]);
        let (length, distance) = (count - 2, at - before - 1);
        let high = (distance >> 8) as u8;
        if length < 7 {
            out.push((length as u8) << 5 | high);
        } else {
            out.push(7 << 5 | high);
            out.push((length - 7) as u8);
        }
        out.push(distance as u8);
        if out.len() > most {
            return None;
        }
        at += count;
        run = at;
    }
    put_run(&mut out, &input[run..]);
    (out.len() <= most).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repetition_is_worth_it() {
        let text = b"abcabcabcabcabcabcabcabcabcabc".repeat(1000);
        let small = compress(&text).unwrap();
        assert!(small.len() < text.len() / 50, "{}", small.len());
        assert_eq!(decompress(&small, text.len()), Some(text));
        assert_eq!(compress(b"abcdefghijklmnopqrstuvwxyz"), None);
    }

    #[test]
    fn no_more_is_made_than_asked_for() {
        // One byte, and it again 264 times.
        let bomb = [0, b'x', 7 << 5, 255, 0];
        assert_eq!(decompress(&bomb, 265), Some(vec![b'x'; 265]));
        for wrong in [264, 266, 0, usize::MAX] {
            assert_eq!(decompress(&bomb, wrong), None);
        }
        assert_eq!(decompress(&[1 << 5, 0], 3), None); // from before the beginning
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(parts in proptest::collection::vec((0..4u8, 1..400usize, any::<u8>()), 0..30)) {
            let mut text = Vec::new();
            for (kind, len, byte) in parts {
                match kind {
                    0 => text.extend(std::iter::repeat_n(byte, len)),
                    1 => text.extend((0..len).map(|i| (i * usize::from(byte)) as u8)),
                    _ => text.extend_from_within(text.len().saturating_sub(len)..),
                }
            }
            if let Some(small) = compress(&text) {
                prop_assert!(small.len() + 4 <= text.len());
                prop_assert_eq!(decompress(&small, text.len()), Some(text));
            }
        }

        #[test]
        fn garbage_does_no_harm(bytes: Vec<u8>, len in 0..5000usize) {
            let out = decompress(&bytes, len);
            prop_assert!(out.is_none_or(|out| out.len() == len));
        }
    }
}
