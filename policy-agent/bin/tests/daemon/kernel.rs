//! The agent's library on the real kernel, without the program: dataplane, discovery, one node.

mod attach;
mod bpftool;
mod busy;
mod clsact;
mod contents;
mod discovery;
mod drops;
pub(crate) mod flow_tables;
mod maps;
mod node;
mod order;
