//! NP008: blocks of addresses that hold pods or Services.

use std::net::IpAddr;

use policy_common::drops::Reason;

use crate::{
    desired::Isolation,
    model::{Direction, IpBlock, Peer, PortSpec, Rule, Service, ServicePort},
    names::first_few,
};

use super::{
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

/// Services with an address in the block that the block does not open.
///
/// A block never opens a cluster IP; it does not open an external IP where the pods may not reach the
/// backends. A block of a whole family is not meant for Services, so none is reported.
fn services(context: &Context<'_>, located: &LocatedRule<'_>, block: &IpBlock) -> Vec<String> {
    if block.cidr.prefix() == 0 {
        return Vec::new();
    }
    let services = context.snapshot.services.iter().filter(|(_, service)| {
        service.cluster_ips.iter().any(|address| block_holds(block, *address))
            || (located.direction == Direction::Egress
                && service.external_ips.iter().any(|address| {
                    block_holds(block, *address) && is_denied(context, located, service, *address)
                }))
    });
    services.map(|(name, _)| name.to_string()).collect()
}

/// Whether some pod of the policy is denied a Service at a port that the rule is for.
fn is_denied(
    context: &Context<'_>,
    located: &LocatedRule<'_>,
    service: &Service,
    address: IpAddr,
) -> bool {
    let is_denied_at = |isolation: &Isolation, port: &ServicePort| {
        matches!(
            context.judge_egress(isolation, address, port.protocol, port.port),
            Err(Reason::ServiceDenied | Reason::ServicePartlyDenied)
        )
    };
    context.subjects(located.name, located.policy).any(|(name, _)| {
        let isolation = context.isolation(name, Direction::Egress);
        let mut ports = service.ports.iter().filter(|port| is_for_port(located.rule, port));
        isolation.is_some_and(|isolation| ports.any(|port| is_denied_at(isolation, port)))
    })
}

/// Whether a rule is for a port of a Service.
fn is_for_port(rule: &Rule, wanted: &ServicePort) -> bool {
    let holds = |spec: &PortSpec| match spec {
        PortSpec::Every => true,
        PortSpec::Range { first, last } => (*first..=*last).contains(&wanted.port),
        PortSpec::Named(_) => false,
    };
    rule.ports.is_empty()
        || rule.ports.iter().any(|one| one.protocol == wanted.protocol && holds(&one.port))
}
