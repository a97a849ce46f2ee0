//! The endpoints of a Service that kube-proxy of one node uses (S40).
//!
//! Input: the slices of a Service, a port, and the node that translates. Output: the backends. The
//! choice is that of kube-proxy's `CategorizeEndpoints` (`pkg/proxy/topology.go`). With ready
//! endpoints a on node n1, hinted for zone z1, and b on n2, hinted for z2:
//!
//! ```text
//! translated on n1, which is in z1                       a        its zone has a hinted endpoint
//! translated on n3, which is in z3                       a, b     none is hinted for z3: all
//! one more ready endpoint c, without a hint              a, b, c  hints count only if all have one
//! internalTrafficPolicy: Local, translated on n2         b        its own node's alone
//! … and b terminates                                     b        none is ready, and it still serves
//! … translated on n3                                     none     new connections are dropped
//! ```

use std::{collections::BTreeSet, net::IpAddr};

use crate::model::{
    EndpointSlice, Family, ObjectName, ServicePort, SliceEndpoint, Snapshot, TopologyHints,
};

/// Addresses and ports of backends.
pub(crate) type Backends = BTreeSet<(IpAddr, u16)>;

/// The slices of a Service.
pub(super) struct ServiceSlices<'a> {
    slices: Vec<&'a EndpointSlice>,
    has_hints: bool,
}

/// The node that translates a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Translator<'a> {
    pub(super) node: &'a str,
    zone: Option<&'a str>,
}

/// The endpoints that a connection may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach<'a> {
    /// Those of the cluster; of these, where the translating node is known, those hinted for it.
    Cluster(Option<Translator<'a>>),
    /// Those of a node.
    SameNode(&'a str),
}

impl<'a> Translator<'a> {
    /// A node, with the zone that the snapshot has for it.
    pub(super) fn of(node: &'a str, snapshot: &'a Snapshot) -> Self {
        Self { node, zone: snapshot.nodes.get(node).and_then(|node| node.zone()) }
    }
}

impl<'a> ServiceSlices<'a> {
    /// The slices of a Service.
    pub(super) fn of(service: &ObjectName, snapshot: &'a Snapshot) -> Self {
        let from = snapshot.endpoint_slices.range(ObjectName::new(&service.namespace, "")..);
        let here = from.take_while(|(name, _)| name.namespace == service.namespace);
        let slices = here.map(|(_, slice)| slice).filter(|slice| slice.service == service.name);
        let slices: Vec<_> = slices.collect();
        let has_hints = slices.iter().any(|slice| has_hints(slice));
        Self { slices, has_hints }
    }

    /// The same reach, without the translating node where no endpoint has a hint for one.
    pub(super) fn distinct<'b>(&self, reach: Reach<'b>) -> Reach<'b> {
        match reach {
            Reach::Cluster(_) if !self.has_hints => Reach::Cluster(None),
            Reach::Cluster(_) | Reach::SameNode(_) => reach,
        }
    }

    /// The backends that kube-proxy uses: those that are ready; where none is, those that serve
    /// while they terminate.
    pub(super) fn backends(
        &self,
        port: &ServicePort,
        family: Family,
        reach: Reach<'_>,
    ) -> Backends {
        let mut found: Vec<(&SliceEndpoint, u16)> = Vec::new();
        for slice in &self.slices {
            let ports = slice.ports.iter();
            for number in ports.filter(|p| p.name == port.name && p.protocol == port.protocol) {
                let endpoints = slice.endpoints.iter();
                let endpoints = endpoints.filter(|e| Family::of(e.address) == family);
                found.extend(endpoints.map(|endpoint| (endpoint, number.port)));
            }
        }
        if let Reach::SameNode(node) = reach {
            found.retain(|(endpoint, _)| endpoint.node.as_deref() == Some(node));
        }
        let (ready, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(one, _)| one.ready);
        let place = |(endpoint, port): (&SliceEndpoint, u16)| (endpoint.address, port);
        if ready.is_empty() {
            let serving = others.into_iter().filter(|(one, _)| one.serving && one.terminating);
            return serving.map(place).collect();
        }
        let hinted = match reach {
            Reach::Cluster(Some(translator)) => hinted(&ready, translator),
            Reach::Cluster(None) | Reach::SameNode(_) => None,
        };
        hinted.unwrap_or(ready).into_iter().map(place).collect()
    }
}

/// Whether some endpoint of a slice has a topology hint.
pub(super) fn has_hints(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().any(|endpoint| endpoint.hints != TopologyHints::default())
}

/// The ready endpoints that are hinted for a node, or else for its zone; `None` where some endpoint
/// has no hint, or none is hinted for it: then all are used.
fn hinted<'a>(
    ready: &[(&'a SliceEndpoint, u16)],
    translator: Translator<'_>,
) -> Option<Vec<(&'a SliceEndpoint, u16)>> {
    let by_node = hinted_for(ready, translator.node, |hints| &hints.nodes);
    by_node.or_else(|| hinted_for(ready, translator.zone?, |hints| &hints.zones))
}

/// The ready endpoints with a name among their hints of one kind; `None` where some endpoint has no
/// such hint, or none has the name.
fn hinted_for<'a>(
    ready: &[(&'a SliceEndpoint, u16)],
    name: &str,
    names: fn(&TopologyHints) -> &Vec<String>,
) -> Option<Vec<(&'a SliceEndpoint, u16)>> {
    if ready.iter().any(|(endpoint, _)| names(&endpoint.hints).is_empty()) {
        return None;
    }
    let is_for = |endpoint: &SliceEndpoint| names(&endpoint.hints).iter().any(|one| one == name);
    let chosen: Vec<_> = ready.iter().copied().filter(|(one, _)| is_for(one)).collect();
    (!chosen.is_empty()).then_some(chosen)
}
