//! Node networks that are excepted only in part.

use std::{collections::BTreeSet, net::IpAddr};

use crate::model::{Direction, IpBlock, Node, Peer};

use super::{
    Level, Report,
    blocks::holds,
    context::{Context, Located, rules_of, some},
};

/// Addresses of nodes that stay open where some node has one that is excepted (S38).
///
/// What some block of the policy excepts was meant to be shut, so a rule that opens a port of it
/// again is no finding. An excepted gateway alone may be due to the network of pods around it.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    let nodes = || context.snapshot.nodes.values().flat_map(Node::own_addresses);
    let all: BTreeSet<IpAddr> = nodes().chain(context.snapshot.gateways()).collect();
    for (name, policy) in &context.snapshot.policies {
        if !policy.applies(Direction::Egress) {
            continue;
        }
        let rules: Vec<_> = rules_of(name, policy, Direction::Egress).collect();
        let blocks: Vec<_> = rules.iter().flat_map(blocks).collect();
        let excepted = |address: &IpAddr| {
            blocks
                .iter()
                .any(|(.., block)| block.except.iter().any(|inner| inner.contains(*address)))
        };
        if !nodes().any(|address| excepted(&address)) {
            continue;
        }
        let rest: Vec<&IpAddr> = all.iter().filter(|address| !excepted(address)).collect();
        for (located, index, block) in &blocks {
            let open: Vec<_> = rest.iter().filter(|address| holds(block, ***address)).collect();
            if open.is_empty() {
                continue;
            }
            report.add(
                located.at(located.peer_field(*index).field("ipBlock")),
                Level::Warning,
                format!("nodes are excepted, and stay open at {}", some(open)),
                "add these addresses to except, and those of the nodes' bridges and tunnels",
            );
        }
    }
}

fn blocks<'a>(located: &'a Located<'a>) -> Vec<(&'a Located<'a>, usize, &'a IpBlock)> {
    let peers = located.rule.peers.iter().enumerate();
    peers
        .filter_map(|(index, peer)| match peer {
            Peer::Block(block) => Some((located, index, block)),
            Peer::Pods { .. } | Peer::Invalid { .. } => None,
        })
        .collect()
}
