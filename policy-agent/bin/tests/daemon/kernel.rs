//! The agent's library on the real kernel, without the program: dataplane, discovery, one node.

mod allow_maps;
mod attach;
pub(crate) mod bpftool;
mod busy;
mod clsact;
mod discovery;
mod drops;
pub(crate) mod flow_tables;
mod maps;
mod node;
mod order;
