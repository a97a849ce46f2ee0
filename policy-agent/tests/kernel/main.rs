//! The agent on the real kernel, in network namespaces of its own. Needs root and bpftool.

mod attach;
mod bpftool;
mod contents;
mod discovery;
mod drops;
mod maps;
mod namespace;
mod node;
mod privilege;
