//! NP015: the address where clouds hand out credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Direction, Peer, Port, PortSpec, Protocol};

use super::{
    Level, Report,
    context::{Context, LocatedRule, block_holds},
};

/// Where the metadata of a cloud instance are served over HTTP.
pub(super) const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// The port of HTTP.
pub(super) const HTTP: u16 = 80;

/// Egress rules that allow a metadata address (S43).
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    let rules = context.rules().filter(|located| located.direction == Direction::Egress);
    for located in rules.filter(|located| hold_http(&located.rule.ports)) {
        if located.rule.peers.is_empty() && !is_denied_to_all(context, &located, ADDRESSES[0]) {
            report.add(
                located.at(located.path()),
                Level::Warning,
                format!("the metadata address {} is reachable", ADDRESSES[0]),
                "name the peers; for addresses outside of the cluster use an ipBlock with the \
                 metadata address in except",
            );
        }
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            let open = |address: &&IpAddr| {
                block_holds(block, **address) && !is_denied_to_all(context, &located, **address)
            };
            if let Some(address) = ADDRESSES.iter().find(open) {
                let length = if address.is_ipv4() { 32 } else { 128 };
                report.add(
                    located.at(located.peer_path(index).field("ipBlock")),
                    Level::Warning,
                    format!("the metadata address {address} is reachable"),
                    format!("add {address}/{length} to except"),
                );
            }
        }
    }
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

/// Whether ports of a rule hold that of HTTP.
fn hold_http(ports: &[Port]) -> bool {
    ports.is_empty()
        || ports.iter().any(|port| {
            port.protocol == Protocol::Tcp
                && match &port.port {
                    PortSpec::Every => true,
                    PortSpec::Range { first, last } => (*first..=*last).contains(&HTTP),
                    PortSpec::Named(_) | PortSpec::Invalid { .. } => false,
                }
        })
}
