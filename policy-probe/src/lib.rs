//! Which probes to run against a set of manifests, the truth table they give, and what the command
//! lines of this project share.
//!
//! A *probe* is the first packet of a connection to try. [`choose()`] makes the list of probes from
//! manifests and options; a caller gets a verdict for each, from the compiler (`policyctl`) or from
//! the wire (the lab), and makes a [`Row`] of it; [`check()`] compares the rows with expectations,
//! and [`text`] and [`json`] print them. These parts are pure: no I/O, no clock.
//!
//! The modules [`options`], [`input`], [`terminal`] and [`exit`] are for programs with a command
//! line: what `-f`, `--port`, `--from` and `--to` mean, how the files are read, how errors and
//! notes are printed, and with which code a program ends. Daemons and libraries do not use them.
#![forbid(unsafe_code)]

mod check;
mod choose;
pub mod exit;
pub mod input;
pub mod options;
mod render;
mod row;
pub mod terminal;

pub use check::{Mismatch, check};
pub use choose::{CannotProbe, ChooseError, ChosenProbes, Probe, Selection, choose, if_any};
pub use policy_manifest::{End, Verdict};
pub use render::{Style, grid, json, text};
pub use row::{Deciders, DecidersByDirection, Outcome, Row, Table};
