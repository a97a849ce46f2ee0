//! The list as a table for people, and as a table of Markdown.

use std::io::{self, Write};

use super::listing::Listing;
use crate::output;

const HEADER: [&str; 4] = ["FROM", "TO", "FAMILY", "PORTS"];

/// Columns without lines, as kubectl prints them, and the number of rows.
pub(super) fn text(
    listing: &Listing<'_>,
    warnings: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    // The widths need a pass of their own, as the rows are too many to keep.
    let mut widths = HEADER.map(str::len);
    for row in listing.rows() {
        let cells = [row.from.to_string().len(), row.to.to_string().len(), row.families().len()];
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.max(*width);
        }
    }
    let [from, to, families, _] = widths;
    writeln!(
        out,
        "{:from$}  {:to$}  {:families$}  {}",
        HEADER[0], HEADER[1], HEADER[2], HEADER[3]
    )?;
    let mut count = 0_usize;
    for row in listing.rows() {
        count += 1;
        // A cell is formatted first: the width of a `Display` value is not respected by all types.
        let (start, end) = (row.from.to_string(), row.to.to_string());
        writeln!(out, "{start:from$}  {end:to$}  {:families$}  {}", row.families(), row.ports())?;
    }
    let sets = if count == 1 { "set" } else { "sets" };
    writeln!(out, "\n{count} {sets} of connections, {} workloads", listing.workloads.len())?;
    output::write_warnings(out, output::WARNING, warnings)
}

/// A table of Markdown.
pub(super) fn markdown(
    listing: &Listing<'_>,
    warnings: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "| From | To | Family | Ports |\n|---|---|---|---|")?;
    for row in listing.rows() {
        writeln!(out, "| {} | {} | {} | {} |", row.from, row.to, row.families(), row.ports())?;
    }
    output::write_warnings(out, output::MARKDOWN_WARNING, warnings)
}
