//! Denied connections that one Event reports together.
//!
//! Packets with the same pod, direction, far end and deciding policies are one denied connection. The
//! far end is the workload of a pod, a node, or the block of an address outside of the cluster:
//!
//! ```text
//! 10.0.1.7:40112 -> shop/db-0 5432/TCP  ┐
//! 10.0.1.9:51004 -> shop/db-0 5432/TCP  ┘ ingress of shop/db-0 from Deployment shop/web
//! ```

use std::{fmt, net::IpAddr};

use ipnetwork::IpNetwork;
use policy_core::{
    attribute::Denial,
    model::{Direction, ObjectName, Pod},
};

use super::packet::{DroppedPacket, PacketEnd};

/// Prefix length of the block that stands for an IPv4 address outside of the cluster.
const IPV4_BLOCK: u8 = 24;
/// The same for IPv6: one network of a site.
const IPV6_BLOCK: u8 = 64;

/// What policies deny, without the port: a scan of all ports is one denied connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeniedConnection {
    /// The pod that the denying policies isolate.
    pub pod: ObjectName,
    peer: Peer,
    denial: Denial,
}

/// The far end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    /// What runs a pod: kind, namespace and name.
    Workload(String, ObjectName),
    /// A pod that nothing runs.
    Pod(ObjectName),
    /// A node.
    Node(String),
    /// Addresses outside of the cluster.
    Block(IpNetwork),
}

impl DroppedPacket<'_> {
    /// The denied connection that the packet belongs to, and `metadata.uid` of its pod; `None` where
    /// no policy denied it, or where its pod is not known.
    #[must_use]
    pub fn denied_connection(&self) -> Option<(DeniedConnection, &str)> {
        // An Event about a pod that left the API would have no object.
        let (name, pod) = self.local.pod.filter(|(_, pod)| pod.deleted.is_none())?;
        let denial = self.denial.clone()?;
        let peer = self.peer()?;
        Some((DeniedConnection { pod: name.clone(), peer, denial }, &pod.uid))
    }

    /// The sentence of an Event: what is denied, with the port of this packet, and by whom.
    #[must_use]
    pub fn denial_note(&self, denied: &DeniedConnection) -> String {
        let DeniedConnection { pod: _, peer, denial } = denied;
        let connection = match denial.direction {
            Direction::Ingress => "ingress from",
            Direction::Egress => "egress to",
        };
        let port = self.destination_port(denial.direction);
        let port = port.map(|(protocol, port)| format!(" at port {port}/{protocol}"));
        format!("{connection} {peer}{} is {denial}", port.unwrap_or_default())
    }

    fn peer(&self) -> Option<Peer> {
        let PacketEnd { address, pod, .. } = self.remote;
        if let Some((name, pod)) = pod {
            return Some(Peer::of_pod(name, pod));
        }
        let address = address?;
        let mut nodes = self.snapshot.nodes.iter();
        let node = nodes.find(|(_, node)| node.addresses.contains(&address));
        Some(node.map_or_else(|| Peer::of_address(address), |(name, _)| Peer::Node(name.clone())))
    }
}

impl Peer {
    fn of_pod(name: &ObjectName, pod: &Pod) -> Self {
        let workload = pod.workload.as_deref();
        workload.map_or_else(
            || Self::Pod(name.clone()),
            |workload| {
                let name = ObjectName::new(&name.namespace, &workload.name);
                Self::Workload(workload.kind.clone(), name)
            },
        )
    }

    fn of_address(address: IpAddr) -> Self {
        let length = if address.is_ipv4() { IPV4_BLOCK } else { IPV6_BLOCK };
        let block = IpNetwork::new(address, length).unwrap_or_else(|_too_long| address.into());
        let network = IpNetwork::new(block.network(), block.prefix());
        Self::Block(network.unwrap_or(block))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(kind, name) => write!(f, "{kind} {name}"),
            Self::Pod(name) => write!(f, "Pod {name}"),
            Self::Node(name) => write!(f, "Node {name}"),
            Self::Block(block) => block.fmt(f),
        }
    }
}

#[cfg(test)]
impl DeniedConnection {
    /// With an address outside of the cluster.
    pub(super) fn of_address(pod: ObjectName, peer: &str, denial: Denial) -> Self {
        Self { pod, peer: Peer::of_address(peer.parse().expect("an address")), denial }
    }
}
