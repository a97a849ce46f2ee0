//! Denied connections that one Event reports together.
//!
//! Packets with the same pod, direction, far end and deciding policies are one denied connection. The
//! far end is the workload of a pod, a node, or the block of an address outside of the cluster:
//!
//! ```text
//! 10.0.1.7:40112 -> shop/db-0 5432/TCP  ┐
//! 10.0.1.9:51004 -> shop/db-0 5432/TCP  ┘ ingress of shop/db-0 from Deployment shop/web
//! ```

use policy_core::{
    attribute::Denial,
    model::{Direction, ObjectName},
};

use super::{end::FlowEnd, packet::DroppedPacket};

/// What policies deny, without the port: a scan of all ports is one denied connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeniedConnection {
    /// The pod that the denying policies isolate.
    pub pod: ObjectName,
    peer: FlowEnd,
    denial: Denial,
}

impl DroppedPacket<'_> {
    /// The denied connection that the packet belongs to, and `metadata.uid` of its pod; `None` where
    /// no policy denied it, or where its pod is not known.
    #[must_use]
    pub fn denied_connection(&self) -> Option<(DeniedConnection, &str)> {
        // An Event about a pod that left the API would have no object.
        let (name, pod) = self.local.pod.filter(|(_, pod)| pod.deleted.is_none())?;
        let denial = self.denial.clone()?;
        let peer = self.end(&self.remote)?;
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
}

#[cfg(test)]
impl DeniedConnection {
    /// With an address outside of the cluster.
    pub(super) fn of_address(pod: ObjectName, peer: &str, denial: Denial) -> Self {
        Self { pod, peer: FlowEnd::of_address(peer.parse().expect("an address")), denial }
    }
}
