//! Which probes to run against a set of manifests, and the truth table they give.
//!
//! Shared by all that print a truth table, whether the verdicts come from the wire or from the
//! compiler. Pure: no I/O, no clock.
#![forbid(unsafe_code)]

mod check;
mod choose;
mod render;
mod row;

pub use check::{Mismatch, check};
pub use choose::{ChooseError, Probe, Selection, Unfit, choose, if_any};
pub use policy_manifest::{End, Verdict};
pub use render::{Style, grid, json, text};
pub use row::{By, Deciders, Outcome, Row, Table};
