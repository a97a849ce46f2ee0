//! Truth tables as text.

mod list;
mod matrix;

use comfy_table::{Cell, Color, ContentArrangement, Table as Grid, presets};

use crate::{Mismatch, Outcome, Row, Table};

/// Most rows that are shown as a list, with the policies that decided.
const LIST_LIMIT: usize = 12;

/// How to draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colours: on a terminal, and `NO_COLOR` is not set.
    pub colour: bool,
    /// Columns of the terminal; `None` where there is none.
    pub width: Option<usize>,
}

/// The table as JSON, with a line break at its end.
///
/// # Errors
///
/// None that is known; serde's function has one.
pub fn json(table: &Table) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(table).map(|text| text + "\n")
}

/// The table for people, with what does not agree and what `mismatches` say below it.
///
/// A few rows are a list; more are matrices with a row per source and a column per destination.
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
    blocks.push(summary(rows, disagreeing.len()));
    blocks.join("\n\n") + "\n"
}

/// Numbers of probes by outcome.
fn summary(rows: &[Row], disagree: usize) -> String {
    let count = |outcome| rows.iter().filter(|row| row.verdict == outcome).count();
    format!(
        "{} {}, {} allowed, {} denied, {} lost, {disagree} disagree",
        rows.len(),
        if rows.len() == 1 { "probe" } else { "probes" },
        count(Outcome::Allow),
        count(Outcome::Deny),
        count(Outcome::Lost),
    )
}

/// A grid without lines, as kubectl prints it.
#[must_use]
pub fn grid(header: Vec<Cell>, rows: Vec<Vec<Cell>>, style: Style) -> String {
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
