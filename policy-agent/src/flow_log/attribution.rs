//! Who is at an address or an interface, and which policies isolate.

use std::{collections::BTreeMap, net::IpAddr};

use policy_common::endpoint::Endpoint;
use policy_core::{
    desired::{Desired, DesiredEndpoint, Isolation},
    model::{
        Annotations, AnyPolicy, Direction, ObjectName, PerDirection, Pod, PolicyRef, Snapshot,
    },
    owner::Owners,
};

use crate::node::Node;

/// Pods of a node, as they are under control; as good as the state it was made of.
#[derive(Clone, Debug, Default)]
pub struct Locals(BTreeMap<u32, Local>);

/// What drop records are told by.
#[derive(Clone, Copy, Debug)]
pub struct Attribution<'a> {
    /// Name of the node.
    pub(super) node: &'a str,
    snapshot: &'a Snapshot,
    owners: &'a Owners,
    locals: &'a Locals,
}

/// A pod of the node.
#[derive(Clone, Debug)]
struct Local {
    name: ObjectName,
    /// Policies that isolate it.
    policies: PerDirection<Vec<PolicyRef>>,
}

impl Locals {
    /// Puts together what is known.
    #[must_use]
    pub fn new(desired: &Desired, endpoints: &BTreeMap<u32, Endpoint>) -> Self {
        let mut pods = BTreeMap::new();
        for (name, endpoint) in &desired.endpoints {
            pods.extend(endpoint.addresses.iter().map(|address| (*address, (name, endpoint))));
        }
        let local = |endpoint: &Endpoint| {
            let addresses = [IpAddr::from(endpoint.address4), IpAddr::from(endpoint.address6)];
            let (name, pod) = addresses.iter().find_map(|address| pods.get(address))?;
            Some((endpoint.ifindex, Local::new(name, pod)))
        };
        Self(endpoints.values().filter_map(local).collect())
    }
}

impl<'a> Attribution<'a> {
    /// What a node knows.
    #[must_use]
    pub fn new(node: &'a Node, locals: &'a Locals) -> Self {
        Self { node: node.name(), snapshot: node.snapshot(), owners: node.owners(), locals }
    }

    /// The pod at an interface.
    pub(crate) fn endpoint(&self, ifindex: u32) -> Option<(&'a ObjectName, &'a Pod)> {
        self.pod(&self.locals.0.get(&ifindex)?.name)
    }

    /// The pod with an address.
    pub(super) fn peer(&self, address: IpAddr) -> Option<(&'a ObjectName, &'a Pod)> {
        self.pod(self.owners.of(address)?)
    }

    /// Policies that isolate the pod at an interface in a direction, and their annotations.
    pub(super) fn policies(
        &self,
        ifindex: u32,
        direction: Direction,
    ) -> impl Iterator<Item = (&'a PolicyRef, Option<&'a Annotations>)> {
        let local = self.locals.0.get(&ifindex);
        let policies = local.map_or(&[][..], |local| local.policies.get(direction));
        let snapshot = self.snapshot;
        let annotations = move |name| snapshot.policy(name).map(AnyPolicy::annotations);
        policies.iter().map(move |name| (name, annotations(name)))
    }

    fn pod(&self, name: &ObjectName) -> Option<(&'a ObjectName, &'a Pod)> {
        self.snapshot.pods.get_key_value(name)
    }
}

impl Local {
    fn new(name: &ObjectName, pod: &DesiredEndpoint) -> Self {
        let policies = |isolation: &Option<Isolation>| {
            isolation.as_ref().map(|isolation| isolation.policies.clone()).unwrap_or_default()
        };
        Self { name: name.clone(), policies: pod.isolation.as_ref().map(policies) }
    }
}
