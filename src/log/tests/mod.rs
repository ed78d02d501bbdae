//! Proofs of the log.

mod basic;
mod checkpoint;
mod crash;
mod damage;
mod policy;
mod rig;
mod vectors;
