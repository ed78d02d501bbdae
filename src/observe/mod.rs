//! What the company of cores tells the outside.

pub mod metrics;
