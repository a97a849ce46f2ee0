//! NP007: named ports that resolve nowhere.

use crate::{
    model::{Direction, IpBlock, Peer, Pod, PortSpec},
    names::first_few,
};

use super::{
    context::{Context, LISTED, LocatedRule},
    finding::{Level, Report},
};

/// Names of ports that no possible destination has (S24).
///
/// The destination is the selected pod for ingress, and the peer for egress.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for located in context.rules() {
        for (index, port) in located.rule.ports.iter().enumerate() {
            let PortSpec::Named(name) = &port.port else { continue };
            let (message, suggestion) = if let Some(block) = block_without_pods(context, &located) {
                (
                    format!(
                        "{} holds no pod, and only pods have named ports such as {name:?}",
                        block.cidr
                    ),
                    "give the port as a number, in a rule for that block".to_owned(),
                )
            } else {
                let destinations = destinations(context, &located);
                let has_it = |pod: &&Pod| pod.named_ports(name, port.protocol).next().is_some();
                // Where no pod matches, the selector is wrong: NP001 or NP002 reports it.
                if destinations.is_empty() || destinations.iter().any(has_it) {
                    continue;
                }
                (
                    format!("no destination pod has a {} port named {name:?}", port.protocol),
                    suggest_ports(&destinations),
                )
            };
            report.add(located.at(located.port_path(index)), Level::Warning, message, suggestion);
        }
    }
}

/// A block of an egress rule that holds no pod; `None` too where the manifests hold no pods at all.
fn block_without_pods<'a>(context: &Context<'_>, located: &LocatedRule<'a>) -> Option<&'a IpBlock> {
    if located.direction == Direction::Ingress || !context.has_pods {
        return None;
    }
    located.rule.peers.iter().find_map(|peer| match peer {
        Peer::Block(block) if context.peer_pods(&located.name.namespace, peer).is_empty() => {
            Some(block)
        }
        Peer::Pods { .. } | Peer::Block(_) => None,
    })
}

/// A suggestion with the named ports that pods have.
pub(super) fn suggest_ports(pods: &[&Pod]) -> String {
    let ports = pods.iter().flat_map(|pod| &pod.ports);
    let mut known: Vec<String> = ports
        .filter_map(|port| {
            Some(format!("{} ({}/{})", port.name.as_ref()?, port.port, port.protocol))
        })
        .collect();
    known.sort();
    known.dedup();
    if known.is_empty() {
        return "give the port as a number".to_owned();
    }
    format!("the pods have {}", first_few(known, LISTED))
}

/// The pods that can be the destination of a connection that a rule is for.
pub(super) fn destinations<'a>(context: &Context<'a>, located: &LocatedRule<'a>) -> Vec<&'a Pod> {
    let LocatedRule { name, policy, direction, rule, .. } = *located;
    match direction {
        Direction::Ingress => context.subjects(name, policy).map(|(_, pod)| pod).collect(),
        Direction::Egress if rule.peers.is_empty() => {
            context.snapshot.pods.values().filter(|pod| pod.is_subject()).collect()
        }
        Direction::Egress => {
            let pods = rule.peers.iter().flat_map(|peer| context.peer_pods(&name.namespace, peer));
            pods.map(|(_, pod)| pod).collect()
        }
    }
}
