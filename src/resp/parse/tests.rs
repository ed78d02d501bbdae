//! The parser's laws: the same commands however the input is cut, Redis's words when it is broken,
//! and no byte looked at twice.
use super::*;
