//! `EndpointSlice` (`discovery.k8s.io/v1`): only the fields that translation depends on.

use policy_core::model::{EndpointSlice, Protocol, SliceEndpoint, SlicePort, TopologyHints};

use super::metadata;
use crate::decode::{Field, Map};

/// Decodes a slice; `None` where it is of no Service that kube-proxy translates, or holds names
/// instead of addresses.
pub(super) fn decode(object: &Map<'_>) -> Option<EndpointSlice> {
    const TYPES: [(&str, bool); 3] = [("IPv4", true), ("IPv6", true), ("FQDN", false)];
    let addresses = object.require("addressType")?.word(&TYPES);
    let labels = metadata::labels(object);
    if !addresses? || metadata::is_of_another_proxy(&labels) {
        return None;
    }
    let slice = EndpointSlice {
        service: labels.get("kubernetes.io/service-name").cloned().unwrap_or_default(),
        ports: object.list("ports").iter().filter_map(port).collect(),
        endpoints: object.list("endpoints").iter().filter_map(endpoint).collect(),
    };
    (!slice.service.is_empty()).then_some(slice)
}

/// A port; one without a number stands for all, which no Service uses.
fn port(field: &Field<'_>) -> Option<SlicePort> {
    let map = field.map()?;
    let name = map.get("name").map(|field| field.string());
    let protocol = map.get("protocol").map(|field| field.protocol());
    let port = map.get("port")?.port();
    Some(SlicePort {
        name: name.unwrap_or(Some(String::new()))?,
        port: port?,
        protocol: protocol.unwrap_or(Some(Protocol::Tcp))?,
    })
}

fn endpoint(field: &Field<'_>) -> Option<SliceEndpoint> {
    let map = field.map()?;
    let address = map.require("addresses")?.list().first()?.address();
    let conditions = map.get("conditions").and_then(|field| field.map());
    let condition = |name| conditions.as_ref()?.get(name)?.boolean();
    let ready = condition("ready").unwrap_or(true);
    Some(SliceEndpoint {
        address: address?,
        ready,
        serving: condition("serving").unwrap_or(ready),
        terminating: condition("terminating").unwrap_or_default(),
        node: map.get("nodeName").and_then(|field| field.string()),
        hints: map.map("hints").map(|hints| topology_hints(&hints)).unwrap_or_default(),
    })
}

fn topology_hints(hints: &Map<'_>) -> TopologyHints {
    let names = |list| {
        let entries = hints.list(list).iter().filter_map(Field::map).collect::<Vec<_>>();
        entries.iter().filter_map(|entry| entry.require("name")?.string()).collect()
    };
    TopologyHints { zones: names("forZones"), nodes: names("forNodes") }
}
