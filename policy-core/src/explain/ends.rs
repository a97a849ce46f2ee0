//! Resolves the ends of a connection: from a pod, an address or a Service to the addresses that the
//! datapath sees, with the pod or node at each.
//!
//! ```text
//! to service/x/web at 80   -> 10.96.0.1:80, backends 10.0.0.5:8080 (pod x/web-1), 10.0.0.6:8080
//! ```

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    compile::service_backends,
    desired::{Frontend, ServiceBackends},
    model::{Family, ObjectName, Pod, Snapshot, is_usable},
};

use super::question::{ConnectionEnd, Question};

/// One end, as the datapath sees it.
#[derive(Clone, Copy)]
pub(super) struct ResolvedEnd<'a> {
    pub(super) address: IpAddr,
    pub(super) kind: EndKind<'a>,
}

/// What is at an address.
#[derive(Clone, Copy)]
pub(super) enum EndKind<'a> {
    /// A pod with a network of its own.
    Pod(&'a ObjectName, &'a Pod),
    /// A process of the node of this name.
    Node(Option<&'a str>),
    /// No pod and no node.
    Outside,
}

/// The destination of a connection, before and after translation.
pub(super) struct Destination<'a> {
    /// Address and port that the initiator uses.
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// Whether the frontend's own address must be allowed; `None` where there is no frontend.
    pub(super) frontend: Option<ServiceBackends>,
    /// Where the connection ends, with the port: the destination itself, or the backends of a Service.
    pub(super) backends: Vec<(ResolvedEnd<'a>, u16)>,
}

/// The end that opens the connection. An address that is not a pod's is outside of the cluster, even
/// if it is a node's: packets that a node forwards are not from a process of that node (S37).
pub(super) fn source<'a>(snapshot: &'a Snapshot, question: &Question) -> Option<ResolvedEnd<'a>> {
    match &question.from {
        ConnectionEnd::Pod(name) => pod(snapshot, name, question.family),
        ConnectionEnd::Address(address) => {
            let address = in_family(*address, question.family)?;
            let kind = owner(snapshot, address).unwrap_or(EndKind::Outside);
            Some(ResolvedEnd { address, kind })
        }
        ConnectionEnd::Service(_) => None,
    }
}

/// The end that the connection is opened to. The node of the sender translates it, unless another
/// node has the address.
pub(super) fn destination<'a>(
    snapshot: &'a Snapshot,
    question: &Question,
    from: &ResolvedEnd<'_>,
) -> Option<Destination<'a>> {
    let (port, family) = (question.port, question.family);
    let address = match &question.to {
        ConnectionEnd::Pod(name) => {
            let end = pod(snapshot, name, family)?;
            let (address, backends) = (end.address, vec![(end, port)]);
            return Some(Destination { address, port, frontend: None, backends });
        }
        ConnectionEnd::Address(address) => in_family(*address, family)?,
        ConnectionEnd::Service(name) => {
            let service = snapshot.services.get(name)?;
            *service.cluster_ips.iter().find(|address| Family::of(**address) == family)?
        }
    };
    let frontend = Frontend { address, protocol: question.protocol, port };
    let frontend = service_backends(snapshot, from.node(), frontend);
    let backends = match (&frontend, &question.to) {
        (Some(target), _) => {
            let backends = target.backends.iter();
            backends.map(|&(backend, port)| (at(snapshot, backend), port)).collect()
        }
        // At a port that the Service does not have, its address is a plain one.
        (None, _) => vec![(at(snapshot, address), port)],
    };
    Some(Destination { address, port, frontend, backends })
}

/// The source that a backend sees.
///
/// For a node port or an external address, kube-proxy masquerades the packet with the address of the
/// node that translates it (`externalTrafficPolicy: Cluster`). The sender is still known only where
/// sender and backend are both on that node (S37).
pub(super) fn arriving<'a>(
    snapshot: &'a Snapshot,
    from: &ResolvedEnd<'a>,
    to: &Destination<'_>,
    backend: &ResolvedEnd<'_>,
) -> ResolvedEnd<'a> {
    if !to.frontend.as_ref().is_some_and(|target| target.checks_frontend)
        || from.is_same_pod(backend)
    {
        return *from;
    }
    // A client on n1, a Service with node port 30080:
    //   to n2:30080, backend on n1 or n2     n2 translates: the backend sees an address of n2
    //   to n1:30080, backend on n2           n1 translates: the backend sees an address of n1
    //   to n1:30080, backend on n1           the packet never leaves n1: the sender is known
    let family = Family::of(from.address);
    let at = snapshot.nodes.iter().find(|(_, node)| {
        node.own_addresses().chain(node.gateways()).any(|address| address == to.address)
    });
    // External addresses are translated on the node of the sender.
    let node = at.or_else(|| snapshot.nodes.get_key_value(from.node()?));
    let Some((name, node)) = node else { return *from };
    if from.node() == Some(name) && backend.node() == Some(name) {
        return *from;
    }
    let own = Some(to.address).filter(|_| at.is_some());
    let first = || node.addresses.iter().copied().find(|one| Family::of(*one) == family);
    let Some(address) = own.or_else(first) else { return *from };
    ResolvedEnd { address, kind: EndKind::Outside }
}

/// A running pod; one with `hostNetwork` is a process of its node.
fn pod<'a>(snapshot: &'a Snapshot, name: &ObjectName, family: Family) -> Option<ResolvedEnd<'a>> {
    let (name, pod) = snapshot.pods.get_key_value(name)?;
    if pod.is_subject() {
        let address = pod.usable_addresses().find(|address| Family::of(*address) == family)?;
        return Some(ResolvedEnd { address, kind: EndKind::Pod(name, pod) });
    }
    if !pod.host_network || pod.phase != crate::model::Phase::Live {
        return None;
    }
    let node = pod.node.as_deref();
    let of_node = node.and_then(|node| snapshot.nodes.get(node)).into_iter();
    let of_node = of_node.flat_map(|node| &node.addresses);
    let mut addresses = pod.addresses.iter().chain(of_node);
    let address = *addresses.find(|address| Family::of(**address) == family)?;
    Some(ResolvedEnd { address, kind: EndKind::Node(node) })
}

/// The pod or node at an address.
pub(super) fn at(snapshot: &Snapshot, address: IpAddr) -> ResolvedEnd<'_> {
    let node = || {
        let mut nodes = snapshot.nodes.iter();
        let (name, _) = nodes.find(|(_, node)| node.addresses.contains(&address))?;
        Some(EndKind::Node(Some(name)))
    };
    let kind = owner(snapshot, address).or_else(node).unwrap_or(EndKind::Outside);
    ResolvedEnd { address, kind }
}

/// The pod that has an address; of several, the first by name.
fn owner(snapshot: &Snapshot, address: IpAddr) -> Option<EndKind<'_>> {
    owners(snapshot, address).next().map(|(name, pod)| EndKind::Pod(name, pod))
}

/// Whether several pods have an address: which of them answers is unknown (S8).
pub(super) fn is_shared(snapshot: &Snapshot, address: IpAddr) -> bool {
    owners(snapshot, address).nth(1).is_some()
}

/// The pods that have an address.
fn owners(snapshot: &Snapshot, address: IpAddr) -> impl Iterator<Item = (&ObjectName, &Pod)> {
    let pods = snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
    pods.filter(move |(_, pod)| pod.addresses.contains(&address))
}

fn in_family(address: IpAddr, family: Family) -> Option<IpAddr> {
    (Family::of(address) == family && is_usable(address)).then_some(address)
}

impl<'a> ResolvedEnd<'a> {
    /// Whether it is the pod `other`, and no other pod has its address: then it is known to be the one
    /// that answers (S39).
    pub(super) fn is_certainly(&self, other: &Self, snapshot: &Snapshot) -> bool {
        self.is_same_pod(other) && !is_shared(snapshot, self.address)
    }

    /// Whether both are the same pod (S39).
    pub(super) fn is_same_pod(&self, other: &Self) -> bool {
        matches!((self.kind, other.kind), (EndKind::Pod(a, _), EndKind::Pod(b, _)) if a == b)
    }

    /// Whether this is a process of the node that `pod` runs on (S37).
    pub(super) fn is_node_of(&self, pod: &Pod) -> bool {
        matches!(self.kind, EndKind::Node(Some(node)) if pod.node.as_deref() == Some(node))
    }

    /// The node that it runs on; `None` where that is not known.
    fn node(&self) -> Option<&'a str> {
        match self.kind {
            EndKind::Pod(_, pod) => pod.node.as_deref(),
            EndKind::Node(node) => node,
            EndKind::Outside => None,
        }
    }

    /// The pod at this end.
    pub(super) fn pod(&self) -> Option<(&'a ObjectName, &'a Pod)> {
        match self.kind {
            EndKind::Pod(name, pod) => Some((name, pod)),
            EndKind::Node(_) | EndKind::Outside => None,
        }
    }
}

impl Destination<'_> {
    /// Addresses and ports of the backends.
    pub(super) fn places(&self) -> BTreeSet<(IpAddr, u16)> {
        self.backends.iter().map(|(end, port)| (end.address, *port)).collect()
    }
}
