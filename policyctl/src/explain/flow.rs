//! The connection of a line of the flow log.

use std::net::IpAddr;

use policy_core::model::{ObjectName, Protocol, Snapshot};
use policy_manifest::End;
use serde::Deserialize;

use crate::error::Error;

/// The fields of a line that a question needs.
#[derive(Deserialize)]
struct Flow {
    source: FlowEnd,
    destination: FlowEnd,
    protocol: String,
}

/// An end of a flow; pods have a namespace and a name too.
#[derive(Deserialize)]
struct FlowEnd {
    address: IpAddr,
    port: Option<u16>,
    namespace: Option<String>,
    pod: Option<String>,
}

/// The ends and the port of a flow-log line.
pub(super) fn read(line: &str, snapshot: &Snapshot) -> Result<(End, End, (u16, Protocol)), Error> {
    let flow: Flow = serde_json::from_str(line).map_err(|source| Error::NotAFlow { source })?;
    let protocol = Protocol::ALL.into_iter().find(|one| one.name() == flow.protocol);
    match (protocol, flow.destination.port) {
        (Some(protocol), Some(port)) => {
            Ok((flow.source.end(snapshot), flow.destination.end(snapshot), (port, protocol)))
        }
        (None, _) | (_, None) => Err(Error::OtherProtocol { protocol: flow.protocol }),
    }
}

impl FlowEnd {
    /// The pod, or the address where the pod is not in the input.
    fn end(self, snapshot: &Snapshot) -> End {
        let named = self.namespace.zip(self.pod);
        let pod = named.map(|(namespace, pod)| ObjectName::new(namespace, pod));
        match pod.filter(|name| snapshot.pods.contains_key(name)) {
            Some(name) => End::Pod(name),
            None => End::Address(self.address),
        }
    }
}
