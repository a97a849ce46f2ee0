//! The truth table as a matrix: a row for each source, a column for each destination and port.
//!
//! ```text
//! FROM \ TO    backend/  database/
//!              api       mysql
//!              80/TCP    3306/TCP
//! backend/api  ·         ✓          a probe of a pod to itself is not run: ·
//! web/front    ✓4 ✗6     ✗          allowed in IPv4, denied in IPv6
//! ```
//!
//! A matrix that is wider than the terminal is split: first by port, so that one port stays in one
//! matrix where that fits, and else between columns. In 56 columns the three-tier example gives a
//! matrix for 22/TCP, one for the four columns of 80/TCP, and one for 3306/TCP and 8080/TCP
//! together.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{Attribute, Cell, Color};
use policy_core::model::{Family, Protocol};
use policy_manifest::End;

use super::{Style, colour, grid};
use crate::{Outcome, Row};

/// The width in characters where the terminal has none.
const WIDTH: usize = 100;

/// Spaces between columns.
const GAP: usize = 2;

/// The heading of the sources.
const CORNER: &str = "FROM \\ TO";

/// Destination, port and protocol.
type Column<'a> = (&'a End, u16, Protocol);

/// The columns of one matrix.
type Columns<'a> = Vec<Column<'a>>;

/// Rows by source and column.
type Cells<'a> = BTreeMap<(&'a End, Column<'a>), Vec<&'a Row>>;

/// One matrix if it fits into the width; otherwise several, split by port and protocol.
pub(super) fn draw(rows: &[Row], style: Style) -> Vec<String> {
    let cells = cells_of(rows);
    let columns: BTreeSet<Column<'_>> = cells.keys().map(|(_, column)| *column).collect();
    let columns: Vec<_> = columns.into_iter().collect();
    let width = style.width.unwrap_or(WIDTH);
    let room = width.saturating_sub(source_width(rows));
    let matrices = if total(&columns) <= room { vec![columns] } else { by_port(columns, room) };
    let sources: BTreeSet<&End> = cells.keys().map(|(from, _)| *from).collect();
    let drawn = matrices.iter().map(|columns| matrix(columns, &sources, &cells, style));
    let mut blocks: Vec<String> = drawn.collect();
    blocks.push(legend(rows, &cells));
    blocks
}

/// The rows of each source and column: one per family.
fn cells_of(rows: &[Row]) -> Cells<'_> {
    let mut cells = Cells::new();
    for row in rows {
        let column = (&row.to, row.port, row.protocol);
        cells.entry((&row.from, column)).or_default().push(row);
    }
    cells
}

/// Splits columns into matrices that fit; a column that is wider than the terminal has its own.
///
/// The columns of one port stay together where they fit into a matrix of their own.
fn by_port(columns: Columns<'_>, room: usize) -> Vec<Columns<'_>> {
    let mut ports: BTreeMap<(u16, Protocol), Columns<'_>> = BTreeMap::new();
    for column in columns {
        ports.entry((column.1, column.2)).or_default().push(column);
    }
    let mut matrices: Vec<Columns<'_>> = vec![Vec::new()];

    for port in ports.into_values() {
        if total(&port) <= room {
            append(&mut matrices, &port, room);
        } else {
            matrices.push(Vec::new());
            port.chunks(1).for_each(|column| append(&mut matrices, column, room));
        }
    }
    matrices.retain(|columns| !columns.is_empty());
    matrices
}

/// Puts columns into the last matrix if they fit, and otherwise into a new one.
fn append<'a>(matrices: &mut Vec<Columns<'a>>, more: &[Column<'a>], room: usize) {
    match matrices.last_mut() {
        Some(last) if last.is_empty() || total(last) + total(more) <= room => last.extend(more),
        _ => matrices.push(more.to_vec()),
    }
}

/// The width of the column with the sources.
fn source_width(rows: &[Row]) -> usize {
    let names = rows.iter().map(|row| row.from.to_string().len());
    names.max().unwrap_or_default().max(CORNER.len())
}

/// The width of columns of destinations, each with the gap before it.
fn total(columns: &[Column<'_>]) -> usize {
    columns.iter().map(|column| column_width(*column)).sum()
}

fn column_width(column: Column<'_>) -> usize {
    const CELL: usize = "v4 x6!".len();
    heading(column).lines().map(str::len).max().unwrap_or_default().max(CELL) + GAP
}

/// The destination on two lines, the port on a third.
fn heading((to, port, protocol): Column<'_>) -> String {
    let name = to.to_string();
    let (scope, name) = match to {
        End::Address(_) => ("", name.as_str()),
        End::Pod(_) | End::Host(_) | End::Service(_) => {
            name.rfind('/').map_or(("", name.as_str()), |slash| name.split_at(slash + 1))
        }
    };
    format!("{scope}\n{name}\n{port}/{protocol}")
}

fn matrix(
    columns: &[Column<'_>],
    sources: &BTreeSet<&End>,
    cells: &Cells<'_>,
    style: Style,
) -> String {
    let probed = |from: &End| columns.iter().any(|column| cells.contains_key(&(from, *column)));
    let sources = sources.iter().copied().filter(|from| probed(from));
    let mut header = vec![Cell::new(CORNER)];
    header.extend(columns.iter().map(|column| Cell::new(heading(*column))));
    let lines = sources.map(|from| {
        let mut line = vec![Cell::new(from)];
        line.extend(columns.iter().map(|column| cell(cells.get(&(from, *column)))));
        line
    });
    grid(header, lines, style)
}

/// The outcome of a pair at a port: one sign, or one for each family where they differ.
fn cell(rows: Option<&Vec<&Row>>) -> Cell {
    let Some(rows) = rows else {
        return Cell::new("·");
    };
    let outcomes = outcomes(rows);
    let mark = if rows.iter().all(|row| row.agrees()) { "" } else { "!" };
    let cell = if outcomes.len() > 1 {
        let parts: Vec<String> = rows.iter().map(|row| family_sign(row)).collect();
        Cell::new(format!("{}{mark}", parts.join(" "))).fg(Color::Yellow)
    } else {
        let sign = outcomes.first().map(|outcome| outcome.sign());
        let only = outcomes.first().map_or(Color::Reset, |outcome| colour(*outcome));
        Cell::new(format!("{}{mark}", sign.unwrap_or('·'))).fg(only)
    };
    if mark.is_empty() { cell } else { cell.add_attribute(Attribute::Bold) }
}

fn outcomes(rows: &[&Row]) -> BTreeSet<Outcome> {
    rows.iter().map(|row| row.verdict).collect()
}

/// `✓4` or `✗6`.
fn family_sign(row: &Row) -> String {
    let family = match row.family {
        Family::Ipv4 => '4',
        Family::Ipv6 => '6',
    };
    format!("{}{family}", row.verdict.sign())
}

/// What the signs mean that the matrices use.
fn legend(rows: &[Row], cells: &Cells<'_>) -> String {
    let mut parts = vec!["✓ allowed", "✗ denied"];
    if rows.iter().any(|row| row.verdict == Outcome::Lost) {
        parts.push("? lost");
    }
    if cells.values().any(|rows| outcomes(rows).len() > 1) {
        parts.push("4 IPv4   6 IPv6");
    }
    if rows.iter().any(|row| !row.agrees()) {
        parts.push("! wire and compiler disagree");
    }
    parts.push("· not probed");
    parts.join("   ")
}
