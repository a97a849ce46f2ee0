//! The lab as a user runs it: the built program on files, by its output and its exit code.
//!
//! These tests make network namespaces and load eBPF programs: without root they fail.

#[path = "lab/command.rs"]
mod command;
#[path = "lab/examples.rs"]
mod examples;
#[path = "lab/generated.rs"]
mod generated;
#[path = "lab/hold.rs"]
mod hold;
#[path = "lab/input.rs"]
mod input;
#[path = "lab/placement.rs"]
mod placement;
#[path = "lab/program.rs"]
mod program;
#[path = "lab/remains.rs"]
mod remains;
#[path = "lab/sabotage.rs"]
mod sabotage;
#[path = "lab/schema.rs"]
mod schema;
#[path = "lab/sctp.rs"]
mod sctp;
#[path = "lab/services.rs"]
mod services;
#[path = "lab/sizes.rs"]
mod sizes;
