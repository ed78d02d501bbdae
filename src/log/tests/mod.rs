//! Proofs of the log.

mod basic;
mod crash;
mod rig;
