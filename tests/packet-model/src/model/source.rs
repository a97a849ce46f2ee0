//! Sources: what a pod may send whatever its rules are, and who really sends to a pod.

use std::net::IpAddr;

use super::flow::Sender;
use super::frame::{self, Packet};
use super::held::is_held;
use super::{Answer, Event};
use crate::addresses::{
    BRIDGE, OTHER_NODE, OWN_NODE, TUNNEL_PORTS, interface, is_group, is_link_group, is_link_local,
    is_pod, listed, pod_has, slot,
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
    if packet.fragment.is_some_and(|fragment| !fragment.is_first) {
        return None;
    }
    let to_tunnel = upper.protocol == protocol::UDP
        && frame::transport(upper).is_some_and(|it| TUNNEL_PORTS.contains(&it.destination_port));
    let is_suspect = upper.protocol == protocol::UDP && frame::transport(upper).is_none();
    if is_suspect && !is_held("S46 ports") {
        return Some(Answer::Open);
    }
    if !to_tunnel && !is_tunnel(upper.protocol) {
        return None;
    }
    if !is_held("S46 ports") {
        let listed = listed(OWN_NODE, packet.destination)
            || listed(OTHER_NODE, packet.destination)
            || is_group(packet.destination);
        let six = frame::transport(upper).is_some_and(|it| it.destination_port == 6784);
        let differs = if to_tunnel {
            six || !listed && !is_pod(packet.destination)
        } else {
            is_pod(packet.destination)
        };
        if differs {
            return Some(Answer::Open);
        }
    }
    (!is_pod(packet.destination)).then_some(Answer::Drop("S46: a tunnel"))
}

/// IP in IP, IPv6 in IP, GRE.
pub(crate) fn is_tunnel(protocol: u8) -> bool {
    matches!(protocol, 4 | 41 | 47)
}

/// Who sends a packet to a pod (S27, S37, S39).
pub(crate) fn sender(world: &World, event: &Event, source: IpAddr) -> Sender {
    if event.arrived_by == 0 && listed(OWN_NODE, source) {
        return Sender::Node;
    }
    let proven = |pod: &usize| {
        let by_bridge = world.pods[*pod].on_bridge && event.arrived_by == BRIDGE;
        event.mark == slot(*pod) && (event.arrived_by == interface(*pod) || by_bridge)
    };
    (0..world.pods.len()).find(proven).map_or(Sender::Elsewhere, Sender::Pod)
}
