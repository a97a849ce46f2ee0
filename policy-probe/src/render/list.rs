//! One line per probe.

use comfy_table::Cell;

use super::{Style, colour, grid};
use crate::{Decider, Row, Verdict};

/// All there is to say of each row.
pub(super) fn probes(rows: &[Row], style: Style) -> String {
    let header = ["FROM", "TO", "PORT", "FAMILY", "VERDICT", "BY"].map(Cell::new).to_vec();
    let cells = rows.iter().map(|row| {
        let mut cells = head(row);
        cells.push(Cell::new(row.verdict).fg(colour(row.verdict)));
        cells.push(Cell::new(by(row)));
        cells
    });
    grid(header, cells.collect(), style)
}

/// The rows where the wire gave another verdict than the compiler.
pub(super) fn disagreements(rows: &[Row], style: Style) -> String {
    let header = ["FROM", "TO", "PORT", "FAMILY", "WIRE", "COMPILER", "BY"].map(Cell::new).to_vec();
    let cells = rows.iter().map(|row| {
        let mut cells = head(row);
        let expected = row.expected().into();
        cells.push(Cell::new(row.verdict).fg(colour(row.verdict)));
        cells.push(Cell::new(expected).fg(colour(expected)));
        cells.push(Cell::new(by(row)));
        cells
    });
    grid(header, cells.collect(), style)
}

fn head(row: &Row) -> Vec<Cell> {
    vec![
        Cell::new(&row.from),
        Cell::new(&row.to),
        Cell::new(format!("{}/{}", row.port, row.protocol)),
        Cell::new(row.family.name()),
    ]
}

/// Which policies decided: of a denied probe, those of the directions that deny.
fn by(row: &Row) -> String {
    let halves =
        [("egress", row.egress, &row.by.egress), ("ingress", row.ingress, &row.by.ingress)];
    let told = halves
        .into_iter()
        .filter(|(_, verdict, deciders)| *verdict == row.expected() && !deciders.is_empty());
    let parts: Vec<String> = told
        .map(|(direction, verdict, deciders)| {
            let names: Vec<String> = deciders.iter().map(|by| decider(by, verdict)).collect();
            format!("{direction}: {}", names.join(", "))
        })
        .collect();
    if parts.is_empty() { "no policy".to_owned() } else { parts.join("; ") }
}

fn decider(by: &Decider, verdict: Verdict) -> String {
    let kind = if by.kind == "NetworkPolicy" { String::new() } else { format!("{} ", by.kind) };
    let scope = if by.namespace.is_empty() { String::new() } else { format!("{}/", by.namespace) };
    let name = format!("{kind}{scope}{}", by.name);
    match (by.rule, verdict) {
        (Some(rule), _) => format!("{name} rule {rule}"),
        (None, Verdict::Deny) => format!("no rule of {name}"),
        (None, Verdict::Allow) => name,
    }
}
