//! The seat of the other types: lists, hashes, sets, sorted sets, streams.
//!
//! Promise: whatever is not a string lives behind one boxed `Object`, so that an entry, its word in
//! the table, expiry, scan and move treat all types alike. Types are added as variants of `Inner`
//! and nothing outside this file matches on them exhaustively.

/// A value that is not a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    inner: Inner,
}

/// The types there are. None yet outside of tests: strings need no object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Inner {
    #[cfg(test)]
    Probe(Vec<u8>),
}

impl Object {
    /// The word `TYPE` and `SCAN .. TYPE` use.
    pub fn type_name(&self) -> &'static str {
        match self.inner {
            #[cfg(test)]
            Inner::Probe(_) => "probe",
        }
    }

    /// The word `OBJECT ENCODING` uses.
    pub fn encoding(&self) -> &'static str {
        match self.inner {
            #[cfg(test)]
            Inner::Probe(_) => "probe",
        }
    }

    /// Elements held: what LLEN, HLEN, SCARD and their like answer.
    pub fn len(&self) -> usize {
        match self.inner {
            #[cfg(test)]
            Inner::Probe(ref bytes) => bytes.len(),
        }
    }

    /// Whether it holds no element. An empty object is never left in a shard.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap, estimated, itself included.
    pub fn heap_bytes(&self) -> usize {
        match self.inner {
            #[cfg(test)]
            Inner::Probe(ref bytes) => size_of::<Object>() + bytes.capacity(),
        }
    }

    /// The form that effects carry. `decode` is its inverse.
    pub fn encode(&self) -> Vec<u8> {
        match self.inner {
            #[cfg(test)]
            Inner::Probe(ref bytes) => [b"P", &bytes[..]].concat(),
        }
    }

    /// Reads what `encode` wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Object> {
        match bytes.split_first()? {
            #[cfg(test)]
            (b'P', rest) => Some(Object::probe(rest)),
            _ => None,
        }
    }

    /// An object for tests of what treats all types alike.
    #[cfg(test)]
    pub(crate) fn probe(bytes: &[u8]) -> Object {
        Object {
            inner: Inner::Probe(bytes.to_vec()),
        }
    }
}
