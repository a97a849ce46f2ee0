//! Compares a truth table with expectations.
//!
//! An entry such as `{from: a/p, to: b/q, port: 80/TCP, verdict: allow}` is about the rows of both
//! families. An entry without any row is a mismatch too, as nothing was probed for it. The entry
//! `default: deny` is about all other rows between two pods.

use std::fmt;

use policy_core::model::{Family, Protocol};
use policy_manifest::{End, Expectation, Expectations, Place, Verdict};

use crate::{Outcome, Row};

/// An expectation that the table does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Who opens the connection.
    pub from: End,
    /// Who it is for.
    pub to: End,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The family; `None` where there is no row and the expectation names none.
    pub family: Option<Family>,
    /// What was expected.
    pub expected: Verdict,
    /// The outcome; `None` where there is no such row.
    pub found: Option<Outcome>,
    /// Where the expectation is written; `None` for `default`.
    pub place: Option<Place>,
}

/// Compares `rows` with what is expected of them.
///
/// A listed expectation is about every family that it applies to, and must have a row. `default` is
/// about every row between two pods that no listed expectation is about.
#[must_use]
pub fn check(rows: &[Row], expectations: &Expectations) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    for listed in &expectations.listed {
        let mut found = rows.iter().filter(|row| is_about(listed, row)).peekable();
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
    let unlisted = |row: &&Row| !expectations.listed.iter().any(|listed| is_about(listed, row));
    let wrong =
        rows.iter().filter(|row| row.verdict != default.into()).filter(pods).filter(unlisted);
    mismatches.extend(wrong.map(|row| mismatch(row, default, None)));
    mismatches
}

fn is_about(listed: &Expectation, row: &Row) -> bool {
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

/// One line: the connection, its outcome, what was expected, and where that is written.
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
