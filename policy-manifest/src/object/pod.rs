//! `Pod` (`core/v1`): only the fields that policy depends on.

use std::{net::IpAddr, sync::Arc};

use policy_core::model::{ContainerPort, HostPort, Phase, Pod, Protocol};

use super::metadata;
use crate::decode::{Field, Map};

/// Decodes a pod, without the parts that are not legal; the log has their errors.
pub(super) fn decode(object: &Map<'_>) -> Pod {
    let spec = object.map("spec");
    let status = object.map("status");
    let text = |map: &Option<Map<'_>>, name| map.as_ref()?.get(name)?.string();
    let phase = match text(&status, "phase").as_deref() {
        Some("Succeeded" | "Failed") => Phase::Finished,
        _ => Phase::Live,
    };
    let host_network = spec.as_ref().and_then(|spec| spec.get("hostNetwork"));
    let labels = metadata::labels(object);
    let ports = spec.as_ref().map(ports).unwrap_or_default();
    Pod {
        uid: text(&object.map("metadata"), "uid").unwrap_or_default(),
        workload: metadata::workload(object, &labels).map(Arc::new),
        deleted: None,
        labels,
        node: text(&spec, "nodeName").filter(|node| !node.is_empty()),
        addresses: status.map(|status| addresses(&status)).unwrap_or_default(),
        host_network: host_network.and_then(|field| field.boolean()).unwrap_or_default(),
        phase,
        ports: ports.iter().filter_map(|map| port(map, "containerPort")).collect(),
        host_ports: ports.iter().filter_map(host_port).collect(),
    }
}

/// `podIPs`, or the older `podIP` where that is all there is.
fn addresses(status: &Map<'_>) -> Vec<IpAddr> {
    let several = status.list("podIPs");
    if several.is_empty() {
        return status.get("podIP").and_then(|field| address(&field)).into_iter().collect();
    }
    several.iter().filter_map(|item| address(&item.map()?.require("ip")?)).collect()
}

/// An address; the empty string of a pod that has none yet is none.
fn address(field: &Field<'_>) -> Option<IpAddr> {
    if field.is_empty_string() { None } else { field.address() }
}

/// Entries of `ports` of containers and of sidecars (S23).
fn ports<'a>(spec: &Map<'a>) -> Vec<Map<'a>> {
    let containers = spec.list("containers").iter().filter_map(Field::map).collect::<Vec<_>>();
    let sidecars =
        spec.list("initContainers").iter().filter_map(Field::map).filter(is_sidecar).collect();
    [containers, sidecars]
        .iter()
        .flatten()
        .flat_map(|container| container.list("ports"))
        .filter_map(|field| field.map())
        .collect()
}

/// The port of the node that leads to a container's port; `hostPort: 0` is none.
fn host_port(map: &Map<'_>) -> Option<HostPort> {
    let field = map.get("hostPort").filter(|field| !field.is_number("0"))?;
    let address = map.get("hostIP").filter(|field| !field.is_empty_string());
    let address = match address {
        Some(field) => Some(field.address()?).filter(|address| !address.is_unspecified()),
        None => None,
    };
    let ContainerPort { port: container_port, protocol, .. } = port(map, "containerPort")?;
    Some(HostPort { address, port: field.port()?, protocol, container_port })
}

fn is_sidecar(container: &Map<'_>) -> bool {
    let policy = container.get("restartPolicy").and_then(|field| field.string());
    policy.as_deref() == Some("Always")
}

/// An entry of `ports`, with the number in the field `number`.
pub(super) fn port(map: &Map<'_>, number: &'static str) -> Option<ContainerPort> {
    let name = map.get("name").filter(|field| !field.is_empty_string());
    let name = name.map(|field| field.port_name());
    let protocol = map.get("protocol").map(|field| field.protocol());
    let port = map.require(number)?.port();
    Some(ContainerPort {
        name: name.map_or(Some(None), |name| name.map(Some))?,
        port: port?,
        protocol: protocol.unwrap_or(Some(Protocol::Tcp))?,
    })
}
