//! Blocks of addresses that hold pods or Services.

use std::net::IpAddr;

use crate::model::{Direction, IpBlock, Peer};

use super::{
    Level, Report,
    context::{Context, Located, some},
    tiers,
};

/// An `ipBlock` that covers the addresses of pods or of Services.
///
/// A block around a whole family covers pods by nature: that is only noted.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    tiers::networks::pods(context, report);
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            let pods = context.peer_pods(&located.name.namespace, peer);
            let services = services(context, &located, block);
            let mut parts = Vec::new();
            if !pods.is_empty() {
                parts.push(format!("pods ({})", some(pods.iter().map(|(name, _)| name))));
            }
            if !services.is_empty() {
                parts.push(format!("Services ({})", some(&services)));
            }
            if parts.is_empty() {
                continue;
            }
            let wide = block.cidr.prefix() == 0;
            let suggestion = if pods.is_empty() {
                "a Service is judged by the backends behind it; allow those, by their labels"
            } else if wide {
                "add the pod network to except if only the world outside is meant"
            } else {
                "addresses of pods change with every restart; select pods by their labels"
            };
            report.add(
                located.at(format!("{}.ipBlock", located.peer_field(index))),
                if wide { Level::Note } else { Level::Warning },
                format!("{} covers addresses of {}", block.cidr, parts.join(" and ")),
                suggestion,
            );
        }
    }
}

/// Services with a cluster IP in a block of egress; one around a whole family says nothing of them.
fn services(context: &Context<'_>, located: &Located<'_>, block: &IpBlock) -> Vec<String> {
    if located.direction == Direction::Ingress || block.cidr.prefix() == 0 {
        return Vec::new();
    }
    let services = context.snapshot.services.iter();
    let inside = services
        .filter(|(_, service)| service.cluster_ips.iter().any(|address| holds(block, *address)));
    inside.map(|(name, _)| name.to_string()).collect()
}

/// Whether an address is in a block and in none of its excepts.
pub(super) fn holds(block: &IpBlock, address: IpAddr) -> bool {
    block.cidr.contains(address) && !block.except.iter().any(|inner| inner.contains(address))
}
