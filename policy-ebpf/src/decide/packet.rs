//! Judges a parsed packet by its flow, its endpoint and the rules, in this order. Each step runs only if
//! the one before it did not decide.
//!
//! `classify` calls [`ip`], [`unparsed`] or [`other`]; the result is a [`Verdict`].

use policy_common::{
    drops::{Direction, Reason},
    endpoint::flags,
    flow::Flow,
    protocol::{ETH_P_8021AD, ETH_P_8021Q, ETH_P_ARP},
};

use super::{
    arrival::{Arrival, Turn, looked_up},
    connection, endpoint, known, neighbour,
    verdict::Verdict,
};
use crate::{
    flow::{
        family::{Family, write_key},
        table::{self, Lookup},
    },
    maps::DROP_UNKNOWN,
    scratch,
    skb::{Skb, TAGGED},
    trace,
};

/// Judges an IP packet: one of a known flow passes, or is denied, after that look-up alone.
#[inline(always)]
pub(crate) fn ip<F: Family>(arrival: &Arrival<'_>, flow: &mut Flow<F::Address>) -> Verdict {
    let mut in_replied = false;
    if let (Ok(transport), true) = (arrival.packet.transport(), arrival.epoch != 0)
        && arrival.looked_up & looked_up::NO_FLOW == 0
        && !transport.is_flowless()
        // The verdict on a SYN or an INIT depends on no flow (S27).
        && !transport.opens
    {
        write_key::<F>(flow, &arrival.ends(transport));
        match table::find::<F>(&flow.key, transport.protocol) {
            Lookup::Found(mut entry) => {
                trace::flow(&entry.judgement);
                in_replied = !entry.is_new();
                if arrival.turn() != Turn::Chosen
                    && known::is_of_flow(arrival, &mut entry, transport)
                    && let Some(verdict) = known::judge::<F>(arrival, &mut entry, flow, transport)
                {
                    return verdict;
                }
            }
            Lookup::Missing { in_replied: expired } => {
                trace::no_flow();
                in_replied = expired;
            }
        }
    } else {
        trace::flow_not_needed();
    }
    // What a backend answers has passed as a packet of its own flow.
    if arrival.turn() == Turn::Returned {
        return Verdict::Pass;
    }
    let endpoint = endpoint::find(arrival.ifindex());
    trace::endpoint(endpoint);
    match endpoint {
        None => unknown(),
        Some(endpoint) => match arrival.direction {
            Direction::Egress => connection::from_pod::<F>(arrival, endpoint, flow, in_replied),
            Direction::Ingress => connection::to_pod::<F>(arrival, endpoint, flow, in_replied),
        },
    }
}

/// Judges a packet with addresses that cannot be parsed: its source cannot be checked either.
#[inline(always)]
pub(crate) fn unparsed(skb: Skb, direction: Direction, reason: Reason) -> Verdict {
    match endpoint::find(skb.ifindex()) {
        None => unknown(),
        Some(endpoint)
            if endpoint::is_isolated(endpoint)
                || (matches!(direction, Direction::Egress)
                    && endpoint.flags & flags::MAY_SPOOF == 0) =>
        {
            Verdict::drop(reason)
        }
        Some(endpoint) => {
            skb.store_sender_slot(direction, endpoint.slot);
            Verdict::Pass
        }
    }
}

/// Judges a frame that is not IP.
#[inline(always)]
pub(crate) fn other(skb: Skb, direction: Direction) -> Verdict {
    if let Some(scratch) = scratch::get() {
        // SAFETY: the map has one element for each CPU, and no other program runs on this one.
        unsafe { (*scratch).packet.has_addresses = false };
    }
    let Some(endpoint) = endpoint::find(skb.ifindex()) else { return unknown() };
    skb.store_sender_slot(direction, endpoint.slot);
    let sent = matches!(direction, Direction::Egress);
    match skb.ether_type() {
        ETH_P_ARP => neighbour::arp(&skb, direction, endpoint),
        // A tagged frame could carry a packet with any source, and Linux removes priority tags.
        TAGGED | ETH_P_8021Q | ETH_P_8021AD if sent && endpoint.flags & flags::MAY_SPOOF == 0 => {
            Verdict::drop(Reason::EtherType)
        }
        _ if endpoint::is_isolated(endpoint) => Verdict::drop(Reason::EtherType),
        _ => Verdict::Pass,
    }
}

/// An interface that belongs to no known pod.
#[inline(always)]
fn unknown() -> Verdict {
    if DROP_UNKNOWN.load() == 0 { Verdict::Pass } else { Verdict::drop(Reason::UnknownEndpoint) }
}
