//! Verdicts: on a packet of a known flow, and on a new packet from or to a pod.
//!
//! Input is an [`Arrival`] (the parsed packet and its hook); output is a [`Verdict`].
//! `inspect` calls [`known`] for a packet of a flow in the table, and [`from_pod`] or [`to_pod`]
//! for every other.

use policy_common::{
    drops::{Direction, Reason},
    endpoint::{Endpoint, NodeKind, flags},
    flow::{Flow, Initiator, Judgement},
    protocol::{ICMP, ICMPV6, UDP},
};

use crate::{
    address::Ip,
    endpoint,
    family::{Ends, Family, write_key},
    flow::{self, FlowEntry},
    inspect::{Arrival, store_sender_slot},
    maps::NODE_ADDRESSES,
    neighbour,
    packet::Packet,
    rules::{self, Peer},
    transport::Transport,
    verdict::Verdict,
};

/// UDP ports of tunnels, network byte order: VXLAN (RFC 7348, and Linux' default) and Geneve.
const TUNNEL_PORTS: [[u8; 2]; 3] =
    [4789_u16.to_be_bytes(), 8472_u16.to_be_bytes(), 6081_u16.to_be_bytes()];

/// Whether a packet starts a new connection although a flow with its key exists (S27): a SYN, an
/// INIT, or an ICMP request of the other end.
#[inline(always)]
pub(crate) fn starts_connection(
    arrival: &Arrival<'_>,
    entry: &FlowEntry,
    transport: &Transport,
) -> bool {
    let sent = matches!(arrival.direction, Direction::Egress);
    let by_initiator = sent == (entry.judgement.initiator == Initiator::Local as u8);
    transport.opens || (transport.requests && !by_initiator)
}

/// Judges a packet of a known flow; if its epoch is old, the flow is judged again first (S29).
#[inline(always)]
pub(crate) fn known<F: Family>(
    arrival: &Arrival<'_>,
    entry: &mut FlowEntry,
    flow: &mut Flow<F::Address>,
    transport: &Transport,
) -> Verdict {
    if entry.judgement.epoch != arrival.epoch {
        let Some(endpoint) = endpoint::find(arrival.ifindex) else {
            return Verdict::drop(Reason::UnknownEndpoint);
        };
        rejudge(endpoint, entry, arrival.epoch, &arrival.ends(transport));
    }
    let sent = matches!(arrival.direction, Direction::Egress);
    flow::touch::<F>(entry, flow, transport, sent);
    store_sender_slot(arrival.ctx, arrival.direction, u32::from(entry.slot));
    match Reason::from_number(entry.judgement.denied) {
        None => Verdict::Pass,
        Some(reason) => Verdict::drop(reason),
    }
}

/// Judges a flow again, as a connection of its initiator, and stores the verdict.
///
/// Example: `web` opened a connection to `api`, then a policy that isolates `api` for egress is
/// added. The next packet, even one from `api`, is judged as ingress of `api` from `web`: `api`
/// may still answer, because it did not open the connection.
#[inline(always)]
pub(crate) fn rejudge(endpoint: &Endpoint, entry: &mut FlowEntry, epoch: u32, ends: &Ends) {
    let Judgement { initiator, sender, .. } = entry.judgement;
    let initiator = Initiator::from_number(initiator);
    let mut from = Origin { initiator, sender: u32::from(sender), address: ends.remote };
    if let Some(sender) = endpoint::of_slot(from.sender) {
        from.address = endpoint::address(sender, ends.remote);
    }
    let denied = match decide(endpoint, &from, ends) {
        Verdict::Pass => 0,
        Verdict::Drop(_) | Verdict::CheckQuotation => Reason::Revoked as u8,
    };
    flow::store_judgement(entry, Judgement { epoch, denied, ..entry.judgement });
}

/// The end that opens a connection, as far as it is proven.
pub(crate) struct Origin {
    initiator: Initiator,
    /// Slot of the pod of this node that really sends the packets; 0 if it is none.
    sender: u32,
    /// The address of the far end that the rules are looked up for: a local pod's own address, even
    /// where the packet carries a masqueraded one.
    address: Ip,
}

/// Judges a packet that a pod sends and that belongs to no known flow.
#[inline(always)]
pub(crate) fn from_pod<F: Family>(
    arrival: &Arrival<'_>,
    endpoint: &Endpoint,
    flow: &mut Flow<F::Address>,
    in_replied: bool,
) -> Verdict {
    store_sender_slot(arrival.ctx, arrival.direction, endpoint.slot);
    let packet = arrival.packet;
    if let Some(verdict) = neighbour::icmpv6(arrival.ctx, arrival.direction, endpoint, packet) {
        return verdict;
    }
    if endpoint.flags & flags::MAY_SPOOF == 0 {
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
    let from = Origin { initiator: Initiator::Local, sender: 0, address: packet.destination };
    judge_connection::<F>(arrival, endpoint, &from, flow, in_replied)
}

/// Judges a packet to a pod that belongs to no known flow.
#[inline(always)]
pub(crate) fn to_pod<F: Family>(
    arrival: &Arrival<'_>,
    endpoint: &Endpoint,
    flow: &mut Flow<F::Address>,
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
    judge_connection::<F>(arrival, endpoint, &origin(arrival), flow, in_replied)
}

/// The origin of a connection to a pod: a process of the node, a pod of this node under whatever
/// source address, or another machine (S37, S39).
#[inline(always)]
fn origin(arrival: &Arrival<'_>) -> Origin {
    let context = arrival.ctx.skb.skb;
    // SAFETY: the kernel passes a valid context to the program.
    let ingress_ifindex = unsafe { (*context).ingress_ifindex };
    // SAFETY: as above.
    let tc_index = unsafe { (*context).tc_index };
    let source = arrival.packet.source;
    let own = NODE_ADDRESSES.get_ptr(source.bytes());
    // SAFETY: the kernel keeps the element readable while the program runs; one aligned word.
    let own = own.is_some_and(|kind| unsafe { kind.read_volatile() } == NodeKind::Own as u32);
    if ingress_ifindex == 0 && own {
        return Origin { initiator: Initiator::Node, sender: 0, address: source };
    }
    match endpoint::sender(tc_index, ingress_ifindex) {
        None => Origin { initiator: Initiator::Remote, sender: 0, address: source },
        Some(sender) => Origin {
            initiator: Initiator::Remote,
            sender: sender.slot,
            address: endpoint::address(sender, source),
        },
    }
}

/// Judges a connection, and records its flow if it passes. At an endpoint that is tracking
/// everything passes, and connections are recorded if their first packet was seen (S30).
#[inline(always)]
fn judge_connection<F: Family>(
    arrival: &Arrival<'_>,
    endpoint: &Endpoint,
    from: &Origin,
    flow: &mut Flow<F::Address>,
    in_replied: bool,
) -> Verdict {
    let tracked = endpoint::is_tracked(endpoint);
    let transport = match arrival.packet.transport() {
        Ok(transport) => transport,
        Err(_) if tracked => return Verdict::Pass,
        Err(reason) => return Verdict::drop(reason),
    };
    if transport.is_error() && !arrival.quotation_checked {
        return Verdict::CheckQuotation;
    }
    // The sender of a packet in the middle of a connection need not have opened it, and must not be
    // able to choose who counts as the initiator.
    let initiator = match from.initiator {
        Initiator::Local | Initiator::Remote if transport.is_under_way() => Initiator::Either,
        Initiator::Local | Initiator::Remote | Initiator::Node | Initiator::Either => {
            from.initiator
        }
    };
    let from = &Origin { initiator, sender: from.sender, address: from.address };
    if let Verdict::Drop(refusal) = decide(endpoint, from, &arrival.ends(transport)) {
        return Verdict::Drop(refusal);
    }
    if has_no_replies(arrival.packet, transport) || tracked && transport.is_under_way() {
        return Verdict::Pass;
    }
    let judgement = Judgement {
        epoch: arrival.epoch,
        initiator: from.initiator as u8,
        denied: 0,
        sender: from.sender as u16,
    };
    write_key::<F>(flow, &arrival.ends(transport));
    if flow::record::<F>(flow, judgement, endpoint.slot as u16, in_replied) || tracked {
        Verdict::Pass
    } else {
        Verdict::drop(Reason::FlowTableFull)
    }
}

/// Looks up the rules of the direction in which a connection was opened, or of both directions if
/// the initiator is unknown.
#[inline(always)]
fn decide(endpoint: &Endpoint, from: &Origin, ends: &Ends) -> Verdict {
    let (address, protocol) = (from.address, ends.protocol);
    let by_pod = matches!(from.initiator, Initiator::Local | Initiator::Either);
    if by_pod && endpoint.egress != 0 {
        let peer = Peer { address, protocol, port: ends.ports.remote };
        let verdict = rules::egress(endpoint.egress, &peer);
        if !matches!((&verdict, from.initiator), (Verdict::Pass, Initiator::Either)) {
            return verdict;
        }
    }
    let by_far = matches!(from.initiator, Initiator::Remote | Initiator::Either);
    if by_far && endpoint.ingress != 0 && from.sender != endpoint.slot {
        let peer = Peer { address, protocol, port: ends.ports.local };
        return rules::ingress(endpoint.ingress, &peer);
    }
    Verdict::Pass
}

/// Whether a packet could carry an inner packet, with a source that no program checks (S46).
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

/// Whether a protocol is IP in IP, IPv6 in IP, or GRE.
#[inline(always)]
fn is_tunnel(protocol: u8) -> bool {
    matches!(protocol, 4 | 41 | 47)
}

/// Whether a node accepts packets to this address as its own.
#[inline(always)]
fn reaches_node(address: Ip) -> bool {
    address.is_group() || NODE_ADDRESSES.get_ptr(address.bytes()).is_some()
}

/// Whether a packet needs no flow, because no packet could be recognised as its reply: replies
/// never come from a group address, ICMP without an identifier has none, and the source of a
/// tunnel packet is checked at every packet.
#[inline(always)]
fn has_no_replies(packet: &Packet, transport: &Transport) -> bool {
    packet.destination.is_group()
        || is_tunnel(transport.protocol)
        || (matches!(transport.protocol, ICMP | ICMPV6) && !transport.echoes)
}
