//! Connections that no network policy can allow, and why.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use policy_core::model::ObjectName;
use policy_manifest::Place;
use serde::Serialize;

use super::{
    connection::ObservedConnection,
    flows::{ObservedEnd, ObservedFlow, ObservedProtocol},
};

/// A connection that no network policy can allow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct NotExpressed {
    file: String,
    line: usize,
    from: String,
    to: String,
    port: String,
    reason: String,
}

/// Connections of workloads that no label selects; both ends of a connection may be such.
#[derive(Debug, Default)]
pub(super) struct UnlabelledEnds {
    /// The workloads of each connection, as text.
    of_connections: BTreeMap<NotExpressed, BTreeSet<String>>,
}

impl UnlabelledEnds {
    /// Adds an end of a connection.
    pub(super) fn add(&mut self, connection: &ObservedConnection, workload: &ObjectName) {
        let connection = NotExpressed::of(connection, String::new());
        self.of_connections.entry(connection).or_default().insert(workload.to_string());
    }

    /// One entry for each connection, whichever of its ends are such workloads.
    pub(super) fn into_not_expressed(self) -> impl Iterator<Item = NotExpressed> {
        self.of_connections.into_iter().map(|(connection, workloads)| {
            let names = workloads.into_iter().collect::<Vec<_>>().join(" and ");
            let reason = format!("the pods of {names} have no label that stays the same");
            NotExpressed { reason, ..connection }
        })
    }
}

impl NotExpressed {
    /// A connection as its file has it.
    pub(super) fn of_flow(flow: &ObservedFlow, reason: String) -> Self {
        let end = |end: &ObservedEnd| {
            let pod = end.namespace.as_ref().zip(end.pod.as_ref());
            let pod = pod.map(|(namespace, pod)| format!("{namespace}/{pod}"));
            let address = || end.address.map(|address| address.to_string());
            pod.or_else(|| end.name.clone()).or_else(address).unwrap_or_default()
        };
        let port = match &flow.protocol {
            ObservedProtocol::Port(protocol, port) => format!("{port}/{protocol}"),
            ObservedProtocol::Other(name) => name.clone(),
        };
        let Place { source: file, line, .. } = flow.place.clone();
        Self { file, line, from: end(&flow.from), to: end(&flow.to), port, reason }
    }

    /// A connection with its ends found.
    pub(super) fn of(connection: &ObservedConnection, reason: String) -> Self {
        let ObservedConnection { from, to, protocol, port, place, .. } = connection;
        Self {
            file: place.source.clone(),
            line: place.line,
            from: from.to_string(),
            to: to.to_string(),
            port: format!("{port}/{protocol}"),
            reason,
        }
    }
}

/// `flows.jsonl:3: shop/web -> 10.0.0.7 443/TCP: …`.
impl fmt::Display for NotExpressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, from, to, port, reason } = self;
        write!(f, "{file}:{line}: {from} -> {to} {port}: {reason}")
    }
}
