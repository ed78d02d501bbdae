//! The words of the format, written.

use super::lzf;
use crate::shard::parse_int;

/// Shortest string that is worth compressing, in bytes.
const WORTH: usize = 21;

/// Where bytes go: a payload, or a file that is sealed part by part.
pub trait Sink {
    /// Takes bytes, all of them.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Writes a length, or another number in the same form.
pub fn put_length(out: &mut impl Sink, n: u64) {
    if n < 1 << 6 {
        out.put(&[n as u8]);
    } else if n < 1 << 14 {
        out.put(&[0x40 | (n >> 8) as u8, n as u8]);
    } else if let Ok(n) = u32::try_from(n) {
        out.put(&[0x80]);
        out.put(&n.to_be_bytes());
    } else {
        out.put(&[0x81]);
        out.put(&n.to_be_bytes());
    }
}

/// Writes a string in the shortest of its encodings.
pub fn put_string(out: &mut impl Sink, bytes: &[u8]) {
    if bytes.len() <= 11
        && let Some(n) = parse_int(bytes).and_then(|n| i32::try_from(n).ok())
    {
        return put_int(out, n);
    }
    if bytes.len() >= WORTH
        && let Some(small) = lzf::compress(bytes)
    {
        out.put(&[0xc3]);
        put_length(out, small.len() as u64);
        put_length(out, bytes.len() as u64);
        return out.put(&small);
    }
    put_length(out, bytes.len() as u64);
    out.put(bytes);
}

fn put_int(out: &mut impl Sink, n: i32) {
    if let Ok(n) = i8::try_from(n) {
        out.put(&[0xc0, n as u8]);
    } else if let Ok(n) = i16::try_from(n) {
        out.put(&[0xc1]);
        out.put(&n.to_le_bytes());
    } else {
        out.put(&[0xc2]);
        out.put(&n.to_le_bytes());
    }
}
