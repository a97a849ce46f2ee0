//! Who is at an address or an interface, and which policies isolate.

use std::{collections::BTreeMap, net::IpAddr};

use policy_common::endpoint::Endpoint;
use policy_core::{
    desired::Desired,
    model::{Direction, Labels, ObjectName, Snapshot},
};

/// What drop records are told by; as good as the state it was made of.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    node: String,
    /// Pods of the node, by the index of their interface.
    endpoints: BTreeMap<u32, Party>,
    /// Pods of the cluster, by address.
    addresses: BTreeMap<IpAddr, Party>,
}

/// A pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Party {
    pub(super) name: Option<ObjectName>,
    pub(super) labels: Labels,
    /// Policies that isolate it.
    pub(super) ingress: Vec<ObjectName>,
    pub(super) egress: Vec<ObjectName>,
}

impl Attribution {
    /// Puts together what is known.
    #[must_use]
    pub fn new(
        node: &str,
        snapshot: &Snapshot,
        desired: &Desired,
        endpoints: &BTreeMap<u32, Endpoint>,
    ) -> Self {
        let mut addresses = BTreeMap::new();
        for (name, pod) in snapshot.pods.iter().filter(|(_, pod)| pod.is_subject()) {
            let party =
                Party { name: Some(name.clone()), labels: pod.labels.clone(), ..Party::default() };
            addresses.extend(pod.usable_addresses().map(|address| (address, party.clone())));
        }
        let local: BTreeMap<IpAddr, Party> = desired
            .endpoints
            .iter()
            .flat_map(|(name, endpoint)| {
                let isolating = |direction: &Option<policy_core::desired::Isolation>| {
                    direction.as_ref().map(|isolation| isolation.policies.clone())
                };
                let party = Party {
                    name: Some(name.clone()),
                    labels: snapshot
                        .pods
                        .get(name)
                        .map(|pod| pod.labels.clone())
                        .unwrap_or_default(),
                    ingress: isolating(&endpoint.ingress).unwrap_or_default(),
                    egress: isolating(&endpoint.egress).unwrap_or_default(),
                };
                endpoint.addresses.iter().map(move |address| (*address, party.clone()))
            })
            .collect();
        let at = |endpoint: &Endpoint| {
            let addresses = [IpAddr::from(endpoint.address4), IpAddr::from(endpoint.address6)];
            addresses.iter().find_map(|address| local.get(address)).cloned()
        };
        let endpoints =
            endpoints.values().filter_map(|endpoint| Some((endpoint.ifindex, at(endpoint)?)));
        Self { node: node.to_owned(), endpoints: endpoints.collect(), addresses }
    }

    /// The node's name.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// The pod at an interface.
    pub(super) fn endpoint(&self, ifindex: u32) -> Option<&Party> {
        self.endpoints.get(&ifindex)
    }

    /// The pod with an address.
    pub(super) fn peer(&self, address: IpAddr) -> Option<&Party> {
        self.addresses.get(&address)
    }
}

impl Party {
    /// Policies that isolate it in a direction.
    pub(super) fn policies(&self, direction: Direction) -> &[ObjectName] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}
