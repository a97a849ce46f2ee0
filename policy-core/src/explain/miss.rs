//! Why an entry of a rule does not match a connection, in words for `policyctl explain`.
//!
//! Input: a peer, port or protocol of a rule, and the far end. Output: each [`Miss`]; none where the
//! entry matches. For a connection from pod `red/web` (`app=web`) at TCP 443 to `shop/db`:
//!
//! ```text
//! podSelector app=front                       selects pods of namespace shop only, not of red
//! namespaceSelector team=blue,                namespace red is not team in (blue) (it has team=red)
//!   podSelector app=front                     pod red/web is not app in (front) (it has app=web)
//! ipBlock 10.0.0.0/8 except 10.1.0.0/16       in except 10.1.0.0/16
//! ports: 80                                   is for port 80
//! ```

use std::{fmt, net::IpAddr};

use ipnetwork::IpNetwork;

use crate::model::{
    ClusterPeer, Labels, ObjectName, Peer, Pod, PodSet, Port, PortSpec, Protocol, ProtocolMatch,
    Requirement, Selector, Snapshot, UnknownPeer,
};

use super::ends::ResolvedEnd;

/// Why an entry of a rule does not match a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// A selector never matches an address outside of the cluster, nor a node's (S6, S12).
    NotAPod(IpAddr),
    /// `podSelector` alone matches pods of the policy's own namespace only.
    OtherNamespace {
        /// The policy's.
        own: String,
        /// The far end's.
        found: String,
    },
    /// `namespaceSelector` does not match.
    NamespaceLabel {
        /// The far end's.
        namespace: String,
        /// The requirement that is not met.
        requirement: Requirement,
        /// The value that the label has.
        found: Option<String>,
    },
    /// `podSelector` does not match.
    PodLabel {
        /// The far end.
        pod: ObjectName,
        /// The requirement that is not met.
        requirement: Requirement,
        /// The value that the label has.
        found: Option<String>,
    },
    /// A selector of nodes matches addresses of nodes only.
    NotANode(IpAddr),
    /// A selector of nodes does not match.
    NodeLabel {
        /// The far end.
        node: String,
        /// The requirement that is not met.
        requirement: Requirement,
        /// The value that the label has.
        found: Option<String>,
    },
    /// The address is outside of every one of these.
    OutsideNetworks(Vec<IpNetwork>),
    /// The address is of the other family.
    OtherFamily(IpNetwork),
    /// The address is outside of the block.
    OutsideBlock(IpNetwork),
    /// The address is in an `except`.
    Excepted(IpNetwork),
    /// Another protocol.
    OtherProtocol(Protocol),
    /// Other ports: first and last.
    OtherPort(u16, u16),
    /// The destination is no pod, so that the name has no number.
    NameWithoutPod(String),
    /// The destination has no port of this name and protocol.
    NameUnknown(String),
    /// The name belongs to other ports of the destination.
    NameElsewhere(String, Vec<u16>),
    /// It is not known, or cannot be enforced.
    Unknown(UnknownPeer),
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPod(address) => write!(f, "selects pods, and {address} is none"),
            Self::OtherNamespace { own, found } => {
                write!(f, "selects pods of namespace {own} only, not of {found}")
            }
            Self::NamespaceLabel { namespace, requirement, found } => {
                write!(f, "namespace {namespace} is not {requirement}")?;
                label(f, requirement, found.as_deref())
            }
            Self::PodLabel { pod, requirement, found } => {
                write!(f, "pod {pod} is not {requirement}")?;
                label(f, requirement, found.as_deref())
            }
            Self::NotANode(address) => write!(f, "selects nodes, and {address} is none of them"),
            Self::NodeLabel { node, requirement, found } => {
                write!(f, "node {node} is not {requirement}")?;
                label(f, requirement, found.as_deref())
            }
            Self::OutsideNetworks(networks) => {
                let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
                write!(f, "outside of {}", networks.join(", "))
            }
            Self::OtherFamily(block) => write!(f, "{block} is of the other family"),
            Self::OutsideBlock(block) => write!(f, "outside of {block}"),
            Self::Excepted(block) => write!(f, "in except {block}"),
            Self::OtherProtocol(protocol) => write!(f, "is for {protocol}"),
            Self::OtherPort(first, last) if first == last => write!(f, "is for port {first}"),
            Self::OtherPort(first, last) => write!(f, "is for ports {first} to {last}"),
            Self::NameWithoutPod(name) => {
                write!(f, "port {name:?} has a number on pods only, and the destination is none")
            }
            Self::NameUnknown(name) => write!(f, "the destination has no port named {name:?}"),
            Self::NameElsewhere(name, numbers) => {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                write!(f, "port {name:?} of the destination is {}", numbers.join(", "))
            }
            Self::Unknown(reason) => write!(f, "is not valid: {reason}"),
        }
    }
}

fn label(
    f: &mut fmt::Formatter<'_>,
    requirement: &Requirement,
    found: Option<&str>,
) -> fmt::Result {
    match found {
        Some(value) => write!(f, " (it has {}={value})", requirement.key),
        None => write!(f, " (it has no label {})", requirement.key),
    }
}

/// Why a peer of a policy in namespace `own` does not match the far end; empty where it does.
pub(super) fn of_peer(
    snapshot: &Snapshot,
    own: &str,
    peer: &Peer,
    far: &ResolvedEnd<'_>,
) -> Vec<Miss> {
    match peer {
        Peer::Block(block) if block.cidr.is_ipv4() != far.address.is_ipv4() => {
            vec![Miss::OtherFamily(block.cidr)]
        }
        Peer::Block(block) if !block.cidr.contains(far.address) => {
            vec![Miss::OutsideBlock(block.cidr)]
        }
        // Every except that holds the address is listed: to remove one of two would not help.
        Peer::Block(block) => {
            let around = block.except.iter().filter(|inner| inner.contains(far.address));
            around.map(|inner| Miss::Excepted(*inner)).collect()
        }
        Peer::Pods { namespaces, pods } => {
            let Some((name, pod)) = far.pod() else {
                return vec![Miss::NotAPod(far.address)];
            };
            let mut misses = match namespaces {
                Some(selector) => of_namespace(snapshot, selector, &name.namespace),
                None if name.namespace != own => vec![Miss::OtherNamespace {
                    own: own.to_owned(),
                    found: name.namespace.clone(),
                }],
                None => Vec::new(),
            };
            // Both selectors must match (S14), so that what is wrong with each is listed.
            misses.extend(of_labels(pods, name, pod));
            misses
        }
    }
}

/// Why an entry of `from` or `to` of a `ClusterNetworkPolicy` does not match the far end.
pub(super) fn of_cluster_peer(
    snapshot: &Snapshot,
    peer: &ClusterPeer,
    far: &ResolvedEnd<'_>,
) -> Vec<Miss> {
    let address = far.address;
    match peer {
        ClusterPeer::Unknown(reason) => vec![Miss::Unknown(*reason)],
        ClusterPeer::Pods(PodSet { namespaces, pods }) => {
            let Some((name, pod)) = far.pod() else { return vec![Miss::NotAPod(address)] };
            let mut misses = of_namespace(snapshot, namespaces, &name.namespace);
            misses.extend(of_labels(pods, name, pod));
            misses
        }
        ClusterPeer::Nodes(selector) => {
            // A gateway address is no node's here: `nodes` matches what `status.addresses` lists.
            let mut nodes = snapshot.nodes.iter();
            let Some((name, node)) = nodes.find(|(_, node)| node.addresses.contains(&address))
            else {
                return vec![Miss::NotANode(address)];
            };
            let failing = failing(&selector.requirements, &node.labels);
            failing
                .map(|(requirement, found)| Miss::NodeLabel {
                    node: name.clone(),
                    requirement,
                    found,
                })
                .collect()
        }
        ClusterPeer::Networks(networks) if networks.iter().any(|one| one.contains(address)) => {
            Vec::new()
        }
        ClusterPeer::Networks(networks) => vec![Miss::OutsideNetworks(networks.clone())],
    }
}

/// Why a selector does not match a namespace.
fn of_namespace(snapshot: &Snapshot, selector: &Selector, namespace: &str) -> Vec<Miss> {
    let labels = snapshot.namespace_labels(namespace);
    let failing = failing(&selector.requirements, &labels);
    failing
        .map(|(requirement, found)| Miss::NamespaceLabel {
            namespace: namespace.to_owned(),
            requirement,
            found,
        })
        .collect()
}

/// Why a selector does not match a pod.
fn of_labels(selector: &Selector, name: &ObjectName, pod: &Pod) -> impl Iterator<Item = Miss> {
    failing(&selector.requirements, &pod.labels).map(|(requirement, found)| Miss::PodLabel {
        pod: name.clone(),
        requirement,
        found,
    })
}

fn failing<'a>(
    requirements: impl IntoIterator<Item = &'a Requirement>,
    labels: &Labels,
) -> impl Iterator<Item = (Requirement, Option<String>)> {
    let failing = requirements.into_iter().filter(|requirement| !requirement.holds(labels));
    failing.map(|requirement| (requirement.clone(), labels.get(&requirement.key).cloned()))
}

/// Why an entry of `ports` does not match a port of the destination; `None` where it does.
pub(super) fn of_port(
    entry: &Port,
    destination: Option<&Pod>,
    protocol: Protocol,
    port: u16,
) -> Option<Miss> {
    if entry.protocol != protocol {
        return Some(Miss::OtherProtocol(entry.protocol));
    }
    match &entry.port {
        PortSpec::Every => None,
        PortSpec::Range { first, last } if (*first..=*last).contains(&port) => None,
        PortSpec::Range { first, last } => Some(Miss::OtherPort(*first, *last)),
        PortSpec::Named(name) => {
            let Some(pod) = destination else {
                return Some(Miss::NameWithoutPod(name.clone()));
            };
            // Several containers of a pod may give one name to different ports: all of them match.
            let numbers: Vec<u16> = pod.named_ports(name, protocol).collect();
            match numbers.as_slice() {
                [] => Some(Miss::NameUnknown(name.clone())),
                numbers if numbers.contains(&port) => None,
                _ => Some(Miss::NameElsewhere(name.clone(), numbers)),
            }
        }
    }
}

/// Why an entry of `protocols` does not match a port of the destination; a name may be that of a port
/// of any protocol.
pub(super) fn of_protocol(
    entry: &ProtocolMatch,
    destination: Option<&Pod>,
    protocol: Protocol,
    port: u16,
) -> Option<Miss> {
    let entry = match entry {
        &ProtocolMatch::Range { protocol, first, last } => {
            Port { protocol, port: PortSpec::Range { first, last } }
        }
        ProtocolMatch::Named(name) => Port { protocol, port: PortSpec::Named(name.clone()) },
    };
    of_port(&entry, destination, protocol, port)
}
