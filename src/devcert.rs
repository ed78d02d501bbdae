//! devcert.
