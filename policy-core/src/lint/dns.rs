//! NP005 and NP006: pods that can no longer look up names.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use crate::{
    desired::Isolation,
    model::{Direction, FieldPath, NetworkPolicy, ObjectName, Peer, Pod, Port, PortSpec, Protocol},
    names::first_few,
};

use super::{
    companions::rules_around,
    context::{Context, LISTED, policy_field},
    finding::{Level, Report},
    well_known::METADATA,
};

/// The port of DNS.
const DNS: u16 = 53;

/// The port at which `OpenShift`'s DNS pods listen, behind port 53 of their Service.
const OPENSHIFT: u16 = 5353;

/// The usual address of the DNS cache that runs on each node.
const NODE_LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 20, 10));

/// NP005: policies with egress rules, and pods that reach no DNS server.
pub(super) fn unreachable(context: &Context<'_>, report: &mut Report) {
    let mut servers = servers(context);
    // Without any server the ports of rules are checked, and one address would not say more.
    if !servers.is_empty() && has_node_local_cache(context) {
        servers.push(NODE_LOCAL);
    }
    // Some clouds serve names at the metadata address: a rule for it says so.
    if !servers.is_empty() && serves_names(context, METADATA[0]) {
        servers.push(METADATA[0]);
    }
    for (name, policy) in egress_policies(context) {
        let message = if context.has_pods {
            let subjects = context.subjects(name, policy);
            let cut_off: Vec<_> = subjects
                .filter(|(name, pod)| !resolves(context, &servers, name, pod))
                .map(|(name, _)| name)
                .collect();
            if cut_off.is_empty() {
                continue;
            }
            format!(
                "egress of {} is isolated and reaches no DNS server",
                first_few(cut_off, LISTED)
            )
        } else if another_allows_dns(context, name, policy) {
            continue;
        } else {
            "egress is isolated, and no rule allows DNS".to_owned()
        };
        report.add(
            policy_field(name, FieldPath::spec("egress")),
            Level::Warning,
            message,
            "allow port 53 over UDP and TCP to the DNS pods, as {namespaceSelector: {}, podSelector: \
             {matchLabels: {k8s-app: kube-dns}}}",
        );
    }
}

/// NP006: policies with pods that reach the DNS pods, but not the cache on their node (S44).
pub(super) fn node_local(context: &Context<'_>, report: &mut Report) {
    if !has_node_local_cache(context) {
        return;
    }
    let servers = servers(context);
    for (name, policy) in egress_policies(context) {
        let cut_off: Vec<_> = context
            .subjects(name, policy)
            .filter(|(name, pod)| {
                context.isolation(name, Direction::Egress).is_some_and(|isolation| {
                    reaches(context, isolation, servers.iter().copied())
                        && !reaches(context, isolation, [NODE_LOCAL])
                        && pod.addresses.iter().any(IpAddr::is_ipv4)
                })
            })
            .map(|(name, _)| name)
            .collect();
        if !cut_off.is_empty() {
            report.add(
                policy_field(name, FieldPath::spec("egress")),
                Level::Warning,
                format!(
                    "{} may reach the DNS pods, but not the DNS cache on the node at {NODE_LOCAL}",
                    first_few(cut_off, LISTED)
                ),
                format!("allow ipBlock {NODE_LOCAL}/32 at port 53 over UDP and TCP"),
            );
        }
    }
}

/// Policies with egress rules. One without any denies everything on purpose.
fn egress_policies<'a>(
    context: &Context<'a>,
) -> impl Iterator<Item = (&'a ObjectName, &'a NetworkPolicy)> + use<'a> {
    let policies = context.snapshot.policies.iter();
    policies.filter(|(_, policy)| policy.applies(Direction::Egress) && !policy.egress.is_empty())
}

/// Whether a rule for every pod of a policy allows DNS: what can be checked where there are no pods.
fn another_allows_dns(context: &Context<'_>, name: &ObjectName, policy: &NetworkPolicy) -> bool {
    let mut rules = rules_around(context, name, policy, Direction::Egress);
    rules.any(|rule| hold_dns(&rule.ports))
}

/// Whether nodes have a DNS cache: it runs as pods that share the network of their node.
fn has_node_local_cache(context: &Context<'_>) -> bool {
    let mut pods = context.snapshot.pods.values();
    pods.any(|pod| pod.labels.get("k8s-app").is_some_and(|app| app == "node-local-dns"))
}

/// Addresses of DNS servers: of Services with port 53, and of pods that declare it.
fn servers(context: &Context<'_>) -> Vec<IpAddr> {
    let services = context.snapshot.services.values();
    let services = services.filter(|service| {
        service.ports.iter().any(|port| port.port == DNS && port.protocol == Protocol::Udp)
    });
    let pods = context.snapshot.pods.values().filter(|pod| pod.is_subject());
    let pods = pods.filter(|pod| {
        pod.ports.iter().any(|port| port.port == DNS && port.protocol == Protocol::Udp)
    });
    services
        .flat_map(|service| service.cluster_ips.iter().copied())
        .chain(pods.flat_map(Pod::usable_addresses))
        .collect()
}

/// Whether a pod can look up names. Without any server in the manifests: whether some rule for the
/// pod is for the port of DNS.
fn resolves(context: &Context<'_>, servers: &[IpAddr], name: &ObjectName, pod: &Pod) -> bool {
    let Some(isolation) = context.isolation(name, Direction::Egress) else {
        return true;
    };
    if servers.is_empty() {
        let selecting = context.snapshot.policies_of(&name.namespace);
        let mut rules = selecting
            .filter(|(_, policy)| policy.applies(Direction::Egress) && policy.selects(&pod.labels))
            .flat_map(|(_, policy)| &policy.egress);
        return rules.any(|rule| hold_dns(&rule.ports));
    }
    reaches(context, isolation, servers.iter().copied())
}

fn reaches(
    context: &Context<'_>,
    isolation: &Isolation,
    servers: impl IntoIterator<Item = IpAddr>,
) -> bool {
    let allowed = |address| context.judge_egress(isolation, address, Protocol::Udp, DNS).is_ok();
    servers.into_iter().any(allowed)
}

/// Whether an egress rule is for this address alone, at the port of DNS: its author knows that it
/// serves names.
pub(super) fn serves_names(context: &Context<'_>, address: IpAddr) -> bool {
    let mut rules = context.rules().filter(|located| located.direction == Direction::Egress);
    let is_exact =
        |peer: &Peer| matches!(peer, Peer::Block(block) if block.cidr == IpNetwork::from(address));
    rules.any(|located| hold_dns(&located.rule.ports) && located.rule.peers.iter().any(is_exact))
}

/// Whether ports of a rule hold that of DNS; a named port may be it.
fn hold_dns(ports: &[Port]) -> bool {
    ports.is_empty()
        || ports.iter().any(|port| {
            port.protocol == Protocol::Udp
                && match &port.port {
                    PortSpec::Every | PortSpec::Named(_) => true,
                    PortSpec::Range { first, last } => {
                        [DNS, OPENSHIFT].iter().any(|number| (*first..=*last).contains(number))
                    }
                }
        })
}
