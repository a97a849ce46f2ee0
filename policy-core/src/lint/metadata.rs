//! The address where clouds hand out credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Direction, Peer, Port, PortSpec, Protocol};

use super::{
    Level, Report,
    blocks::holds,
    context::{Context, Located},
    tiers,
};

/// Where instance metadata are served, by HTTP.
pub(super) const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Egress that reaches a metadata address (S43).
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    tiers::networks::metadata(context, report);
    let rules = context.rules().filter(|located| located.direction == Direction::Egress);
    for located in rules.filter(|located| web(&located.rule.ports)) {
        if located.rule.peers.is_empty() && !shut(context, &located, ADDRESSES[0]) {
            report.add(
                located.at(located.field()),
                Level::Warning,
                format!("the metadata address {} is reachable", ADDRESSES[0]),
                "name the peers; for the world outside an ipBlock with the address in except",
            );
        }
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            let open =
                |address: &&IpAddr| holds(block, **address) && !shut(context, &located, **address);
            if let Some(address) = ADDRESSES.iter().find(open) {
                let length = if address.is_ipv4() { 32 } else { 128 };
                report.add(
                    located.at(located.peer_field(index).field("ipBlock")),
                    Level::Warning,
                    format!("the metadata address {address} is reachable"),
                    format!("add {address}/{length} to except"),
                );
            }
        }
    }
}

/// Whether a cluster-wide policy shuts the address for every pod that the rule's policy selects.
fn shut(context: &Context<'_>, located: &Located<'_>, address: IpAddr) -> bool {
    let subjects = context.subjects(located.name, located.policy);
    let verdicts = subjects.map(|(name, _)| {
        let endpoint = context.desired.endpoints.get(name);
        endpoint.and_then(|endpoint| endpoint.isolation.egress.as_ref()).is_some_and(|isolation| {
            let (direction, protocol) = (Direction::Egress, Protocol::Tcp);
            context.desired.judge(isolation, direction, address, protocol, 80).is_err()
        })
    });
    let verdicts: Vec<bool> = verdicts.collect();
    !verdicts.is_empty() && verdicts.iter().all(|shut| *shut)
}

/// Whether ports hold that of HTTP.
fn web(ports: &[Port]) -> bool {
    ports.is_empty()
        || ports.iter().any(|port| {
            port.protocol == Protocol::Tcp
                && match &port.port {
                    PortSpec::Every => true,
                    PortSpec::Range { first, last } => (*first..=*last).contains(&80),
                    PortSpec::Named(_) | PortSpec::Invalid { .. } => false,
                }
        })
}
