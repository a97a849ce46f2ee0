//! Packets of flows in the table: the verdict is the flow's, judged again if its epoch is old (S29).

use policy_common::{
    drops::Reason,
    endpoint::Endpoint,
    flow::{Flow, Initiator, Judgement, TRANSLATED},
};

use super::{
    arrival::{Arrival, Turn},
    connection::decide,
    endpoint, fragment, live,
    origin::{self, Origin},
    translate,
    verdict::{Refusal, Verdict},
};
use crate::{
    flow::{
        family::{Ends, Family},
        state::starts_visibly,
        table::{self, FlowEntry},
    },
    parse::transport::Transport,
};

/// Whether a packet belongs to the flow with its key (S27): it starts no connection of its own, as a
/// SYN, an INIT or an ICMP request of the other end does, and its sender is the flow's.
#[inline(always)]
pub(crate) fn is_of_flow(
    arrival: &Arrival<'_>,
    entry: &mut FlowEntry,
    transport: &Transport,
) -> bool {
    let by_initiator = arrival.sent() == (entry.judgement.initiator == Initiator::Local as u8);
    !transport.opens
        && (by_initiator || !transport.requests)
        && (arrival.sent() || origin::is_flows_sender(arrival, entry))
}

/// Judges a packet of a known flow; if its epoch is old, the flow is judged again first (S29).
///
/// `None` for a packet that must be judged as a new connection: the flow is denied, and the end that
/// did not open it sends; or the pod opened it while it might send from any address, and no longer
/// may (S46).
#[inline(always)]
pub(crate) fn judge<F: Family>(
    arrival: &Arrival<'_>,
    entry: &mut FlowEntry,
    flow: &mut Flow<F::Address>,
    transport: &Transport,
) -> Option<Verdict> {
    if entry.judgement.epoch != arrival.epoch {
        let Some(endpoint) = endpoint::find(arrival.ifindex()) else {
            return Some(Verdict::drop(Reason::UnknownEndpoint));
        };
        let ends = arrival.ends(transport);
        if !endpoint::may_have(endpoint, &ends) {
            return None;
        }
        rejudge(endpoint, entry, arrival.epoch, &ends);
    }
    match Reason::from_number(entry.denied()) {
        None => {
            table::touch::<F>(entry, flow, transport, arrival.sent());
            fragment::remember(arrival, u32::from(entry.slot));
            arrival.skb.store_sender_slot(arrival.direction, u32::from(entry.slot));
            Some(translate::of_flow(arrival, entry))
        }
        Some(reason) => judge_denied(arrival, entry, transport, reason),
    }
}

/// Judges a packet of a flow that is denied (S29).
///
/// TCP and SCTP show how a connection starts: nothing of it passes until it starts again. Of other
/// protocols the denial is about the initiator. Example: two pods speak from and to port 7946, `gb`
/// spoke first, and then a policy of `ga` denies ingress and allows egress:
///
/// ```text
/// gb → ga   by the initiator: dropped, and the denial stays while gb goes on
/// ga → gb   by the other end: judged as a connection of ga, which a rule allows, and which then
///           replaces the flow; if nothing isolated ga for egress it would pass and change nothing
/// ```
#[inline(always)]
fn judge_denied(
    arrival: &Arrival<'_>,
    entry: &mut FlowEntry,
    transport: &Transport,
    reason: Reason,
) -> Option<Verdict> {
    let initiator = Initiator::from_number(entry.judgement.initiator);
    let opened_by_pod = arrival.sent() && matches!(initiator, Initiator::Local);
    let denied = Verdict::Drop(Refusal { reason, allow_map: 0, identity: 0, opened_by_pod });
    if starts_visibly(transport.protocol) || matches!(initiator, Initiator::Either) {
        return Some(denied);
    }
    if arrival.sent() == matches!(initiator, Initiator::Local) {
        // Another backend may be allowed.
        if entry.is_translated() && arrival.turn() == Turn::Plain {
            return None;
        }
        table::renew(entry);
        return Some(denied);
    }
    let Some(endpoint) = endpoint::find(arrival.ifindex()) else {
        return Some(Verdict::drop(Reason::UnknownEndpoint));
    };
    if endpoint::allow_map(endpoint, arrival.direction) != 0 {
        return None;
    }
    fragment::remember(arrival, endpoint.slot);
    arrival.skb.store_sender_slot(arrival.direction, endpoint.slot);
    Some(Verdict::Pass)
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
    let mut verdict = if entry.leads_to_backend() {
        live::by_backend(endpoint, ends, entry.translation())
    } else {
        decide(endpoint, &from, ends)
    };
    match (&verdict, initiator) {
        (Verdict::Drop(_), Initiator::Local) if !entry.is_translated() => {
            verdict = live::judge(endpoint, ends, verdict);
        }
        (Verdict::Pass, _) if entry.is_translated() => {
            verdict = live::frontend(endpoint, ends, entry.translation());
        }
        _ => {}
    }
    let reason = match verdict {
        Verdict::Pass => 0,
        Verdict::Drop(_) | Verdict::CheckQuotation | Verdict::Translate(_) => Reason::Revoked as u8,
    };
    let denied = reason | entry.judgement.denied & TRANSLATED;
    table::store_judgement(entry, Judgement { epoch, denied, ..entry.judgement });
    if reason != 0 && !starts_visibly(ends.protocol) {
        table::forget_replies(entry);
    }
}
