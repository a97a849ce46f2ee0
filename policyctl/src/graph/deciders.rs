//! Which policies allow the connections of an edge.
//!
//! Pods that the same policies select, and that policies cannot distinguish as peers, have the same
//! answer. Each such *signature* is asked for once, however many pods and workloads have it:
//!
//! ```text
//! x/web-1, x/web-2   egress policies [x/web], identity 3   signature 0
//! x/db-1             ingress policies [x/db], identity 4   signature 1
//! x/web -> x/db      signature 0 to signature 1: x/web, x/db
//! ```

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use policy_core::{
    connections::Connections,
    desired::{Desired, Identity, Ports},
    explain::{ConnectionEnd, Explainer, Question},
    model::{
        ContainerPort, Direction, Family, ObjectName, PerDirection, PolicyRef, Protocol, Snapshot,
    },
};

/// What decides about a pod, at either end of a connection.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Signature<'a> {
    /// The policies that select it; `None` for a direction that nothing isolates.
    policies: PerDirection<Option<&'a [PolicyRef]>>,
    identities: Vec<&'a Identity>,
    /// Named ports of rules resolve on them.
    ports: &'a [ContainerPort],
}

/// Who allows an edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EdgeDeciders {
    /// As `namespace/name`.
    pub(super) by: BTreeSet<String>,
    /// Whether a policy isolates one of the ends in the direction of the edge.
    pub(super) is_isolated: bool,
}

/// The policies that allow the connections between signatures.
pub(super) struct Deciders<'a> {
    snapshot: &'a Snapshot,
    desired: &'a Desired,
    explainer: Explainer<'a>,
    of_pods: BTreeMap<ObjectName, usize>,
    /// The pods of each signature.
    pods: Vec<Vec<ObjectName>>,
    connections: Connections<'a>,
    known: RefCell<BTreeMap<(usize, usize), Rc<EdgeDeciders>>>,
}

impl<'a> Deciders<'a> {
    /// `desired` is compiled from `snapshot` for the whole cluster.
    pub(super) fn new(snapshot: &'a Snapshot, desired: &'a Desired) -> Self {
        let mut signatures: BTreeMap<Signature<'a>, Vec<ObjectName>> = BTreeMap::new();
        for (name, pod) in &snapshot.pods {
            let Some(endpoint) = desired.endpoints.get(name) else { continue };
            let policies = PerDirection::from_fn(|direction| {
                let isolation = endpoint.isolation.get(direction).as_ref();
                isolation.map(|isolation| isolation.policies.as_slice())
            });
            let addresses = endpoint.addresses.iter();
            let identities = addresses.map(|address| desired.identity_of(*address)).collect();
            let signature = Signature { policies, identities, ports: &pod.ports };
            signatures.entry(signature).or_default().push(name.clone());
        }
        let pods: Vec<Vec<ObjectName>> = signatures.into_values().collect();
        let numbered = pods.iter().enumerate();
        let of_pods =
            numbered.flat_map(|(number, pods)| pods.iter().map(move |pod| (pod.clone(), number)));
        Self {
            snapshot,
            desired,
            explainer: Explainer::new(snapshot, desired),
            of_pods: of_pods.collect(),
            connections: Connections::new(desired, &pods),
            pods,
            known: RefCell::default(),
        }
    }

    /// Who allows the connections from the pods of one workload to those of another: at every port,
    /// or at those of `only`, which is the same for every call.
    pub(super) fn of(
        &self,
        from: &[ObjectName],
        to: &[ObjectName],
        only: Option<&Ports>,
    ) -> EdgeDeciders {
        let signatures = |pods: &[ObjectName]| {
            let found = pods.iter().filter_map(|pod| self.of_pods.get(pod).copied());
            found.collect::<BTreeSet<usize>>()
        };
        let mut all = EdgeDeciders::default();
        let destinations = signatures(to);
        for source in signatures(from) {
            for destination in &destinations {
                let found = self.of_signatures(source, *destination, only);
                all.by.extend(found.by.iter().cloned());
                all.is_isolated |= found.is_isolated;
            }
        }
        all
    }

    fn of_signatures(&self, from: usize, to: usize, only: Option<&Ports>) -> Rc<EdgeDeciders> {
        if let Some(known) = self.known.borrow().get(&(from, to)) {
            return Rc::clone(known);
        }
        let found = Rc::new(self.find(from, to, only));
        self.known.borrow_mut().insert((from, to), Rc::clone(&found));
        found
    }

    fn find(&self, from: usize, to: usize, only: Option<&Ports>) -> EdgeDeciders {
        let is_isolated = |signature: usize, direction| {
            let pod = self.pods[signature].first();
            let endpoint = pod.and_then(|pod| self.desired.endpoints.get(pod));
            endpoint.is_some_and(|endpoint| endpoint.isolation.get(direction).is_some())
        };
        if !is_isolated(from, Direction::Egress) && !is_isolated(to, Direction::Ingress) {
            return EdgeDeciders::default();
        }
        let source = self.pods[from].first();
        let destination = self.pods[to].iter().find(|pod| Some(*pod) != source);
        let mut by = BTreeSet::new();
        for (source, destination) in source.into_iter().zip(destination) {
            for allowed in self.connections.between(from, to).iter() {
                let ports = Ports::union([&allowed.every, &allowed.some]);
                let ports = only.map_or_else(|| ports.clone(), |only| ports.and(only));
                for family in &allowed.families {
                    by.extend(self.names(source, destination, *family, &ports));
                }
            }
        }
        EdgeDeciders { by, is_isolated: true }
    }

    /// The policies that decide at the first port of each range, and at the declared ports.
    fn names(
        &self,
        from: &ObjectName,
        to: &ObjectName,
        family: Family,
        ports: &Ports,
    ) -> BTreeSet<String> {
        let declared = self.snapshot.pods.get(to).into_iter().flat_map(|pod| &pod.ports);
        let declared = declared.map(|port| (port.protocol, port.port));
        let declared = declared.filter(|(protocol, port)| ports.contains(*protocol, *port));
        let ranges = ports.ranges.iter().map(|(protocol, first, _)| (*protocol, (*first).max(1)));
        let whole = Protocol::ALL.map(|protocol| (protocol, 1));
        let whole = whole.into_iter().filter(|_| ports.every_protocol);
        let asked: BTreeSet<(Protocol, u16)> = ranges.chain(whole).chain(declared).collect();
        let explanations = asked.into_iter().filter_map(|(protocol, port)| {
            self.explainer.explain(&Question {
                from: ConnectionEnd::Pod(from.clone()),
                to: ConnectionEnd::Pod(to.clone()),
                family,
                protocol,
                port,
            })
        });
        let allowed = explanations.filter(policy_core::explain::Explanation::allowed);
        let deciding = allowed.flat_map(|one| [one.egress.by, one.ingress.by]);
        deciding
            .flat_map(|by| by.iter().map(|one| one.policy.to_string()).collect::<Vec<_>>())
            .collect()
    }
}
