//! NP015: the address where clouds hand out credentials.

use std::net::IpAddr;

use crate::{
    model::{Direction, Peer, Protocol},
    names::first_few,
};

use super::{
    context::{Context, LISTED, LocatedRule, block_holds},
    dns::serves_names,
    finding::{Level, Report},
    rule_ports::hold,
    well_known::METADATA,
};

/// The port of HTTP.
pub(super) const HTTP: u16 = 80;

/// Egress rules that allow a metadata address (S43).
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    let others = others(context);
    let message = |address: IpAddr| format!("the metadata address {address} is reachable{others}");
    // Once, because it looks at every rule.
    let advised = METADATA.map(|address| (address, advice(context, address)));
    let rules = context.rules().filter(|located| located.direction == Direction::Egress);
    for located in rules.filter(|located| hold(&located.rule.ports, Protocol::Tcp, HTTP)) {
        if located.rule.peers.is_empty() && !is_denied_to_all(context, &located, METADATA[0]) {
            report.add(
                located.at(located.path()),
                Level::Note,
                message(METADATA[0]),
                "name the peers; for addresses outside of the cluster use an ipBlock with the \
                 metadata address in except",
            );
        }
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            let open = |address: IpAddr| {
                block_holds(block, address) && !is_denied_to_all(context, &located, address)
            };
            if let Some((address, advice)) = advised.iter().find(|(address, _)| open(*address)) {
                let at = located.at(located.peer_path(index).field("ipBlock"));
                report.add(at, Level::Note, message(*address), advice.clone());
            }
        }
    }
}

/// What to do; where the address also serves names, these stay reachable.
fn advice(context: &Context<'_>, address: IpAddr) -> String {
    let length = if address.is_ipv4() { 32 } else { 128 };
    let advice = format!("add {address}/{length} to except");
    if serves_names(context, address) {
        return format!("{advice}; the rule for DNS at this address keeps port 53 open");
    }
    format!("{advice}; if it is the DNS server too, allow it at port 53 by a rule of its own")
}

/// The pods that reach the address because nothing isolates them, as the end of a sentence.
fn others(context: &Context<'_>) -> String {
    let open: Vec<_> = context.open_for_egress().collect();
    if open.is_empty() {
        return String::new();
    }
    format!(", and from {} too, which no policy isolates for egress", first_few(open, LISTED))
}

/// Whether each pod of the rule's policy is denied the address all the same, by a cluster-wide
/// policy.
fn is_denied_to_all(context: &Context<'_>, located: &LocatedRule<'_>, address: IpAddr) -> bool {
    let mut subjects = context.subjects(located.name, located.policy).peekable();
    subjects.peek().is_some()
        && subjects.all(|(name, _)| {
            context.isolation(name, Direction::Egress).is_some_and(|isolation| {
                context.judge_egress(isolation, address, Protocol::Tcp, HTTP).is_err()
            })
        })
}
