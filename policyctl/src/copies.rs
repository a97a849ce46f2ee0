//! Second pods of made-up workloads: they stand for peers of the first, and for nothing else.
//!
//! ```text
//! web -> web-2     kept, and printed as web -> web: two pods of the workload
//! web-2 -> db      left out: the same as web -> db
//! ```

use policy_manifest::{End, MadeUp};
use policy_probe::{Probe, Table};

/// Leaves out the probes of second pods that say nothing new. Those from or to an end of `asked`
/// stay: a person has named it.
pub(crate) fn retain(probes: &mut Vec<Probe>, made_up: &MadeUp, asked: &[End]) {
    let first = |end: &End| match end {
        End::Pod(name) => made_up.copies.get(name),
        End::Host(_) | End::Service(_) | End::Address(_) => None,
    };
    let is_asked = |probe: &Probe| asked.contains(&probe.from) || asked.contains(&probe.to);
    probes.retain(|probe| {
        is_asked(probe)
            || match (first(&probe.from), first(&probe.to), &probe.from) {
                (None, Some(of), End::Pod(from)) => of == from,
                (None, None, _) => true,
                (Some(_), _, _) | (None, Some(_), _) => false,
            }
    });
}

/// Names second pods as the first pod of their workload, apart from those that a person has named.
pub(crate) fn rename(table: &mut Table, made_up: &MadeUp, asked: &[End]) {
    for row in &mut table.probes {
        if let End::Pod(name) = &row.to
            && !asked.contains(&row.to)
            && let Some(first) = made_up.copies.get(name)
        {
            row.to = End::Pod(first.clone());
        }
    }
}
