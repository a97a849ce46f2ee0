//! Who is at an address or an interface, and which policies isolate.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use policy_common::endpoint::Endpoint;
use policy_core::{
    desired::{Desired, DesiredEndpoint, Isolation},
    model::{Annotations, Direction, ObjectName, Pod, Snapshot},
};

/// What drop records are told by; as good as the state it was made of.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    node: String,
    snapshot: Arc<Snapshot>,
    /// Pods of the node, by the index of their interface.
    endpoints: BTreeMap<u32, Local>,
    /// Pods of the cluster, by address; not before somebody asks.
    addresses: OnceLock<BTreeMap<IpAddr, ObjectName>>,
}

/// A pod of the node.
#[derive(Clone, Debug)]
struct Local {
    name: ObjectName,
    /// Policies that isolate it.
    ingress: Vec<ObjectName>,
    egress: Vec<ObjectName>,
}

impl Attribution {
    /// Puts together what is known.
    #[must_use]
    pub fn new(
        node: &str,
        snapshot: Arc<Snapshot>,
        desired: &Desired,
        endpoints: &BTreeMap<u32, Endpoint>,
    ) -> Self {
        let mut pods = BTreeMap::new();
        for (name, endpoint) in &desired.endpoints {
            pods.extend(endpoint.addresses.iter().map(|address| (*address, (name, endpoint))));
        }
        let local = |endpoint: &Endpoint| {
            let addresses = [IpAddr::from(endpoint.address4), IpAddr::from(endpoint.address6)];
            let (name, pod) = addresses.iter().find_map(|address| pods.get(address))?;
            Some((endpoint.ifindex, Local::new(name, pod)))
        };
        let endpoints = endpoints.values().filter_map(local).collect();
        Self { node: node.to_owned(), snapshot, endpoints, addresses: OnceLock::new() }
    }

    /// The node's name.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// The pod at an interface.
    pub(super) fn endpoint(&self, ifindex: u32) -> Option<(&ObjectName, &Pod)> {
        self.pod(&self.endpoints.get(&ifindex)?.name)
    }

    /// The pod with an address.
    pub(super) fn peer(&self, address: IpAddr) -> Option<(&ObjectName, &Pod)> {
        let addresses = self.addresses.get_or_init(|| {
            let pods = self.snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
            pods.flat_map(|(name, pod)| pod.usable_addresses().map(|ip| (ip, name.clone())))
                .collect()
        });
        self.pod(addresses.get(&address)?)
    }

    /// Policies that isolate the pod at an interface in a direction, and their annotations.
    pub(super) fn policies(
        &self,
        ifindex: u32,
        direction: Direction,
    ) -> impl Iterator<Item = (&ObjectName, Option<&Annotations>)> {
        let local = self.endpoints.get(&ifindex);
        let policies = local.map_or(&[][..], |local| match direction {
            Direction::Ingress => &local.ingress,
            Direction::Egress => &local.egress,
        });
        policies.iter().map(|name| (name, self.annotations(name)))
    }

    fn pod(&self, name: &ObjectName) -> Option<(&ObjectName, &Pod)> {
        self.snapshot.pods.get_key_value(name)
    }

    fn annotations(&self, policy: &ObjectName) -> Option<&Annotations> {
        let Snapshot { policies, cluster_policies, .. } = &*self.snapshot;
        if policy.namespace.is_empty() {
            cluster_policies.get(&policy.name).map(|policy| &policy.annotations)
        } else {
            policies.get(policy).map(|policy| &policy.annotations)
        }
    }
}

impl Local {
    fn new(name: &ObjectName, pod: &DesiredEndpoint) -> Self {
        let policies = |isolation: &Option<Isolation>| {
            isolation.as_ref().map(|isolation| isolation.policies.clone()).unwrap_or_default()
        };
        Self { name: name.clone(), ingress: policies(&pod.ingress), egress: policies(&pod.egress) }
    }
}
