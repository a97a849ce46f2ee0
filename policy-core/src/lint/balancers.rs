//! NP025: blocks of addresses at which the cluster's own Services answer outside of it.

use std::net::IpAddr;

use policy_common::drops::Reason;

use crate::{
    desired::Isolation,
    model::{Direction, IpBlock, Peer, Service, ServicePort},
    names::first_few,
};

use super::{
    context::{Context, LISTED, LocatedRule, block_holds},
    finding::{Level, Report},
    rule_ports::hold,
};

/// Blocks with the address of a load balancer, or another external IP, that do not allow what they
/// seem to allow.
///
/// A connection of a pod to its own cluster's load balancer is judged by the backends too, because
/// the node translates it at once. And no connection comes from that address: what arrives through
/// a load balancer has the client's address, or that of a node.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            let services = services(context, &located, block);
            if services.is_empty() {
                continue;
            }
            let suggestion = match located.direction {
                Direction::Ingress => {
                    "no connection comes from a load balancer's own address; allow the clients or \
                     the nodes"
                }
                Direction::Egress => {
                    "such a connection is judged by the backends too; select these by their labels \
                     as well"
                }
            };
            report.add(
                located.at(located.peer_path(index).field("ipBlock")),
                Level::Warning,
                format!(
                    "{} holds the external address of Services ({})",
                    block.cidr,
                    first_few(services, LISTED)
                ),
                suggestion,
            );
        }
    }
}

/// Services with an external address in the block that the block does not open.
fn services(context: &Context<'_>, located: &LocatedRule<'_>, block: &IpBlock) -> Vec<String> {
    let is_one_address = block.cidr.prefix() == if block.cidr.is_ipv4() { 32 } else { 128 };
    let is_closed = |service: &Service, address: IpAddr| match located.direction {
        // A wider block may be meant for the network around the load balancer.
        Direction::Ingress => is_one_address,
        Direction::Egress => is_denied(context, located, service, address),
    };
    let services = context.snapshot.services.iter().filter(|(_, service)| {
        block.cidr.prefix() > 0
            && service
                .external_ips
                .iter()
                .any(|address| block_holds(block, *address) && is_closed(service, *address))
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
        let mut ports =
            service.ports.iter().filter(|port| hold(&located.rule.ports, port.protocol, port.port));
        isolation.is_some_and(|isolation| ports.any(|port| is_denied_at(isolation, port)))
    })
}
