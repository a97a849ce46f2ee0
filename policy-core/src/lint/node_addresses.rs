//! NP010: node networks that are excepted only in part.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    model::{Direction, IpBlock, Node, Peer},
    names::first_few,
};

use super::{
    context::{Context, LISTED, LocatedRule, block_holds, rules_of},
    finding::{Level, Report},
};

/// Addresses of nodes that stay open although the policy excepts some of them (S38).
///
/// For example, `0.0.0.0/0 except 192.168.0.0/24` where a node has 192.168.0.1 and 203.0.113.1: the
/// second address is open. An address that any block of the policy excepts was meant to be denied,
/// so a rule that opens one of its ports is not reported. A policy that excepts only gateways is
/// not reported either: it may have excepted the network of pods around them.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    let nodes = || context.snapshot.nodes.values().flat_map(Node::own_addresses);
    let all: BTreeSet<IpAddr> = nodes().chain(context.snapshot.gateways()).collect();
    for (name, policy) in &context.snapshot.policies {
        if !policy.applies(Direction::Egress) {
            continue;
        }
        let rules: Vec<_> = rules_of(name, policy, Direction::Egress).collect();
        let blocks: Vec<_> = rules.iter().flat_map(blocks).collect();
        let is_excepted = |address: &IpAddr| {
            let mut excepts = blocks.iter().flat_map(|(.., block)| &block.except);
            excepts.any(|inner| inner.contains(*address))
        };
        if !nodes().any(|address| is_excepted(&address)) {
            continue;
        }
        let rest: Vec<&IpAddr> = all.iter().filter(|address| !is_excepted(address)).collect();
        for (located, index, block) in &blocks {
            let open: Vec<_> =
                rest.iter().filter(|address| block_holds(block, ***address)).collect();
            if open.is_empty() {
                continue;
            }
            report.add(
                located.at(located.peer_path(*index).field("ipBlock")),
                Level::Warning,
                format!("nodes are excepted, but stay reachable at {}", first_few(open, LISTED)),
                "add these addresses to except, and those of the nodes' bridges and tunnels",
            );
        }
    }
}

/// The blocks of a rule, each with its index among the peers.
fn blocks<'a>(located: &'a LocatedRule<'a>) -> Vec<(&'a LocatedRule<'a>, usize, &'a IpBlock)> {
    let peers = located.rule.peers.iter().enumerate();
    peers
        .filter_map(|(index, peer)| match peer {
            Peer::Block(block) => Some((located, index, block)),
            Peer::Pods { .. } => None,
        })
        .collect()
}
