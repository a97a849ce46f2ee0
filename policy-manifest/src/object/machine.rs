//! Machines: `Node` (`core/v1`) and `Host` (`policy.lab/v1alpha1`).

use std::net::IpAddr;

use policy_core::model::ContainerPort;

use super::{metadata, pod};
use crate::{
    Host,
    decode::{Field, Map},
    problem::Problem,
};

/// `status.addresses` of the types that are addresses.
pub(super) fn node(object: &Map<'_>) -> Vec<IpAddr> {
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
