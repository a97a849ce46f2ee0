//! The program as a user runs it, by its output and its exit code.

#[cfg(feature = "cluster")]
mod cluster;
mod diff;
mod ends;
mod explain;
mod exposure;
mod fix;
mod graph;
mod lint;
mod list;
mod manual;
mod packaging;
mod program;
mod repository;
mod scope;
mod simulate;
mod suggest;
mod terminal;
mod test_file;
