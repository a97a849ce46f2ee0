//! Machines: `Node` (`core/v1`) and `Host` (`policy.lab/v1alpha1`).

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use policy_core::model::{ContainerPort, Node};

use super::{metadata, pod};
use crate::{
    Host,
    decode::{Field, Map},
    problem::Problem,
};

/// Decodes a node, without the parts that are not legal; the log has their errors.
pub(super) fn node(object: &Map<'_>) -> Node {
    Node {
        labels: metadata::labels(object),
        addresses: addresses(object),
        pod_cidrs: object.map("spec").map(|spec| pod_cidrs(&spec)).unwrap_or_default(),
        interfaces: Vec::new(),
        probe_sources: Vec::new(),
        is_open_to_pods: false,
        asks_for_no_enforcement: metadata::disables_enforcement(object),
    }
}

/// `podCIDRs`, or the older `podCIDR` where that is all there is.
fn pod_cidrs(spec: &Map<'_>) -> Vec<IpNetwork> {
    let several = spec.list("podCIDRs");
    if several.is_empty() {
        let one = spec.get("podCIDR").filter(|field| !field.is_empty_string());
        return one.and_then(|field| field.block()).into_iter().collect();
    }
    several.iter().filter_map(Field::block).collect()
}

/// `status.addresses` of the types that are addresses.
fn addresses(object: &Map<'_>) -> Vec<IpAddr> {
    let Some(status) = object.map("status") else {
        return Vec::new();
    };
    status
        .list("addresses")
        .iter()
        .filter_map(|item| {
            let entry = item.map()?;
            match entry.require("type")?.string()?.as_str() {
                "InternalIP" | "ExternalIP" => entry.require("address")?.address(),
                _ => None,
            }
        })
        .collect()
}

/// Decodes a machine outside of the cluster, strictly.
pub(super) fn host(object: &Map<'_>) -> Host {
    object.check_only(&["apiVersion", "kind", "metadata", "spec"]);
    if let Some(metadata) = object.map("metadata") {
        metadata.check_only(&metadata::FIELDS);
    }
    let Some(spec) = object.require("spec").and_then(|field| field.map()) else {
        return Host::default();
    };
    spec.check_only(&["address", "addresses", "ports"]);
    let addresses = match (spec.get("address"), spec.get("addresses")) {
        (Some(_), Some(several)) => {
            several.reject(Problem::Exclusive { name: "addresses", other: "address" });
            Vec::new()
        }
        (None, Some(several)) => {
            let items = several.list();
            if items.is_empty() {
                several.reject(Problem::Missing { name: "an address" });
            }
            items.iter().filter_map(Field::address).collect()
        }
        (Some(one), None) => one.address().into_iter().collect(),
        (None, None) => {
            spec.reject(Problem::Missing { name: "address" });
            Vec::new()
        }
    };
    Host { addresses, ports: spec.list("ports").iter().filter_map(port).collect() }
}

fn port(field: &Field<'_>) -> Option<ContainerPort> {
    let map = field.map()?;
    map.check_only(&["name", "port", "protocol"]);
    pod::port(&map, "port")
}
