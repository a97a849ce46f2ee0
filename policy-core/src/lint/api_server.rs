//! NP022: the API server is allowed by its cluster IP alone.
//!
//! A connection to a Service is judged by its backends, and those of `default/kubernetes` are the
//! addresses of the API server itself, at another port (S41):
//!
//! ```text
//! to: ipBlock 10.96.0.1/32       ports: 443     denied: the backend is 192.168.0.1 at port 6443
//! to: ipBlock 192.168.0.1/32     ports: 6443    allowed, by the cluster IP too
//! ```

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use crate::{
    model::{Direction, IpBlock, ObjectName, Peer, Protocol, Rule},
    names::first_few,
};

use super::{
    companions::rules_around,
    context::{Context, LISTED, LocatedRule, block_holds},
    finding::{Level, Report},
    rule_ports::hold,
};

/// The port of the Service of the API server.
const HTTPS: u16 = 443;

/// The usual port of the API server itself.
const BACKEND: u16 = 6443;

/// The cluster IP of the API server as installers choose it: the first address of the network of
/// Services.
const USUAL: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)),    // kubeadm
    IpAddr::V4(Ipv4Addr::new(10, 43, 0, 1)),    // k3s, RKE2
    IpAddr::V4(Ipv4Addr::new(10, 100, 0, 1)),   // EKS
    IpAddr::V4(Ipv4Addr::new(172, 20, 0, 1)),   // EKS
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),     // Azure
    IpAddr::V4(Ipv4Addr::new(172, 30, 0, 1)),   // OpenShift
    IpAddr::V4(Ipv4Addr::new(10, 152, 183, 1)), // MicroK8s
    IpAddr::V4(Ipv4Addr::new(10, 233, 0, 1)),   // Kubespray
    IpAddr::V4(Ipv4Addr::new(34, 118, 224, 1)), // GKE
];

/// Whether a Service is that of the API server.
pub(super) fn is_api_server(name: &ObjectName) -> bool {
    name.namespace == "default" && name.name == "kubernetes"
}

/// Egress rules for the cluster IP of the API server that do not open the API server.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    let backends = backends(context);
    let suggestion = if backends.is_empty() {
        "a connection to a Service is judged by its backends: allow the API server's own addresses \
         at its own port, as `kubectl get endpoints kubernetes` prints them"
            .to_owned()
    } else {
        let named = backends
            .iter()
            .map(|(address, port)| format!("ipBlock {} at port {port}", IpNetwork::from(*address)));
        format!(
            "a connection to a Service is judged by its backends: allow {}",
            first_few(named, LISTED)
        )
    };
    for located in context.rules().filter(|located| located.direction == Direction::Egress) {
        if !hold(&located.rule.ports, Protocol::Tcp, HTTPS) {
            continue;
        }
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            let Some(address) = cluster_ip(context, &located, block) else { continue };
            if is_closed(context, &located, address, &backends) {
                report.add(
                    located.at(located.peer_path(index).field("ipBlock")),
                    Level::Warning,
                    format!(
                        "{address} is the cluster IP of the API server, which it does not open"
                    ),
                    suggestion.clone(),
                );
            }
        }
    }
}

/// The cluster IP of the API server in a block. Where the input has no such Service, an address
/// that is usual for it, if the block is that address alone and the rule names the port.
fn cluster_ip(context: &Context<'_>, located: &LocatedRule<'_>, block: &IpBlock) -> Option<IpAddr> {
    let known = context.snapshot.services.iter().find(|(name, _)| is_api_server(name));
    if let Some((_, service)) = known {
        let mut addresses = service.cluster_ips.iter();
        // A block of a whole family is not meant for one Service.
        return addresses
            .find(|address| block.cidr.prefix() > 0 && block_holds(block, **address))
            .copied();
    }
    let alone = |address: &&IpAddr| block.cidr == IpNetwork::from(**address);
    USUAL.iter().find(alone).filter(|_| !located.rule.ports.is_empty()).copied()
}

/// Addresses and ports of the API server itself.
fn backends(context: &Context<'_>) -> Vec<(IpAddr, u16)> {
    let slices = context
        .snapshot
        .endpoint_slices
        .iter()
        .filter(|(name, slice)| name.namespace == "default" && slice.service == "kubernetes");
    slices
        .flat_map(|(_, slice)| {
            let ports = slice.ports.iter().map(|port| port.port);
            ports.flat_map(|port| slice.endpoints.iter().map(move |one| (one.address, port)))
        })
        .collect()
}

/// Whether pods of the rule's policy are denied the API server; without pods, whether no rule for
/// them is for its own port.
fn is_closed(
    context: &Context<'_>,
    located: &LocatedRule<'_>,
    address: IpAddr,
    backends: &[(IpAddr, u16)],
) -> bool {
    let LocatedRule { name, policy, .. } = *located;
    if backends.is_empty() {
        let mut rules = rules_around(context, name, policy, Direction::Egress);
        return !rules.any(may_open);
    }
    let mut subjects = context.subjects(name, policy).peekable();
    if subjects.peek().is_none() {
        let is_open = |(address, port): &(IpAddr, u16)| {
            rules_around(context, name, policy, Direction::Egress).any(|rule| {
                let is_around = |peer: &Peer| {
                    matches!(peer, Peer::Block(block) if block_holds(block, *address))
                };
                hold(&rule.ports, Protocol::Tcp, *port)
                    && (rule.peers.is_empty() || rule.peers.iter().any(is_around))
            })
        };
        return !backends.iter().all(is_open);
    }
    subjects.any(|(pod, _)| {
        context.isolation(pod, Direction::Egress).is_some_and(|isolation| {
            context.judge_egress(isolation, address, Protocol::Tcp, HTTPS).is_err()
        })
    })
}

/// Whether a rule may be meant for the API server itself, which some clusters serve at port 443 too.
fn may_open(rule: &Rule) -> bool {
    let is_other = |peer: &Peer| match peer {
        Peer::Block(block) => !USUAL.iter().any(|usual| block.cidr == IpNetwork::from(*usual)),
        Peer::Pods { .. } => false,
    };
    hold(&rule.ports, Protocol::Tcp, BACKEND)
        || (hold(&rule.ports, Protocol::Tcp, HTTPS)
            && (rule.peers.is_empty() || rule.peers.iter().any(is_other)))
}
