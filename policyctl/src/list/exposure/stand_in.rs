//! Pods that stand in for places: each has the labels that a peer's selectors ask for, and no other.
//!
//! ```text
//! namespaces team=a, pods app in (web, api)   pods {app: web} and {app: api} in namespaces {team: a}
//! namespace shop, pods !debug                 pod {} in shop
//! pods that another !debug leaves out         pod {debug: any} beside each of them
//! ```
//!
//! Several pods stand in for a place where policies may distinguish its pods: what all of them have
//! in common holds for every pod there.
//! A port name of a rule gets a number on every stand-in, by which it is found in the compiled set.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_core::{
    desired::Ports,
    model::{
        ContainerPort, Family, Labels, NAMESPACE_NAME, Namespace, ObjectName, Operator, Pod,
        PortSpec, Protocol, ProtocolMatch, Requirement, Selector, Snapshot,
    },
};
use policy_manifest::{Manifests, SpareAddresses};

use super::place::PeerPlace;
use crate::segments;

/// A label's value for a requirement that accepts any.
const ANY: &str = "any";

/// Name of the stand-ins, with a number behind it.
const NAME: &str = "stand-in-of-a-place";

/// The snapshot with the stand-ins in it.
pub(super) struct StandIns {
    pub(super) snapshot: Snapshot,
    /// The stand-ins of each place; none where no pod can meet its selectors.
    pub(super) of_places: Vec<Vec<ObjectName>>,
    count: usize,
    /// The number of each named port.
    names: Vec<(Protocol, u16, String)>,
    /// Pods of the manifests, by labels and namespace.
    real: BTreeSet<(Labels, Labels)>,
}

impl StandIns {
    /// `with_controllers` are the same manifests with pods that no place describes.
    pub(super) fn new(
        manifests: &Manifests,
        with_controllers: &Manifests,
        places: &[PeerPlace],
    ) -> Self {
        let snapshot = &manifests.snapshot;
        let real = snapshot.pods.iter().filter(|(_, pod)| pod.is_subject()).map(|(name, pod)| {
            let labels = snapshot.namespace_labels(&name.namespace).into_owned();
            (labels, pod.labels.clone())
        });
        let mut all = Self {
            real: real.collect(),
            names: numbered_names(snapshot),
            snapshot: with_controllers.snapshot.clone(),
            of_places: Vec::new(),
            count: 0,
        };
        let mut addresses = SpareAddresses::new(with_controllers);
        let of_namespaces = negative_labels(places.iter().map(|place| &place.namespaces));
        let of_pods = negative_labels(places.iter().map(|place| &place.pods));
        for PeerPlace { namespaces, pods } in places {
            let namespaces = variants(namespaces, &of_namespaces);
            let pods = variants(pods, &of_pods);
            // The first of each side with all of the other: policies join both sides by AND.
            let first = namespaces
                .first()
                .into_iter()
                .flat_map(|one| pods.iter().map(move |pod| (one, pod)));
            let rest = pods
                .first()
                .into_iter()
                .flat_map(|pod| namespaces.iter().skip(1).map(move |one| (one, pod)));
            let labels = first.chain(rest);
            let stand_ins = labels.filter_map(|(namespace, pod)| {
                all.add(namespace.clone(), pod.clone(), &mut addresses)
            });
            let stand_ins = stand_ins.collect();
            all.of_places.push(stand_ins);
        }
        all
    }

    /// The address of a stand-in in a family.
    pub(super) fn address(&self, name: &ObjectName, family: Family) -> Option<IpAddr> {
        let pod = self.snapshot.pods.get(name)?;
        pod.addresses.iter().copied().find(|address| Family::of(*address) == family)
    }

    /// Whether a pod of the manifests is what a place describes by its labels.
    pub(super) fn is_real(&self, place: &PeerPlace) -> bool {
        let is_one_value =
            |one: &Requirement| matches!(&one.operator, Operator::In(values) if values.len() == 1);
        let PeerPlace { namespaces, pods } = place;
        let mut requirements = namespaces.requirements.iter().chain(pods.requirements.iter());
        !pods.requirements.is_empty()
            && !namespaces.requirements.is_empty()
            && requirements.all(is_one_value)
            && self
                .real
                .iter()
                .any(|(namespace, pod)| namespaces.matches(namespace) && pods.matches(pod))
    }

    /// A set without the numbers of names, and the names that it has.
    pub(super) fn without_names(&self, ports: &Ports) -> (Ports, Vec<String>) {
        let is_single = |protocol, number| ports.ranges.contains(&(protocol, number, number));
        let found = self.names.iter().filter(|(protocol, number, _)| is_single(*protocol, *number));
        let found: Vec<&(Protocol, u16, String)> = found.collect();
        let numbers = found.iter().map(|(protocol, number, _)| (*protocol, *number, *number));
        let names = found.iter().map(|(protocol, _, name)| format!("{protocol} {name}"));
        (ports.without(&Ports::from_ranges(numbers)), names.collect())
    }

    /// Adds a pod with labels, in a namespace with labels; `None` where there are no more addresses,
    /// or where a namespace of this name has other labels.
    fn add(
        &mut self,
        mut namespace: Labels,
        pod: Labels,
        addresses: &mut SpareAddresses,
    ) -> Option<ObjectName> {
        let number = self.count;
        self.count += 1;
        let name = match namespace.get(NAMESPACE_NAME) {
            Some(name) => name.clone(),
            None => free_namespace(&self.snapshot, number),
        };
        if self.snapshot.namespaces.contains_key(&name) {
            let real = self.snapshot.namespace_labels(&name);
            let is_real = |(key, value): (&String, &String)| real.get(key) == Some(value);
            if !namespace.iter().all(is_real) {
                return None;
            }
        } else {
            namespace.insert(NAMESPACE_NAME.to_owned(), name.clone());
            let new = Namespace { labels: namespace, ..Namespace::default() };
            self.snapshot.namespaces.insert(name.clone(), new);
        }
        let port = |(protocol, port, name): &(Protocol, u16, String)| ContainerPort {
            name: Some(name.clone()),
            port: *port,
            protocol: *protocol,
        };
        let ports = self.names.iter().map(port).collect();
        let addresses = addresses.next_of_each_family();
        let stand_in = ObjectName::new(name, format!("{NAME}-{number}"));
        let pod = Pod { labels: pod, addresses, ports, ..Pod::default() };
        self.snapshot.pods.insert(stand_in.clone(), pod);
        Some(stand_in)
    }
}

fn free_namespace(snapshot: &Snapshot, number: usize) -> String {
    let mut name = format!("{NAME}-{number}");
    while snapshot.namespaces.contains_key(&name) {
        name.push('x');
    }
    name
}

/// Sets of labels that meet a selector: the smallest one, and those that policies may distinguish
/// from it by a value of the selector, or by a label that it does not ask for. None where nothing meets it.
fn variants(selector: &Selector, others: &BTreeSet<(String, String)>) -> Vec<Labels> {
    let Some(smallest) = smallest(selector) else { return Vec::new() };
    let values = selector.requirements.iter().flat_map(|one| match &one.operator {
        Operator::In(values) => values.iter().map(|value| (&one.key, value)).collect(),
        Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => Vec::new(),
    });
    let others = others.iter().map(|(key, value)| (key, value));
    let changed = values.chain(others).map(|(key, value)| {
        let mut labels = smallest.clone();
        labels.insert(key.clone(), value.clone());
        labels
    });
    let changed: BTreeSet<Labels> = changed.filter(|labels| selector.matches(labels)).collect();
    let changed = changed.into_iter().filter(|labels| *labels != smallest);
    std::iter::once(smallest.clone()).chain(changed).collect()
}

/// The fewest labels that meet a selector; `None` where nothing meets it.
fn smallest(selector: &Selector) -> Option<Labels> {
    let mut found = BTreeMap::new();
    for Requirement { key, operator } in &selector.requirements {
        let wanted = match operator {
            Operator::In(values) => values.first().cloned(),
            Operator::Exists => Some(ANY.to_owned()),
            Operator::NotIn(_) | Operator::DoesNotExist => continue,
        };
        // A value of `In` goes before any value.
        let is_named = matches!(operator, Operator::In(_));
        if is_named || !found.contains_key(key) {
            found.extend(wanted.map(|value| (key.clone(), value)));
        }
    }
    let found: Labels = found.into_iter().collect();
    selector.matches(&found).then_some(found)
}

/// Labels that places leave out by `NotIn` or `DoesNotExist`.
fn negative_labels<'a>(
    selectors: impl Iterator<Item = &'a Selector>,
) -> BTreeSet<(String, String)> {
    let requirements = selectors.flat_map(|selector| &selector.requirements);
    let labels = requirements.flat_map(|one| {
        match &one.operator {
            Operator::NotIn(values) => values.iter().cloned().collect(),
            Operator::DoesNotExist => vec![ANY.to_owned()],
            Operator::In(_) | Operator::Exists => Vec::new(),
        }
        .into_iter()
        .map(|value| (one.key.clone(), value))
    });
    labels.collect()
}

/// The names of ports in rules, each with a number that no rule and no pod has.
fn numbered_names(snapshot: &Snapshot) -> Vec<(Protocol, u16, String)> {
    let rules = segments::rules(snapshot).flat_map(|rule| &rule.ports);
    let names = rules.filter_map(|port| match &port.port {
        PortSpec::Named(name) => Some((port.protocol, name.clone())),
        PortSpec::Every | PortSpec::Range { .. } => None,
    });
    let of_tiers = segments::cluster_rules(snapshot).flat_map(|rule| &rule.protocols);
    let of_tiers = of_tiers.filter_map(|entry| match entry {
        ProtocolMatch::Named(name) => Some(name),
        ProtocolMatch::Range { .. } => None,
    });
    let of_tiers = of_tiers.flat_map(|name| Protocol::ALL.map(|protocol| (protocol, name.clone())));
    let names: BTreeSet<(Protocol, String)> = names.chain(of_tiers).collect();
    let pods = snapshot.pods.values().flat_map(|pod| &pod.ports).map(|port| port.port);
    let ends = segments::ranges(snapshot).flat_map(|(_, first, last)| [first, last]);
    let taken: BTreeSet<u16> = pods.chain(ends).collect();
    // Two numbers side by side would be one range.
    let free = (1..=u16::MAX).rev().step_by(2).filter(|number| {
        ![number.saturating_sub(1), *number, number.saturating_add(1)]
            .iter()
            .any(|one| taken.contains(one))
    });
    let numbered = names.into_iter().zip(free);
    numbered.map(|((protocol, name), number)| (protocol, number, name)).collect()
}
