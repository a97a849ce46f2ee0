//! From the nanoseconds of each round to figures, and their two forms: a table and JSON.

use anyhow::Result;
use serde_json::json;

/// What a figure must not exceed.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// Times the reference.
    Ratio(f64),
    /// Nanoseconds.
    Nanoseconds(f64),
}

/// One round of a figure, nanoseconds above an empty program.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) value: f64,
    pub(crate) reference: f64,
}

/// A figure with all its rounds.
pub(crate) struct Measured {
    pub(crate) name: String,
    /// What it is held against.
    pub(crate) reference: &'static str,
    pub(crate) bound: Bound,
    pub(crate) rounds: Vec<Round>,
}

impl Measured {
    fn median(&self, part: impl Fn(&Round) -> f64) -> f64 {
        let sorted = self.sorted(part);
        sorted[sorted.len() / 2]
    }

    fn sorted(&self, part: impl Fn(&Round) -> f64) -> Vec<f64> {
        let mut sorted: Vec<f64> = self.rounds.iter().map(part).collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The median of each round's ratio.
    fn ratio(&self) -> Option<f64> {
        match self.bound {
            Bound::Ratio(_) => Some(self.median(|round| round.value / round.reference)),
            Bound::Nanoseconds(_) => None,
        }
    }

    /// Whether the bound holds.
    pub(crate) fn holds(&self) -> bool {
        match self.bound {
            Bound::Ratio(bound) => self.ratio().is_some_and(|ratio| ratio <= bound),
            Bound::Nanoseconds(bound) => self.median(|round| round.value) <= bound,
        }
    }
}

/// Prints figures as rows.
pub(crate) fn print_table(figures: &[Measured]) {
    let width = figures.iter().map(|figure| figure.name.len()).max().unwrap_or_default();
    println!(
        "{:<width$} {:>8} {:>8} {:>8} {:>10} {:>6} {:>8}  {:<5}  reference",
        "packet", "ns", "min", "max", "reference", "ratio", "bound", "holds"
    );
    for figure in figures {
        let sorted = figure.sorted(|round| round.value);
        let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
        let median = figure.median(|round| round.value);
        let (reference, ratio, bound) = match figure.bound {
            Bound::Ratio(bound) => (
                format!("{:.1}", figure.median(|round| round.reference)),
                format!("{:.2}", figure.ratio().unwrap_or_default()),
                format!("{bound:.2} x"),
            ),
            Bound::Nanoseconds(bound) => (String::new(), String::new(), format!("{bound:.1} ns")),
        };
        let holds = if figure.holds() { "yes" } else { "NO" };
        println!(
            "{:<width$} {median:>8.1} {least:>8.1} {most:>8.1} {reference:>10} {ratio:>6} {bound:>8}  {holds:<5}  {}",
            figure.name, figure.reference
        );
    }
}

/// Prints figures as one JSON object.
pub(crate) fn print_json(figures: &[Measured]) -> Result<()> {
    let figure = |figure: &Measured| {
        let sorted = figure.sorted(|round| round.value);
        let (reference, bound) = match figure.bound {
            Bound::Ratio(bound) => (Some(figure.median(|round| round.reference)), bound),
            Bound::Nanoseconds(bound) => (None, bound),
        };
        json!({
            "name": figure.name,
            "unit": "ns",
            "median": figure.median(|round| round.value),
            "min": sorted[0],
            "max": sorted[sorted.len() - 1],
            "reference": reference,
            "ratio": figure.ratio(),
            "bound": bound,
            "holds": figure.holds(),
        })
    };
    let figures: Vec<_> = figures.iter().map(figure).collect();
    println!("{}", serde_json::to_string_pretty(&json!({ "figures": figures }))?);
    Ok(())
}
