//! Connections as a table in CSV (RFC 4180) with the columns `from`, `to` and `port`.

use csv::{ReaderBuilder, StringRecord, Trim};
use policy_core::model::Protocol;
use policy_manifest::{Place, Source};

use super::{Observed, ObservedEnd, ObservedFlow, ObservedProtocol};
use crate::flows_error::FlowsError;

/// Reads the rows below the header; further columns are passed over, apart from `protocol`.
pub(super) fn read(source: &Source, observed: &mut Observed) -> Result<(), FlowsError> {
    let mut reader = ReaderBuilder::new();
    reader.trim(Trim::All).comment(Some(b'#'));
    let mut reader = reader.from_reader(source.text.as_bytes());
    let place = |line: u64| Place {
        source: source.name.clone(),
        line: usize::try_from(line).unwrap_or(usize::MAX),
        column: 1,
    };
    let broken = |source: csv::Error| {
        let line = source.position().map_or(1, csv::Position::line);
        FlowsError::Csv { place: place(line), source }
    };
    let header = reader.headers().map_err(broken)?.clone();
    let column = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let wanted = column("from").zip(column("to")).zip(column("port"));
    let Some(((from, to), port)) = wanted else {
        return Err(FlowsError::NoColumn { place: place(1) });
    };
    let protocol = column("protocol");
    for record in reader.records() {
        let record: StringRecord = record.map_err(broken)?;
        let place = place(record.position().map_or(1, csv::Position::line));
        let cell = |at: usize| record.get(at).unwrap_or_default();
        let text = match protocol.map(cell).filter(|protocol| !protocol.is_empty()) {
            Some(protocol) => format!("{}/{protocol}", cell(port)),
            None => cell(port).to_owned(),
        };
        let protocol = protocol_of(&text)
            .ok_or_else(|| FlowsError::Port { place: place.clone(), found: text })?;
        let end = |text: &str| ObservedEnd {
            name: Some(text.to_owned()),
            address: text.parse().ok(),
            ..ObservedEnd::default()
        };
        observed.flows.push(ObservedFlow {
            from: end(cell(from)),
            to: end(cell(to)),
            protocol,
            place,
        });
    }
    Ok(())
}

/// `80`, `80/TCP` or `ICMP`.
fn protocol_of(text: &str) -> Option<ObservedProtocol> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
    let known = Protocol::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(protocol));
    match (known, port.parse()) {
        (Some(protocol), Ok(port)) if port != 0 => Some(ObservedProtocol::Port(protocol, port)),
        (None, _) if port.is_empty() => Some(ObservedProtocol::Other(protocol.to_owned())),
        _ if text.to_ascii_uppercase().starts_with("ICMP") => {
            Some(ObservedProtocol::Other(text.to_owned()))
        }
        _ => None,
    }
}
