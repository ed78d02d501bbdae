//! One key with its value (plain form).

use super::value::{Decimal, Ms, Owned, Value, parse_int};

#[derive(Debug)]
pub(super) struct Entry {
    key: Box<[u8]>,
    value: Owned,
    raw: bool,
    expire: Option<Ms>,
    clock: u32,
}

impl Entry {
    pub(super) fn new(key: &[u8], value: Owned, expire: Option<Ms>, clock: u32) -> Entry {
        Entry {
            key: key.into(),
            value,
            raw: false,
            expire,
            clock,
        }
    }
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }
    pub(super) fn value(&self) -> Value<'_> {
        match &self.value {
            Owned::Str(b) => Value::Str(b),
            Owned::Int(n) => Value::Int(*n),
            Owned::Object(o) => Value::Object(o),
        }
    }
    pub(super) fn is_raw(&self) -> bool {
        self.raw
    }
    pub(super) fn expire(&self) -> Option<Ms> {
        self.expire
    }
    pub(super) fn clock(&self) -> u32 {
        self.clock
    }
    pub(super) fn set_clock(&mut self, clock: u32) {
        self.clock = clock;
    }
    pub(super) fn set_value(&mut self, value: Owned, expire: Option<Ms>) {
        self.value = value;
        self.raw = false;
        self.expire = expire;
    }
    pub(super) fn set_expire(&mut self, expire: Option<Ms>) {
        self.expire = expire;
    }
    pub(super) fn set_range(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let mut v = match std::mem::replace(&mut self.value, Owned::Int(0)) {
            Owned::Str(v) => v,
            Owned::Int(n) => Decimal::new(n).as_bytes().to_vec(),
            other => {
                self.value = other;
                return 0;
            }
        };
        if v.len() < offset + bytes.len() {
            v.resize(offset + bytes.len(), 0);
        }
        v[offset..offset + bytes.len()].copy_from_slice(bytes);
        let len = v.len();
        self.value = Owned::Str(v);
        self.raw = true;
        len
    }
    pub(super) fn heap_bytes(&self) -> usize {
        self.key.len()
            + 80
            + match &self.value {
                Owned::Str(v) => v.len(),
                Owned::Int(_) => 8,
                Owned::Object(o) => o.heap_bytes(),
            }
    }
}

pub(super) fn compact(bytes: &[u8]) -> Owned {
    parse_int(bytes).map_or_else(|| Owned::Str(bytes.to_vec()), Owned::Int)
}
