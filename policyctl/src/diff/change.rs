//! What changes between two sets of manifests.

use std::{collections::BTreeMap, fmt::Write};

use policy_cli::input::InputError;
use policy_core::model::Direction;
use policy_manifest::{End, Manifests};
use policy_probe::{Outcome, Probe, Row, Selection, Unfit, choose};
use serde::Serialize;

use super::{ends, regions};
use crate::{error::Error, truth};

/// Connections that change, sorted by their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Diff {
    pub(super) opened: Vec<Change>,
    pub(super) closed: Vec<Change>,
    /// Connections that were compared, and are as they were.
    pub(super) unchanged: usize,
}

/// A connection, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    pub(super) old: Row,
    pub(super) new: Row,
}

/// From, to, port, protocol and family of a row.
type Key = (String, String, u16, &'static str, &'static str);

impl Diff {
    /// Compares.
    ///
    /// # Errors
    ///
    /// Where no pod can be compared, as nobody should take that for no change.
    pub(super) fn between(old: &Manifests, new: &Manifests) -> Result<Self, Error> {
        let ends = ends::common(old, new);
        if !ends.iter().any(|end| matches!(end, End::Pod(_))) {
            return Err(Error::NothingToCompare);
        }
        let (before, after) = (rows(old, old, new, &ends)?, rows(new, old, new, &ends)?);
        let before: BTreeMap<Key, Row> = before.into_iter().map(|row| (key(&row), row)).collect();
        let mut diff = Self::default();
        for row in after {
            let Some(old) = before.get(&key(&row)) else { continue };
            let change = || Change { old: old.clone(), new: row.clone() };
            match (old.verdict, row.verdict) {
                (before, after) if before == after => diff.unchanged += 1,
                (_, Outcome::Allow) => diff.opened.push(change()),
                _ => diff.closed.push(change()),
            }
        }
        Ok(diff)
    }

    /// Whether something passes that did not before.
    pub(super) fn opened(&self) -> bool {
        !self.opened.is_empty()
    }

    /// For people.
    pub(super) fn text(&self, colour: bool) -> String {
        let mut out = String::new();
        let parts = [("opened", 31, &self.opened), ("closed", 32, &self.closed)];
        for (word, code, changes) in parts {
            for Change { old, new } in changes {
                let word =
                    if colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() };
                let Row { from, to, port, protocol, family, .. } = new;
                let _ = writeln!(out, "{word} {from} -> {to} {port}/{protocol} {}", family.name());
                let _ = writeln!(out, "    was {} by {}", old.verdict, old.decided_by());
                let _ = writeln!(out, "    now {} by {}", new.verdict, new.decided_by());
            }
        }
        let (opened, closed) = (self.opened.len(), self.closed.len());
        let _ = writeln!(out, "{opened} opened, {closed} closed, {} unchanged", self.unchanged);
        out
    }
}

/// The rows of one side for all pairs that may differ.
fn rows(
    side: &Manifests,
    old: &Manifests,
    new: &Manifests,
    ends: &[End],
) -> Result<Vec<Row>, Error> {
    let all = ends::rest_differs(&old.snapshot, &new.snapshot);
    let touched = |direction| {
        let touched = ends
            .iter()
            .filter(|end| all || ends::touched(&old.snapshot, &new.snapshot, end, direction));
        touched.cloned().collect::<Vec<_>>()
    };
    let ports = regions::ports([&old.snapshot, &new.snapshot]);
    let pairs =
        [(touched(Direction::Egress), ends.to_vec()), (ends.to_vec(), touched(Direction::Ingress))];
    let mut probes: Vec<Probe> = Vec::new();
    for (from, to) in pairs {
        if from.is_empty() || to.is_empty() {
            continue;
        }
        let selection = Selection { from, to, ports: ports.clone() };
        probes.extend(chosen(side, &selection)?);
    }
    probes.extend(to_services(side, old, new, ends, &touched)?);
    probes.sort();
    probes.dedup();
    Ok(truth::of(&side.snapshot, &probes).table.probes)
}

/// The probes of a selection, which may be none.
fn chosen(side: &Manifests, selection: &Selection) -> Result<Vec<Probe>, Error> {
    match choose(side, selection, None) {
        Err(errors) if errors.iter().all(|error| error.reason == Unfit::Nothing) => Ok(Vec::new()),
        Err(errors) => Err(InputError::Probes(errors).into()),
        Ok(probes) => Ok(probes),
    }
}

/// Probes of Services at their own ports: from pods whose egress may differ, or, as any pod may be
/// behind a Service, from every pod where the ingress of some may.
fn to_services(
    side: &Manifests,
    old: &Manifests,
    new: &Manifests,
    ends: &[End],
    touched: &dyn Fn(Direction) -> Vec<End>,
) -> Result<Vec<Probe>, Error> {
    let every = !touched(Direction::Ingress).is_empty();
    let mut from = if every { ends.to_vec() } else { touched(Direction::Egress) };
    from.retain(|end| matches!(end, End::Pod(_)));
    let to = ends::services(&old.snapshot, &new.snapshot);
    if from.is_empty() || to.is_empty() {
        return Ok(Vec::new());
    }
    chosen(side, &Selection { from, to, ports: Vec::new() })
}

fn key(row: &Row) -> Key {
    let (protocol, family) = (row.protocol.name(), row.family.name());
    (row.from.to_string(), row.to.to_string(), row.port, protocol, family)
}
