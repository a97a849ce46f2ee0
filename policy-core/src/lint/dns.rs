//! Names that isolated pods cannot look up.

use std::net::{IpAddr, Ipv4Addr};

use crate::{
    desired::Isolation,
    model::{Direction, FieldPath, ObjectName, Pod, Port, PortSpec, Protocol},
};

use super::{
    Level, Report,
    context::{Context, policy, some},
};

/// Port of DNS.
const DNS: u16 = 53;

/// Where the node-local cache listens unless it is told otherwise.
const NODE_LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 20, 10));

/// Policies with egress rules whose pods reach no DNS server.
///
/// A policy without egress rules shuts everything on purpose.
pub(super) fn unreachable(context: &Context<'_>, report: &mut Report) {
    let mut servers = servers(context);
    // Where no server is known at all, the ports of rules tell more than this one address.
    if !servers.is_empty() && is_cached(context) {
        servers.push(NODE_LOCAL);
    }
    for (name, object) in &context.snapshot.policies {
        if !object.applies(Direction::Egress) || object.egress.is_empty() {
            continue;
        }
        let message = if context.has_pods {
            let subjects = context.subjects(name, object);
            let cut: Vec<_> = subjects
                .filter(|(name, pod)| !resolves(context, &servers, name, pod))
                .map(|(name, _)| name)
                .collect();
            if cut.is_empty() {
                continue;
            }
            format!("egress of {} is isolated and reaches no DNS server", some(cut))
        } else {
            let others = context.snapshot.policies_of(&name.namespace);
            let mut everyone = others.filter(|(other, policy)| {
                *other == name
                    || policy.subject.as_ref().is_some_and(|all| all.requirements.is_empty())
            });
            if everyone.any(|(_, policy)| policy.egress.iter().any(|rule| serves(&rule.ports))) {
                continue;
            }
            "egress is isolated, and no rule allows DNS".to_owned()
        };
        report.add(
            policy(name, FieldPath::spec("egress")),
            Level::Warning,
            message,
            "allow port 53 by UDP and TCP to the DNS pods, as {namespaceSelector: {}, podSelector: \
             {matchLabels: {k8s-app: kube-dns}}}",
        );
    }
}

/// Policies whose pods reach the DNS pods and not the cache on their node (S44).
pub(super) fn node_local(context: &Context<'_>, report: &mut Report) {
    if !is_cached(context) {
        return;
    }
    let servers = servers(context);
    for (name, object) in &context.snapshot.policies {
        if !object.applies(Direction::Egress) || object.egress.is_empty() {
            continue;
        }
        let cut: Vec<_> = context
            .subjects(name, object)
            .filter(|(name, pod)| {
                isolation(context, name).is_some_and(|isolation| {
                    reaches(context, isolation, servers.iter().copied())
                        && !reaches(context, isolation, [NODE_LOCAL])
                        && pod.addresses.iter().any(IpAddr::is_ipv4)
                })
            })
            .map(|(name, _)| name)
            .collect();
        if !cut.is_empty() {
            report.add(
                policy(name, FieldPath::spec("egress")),
                Level::Warning,
                format!(
                    "{} may reach the DNS pods, and not the cache on the node at {NODE_LOCAL}",
                    some(cut)
                ),
                format!("allow ipBlock {NODE_LOCAL}/32 at port 53 by UDP and TCP"),
            );
        }
    }
}

/// Whether nodes have a cache: its pods tell, whatever their phase, and share their node's network.
fn is_cached(context: &Context<'_>) -> bool {
    let mut pods = context.snapshot.pods.values();
    pods.any(|pod| pod.labels.get("k8s-app").is_some_and(|app| app == "node-local-dns"))
}

/// Addresses of DNS: of Services at port 53 and of pods that declare it.
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

fn isolation<'a>(context: &'a Context<'_>, name: &ObjectName) -> Option<&'a Isolation> {
    context.desired.endpoints.get(name)?.isolation.egress.as_ref()
}

/// Whether a pod can look up names; where no server is known, whether some rule is for DNS.
fn resolves(context: &Context<'_>, servers: &[IpAddr], name: &ObjectName, pod: &Pod) -> bool {
    let Some(isolation) = isolation(context, name) else {
        return true;
    };
    if servers.is_empty() {
        let selecting = context.snapshot.policies_of(&name.namespace);
        let mut rules = selecting
            .filter(|(_, policy)| policy.applies(Direction::Egress) && policy.selects(&pod.labels))
            .flat_map(|(_, policy)| &policy.egress);
        return rules.any(|rule| serves(&rule.ports));
    }
    reaches(context, isolation, servers.iter().copied())
}

fn reaches(
    context: &Context<'_>,
    isolation: &Isolation,
    servers: impl IntoIterator<Item = IpAddr>,
) -> bool {
    servers.into_iter().any(|address| {
        let judged =
            context.desired.judge(isolation, Direction::Egress, address, Protocol::Udp, DNS);
        judged.is_ok()
    })
}

/// Whether ports hold that of DNS.
fn serves(ports: &[Port]) -> bool {
    ports.is_empty()
        || ports.iter().any(|port| {
            port.protocol == Protocol::Udp
                && match &port.port {
                    PortSpec::Every | PortSpec::Named(_) => true,
                    PortSpec::Range { first, last } => (*first..=*last).contains(&DNS),
                    PortSpec::Invalid { .. } => false,
                }
        })
}
