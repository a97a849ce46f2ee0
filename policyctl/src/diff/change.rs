//! What changes between two sets of manifests, connection by connection: the rows of `-o json`.

use std::collections::BTreeMap;

use policy_core::model::{Direction, Snapshot};
use policy_manifest::{End, Manifests};
use policy_probe::{Outcome, Probe, Row, Selection, choose, if_any, input::InputError};
use serde::Serialize;

use super::{ends, regions};
use crate::{copies, error::Error, truth};

/// Connections that change, sorted by their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Diff {
    pub(super) opened: Vec<ProbeChange>,
    pub(super) closed: Vec<ProbeChange>,
    /// How many connections were compared and did not change.
    pub(super) unchanged: usize,
}

/// A connection, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ProbeChange {
    pub(super) old: Row,
    pub(super) new: Row,
}

/// From, to, port, protocol and family of a row.
type ProbeKey = (String, String, u16, &'static str, &'static str);

impl Diff {
    /// Compares two sides.
    ///
    /// # Errors
    ///
    /// No pod can be compared: printing "0 opened" would look like no change.
    pub(super) fn between(old: &Manifests, new: &Manifests) -> Result<Self, Error> {
        let ends = ends::common(old, new);
        if !ends.iter().any(|end| matches!(end, End::Pod(_))) {
            return Err(Error::NothingToCompare);
        }
        let selections = selections(&old.snapshot, &new.snapshot, &ends);
        let (before, after) = (rows(old, &selections)?, rows(new, &selections)?);
        let before: BTreeMap<ProbeKey, Row> =
            before.into_iter().map(|row| (key(&row), row)).collect();
        let mut diff = Self::default();
        for row in after {
            let Some(old) = before.get(&key(&row)) else { continue };
            let change = || ProbeChange { old: old.clone(), new: row.clone() };
            match (old.verdict, row.verdict) {
                (before, after) if before == after => diff.unchanged += 1,
                (_, Outcome::Allow) => diff.opened.push(change()),
                _ => diff.closed.push(change()),
            }
        }
        Ok(diff)
    }
}

/// The rows of one side.
fn rows(side: &Manifests, selections: &[Selection]) -> Result<Vec<Row>, Error> {
    let mut probes: Vec<Probe> = Vec::new();
    for selection in selections {
        let chosen = if_any(choose(side, selection, None));
        probes.extend(chosen.map_err(InputError::Probes)?);
    }
    probes.sort();
    probes.dedup();
    copies::retain(&mut probes, &side.made_up, &[]);
    let mut table = truth::of(&side.snapshot, probes).table;
    copies::rename(&mut table, &side.made_up, &[]);
    Ok(table.probes)
}

/// The pairs whose verdicts may differ, and the ports to compare them at.
///
/// Comparing every pair of a large cluster takes minutes, and most changes concern few pods. Where
/// only the ingress policy of `b` differs, everything to `b` is compared, and each pod with each
/// Service, as `b` may be its backend; where only the egress policy of `a` differs, everything from
/// `a`. Where nodes, Services or cluster-wide policies differ, every pair.
fn selections(old: &Snapshot, new: &Snapshot, ends: &[End]) -> Vec<Selection> {
    let all = ends::rest_differs(old, new);
    let touched = |direction| {
        let touched = ends.iter().filter(|end| all || ends::touched(old, new, end, direction));
        touched.cloned().collect::<Vec<_>>()
    };
    let (egress, ingress) = (touched(Direction::Egress), touched(Direction::Ingress));
    // To Services: from pods whose egress may differ; from every pod where the ingress of some pod
    // may differ, as that pod can be a backend.
    let mut callers = if ingress.is_empty() { egress.clone() } else { ends.to_vec() };
    callers.retain(|end| matches!(end, End::Pod(_)));
    let (services, ports) = (ends::services(old, new), regions::ports([old, new]));
    let selections = [
        Selection { from: egress, to: ends.to_vec(), ports: ports.clone(), ..Selection::default() },
        Selection { from: ends.to_vec(), to: ingress, ports, ..Selection::default() },
        // Services are compared at their own ports.
        Selection { from: callers, to: services, ..Selection::default() },
    ];
    // An empty list means every pod to `choose`.
    selections.into_iter().filter(|one| !one.from.is_empty() && !one.to.is_empty()).collect()
}

fn key(row: &Row) -> ProbeKey {
    let (protocol, family) = (row.protocol.name(), row.family.name());
    (row.from.to_string(), row.to.to_string(), row.port, protocol, family)
}
