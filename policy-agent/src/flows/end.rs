//! The end of a denied connection, as people name it.
//!
//! Input: an end of a dropped packet. Output: the workload of its pod, its node, or the block of an
//! address outside of the cluster. Events and the history of flows group packets by it:
//!
//! ```text
//! 10.0.1.7      pod shop/web-7d9f-x2x4p     Deployment shop/web
//! 192.168.0.4   an address of node1         Node node1
//! 203.0.113.7   outside of the cluster      203.0.113.0/24
//! ```

use std::{fmt, net::IpAddr};

use ipnetwork::IpNetwork;
use policy_core::model::{ObjectName, Pod};

use super::packet::{DroppedPacket, PacketEnd};

/// Prefix length of the block that stands for an IPv4 address outside of the cluster.
const IPV4_BLOCK: u8 = 24;
/// The same for IPv6: one network of a site.
const IPV6_BLOCK: u8 = 64;

/// An end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FlowEnd {
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
    /// What stands for an end; `None` where neither its pod nor its address is known.
    pub(super) fn end(&self, end: &PacketEnd<'_>) -> Option<FlowEnd> {
        let PacketEnd { address, pod, .. } = *end;
        if let Some((name, pod)) = pod {
            return Some(FlowEnd::of_pod(name, pod));
        }
        let address = address?;
        let mut nodes = self.snapshot.nodes.iter();
        let node = nodes.find(|(_, node)| node.addresses.contains(&address));
        Some(
            node.map_or_else(
                || FlowEnd::of_address(address),
                |(name, _)| FlowEnd::Node(name.clone()),
            ),
        )
    }
}

impl FlowEnd {
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

    /// The block of an address.
    pub(super) fn of_address(address: IpAddr) -> Self {
        let length = if address.is_ipv4() { IPV4_BLOCK } else { IPV6_BLOCK };
        let block = IpNetwork::new(address, length).unwrap_or_else(|_too_long| address.into());
        let network = IpNetwork::new(block.network(), block.prefix());
        Self::Block(network.unwrap_or(block))
    }
}

impl fmt::Display for FlowEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(kind, name) => write!(f, "{kind} {name}"),
            Self::Pod(name) => write!(f, "Pod {name}"),
            Self::Node(name) => write!(f, "Node {name}"),
            Self::Block(block) => block.fmt(f),
        }
    }
}
