//! The program as a user runs it, by its output and its exit code.

mod explain;
mod lint;
mod program;
mod simulate;
