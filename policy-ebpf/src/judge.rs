//! Judgements: of a flow that is known, of a packet from a pod, of a packet to a pod.

use policy_common::{
    drops::{Direction, Reason},
    endpoint::{Endpoint, MAY_SPOOF, OWN_NODE},
    flow::{INITIATOR_EITHER, INITIATOR_LOCAL, INITIATOR_NODE, INITIATOR_REMOTE, Judgement},
};

use crate::{
    address::Ip,
    endpoint,
    family::{Family, Ports},
    flow::{self, Known},
    inspect::{Arrival, leave_slot},
    maps::NODE_ADDRESSES,
    neighbour,
    packet::Packet,
    rules::{self, Peer},
    transport::{ICMP, ICMPV6, Transport, UDP},
    verdict::Verdict,
};

/// UDP ports of tunnels, network byte order: VXLAN (RFC 7348, and Linux' own) and Geneve.
const TUNNEL_PORTS: [[u8; 2]; 3] =
    [4789_u16.to_be_bytes(), 8472_u16.to_be_bytes(), 6081_u16.to_be_bytes()];

/// Whether a packet begins a connection anew although its flow is known (S27).
#[inline(always)]
pub(crate) fn begins(arrival: &Arrival<'_>, known: &Known, transport: &Transport) -> bool {
    let sent = matches!(arrival.direction, Direction::Egress);
    let by_initiator = sent == (known.judgement.initiator == INITIATOR_LOCAL);
    transport.opens || (transport.asks && !by_initiator)
}

/// Judges a packet of a known flow; anew where the policies have changed since (S29).
#[inline(always)]
pub(crate) fn known<F: Family>(
    arrival: &Arrival<'_>,
    known: &mut Known,
    flow: &mut F::Flow,
    transport: &Transport,
) -> Verdict {
    if known.judgement.epoch != arrival.epoch {
        let Some(endpoint) = endpoint::find(arrival.ifindex) else {
            return Verdict::drop(Reason::UnknownEndpoint);
        };
        again(endpoint, known, arrival.epoch, &arrival.far_end(transport));
    }
    let sent = matches!(arrival.direction, Direction::Egress);
    flow::touch::<F>(known, flow, transport, sent);
    leave_slot(arrival.ctx, arrival.direction, u32::from(known.slot));
    match Reason::from_number(known.judgement.denied) {
        None => Verdict::Pass,
        Some(reason) => Verdict::drop(reason),
    }
}

/// Judges a flow anew, as a connection of its initiator, and notes the verdict.
#[inline(always)]
pub(crate) fn again(endpoint: &Endpoint, known: &mut Known, epoch: u32, far: &FarEnd) {
    let Judgement { initiator, sender, .. } = known.judgement;
    let mut from = Origin { initiator, sender: u32::from(sender), address: far.address };
    if let Some(sender) = endpoint::of_slot(from.sender) {
        from.address = endpoint::address(sender, far.address);
    }
    let denied = match decide(endpoint, &from, far) {
        Verdict::Pass => 0,
        Verdict::Drop(_) | Verdict::AskQuotation => Reason::Revoked as u8,
    };
    flow::rejudge(known, Judgement { epoch, denied, ..known.judgement });
}

/// Who opens a connection.
pub(crate) struct Origin {
    /// `INITIATOR_*`.
    initiator: u8,
    /// Slot of the pod of this node that the packets really come from; 0 for none.
    sender: u32,
    /// The far end's address that the rules are asked for.
    address: Ip,
}

/// Judges a packet that a pod sends and that belongs to no flow.
#[inline(always)]
pub(crate) fn from_pod<F: Family>(
    arrival: &Arrival<'_>,
    endpoint: &Endpoint,
    flow: &mut F::Flow,
    in_replied: bool,
) -> Verdict {
    leave_slot(arrival.ctx, arrival.direction, endpoint.slot);
    let packet = arrival.packet;
    if let Some(verdict) = neighbour::icmpv6(arrival.ctx, arrival.direction, endpoint, packet) {
        return verdict;
    }
    if endpoint.flags & MAY_SPOOF == 0 {
        if !endpoint::may_send(endpoint, packet.source, packet.destination) {
            return Verdict::drop(Reason::SpoofedSource);
        }
        if packet.hidden {
            return Verdict::drop(Reason::ExtensionHeader);
        }
        if tunnels(packet) {
            return Verdict::drop(Reason::Tunnel);
        }
    }
    if !endpoint::is_isolated(endpoint) && !endpoint::is_tracked(endpoint) {
        return Verdict::Pass;
    }
    let from = Origin { initiator: INITIATOR_LOCAL, sender: 0, address: packet.destination };
    begin::<F>(arrival, endpoint, &from, flow, in_replied)
}

/// Judges a packet to a pod that belongs to no flow.
#[inline(always)]
pub(crate) fn to_pod<F: Family>(
    arrival: &Arrival<'_>,
    endpoint: &Endpoint,
    flow: &mut F::Flow,
    in_replied: bool,
) -> Verdict {
    let packet = arrival.packet;
    if endpoint::is_isolated(endpoint) {
        if let Some(verdict) = neighbour::icmpv6(arrival.ctx, arrival.direction, endpoint, packet) {
            return verdict;
        }
        if !endpoint::owns(endpoint, packet.destination) && !packet.destination.is_group() {
            return Verdict::drop(Reason::NotForPod);
        }
    } else if !endpoint::is_tracked(endpoint) || !endpoint::owns(endpoint, packet.destination) {
        return Verdict::Pass;
    }
    begin::<F>(arrival, endpoint, &origin(arrival), flow, in_replied)
}

/// Who opens a connection to a pod: a process of the node, a pod of this node under whatever
/// source address, or somebody else (S37, S39).
#[inline(always)]
fn origin(arrival: &Arrival<'_>) -> Origin {
    let context = arrival.ctx.skb.skb;
    // SAFETY: the kernel hands a valid context to the program.
    let ingress_ifindex = unsafe { (*context).ingress_ifindex };
    // SAFETY: as above.
    let tc_index = unsafe { (*context).tc_index };
    let source = arrival.packet.source;
    let own = NODE_ADDRESSES.get_ptr(source.bytes());
    // SAFETY: the kernel keeps the element readable while the program runs; one aligned word.
    let own = own.is_some_and(|kind| unsafe { kind.read_volatile() } == OWN_NODE);
    if ingress_ifindex == 0 && own {
        return Origin { initiator: INITIATOR_NODE, sender: 0, address: source };
    }
    match endpoint::sender(tc_index, ingress_ifindex) {
        None => Origin { initiator: INITIATOR_REMOTE, sender: 0, address: source },
        Some(sender) => Origin {
            initiator: INITIATOR_REMOTE,
            sender: sender.slot,
            address: endpoint::address(sender, source),
        },
    }
}

/// Judges a connection, and records it where it passes. At an endpoint that is tracked all pass,
/// and those are recorded whose beginning was seen (S30).
#[inline(always)]
fn begin<F: Family>(
    arrival: &Arrival<'_>,
    endpoint: &Endpoint,
    from: &Origin,
    flow: &mut F::Flow,
    in_replied: bool,
) -> Verdict {
    let tracked = endpoint::is_tracked(endpoint);
    let transport = match arrival.packet.transport() {
        Ok(transport) => transport,
        Err(_) if tracked => return Verdict::Pass,
        Err(reason) => return Verdict::drop(reason),
    };
    if transport.is_error() && !arrival.asked {
        return Verdict::AskQuotation;
    }
    // Whoever sends in the middle of a connection may not have opened it, and shall not choose.
    let initiator = match from.initiator {
        INITIATOR_LOCAL | INITIATOR_REMOTE if transport.is_under_way() => INITIATOR_EITHER,
        known => known,
    };
    let from = &Origin { initiator, sender: from.sender, address: from.address };
    if let Verdict::Drop(refusal) = decide(endpoint, from, &arrival.far_end(transport)) {
        return Verdict::Drop(refusal);
    }
    if leaves_no_flow(arrival.packet, transport) || tracked && transport.is_under_way() {
        return Verdict::Pass;
    }
    let judgement = Judgement {
        epoch: arrival.epoch,
        initiator: from.initiator,
        denied: 0,
        sender: from.sender as u16,
    };
    arrival.write_key::<F>(flow, transport);
    if flow::record::<F>(flow, judgement, endpoint.slot as u16, in_replied) || tracked {
        Verdict::Pass
    } else {
        Verdict::drop(Reason::FlowTableFull)
    }
}

/// Asks the rules of the direction in which a connection was opened; of both where that is not known.
#[inline(always)]
fn decide(endpoint: &Endpoint, from: &Origin, far: &FarEnd) -> Verdict {
    let (address, protocol) = (from.address, far.protocol);
    let by_pod = matches!(from.initiator, INITIATOR_LOCAL | INITIATOR_EITHER);
    if by_pod && endpoint.egress != 0 {
        let peer = Peer { address, protocol, port: far.ports.remote };
        let verdict = rules::egress(endpoint.egress, &peer);
        if !matches!((&verdict, from.initiator), (Verdict::Pass, INITIATOR_EITHER)) {
            return verdict;
        }
    }
    let by_far = matches!(from.initiator, INITIATOR_REMOTE | INITIATOR_EITHER);
    if by_far && endpoint.ingress != 0 && from.sender != endpoint.slot {
        let peer = Peer { address, protocol, port: far.ports.local };
        return rules::ingress(endpoint.ingress, &peer);
    }
    Verdict::Pass
}

/// The far end of a connection, as the pod sees it.
pub(crate) struct FarEnd {
    pub(crate) address: Ip,
    pub(crate) ports: Ports,
    pub(crate) protocol: u8,
}

/// Whether a packet could carry another whose source nobody checks (S46).
#[inline(always)]
fn tunnels(packet: &Packet) -> bool {
    if is_tunnel(packet.protocol) {
        return true;
    }
    let to_tunnel = match packet.transport() {
        Ok(transport) => TUNNEL_PORTS.contains(&transport.destination),
        // Fragments and options hide the port.
        Err(_) => true,
    };
    packet.protocol == UDP && to_tunnel && reaches_node(packet.destination)
}

/// IP in IP, IPv6 in IP, GRE.
#[inline(always)]
fn is_tunnel(protocol: u8) -> bool {
    matches!(protocol, 4 | 41 | 47)
}

/// Whether nodes take a packet to this address for theirs.
#[inline(always)]
fn reaches_node(address: Ip) -> bool {
    address.is_group() || NODE_ADDRESSES.get_ptr(address.bytes()).is_some()
}

/// Whether nothing that comes back could be told for a reply: nobody answers from a group address,
/// ICMP without an identifier has no replies, and an inner packet's source is checked at every
/// packet.
#[inline(always)]
fn leaves_no_flow(packet: &Packet, transport: &Transport) -> bool {
    packet.destination.is_group()
        || is_tunnel(transport.protocol)
        || (matches!(transport.protocol, ICMP | ICMPV6) && !transport.echoes)
}
