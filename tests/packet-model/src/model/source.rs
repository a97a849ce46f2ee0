//! Sources: what a pod may send whatever its rules are, and who really sends to a pod.

use std::net::IpAddr;

use super::flow::{FlowEnds, Sender};
use super::frame::{self, Packet};
use super::{Answer, Event};
use crate::addresses::{
    BRIDGE, OWN_NODE, TUNNEL_PORTS, interface, is_link_group, is_link_local, is_pod, listed,
    pod_has, slot,
};
use crate::protocol;
use crate::world::World;

/// The reason for which a pod may not send a packet, whatever its rules are (S32, S46).
pub(crate) fn may_not_send(pod: usize, packet: &Packet) -> Option<Answer> {
    let to_link = is_link_local(packet.destination) || is_link_group(packet.destination);
    if !(pod_has(pod, packet.source) || is_link_local(packet.source) && to_link) {
        return Some(Answer::Drop("S46: a source that is not the pod's own"));
    }
    let Some(upper) = &packet.upper else { return Some(Answer::Open) };
    // Later fragments have no ports.
    let is_later = packet.fragment.is_some_and(|fragment| !fragment.is_first);
    let to_tunnel = !is_later
        && upper.protocol == protocol::UDP
        && frame::transport(upper).is_some_and(|it| TUNNEL_PORTS.contains(&it.destination_port));
    if !to_tunnel && !is_tunnel(upper.protocol) {
        return None;
    }
    (packet.is_routed || !is_pod(packet.destination)).then_some(Answer::Drop("S46: a tunnel"))
}

/// Whether a pod may have a flow with these ends: it may no longer have those that it opened while
/// it might send anything (S46).
pub(crate) fn may_have(world: &World, pod: usize, ends: &FlowEnds) -> bool {
    let on_link = is_link_local(ends.local) && is_link_local(ends.remote);
    world.pods[pod].may_spoof || (pod_has(pod, ends.local) || on_link) && !leads_into_tunnel(ends)
}

/// Whether what the pod sends on a flow goes into a UDP tunnel to a node.
pub(crate) fn leads_into_tunnel(ends: &FlowEnds) -> bool {
    ends.protocol == protocol::UDP
        && TUNNEL_PORTS.contains(&ends.remote_port)
        && !is_pod(ends.remote)
}

/// IP in IP, IPv6 in IP, GRE.
pub(crate) fn is_tunnel(protocol: u8) -> bool {
    matches!(protocol, 4 | 41 | 47)
}

/// Who sends a packet to a pod (S27, S37, S39).
pub(crate) fn sender(world: &World, event: &Event, source: IpAddr) -> Sender {
    // No router forwards a packet of a link-local source (RFC 4291, 2.5.6).
    if event.arrived_by == 0 && (listed(OWN_NODE, source) || is_link_local(source)) {
        return Sender::Node;
    }
    let proven = |pod: &usize| {
        let by_bridge = world.pods[*pod].on_bridge && event.arrived_by == BRIDGE;
        event.mark == slot(*pod) && (event.arrived_by == interface(*pod) || by_bridge)
    };
    (0..world.pods.len()).find(proven).map_or(Sender::Elsewhere, Sender::Pod)
}
