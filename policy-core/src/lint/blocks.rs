//! Blocks of addresses that hold pods or Services.

use std::net::IpAddr;

use policy_common::drops::Reason;

use crate::{
    desired::Isolation,
    model::{Direction, IpBlock, Peer, PortSpec, Rule, Service, ServicePort},
};

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
            let suggestion = if pods.is_empty() && located.direction == Direction::Ingress {
                "no connection comes from a cluster IP; select the pods that connect, by their labels"
            } else if pods.is_empty() {
                "a Service is judged by the backends behind it; allow those, by their labels"
            } else if wide {
                "add the pod network to except if only the world outside is meant"
            } else {
                "addresses of pods change with every restart; select pods by their labels"
            };
            report.add(
                located.at(located.peer_field(index).field("ipBlock")),
                if wide { Level::Note } else { Level::Warning },
                format!("{} covers addresses of {}", block.cidr, parts.join(" and ")),
                suggestion,
            );
        }
    }
}

/// Services that a block means to no avail: by a cluster IP always, by an external one where it is
/// for their backends. One around a whole family says nothing of them.
fn services(context: &Context<'_>, located: &Located<'_>, block: &IpBlock) -> Vec<String> {
    if block.cidr.prefix() == 0 {
        return Vec::new();
    }
    let services = context.snapshot.services.iter().filter(|(_, service)| {
        service.cluster_ips.iter().any(|address| holds(block, *address))
            || (located.direction == Direction::Egress
                && service.external_ips.iter().any(|address| {
                    holds(block, *address) && denied(context, located, service, *address)
                }))
    });
    services.map(|(name, _)| name.to_string()).collect()
}

/// Whether backends are shut to a pod of the policy, at a port that the rule is for.
fn denied(
    context: &Context<'_>,
    located: &Located<'_>,
    service: &Service,
    address: IpAddr,
) -> bool {
    let refused = |isolation: &Isolation, port: &ServicePort| {
        let (direction, ServicePort { protocol, port, .. }) = (Direction::Egress, port);
        let judged = context.desired.judge(isolation, direction, address, *protocol, *port);
        matches!(judged, Err(Reason::ServiceDenied | Reason::ServicePartlyDenied))
    };
    context.subjects(located.name, located.policy).any(|(name, _)| {
        let endpoint = context.desired.endpoints.get(name);
        let isolation = endpoint.and_then(|endpoint| endpoint.isolation.egress.as_ref());
        let ports = || service.ports.iter().filter(|port| opens(located.rule, port));
        isolation.is_some_and(|isolation| ports().any(|port| refused(isolation, port)))
    })
}

/// Whether a rule is for a port of a Service.
fn opens(rule: &Rule, wanted: &ServicePort) -> bool {
    let numbers = |spec: &PortSpec| match spec {
        PortSpec::Every => true,
        PortSpec::Range { first, last } => (*first..=*last).contains(&wanted.port),
        PortSpec::Named(_) | PortSpec::Invalid { .. } => false,
    };
    rule.ports.is_empty()
        || rule.ports.iter().any(|one| one.protocol == wanted.protocol && numbers(&one.port))
}

/// Whether an address is in a block and in none of its excepts.
pub(super) fn holds(block: &IpBlock, address: IpAddr) -> bool {
    block.cidr.contains(address) && !block.except.iter().any(|inner| inner.contains(address))
}
