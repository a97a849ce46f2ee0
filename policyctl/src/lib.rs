//! Tries network policies on any machine: no root, no eBPF, and no cluster but to read one.
//!
//! Each command has a module, which reads manifests or a cluster (`origin`), compiles them
//! (`truth`, or `policy_core` itself), and prints the answer (`output`): `simulate`, `explain`,
//! `lint`, `list`, `graph`, `diff`, `test` and `suggest`. Others ask the agents of a live cluster
//! (`agents`): `flows`, `top` and `status`. `manual` prints pages of the manual and
//! completions for a shell.
#![forbid(unsafe_code)]

#[cfg(feature = "cluster")]
mod agents;
mod cli;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "cluster")]
mod config_error;
mod copies;
mod diff;
mod document;
mod error;
mod explain;
mod fix_error;
#[cfg(feature = "cluster")]
mod flows;
mod flows_error;
mod git;
mod graph;
mod internet;
mod junit;
mod lint;
mod list;
mod manual;
mod named;
mod origin;
mod output;
mod port_set;
mod render;
mod sarif;
mod scope;
mod segments;
mod service_backends;
mod simulate;
#[cfg(feature = "cluster")]
mod status;
mod suggest;
mod test;
mod test_error;
#[cfg(feature = "cluster")]
mod top;
mod truth;
mod undeclared;
mod workload;

pub use cli::main;
