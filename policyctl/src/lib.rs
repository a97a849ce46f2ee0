//! Tries network policies on any machine: no cluster, no root, no eBPF.
//!
//! Each command reads manifests, asks the compiler, and prints what follows.
#![forbid(unsafe_code)]

mod cli;
mod diff;
mod error;
mod explain;
mod graph;
mod lint;
mod manual;
mod output;
mod simulate;
mod truth;

pub use cli::main;
