//! The list as a picture for Graphviz.

use std::io::{self, Write};

use super::{listing::Listing, names::Names};
use crate::output;

/// A cluster for each namespace, a box for each workload, an ellipse for each block.
pub(super) fn write(
    listing: &Listing<'_>,
    warnings: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    let names = Names::of(listing);
    writeln!(out, "digraph connections {{\n  rankdir=LR;\n  node [shape=box];")?;
    for (namespace, workloads) in &names.namespaces {
        writeln!(out, "  subgraph \"cluster_{namespace}\" {{\n    label=\"{namespace}\";")?;
        for (name, number) in workloads {
            writeln!(out, "    n{number} [label=\"{name}\"];")?;
        }
        writeln!(out, "  }}")?;
    }
    for (block, number) in &names.blocks {
        writeln!(out, "  n{number} [label=\"{block}\", shape=ellipse];")?;
    }
    for row in listing.rows() {
        let (from, to) = (names.number(&row.from), names.number(&row.to));
        writeln!(out, "  n{from} -> n{to} [label=\"{}\"];", row.ports())?;
    }
    output::write_warnings(out, "  // warning: ", warnings)?;
    writeln!(out, "}}")
}
