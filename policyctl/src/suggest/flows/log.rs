//! Lines of this project's flow log: denied connections.

use std::{collections::BTreeMap, net::IpAddr};

use policy_core::{
    attribute::can_be_allowed,
    model::{Labels, Protocol, Workload},
};
use policy_manifest::Place;
use serde::Deserialize;

use super::{ObservedEnd, ObservedFlow, ObservedProtocol};

/// The fields of a line that are needed.
#[derive(Deserialize)]
struct LogLine {
    #[serde(default)]
    reason: String,
    source: LogEnd,
    destination: LogEnd,
    protocol: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LogEnd {
    address: Option<IpAddr>,
    port: Option<u16>,
    namespace: Option<String>,
    pod: Option<String>,
    labels: BTreeMap<String, String>,
    workload: Option<LogWorkload>,
}

#[derive(Deserialize)]
struct LogWorkload {
    kind: String,
    name: String,
}

/// The connection of a line, or why it is none that a policy decides.
pub(super) fn read(
    line: &str,
    place: &Place,
) -> Result<Result<ObservedFlow, &'static str>, serde_json::Error> {
    let LogLine { reason, source, destination, protocol } = serde_json::from_str(line)?;
    if !reason.is_empty() && !can_be_allowed(&reason) {
        return Ok(Err("dropped for another reason than a policy"));
    }
    let known = Protocol::ALL.into_iter().find(|one| one.name() == protocol);
    let protocol = match known.zip(destination.port) {
        Some((protocol, port)) => ObservedProtocol::Port(protocol, port),
        None => ObservedProtocol::Other(protocol),
    };
    Ok(Ok(ObservedFlow {
        from: source.end(),
        to: destination.end(),
        protocol,
        place: place.clone(),
    }))
}

impl LogEnd {
    fn end(self) -> ObservedEnd {
        let Self { address, port: _, namespace, pod, labels, workload } = self;
        ObservedEnd {
            name: None,
            address,
            namespace,
            pod,
            labels: labels.into_iter().collect::<Labels>(),
            workload: workload.map(|LogWorkload { kind, name }| Workload { kind, name }),
        }
    }
}
