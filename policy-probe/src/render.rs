//! Truth tables as text and as JSON.

mod list;
mod matrix;

use comfy_table::{Color, ContentArrangement, Row as GridRow, Table as Grid, presets};

use crate::{Mismatch, Outcome, Row, Table};

/// A table with at most so many rows is a list, with the deciding policies; a larger one a matrix.
const LIST_LIMIT: usize = 12;

/// How to draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colours; `terminal::style` sets it on a terminal that shows them.
    pub colour: bool,
    /// Width of the terminal in characters; `None` where there is none.
    pub width: Option<usize>,
    /// Whether the outcomes come from the wire: the summary then counts the probes that are lost,
    /// and those where wire and compiler disagree.
    pub of_wire: bool,
}

/// The table as JSON, with a line break at its end.
///
/// # Errors
///
/// None in practice; the signature is that of `serde_json`.
pub fn json(table: &Table) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(table).map(|text| text + "\n")
}

/// The table for people; below it the rows where wire and compiler disagree, the mismatches, and a
/// summary.
///
/// A few rows are a list; more are matrices with a row for each source and a column for each
/// destination.
#[must_use]
pub fn text(table: &Table, mismatches: &[Mismatch], style: Style) -> String {
    let rows = &table.probes;
    let mut blocks = if rows.len() <= LIST_LIMIT {
        vec![list::probes(rows, style)]
    } else {
        matrix::draw(rows, style)
    };
    let disagreeing: Vec<Row> = rows.iter().filter(|row| !row.agrees()).cloned().collect();
    if !disagreeing.is_empty() {
        blocks.push(format!(
            "Wire and compiler disagree:\n{}",
            list::disagreements(&disagreeing, style)
        ));
    }
    if !mismatches.is_empty() {
        let lines: Vec<String> = mismatches.iter().map(|line| format!("  {line}")).collect();
        blocks.push(format!("Not as expected:\n{}", lines.join("\n")));
    }
    let lost = || count(rows, Outcome::Lost);
    let of_wire = || format!(", {} lost, {} disagree", lost(), disagreeing.len());
    blocks.push(summary(rows) + &if style.of_wire { of_wire() } else { String::new() });
    blocks.join("\n\n") + "\n"
}

/// Numbers of allowed and denied probes.
fn summary(rows: &[Row]) -> String {
    format!(
        "{} {}, {} allowed, {} denied",
        rows.len(),
        if rows.len() == 1 { "probe" } else { "probes" },
        count(rows, Outcome::Allow),
        count(rows, Outcome::Deny),
    )
}

fn count(rows: &[Row], outcome: Outcome) -> usize {
    rows.iter().filter(|row| row.verdict == outcome).count()
}

/// A grid without lines, as kubectl prints it.
#[must_use]
pub fn grid<R: Into<GridRow>>(
    header: impl Into<GridRow>,
    rows: impl IntoIterator<Item = R>,
    style: Style,
) -> String {
    let mut grid = Grid::new();
    grid.load_style(presets::NOTHING);
    grid.set_content_arrangement(ContentArrangement::Disabled);
    if style.colour {
        grid.enforce_styling();
    } else {
        grid.force_no_tty();
    }
    grid.set_header(header);
    grid.add_rows(rows);
    for column in grid.column_iter_mut() {
        column.set_padding((0, 2));
    }
    grid.trim_fmt()
}

/// The colour of an outcome.
fn colour(outcome: Outcome) -> Color {
    match outcome {
        Outcome::Allow => Color::Green,
        Outcome::Deny => Color::Red,
        Outcome::Lost => Color::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use super::{Style, grid};

    #[test]
    fn a_column_is_as_wide_as_its_longest_cell() {
        let rows = [["a", "long"], ["bbb", ""]];
        assert_eq!(grid(["X", "Y"], rows, Style::default()), "X    Y\na    long\nbbb");
    }
}
