//! Joins needed rules into network policies: one for each workload, with as few rules as possible.
//!
//! ```text
//! shop/web egress    shop/db TCP 5432, shop/cache TCP 6379, shop/mirror TCP 5432
//! rules              to db and mirror: TCP 5432;  to cache: TCP 6379
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_core::{
    desired::Ports,
    model::{Direction, Labels, ObjectName, Protocol, Snapshot},
};

use super::{
    connection::ObservedConnection,
    needs::{FarEnd, NeededPorts, Needs},
    not_expressed::{NotExpressed, UnlabelledEnds},
    stable_labels,
};

/// The Service of the API server.
const API_SERVER: (&str, &str) = ("default", "kubernetes");

/// Resolvers answer long names over TCP.
const DNS: [(Protocol, u16); 2] = [(Protocol::Udp, 53), (Protocol::Tcp, 53)];

/// A policy for the pods of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suggested {
    pub(super) name: ObjectName,
    pub(super) workload: String,
    pub(super) labels: Labels,
    /// Directions that it isolates.
    pub(super) directions: Vec<Direction>,
    pub(super) rules: Vec<SuggestedRule>,
}

/// A rule: peers with the same ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SuggestedRule {
    pub(super) direction: Direction,
    pub(super) peers: Vec<SuggestedPeer>,
    pub(super) ports: Ports,
    /// What it is for, where that is not obvious.
    pub(super) comment: Option<&'static str>,
}

/// A peer of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SuggestedPeer {
    /// Pods by labels, of another namespace than the policy's where there is one.
    Pods(Option<String>, Labels),
    /// One address, and what has it.
    Address(IpAddr, Option<String>),
}

/// Makes the policies of all workloads.
pub(super) fn of(
    snapshot: &Snapshot,
    needs: &Needs,
    not_expressed: &mut Vec<NotExpressed>,
) -> Vec<Suggested> {
    let writer = PolicyWriter { snapshot, labels: needs.labels(snapshot) };
    let (mut suggested, mut unlabelled) = (Vec::new(), UnlabelledEnds::default());
    for (workload, directions) in &needs.of_workloads {
        if let Some(labels) = writer.labels.get(workload).cloned().flatten() {
            suggested.extend(writer.policy(workload, labels, directions, &mut unlabelled));
        } else {
            let needed = directions.values().flat_map(BTreeMap::values);
            for connection in needed.flat_map(BTreeMap::values) {
                unlabelled.add(connection, workload);
            }
        }
    }
    not_expressed.extend(unlabelled.into_not_expressed());
    suggested
}

impl Needs {
    /// The labels that select each workload that needs a rule, or that a rule is about.
    fn labels(&self, snapshot: &Snapshot) -> BTreeMap<ObjectName, Option<Labels>> {
        let far = self.of_workloads.values().flat_map(BTreeMap::values).flat_map(BTreeMap::keys);
        let far = far.filter_map(|far| match far {
            FarEnd::Workload(name) => Some(name),
            FarEnd::Address(_) => None,
        });
        let all: BTreeSet<&ObjectName> = far.chain(self.of_workloads.keys()).collect();
        let of = |name| stable_labels::of_workload(snapshot, &self.workloads, name);
        all.into_iter().map(|name| (name.clone(), of(name))).collect()
    }
}

/// Writes policies for one set of needs.
struct PolicyWriter<'a> {
    snapshot: &'a Snapshot,
    labels: BTreeMap<ObjectName, Option<Labels>>,
}

impl PolicyWriter<'_> {
    fn policy(
        &self,
        workload: &ObjectName,
        labels: Labels,
        directions: &BTreeMap<Direction, NeededPorts>,
        unlabelled: &mut UnlabelledEnds,
    ) -> Option<Suggested> {
        let mut rules = Vec::new();
        for (direction, needed) in directions {
            rules.extend(self.rules(workload, *direction, needed, unlabelled));
        }
        // Without a rule, the policy would isolate the workload and allow nothing.
        let isolates = |direction: &&Direction| {
            rules.iter().any(|rule: &SuggestedRule| rule.direction == **direction)
        };
        let directions: Vec<Direction> = directions.keys().filter(isolates).copied().collect();
        (!rules.is_empty()).then(|| Suggested {
            name: self.free_name(workload),
            workload: workload.to_string(),
            labels,
            directions,
            rules,
        })
    }

    fn rules(
        &self,
        workload: &ObjectName,
        direction: Direction,
        needed: &NeededPorts,
        unlabelled: &mut UnlabelledEnds,
    ) -> Vec<SuggestedRule> {
        let mut by_ports: BTreeMap<(Ports, Option<&'static str>), Vec<SuggestedPeer>> =
            BTreeMap::new();
        for (far, ports) in needed {
            let Some(peer) = self.peer(workload, far) else {
                if let FarEnd::Workload(workload) = far {
                    for one in ports.values() {
                        unlabelled.add(one, workload);
                    }
                }
                continue;
            };
            let mut set: BTreeSet<(Protocol, u16)> = ports.keys().copied().collect();
            let is_dns = set.contains(&DNS[0]);
            if is_dns {
                set.extend(DNS);
            }
            let comment = match far {
                FarEnd::Address(_) if self.is_api_server(ports.values()) => Some("the API server"),
                _ if is_dns => Some("DNS; long answers come over TCP"),
                FarEnd::Address(_) | FarEnd::Workload(_) => None,
            };
            let ranges = set.into_iter().map(|(protocol, port)| (protocol, port, port));
            let key = (Ports::from_ranges(ranges), comment);
            by_ports.entry(key).or_default().push(peer);
        }
        let rule = |((ports, comment), peers)| SuggestedRule { direction, peers, ports, comment };
        by_ports.into_iter().map(rule).collect()
    }

    fn peer(&self, own: &ObjectName, far: &FarEnd) -> Option<SuggestedPeer> {
        match far {
            FarEnd::Address(address) => {
                Some(SuggestedPeer::Address(*address, self.owner(*address)))
            }
            FarEnd::Workload(name) => {
                let labels = self.labels.get(name).cloned().flatten()?;
                let elsewhere = name.namespace != own.namespace;
                Some(SuggestedPeer::Pods(elsewhere.then(|| name.namespace.clone()), labels))
            }
        }
    }

    /// The node that has an address.
    fn owner(&self, address: IpAddr) -> Option<String> {
        let mut nodes = self.snapshot.nodes.iter();
        let node = nodes.find(|(_, node)| node.addresses.contains(&address));
        node.map(|(name, _)| format!("node {name}"))
    }

    /// Whether one of the connections is to the Service of the API server, or to one of its
    /// endpoints.
    fn is_api_server<'c>(
        &self,
        mut connections: impl Iterator<Item = &'c ObservedConnection>,
    ) -> bool {
        let (namespace, name) = API_SERVER;
        let service = self.snapshot.services.get(&ObjectName::new(namespace, name));
        let frontends = service.map(|one| one.cluster_ips.clone()).unwrap_or_default();
        let slices = self.snapshot.endpoint_slices.iter();
        let slices =
            slices.filter(|(of, slice)| of.namespace == namespace && slice.service == name);
        let endpoints = slices.flat_map(|(_, slice)| &slice.endpoints).map(|one| one.address);
        let addresses: BTreeSet<IpAddr> = endpoints.chain(frontends).collect();
        connections.any(|one| addresses.iter().any(|address| one.to.is_at(*address)))
    }

    /// A name that no other policy of the namespace has.
    fn free_name(&self, workload: &ObjectName) -> ObjectName {
        let name = |suffix: &str| {
            ObjectName::new(&workload.namespace, format!("{}{suffix}", workload.name))
        };
        let numbered = (2..).map(|number: usize| name(&format!("-observed-{number}")));
        let mut names = [name("-observed")].into_iter().chain(numbered);
        let is_free = |name: &ObjectName| !self.snapshot.policies.contains_key(name);
        names.find(is_free).unwrap_or_else(|| name("-observed"))
    }
}
