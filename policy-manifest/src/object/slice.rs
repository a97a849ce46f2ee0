//! `EndpointSlice` (`discovery.k8s.io/v1`): only the fields that translation depends on.

use policy_core::model::{EndpointSlice, Protocol, SliceEndpoint, SlicePort};

use crate::decode::{Field, Map};

/// Decodes a slice; `None` where it is of no Service, or holds names instead of addresses.
pub(super) fn decode(object: &Map<'_>) -> Option<EndpointSlice> {
    const TYPES: [(&str, bool); 3] = [("IPv4", true), ("IPv6", true), ("FQDN", false)];
    let addresses = object.require("addressType")?.word(&TYPES, "IPv4, IPv6, FQDN");
    let label = object
        .map("metadata")
        .and_then(|metadata| metadata.map("labels"))
        .and_then(|labels| labels.get("kubernetes.io/service-name"))
        .and_then(|field| field.string());
    if !addresses? {
        return None;
    }
    let slice = EndpointSlice {
        service: label.unwrap_or_default(),
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
    })
}
