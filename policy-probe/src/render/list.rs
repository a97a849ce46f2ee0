//! The truth table as a list: one line for each probe, with the deciding policies.

use comfy_table::Cell;

use super::{Style, colour, grid};
use crate::Row;

/// Every row, with its outcome and the deciding policies.
pub(super) fn probes(rows: &[Row], style: Style) -> String {
    let header = ["FROM", "TO", "PORT", "FAMILY", "VERDICT", "BY"].map(Cell::new).to_vec();
    let cells = rows.iter().map(|row| {
        let mut cells = head(row);
        cells.push(Cell::new(row.verdict).fg(colour(row.verdict)));
        cells.push(Cell::new(row.decided_by()));
        cells
    });
    grid(header, cells, style)
}

/// The rows where the wire gave another verdict than the compiler.
pub(super) fn disagreements(rows: &[Row], style: Style) -> String {
    let header = ["FROM", "TO", "PORT", "FAMILY", "WIRE", "COMPILER", "BY"].map(Cell::new).to_vec();
    let cells = rows.iter().map(|row| {
        let mut cells = head(row);
        let expected = row.expected().into();
        cells.push(Cell::new(row.verdict).fg(colour(row.verdict)));
        cells.push(Cell::new(expected).fg(colour(expected)));
        cells.push(Cell::new(row.decided_by()));
        cells
    });
    grid(header, cells, style)
}

fn head(row: &Row) -> Vec<Cell> {
    vec![
        Cell::new(&row.from),
        Cell::new(&row.to),
        Cell::new(format!("{}/{}", row.port, row.protocol)),
        Cell::new(row.family.name()),
    ]
}
