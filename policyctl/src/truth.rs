//! The truth table that the compiler gives, without a packet: what `simulate`, `graph` and `diff`
//! print.

use policy_core::{
    compile::{Scope, compile},
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

/// Compiles the cluster and judges every probe.
pub(crate) fn of(snapshot: &Snapshot, probes: &[Probe]) -> Truth {
    let (desired, faults) = compile(snapshot, Scope::Cluster);
    let mut truth =
        Truth { notes: faults.iter().map(ToString::to_string).collect(), ..Truth::default() };
    let explainer = Explainer::new(snapshot, &desired);
    truth.table.probes.reserve(probes.len());
    for probe in probes {
        match explainer.explain(&probe.question()) {
            Some(explanation) => {
                truth.table.probes.push(Row::of(probe.clone(), explanation, None));
            }
            None => truth.notes.push(format!("{}: no policy applies", named(probe))),
        }
    }
    truth
}

fn named(probe: &Probe) -> String {
    let Probe { from, to, port, protocol, family, .. } = probe;
    format!("{from} -> {to} {port}/{protocol} {}", family.name())
}
