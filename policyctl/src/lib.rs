//! Tries network policies on any machine: no cluster, no root, no eBPF.
//!
//! Each command reads manifests, asks the compiler, and prints what follows.
#![forbid(unsafe_code)]

mod cli;
#[cfg(feature = "cluster")]
mod cluster;
mod diff;
mod error;
mod explain;
mod graph;
mod lint;
mod manual;
mod origin;
mod output;
mod scope;
mod simulate;
mod truth;

pub use cli::main;
