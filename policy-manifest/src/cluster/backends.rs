//! Derives `EndpointSlices` for Services that have none, as the endpoint slice controller does:
//! hand-written manifests rarely have slices.

use std::collections::{BTreeMap, BTreeSet};

use policy_core::model::{
    EndpointSlice, Family, ObjectName, Phase, Pod, Service, SliceEndpoint, SlicePort, Snapshot,
};

use crate::object::{Backends, TargetPort};

/// Adds slices for each Service that has a selector and no slice.
///
/// A pod that is not finished and has an address counts as ready: files rarely have its conditions.
pub(super) fn derive(backends: &BTreeMap<ObjectName, Backends>, snapshot: &mut Snapshot) {
    let with_slice: BTreeSet<ObjectName> = snapshot
        .endpoint_slices
        .iter()
        .map(|(slice, content)| ObjectName::new(&slice.namespace, &content.service))
        .collect();
    for (name, backends) in backends {
        if backends.selector.is_empty() || with_slice.contains(name) {
            continue;
        }
        let Some(service) = snapshot.services.get(name) else { continue };
        let slices = slices(name, service, backends, snapshot);
        for (slice, number) in slices.into_iter().zip(1..) {
            let slice_name = free_name(name, number, snapshot);
            snapshot.endpoint_slices.insert(slice_name, slice);
        }
    }
}

/// The number on a pod of each of the Service's ports, by the port's index.
type TargetPorts = Vec<(usize, u16)>;

/// One slice per family and set of port numbers, which may differ where targets are names.
fn slices(
    name: &ObjectName,
    service: &Service,
    backends: &Backends,
    snapshot: &Snapshot,
) -> Vec<EndpointSlice> {
    let mut groups: BTreeMap<(Family, TargetPorts), Vec<SliceEndpoint>> = BTreeMap::new();
    let selected = snapshot.pods.iter().filter(|(pod_name, pod)| {
        pod_name.namespace == name.namespace
            && pod.phase == Phase::Live
            && backends.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
    });
    for (_, pod) in selected {
        let ports = target_ports(service, &backends.targets, pod);
        for family in [Family::Ipv4, Family::Ipv6] {
            let serves = service.cluster_ips.iter().any(|ip| Family::of(*ip) == family);
            let address = pod.addresses.iter().find(|address| Family::of(**address) == family);
            // A Service without a cluster IP can still be reached at a node port.
            if let Some(address) = address
                && (serves || service.cluster_ips.is_empty())
            {
                groups.entry((family, ports.clone())).or_default().push(SliceEndpoint {
                    node: pod.node.clone(),
                    ..SliceEndpoint::ready(*address)
                });
            }
        }
    }
    let slice = |((_, ports), endpoints): ((Family, TargetPorts), _)| EndpointSlice {
        service: name.name.clone(),
        ports: ports.iter().map(|(index, number)| port(service, *index, *number)).collect(),
        endpoints,
    };
    groups.into_iter().map(slice).collect()
}

/// The number of each of the Service's ports on a pod, by its index, where it resolves.
fn target_ports(service: &Service, targets: &[TargetPort], pod: &Pod) -> TargetPorts {
    let resolve = |index: usize, target: &TargetPort| match target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => pod
            .ports
            .iter()
            .find(|port| {
                port.name.as_ref() == Some(name) && port.protocol == service.ports[index].protocol
            })
            .map(|port| port.port),
    };
    let numbered = targets.iter().enumerate();
    numbered.filter_map(|(index, target)| Some((index, resolve(index, target)?))).collect()
}

fn port(service: &Service, index: usize, port: u16) -> SlicePort {
    let of = &service.ports[index];
    SlicePort { name: of.name.clone(), port, protocol: of.protocol }
}

/// A name for a slice that no other has.
fn free_name(service: &ObjectName, number: usize, snapshot: &Snapshot) -> ObjectName {
    let mut name = ObjectName::new(&service.namespace, format!("{}-{number}", service.name));
    while snapshot.endpoint_slices.contains_key(&name) {
        name.name.push_str("-x");
    }
    name
}
