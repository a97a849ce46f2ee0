//! Proves the datapath by comparison: a naive model of it ([`model`]) and the loaded programs
//! ([`rig`]) judge the same generated packets ([`generate`]), and must agree.
//!
//! `cargo xtask fuzz packets` and the test of this crate call [`run::run`]; docs/packet-model.md
//! describes the faults that it has been shown to find.

pub mod addresses;
pub mod case;
pub mod frames;
pub mod generate;
mod kernel;
pub mod model;
pub mod protocol;
pub mod replay;
pub mod rig;
pub mod run;
pub mod shrink;
pub mod world;
