//! The list as a picture for Mermaid.

use std::io::{self, Write};

use super::{listing::Listing, names::Names};
use crate::output;

/// A subgraph for each namespace, a box for each workload, a rounded box for each block.
pub(super) fn write(
    listing: &Listing<'_>,
    warnings: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    let names = Names::of(listing);
    writeln!(out, "flowchart LR")?;
    for (index, (namespace, workloads)) in names.namespaces.iter().enumerate() {
        writeln!(out, "  subgraph s{index}[\"{namespace}\"]")?;
        for (name, number) in workloads {
            writeln!(out, "    n{number}[\"{name}\"]")?;
        }
        writeln!(out, "  end")?;
    }
    for (block, number) in &names.blocks {
        writeln!(out, "  n{number}([\"{block}\"])")?;
    }
    for row in listing.rows() {
        let (from, to) = (names.number(&row.from), names.number(&row.to));
        writeln!(out, "  n{from} -->|\"{}\"| n{to}", row.ports())?;
    }
    output::write_warnings(out, "  %% warning: ", warnings)
}
