//! NP008: blocks of addresses that hold pods or Services.

use crate::{
    model::{Direction, IpBlock, Peer},
    names::first_few,
};

use super::{
    api_server::is_api_server,
    context::{Context, LISTED, LocatedRule, block_holds},
    finding::{Level, Report},
};

/// An `ipBlock` that covers addresses of pods or of Services.
///
/// A block of a whole family always covers pods: that is a note, not a warning.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            if let Peer::Block(block) = peer {
                check_block(context, &located, (index, peer, block), report);
            }
        }
    }
}

fn check_block<'a>(
    context: &Context<'a>,
    located: &LocatedRule<'a>,
    (index, peer, block): (usize, &'a Peer, &IpBlock),
    report: &mut Report,
) {
    let pods = context.peer_pods(&located.name.namespace, peer);
    let services = services(context, located, block);
    let mut covered = Vec::new();
    if !pods.is_empty() {
        covered.push(format!("pods ({})", first_few(pods.iter().map(|(name, _)| name), LISTED)));
    }
    if !services.is_empty() {
        covered.push(format!("Services ({})", first_few(&services, LISTED)));
    }
    if covered.is_empty() {
        return;
    }
    let whole_family = block.cidr.prefix() == 0;
    let suggestion = match (pods.is_empty(), located.direction) {
        (true, Direction::Ingress) => {
            "no connection comes from a cluster IP; select the pods that connect by their labels"
        }
        (true, Direction::Egress) => {
            "a connection to a Service is judged by its backends; select these by their labels"
        }
        (false, _) if whole_family => {
            "add the network of the pods to except if only addresses outside of the cluster are meant"
        }
        (false, _) => "addresses of pods change with every restart; select pods by their labels",
    };
    report.add(
        located.at(located.peer_path(index).field("ipBlock")),
        if whole_family { Level::Note } else { Level::Warning },
        format!("{} covers addresses of {}", block.cidr, covered.join(" and ")),
        suggestion,
    );
}

/// Services with a cluster IP in the block, which opens none: a connection is judged by its backends.
///
/// A block of a whole family is not meant for Services. NP022 is about the Service of the API server,
/// and NP025 about external addresses.
fn services(context: &Context<'_>, located: &LocatedRule<'_>, block: &IpBlock) -> Vec<String> {
    if block.cidr.prefix() == 0 {
        return Vec::new();
    }
    let services = context.snapshot.services.iter().filter(|(name, service)| {
        service.cluster_ips.iter().any(|address| block_holds(block, *address))
            && (located.direction == Direction::Ingress || !is_api_server(name))
    });
    services.map(|(name, _)| name.to_string()).collect()
}
