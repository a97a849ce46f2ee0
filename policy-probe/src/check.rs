//! Holds a truth table against expectations.

use std::fmt;

use policy_core::model::{Family, Protocol};
use policy_manifest::{End, Expectations, Place, Verdict};

use crate::{Outcome, Row};

/// An expectation that the table does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Who opens the connection.
    pub from: End,
    /// Who is meant.
    pub to: End,
    /// At which port.
    pub port: u16,
    /// By which protocol.
    pub protocol: Protocol,
    /// In which family; `None` where there is no row, and the expectation names none.
    pub family: Option<Family>,
    /// What was expected.
    pub expected: Verdict,
    /// What came of it; `None` where there is no such row.
    pub found: Option<Outcome>,
    /// Where the expectation stands; `None` for `default`.
    pub place: Option<Place>,
}

/// Compares `rows` with what is expected of them.
///
/// A listed expectation speaks of every family it applies to, and must have a row.
/// `default` speaks of every row between two pods that no listed one speaks of.
#[must_use]
pub fn check(_rows: &[Row], _expectations: &Expectations) -> Vec<Mismatch> {
    Vec::new()
}

/// One line, as it stands under the table.
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} -> {} {}/{}",
            self.from, self.to, self.port, self.protocol
        )
    }
}
