//! Crafted packets through the programs as the kernel runs them (`BPF_PROG_TEST_RUN`).
//!
//! Needs root and the object that `cargo xtask bpf` builds; without either every test fails.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod craft;
mod interpreter;
mod rig;

mod budget;
mod connections;
mod cost;
mod denials;
mod errors;
mod families;
mod flowless;
mod fragments;
mod headers;
mod lifetimes;
mod live;
mod neighbours;
mod oddities;
mod origin;
mod ports;
mod recycled;
mod replies;
mod senders;
mod services;
mod shares;
mod spoofing;
mod tracking;
mod translations;
