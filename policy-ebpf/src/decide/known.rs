//! Packets of flows in the table: the verdict is the flow's, judged again if its epoch is old (S29).

use policy_common::{
    drops::Reason,
    endpoint::Endpoint,
    flow::{Flow, Initiator, Judgement},
};

use super::{arrival::Arrival, connection::decide, endpoint, origin::Origin, verdict::Verdict};
use crate::{
    flow::{
        family::{Ends, Family},
        table::{self, FlowEntry},
    },
    parse::transport::Transport,
};

/// Whether a packet starts a new connection although a flow with its key exists (S27): a SYN, an
/// INIT, or an ICMP request of the other end.
#[inline(always)]
pub(crate) fn starts_connection(
    arrival: &Arrival<'_>,
    entry: &FlowEntry,
    transport: &Transport,
) -> bool {
    let sent = arrival.sent();
    let by_initiator = sent == (entry.judgement.initiator == Initiator::Local as u8);
    transport.opens || (transport.requests && !by_initiator)
}

/// Judges a packet of a known flow; if its epoch is old, the flow is judged again first (S29).
#[inline(always)]
pub(crate) fn judge<F: Family>(
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
    table::touch::<F>(entry, flow, transport, arrival.sent());
    arrival.skb.store_sender_slot(arrival.direction, u32::from(entry.slot));
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
    table::store_judgement(entry, Judgement { epoch, denied, ..entry.judgement });
}
