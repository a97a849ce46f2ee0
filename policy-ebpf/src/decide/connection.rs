//! Packets that belong to no known flow: the checks of what a pod may send at all, then the rules.
//!
//! Input is an [`Arrival`] (the parsed packet and its hook); output is a [`Verdict`]. `packet` calls
//! [`from_pod`] or [`to_pod`].

use policy_common::{
    drops::Reason,
    endpoint::{Endpoint, flags},
    flow::{Flow, Initiator, Judgement, TRANSLATED},
};

use super::{
    arrival::{Arrival, Turn, looked_up},
    endpoint, fragment, neighbour,
    origin::{self, Origin},
    rules::{self, Peer},
    translate,
    tunnel::{is_tunnel, tunnels},
    verdict::{Refusal, Verdict},
};
use crate::{
    flow::{
        family::{Ends, Family, write_key},
        table::{self, NewFlow},
    },
    parse::transport::Transport,
};

/// Judges a packet that a pod sends and that belongs to no known flow.
#[inline(always)]
pub(crate) fn from_pod<F: Family>(
    arrival: &Arrival<'_>,
    endpoint: &Endpoint,
    flow: &mut Flow<F::Address>,
    in_replied: bool,
) -> Verdict {
    arrival.skb.store_sender_slot(arrival.direction, endpoint.slot);
    let packet = arrival.packet;
    if let Some(verdict) = neighbour::icmpv6(&arrival.skb, arrival.direction, endpoint, packet) {
        return verdict;
    }
    if endpoint.flags & flags::MAY_SPOOF == 0 {
        if !endpoint::may_send(endpoint, packet.source, packet.destination) {
            return Verdict::drop(Reason::SpoofedSource);
        }
        if packet.hidden {
            return Verdict::drop(Reason::ExtensionHeader);
        }
        if tunnels(&arrival.skb, packet) {
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
        if let Some(verdict) = neighbour::icmpv6(&arrival.skb, arrival.direction, endpoint, packet)
        {
            return verdict;
        }
    } else if !endpoint::is_tracked(endpoint) || !endpoint::owns(endpoint, packet.destination) {
        return Verdict::Pass;
    }
    let from = origin::of(arrival);
    // A pod that routes has other addresses behind it.
    let is_own = endpoint.flags & flags::MAY_SPOOF != 0
        || endpoint::owns(endpoint, packet.destination)
        || packet.destination.is_group()
        // The node also reaches the pod under its link-local address (S37), which nobody lists.
        || (packet.destination.is_link_local6() && matches!(from.initiator, Initiator::Node));
    if !is_own {
        return Verdict::drop(Reason::NotForPod);
    }
    judge_connection::<F>(arrival, endpoint, &from, flow, in_replied)
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
        Err(Reason::Fragment) => return fragment::judge(arrival, endpoint, from),
        Err(reason) => return Verdict::drop(reason),
    };
    if transport.is_error() && arrival.looked_up & looked_up::QUOTATION == 0 {
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
    if arrival.turn() != Turn::Chosen
        && let Verdict::Drop(refusal) = decide(endpoint, from, &arrival.ends(transport))
    {
        let opened_by_pod = matches!(from.initiator, Initiator::Local);
        return translate::of_refusal(arrival, Refusal { opened_by_pod, ..refusal });
    }
    fragment::remember(arrival, endpoint.slot);
    if has_no_replies(arrival, endpoint, transport) || tracked && transport.is_under_way() {
        return Verdict::Pass;
    }
    let translation = translate::to_record(arrival);
    let judgement = Judgement {
        epoch: arrival.epoch,
        initiator: from.initiator as u8,
        denied: if translation.is_some() { TRANSLATED } else { 0 },
        sender: from.sender as u16,
    };
    write_key::<F>(flow, &arrival.ends(transport));
    let arrival = if arrival.sent() { 0 } else { arrival.skb.arrival() };
    let new = NewFlow { judgement, slot: endpoint.slot as u16, arrival, in_replied, translation };
    if table::record::<F>(flow, &new, transport) || tracked {
        Verdict::Pass
    } else {
        Verdict::drop(Reason::FlowTableFull)
    }
}

/// Looks up the rules of the direction in which a connection was opened, or of both directions if
/// the initiator is unknown.
#[inline(always)]
pub(crate) fn decide(endpoint: &Endpoint, from: &Origin, ends: &Ends) -> Verdict {
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
        return rules::address(endpoint.ingress, &peer);
    }
    Verdict::Pass
}

/// Whether a packet needs no flow, because no packet could be recognised as its reply, or the pod may
/// not send one: replies never come from a group address, and none go into a tunnel (S46).
#[inline(always)]
fn has_no_replies(arrival: &Arrival<'_>, endpoint: &Endpoint, transport: &Transport) -> bool {
    arrival.packet.destination.is_group()
        || transport.is_flowless()
        || is_tunnel(transport.protocol)
        || (!arrival.sent() && !endpoint::may_have(endpoint, &arrival.ends(transport)))
}
