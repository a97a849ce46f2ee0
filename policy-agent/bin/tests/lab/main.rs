//! The lab as a user runs it: the built program on files, by its output and its exit code.
//!
//! These tests make network namespaces and load eBPF programs: without root they fail.

mod attribution;
mod command;
mod deny_reply;
mod examples;
mod generated;
mod hold;
mod input;
mod own_node;
mod placement;
mod program;
mod remains;
mod sabotage;
mod schema;
mod sctp;
mod services;
mod sizes;
