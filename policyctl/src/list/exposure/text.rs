//! The exposure as a table for people, as Markdown and as CSV.

use std::io::{self, Write};

use csv::Writer;
use policy_core::model::Direction;

use super::{ExposedTo, ExposureReport, WorkloadExposure};
use crate::output;

/// Above the column of workloads that nothing protects.
const NOT_PROTECTED: &str = "not protected";

/// The cells of a row.
struct Cells([String; 5]);

const HEADER: [&str; 5] = ["WORKLOAD", "", "PLACE", "FAMILY", "PORTS"];

/// A row for each place, and below them the workloads that no policy selects.
pub(in crate::list) fn table(
    report: &ExposureReport,
    warnings: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    let rows: Vec<Cells> = rows(report).collect();
    let mut widths = HEADER.map(str::len);
    for Cells(row) in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let [workload, arrow, place, family, _] = widths;
    let mut line = |cells: [&str; 5]| {
        writeln!(
            out,
            "{:workload$}  {:arrow$}  {:place$}  {:family$}  {}",
            cells[0], cells[1], cells[2], cells[3], cells[4]
        )
    };
    line(HEADER)?;
    for Cells(row) in &rows {
        line([&row[0], &row[1], &row[2], &row[3], &row[4]])?;
    }
    let open: Vec<String> = not_protected(report).collect();
    if !open.is_empty() {
        writeln!(out, "\nNot protected, as no policy selects all of their pods:")?;
        for one in open {
            writeln!(out, "  {one}")?;
        }
    }
    output::write_warnings(out, output::WARNING, warnings)
}

/// The same as tables of Markdown.
pub(in crate::list) fn markdown(
    report: &ExposureReport,
    warnings: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "| Workload | Direction | Place | Family | Ports |\n|---|---|---|---|---|")?;
    for Cells([workload, arrow, place, family, ports]) in rows(report) {
        let direction = if arrow == "<-" { "ingress" } else { "egress" };
        writeln!(out, "| {workload} | {direction} | {place} | {family} | {ports} |")?;
    }
    for one in not_protected(report) {
        writeln!(out, "\nNot protected: {one}")?;
    }
    output::write_warnings(out, output::MARKDOWN_WARNING, warnings)
}

/// The same as CSV (RFC 4180), with a header.
pub(in crate::list) fn csv(report: &ExposureReport, out: &mut impl Write) -> io::Result<()> {
    let mut csv = Writer::from_writer(out);
    csv.write_record([
        "workload",
        "direction",
        "protected",
        "place",
        "families",
        "ports",
        "some_pods_only",
    ])?;
    for one in &report.exposure {
        let protected = if one.protected { "yes" } else { NOT_PROTECTED };
        for place in &one.places {
            csv.write_record([
                &one.workload.to_string(),
                one.direction.name(),
                protected,
                &place.place.to_string(),
                &families(place),
                &every(place),
                &place.some_pods_only.to_string(),
            ])?;
        }
    }
    csv.flush()
}

fn rows(report: &ExposureReport) -> impl Iterator<Item = Cells> {
    report.exposure.iter().flat_map(|one| {
        let arrow = match one.direction {
            Direction::Ingress => "<-",
            Direction::Egress => "->",
        };
        one.places.iter().map(move |place| {
            Cells([
                one.workload.to_string(),
                arrow.to_owned(),
                place.place.to_string(),
                families(place),
                ports(place),
            ])
        })
    })
}

fn not_protected(report: &ExposureReport) -> impl Iterator<Item = String> {
    let open = report.exposure.iter().filter(|one| !one.protected);
    open.map(|WorkloadExposure { workload, direction, .. }| {
        format!("{workload}: {}", direction.name())
    })
}

fn families(place: &ExposedTo) -> String {
    place.families.iter().map(|family| family.name()).collect::<Vec<_>>().join(", ")
}

/// Ports that are open for every pod, those by name included.
fn every(place: &ExposedTo) -> String {
    match (place.ports.is_empty(), place.named_ports.as_slice()) {
        (_, []) => place.ports.to_string(),
        (true, names) => names.join("; "),
        (false, names) => format!("{}; {}", place.ports, names.join("; ")),
    }
}

/// The ports for people: those for some pods only in brackets.
fn ports(place: &ExposedTo) -> String {
    match (place.some_pods_only.is_empty(), place.ports.is_empty() && place.named_ports.is_empty())
    {
        (true, _) => every(place),
        (false, true) => format!("[{}]", place.some_pods_only),
        (false, false) => format!("{} [{}]", every(place), place.some_pods_only),
    }
}
