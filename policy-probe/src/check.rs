//! Holds a truth table against expectations.

use std::fmt;

use policy_core::model::{Family, Protocol};
use policy_manifest::{End, Expectation, Expectations, Place, Verdict};

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
pub fn check(rows: &[Row], expectations: &Expectations) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    for listed in &expectations.listed {
        let mut found = rows.iter().filter(|row| speaks_of(listed, row)).peekable();
        if found.peek().is_none() {
            mismatches.push(no_row(listed));
        }
        let wrong = found.filter(|row| row.verdict != listed.verdict.into());
        mismatches.extend(wrong.map(|row| mismatch(row, listed.verdict, Some(&listed.place))));
    }
    let Some(default) = expectations.default else {
        return mismatches;
    };
    let pods = |row: &&Row| matches!((&row.from, &row.to), (End::Pod(_), End::Pod(_)));
    let unlisted = |row: &&Row| !expectations.listed.iter().any(|listed| speaks_of(listed, row));
    let wrong =
        rows.iter().filter(|row| row.verdict != default.into()).filter(pods).filter(unlisted);
    mismatches.extend(wrong.map(|row| mismatch(row, default, None)));
    mismatches
}

fn speaks_of(listed: &Expectation, row: &Row) -> bool {
    listed.from == row.from
        && listed.to == row.to
        && listed.port == row.port
        && listed.protocol == row.protocol
        && listed.family.is_none_or(|family| family == row.family)
}

fn mismatch(row: &Row, expected: Verdict, place: Option<&Place>) -> Mismatch {
    Mismatch {
        from: row.from.clone(),
        to: row.to.clone(),
        port: row.port,
        protocol: row.protocol,
        family: Some(row.family),
        expected,
        found: Some(row.verdict),
        place: place.cloned(),
    }
}

fn no_row(listed: &Expectation) -> Mismatch {
    Mismatch {
        from: listed.from.clone(),
        to: listed.to.clone(),
        port: listed.port,
        protocol: listed.protocol,
        family: listed.family,
        expected: listed.verdict,
        found: None,
        place: Some(listed.place.clone()),
    }
}

/// One line: what, what was expected and where, what was found.
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}/{}", self.from, self.to, self.port, self.protocol)?;
        if let Some(family) = self.family {
            write!(f, " {}", family.name())?;
        }
        match self.found {
            Some(found) => write!(f, ": {found}, expected {}", Outcome::from(self.expected))?,
            None => write!(f, ": not probed, expected {}", Outcome::from(self.expected))?,
        }
        match &self.place {
            Some(place) => write!(f, " ({place})"),
            None => f.write_str(" (default)"),
        }
    }
}
