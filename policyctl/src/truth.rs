//! The truth table that the compiler gives, without a packet: what `simulate` and `diff` print.

use policy_core::{
    compile::{Scope, compile},
    desired::Desired,
    explain::Explainer,
    model::Snapshot,
};
use policy_probe::{Probe, Row, Table};

/// A truth table, and notes for the reader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    pub(crate) table: Table,
    /// One line for each fault of the compiler, and for each probe that no policy applies to.
    pub(crate) notes: Vec<String>,
}

/// Judges probes by a compiled cluster.
pub(crate) struct ProbeJudge<'a> {
    explainer: Explainer<'a>,
}

/// Compiles the cluster and judges every probe.
pub(crate) fn of(snapshot: &Snapshot, probes: Vec<Probe>) -> Truth {
    let (desired, faults) = compile(snapshot, Scope::Cluster);
    let mut truth =
        Truth { notes: faults.iter().map(ToString::to_string).collect(), ..Truth::default() };
    let judge = ProbeJudge::new(snapshot, &desired);
    truth.table.probes.reserve(probes.len());
    for probe in probes {
        match judge.row(probe) {
            Ok(row) => truth.table.probes.push(row),
            Err(note) => truth.notes.push(note),
        }
    }
    truth
}

impl<'a> ProbeJudge<'a> {
    /// `desired` is compiled from `snapshot` for the whole cluster.
    pub(crate) fn new(snapshot: &'a Snapshot, desired: &'a Desired) -> Self {
        Self { explainer: Explainer::new(snapshot, desired) }
    }

    /// The row of a probe.
    ///
    /// # Errors
    ///
    /// A note, where no policy applies.
    pub(crate) fn row(&self, probe: Probe) -> Result<Row, String> {
        match self.explainer.explain(&probe.question()) {
            Some(explanation) => Ok(Row::of(probe, explanation, None)),
            None => Err(format!("{probe}: no policy applies")),
        }
    }
}
