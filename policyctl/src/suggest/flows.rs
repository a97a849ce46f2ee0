//! Observed connections, in the forms that people have them.
//!
//! Input: the text of a file. Output: one [`ObservedFlow`] for each line that is a connection, and how
//! many lines are none. A file that begins with `{` has an object of JSON in each line: of this
//! project's flow log, or of Hubble. Any other is a table:
//!
//! ```text
//! from,to,port
//! shop/web,shop/db,5432/TCP
//! shop/web,203.0.113.7,443
//! ```

mod hubble;
mod log;
mod table;

use std::{collections::BTreeMap, net::IpAddr};

use policy_core::model::{Labels, Protocol, Workload};
use policy_manifest::{Place, Source};

use crate::flows_error::FlowsError;

/// A connection that was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedFlow {
    pub(super) from: ObservedEnd,
    pub(super) to: ObservedEnd,
    pub(super) protocol: ObservedProtocol,
    /// The line.
    pub(super) place: Place,
}

/// Protocol and destination port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ObservedProtocol {
    /// With ports.
    Port(Protocol, u16),
    /// Without, by its name.
    Other(String),
}

/// An end of a connection, as its file names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObservedEnd {
    /// As `--from` and `--to` write ends.
    pub(super) name: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) namespace: Option<String>,
    pub(super) pod: Option<String>,
    pub(super) labels: Labels,
    pub(super) workload: Option<Workload>,
}

/// All connections of some files.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) flows: Vec<ObservedFlow>,
    /// Lines that are no connections, by the reason.
    pub(super) passed_over: BTreeMap<&'static str, usize>,
}

/// Reads a file.
pub(super) fn read(
    source: &Source,
    with_denied: bool,
    observed: &mut Observed,
) -> Result<(), FlowsError> {
    if source.text.trim_start().starts_with('{') {
        for (line, number) in source.text.lines().zip(1..) {
            if !line.trim().is_empty() {
                let place = Place { source: source.name.clone(), line: number, column: 1 };
                of_line(line, &place, with_denied, observed)?;
            }
        }
        return Ok(());
    }
    table::read(source, observed)
}

/// Reads a line of JSON.
fn of_line(
    line: &str,
    place: &Place,
    with_denied: bool,
    observed: &mut Observed,
) -> Result<(), FlowsError> {
    let found = match hubble::read(line, place, with_denied) {
        Some(found) => found,
        None => log::read(line, place)
            .map_err(|source| FlowsError::Json { place: place.clone(), source })?,
    };
    match found {
        Ok(flow) => observed.flows.push(flow),
        Err(reason) => *observed.passed_over.entry(reason).or_default() += 1,
    }
    Ok(())
}
