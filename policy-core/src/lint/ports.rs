//! Named ports that resolve nowhere.

use crate::model::{Direction, IpBlock, Peer, Pod, PortSpec};

use super::{
    Level, Report,
    context::{Context, Located, some},
    tiers,
};

/// Names that no pod has that could be the destination (S24).
pub(super) fn named(context: &Context<'_>, report: &mut Report) {
    tiers::selectors::named(context, report);
    for located in context.rules() {
        for (index, port) in located.rule.ports.iter().enumerate() {
            let PortSpec::Named(name) = &port.port else { continue };
            if let Some(block) = outside(context, &located) {
                report.add(
                    located.at(located.field().field("ports").index(index)),
                    Level::Warning,
                    format!(
                        "{} holds no pod, and outside of the cluster {name:?} means nothing",
                        block.cidr
                    ),
                    "give the port by its number, in a rule for that block",
                );
                continue;
            }
            let destinations = destinations(context, &located);
            // Without any pod there the selector is to blame, which is another finding.
            let resolves = |pod: &&Pod| pod.named_ports(name, port.protocol).next().is_some();
            if destinations.is_empty() || destinations.iter().any(resolves) {
                continue;
            }
            report.add(
                located.at(located.field().field("ports").index(index)),
                Level::Warning,
                format!("no pod that is meant has a {} port named {name:?}", port.protocol),
                known_ports(&destinations),
            );
        }
    }
}

/// A block of destinations that holds no pod; unknown where there are no pods at all.
fn outside<'a>(context: &Context<'_>, located: &Located<'a>) -> Option<&'a IpBlock> {
    if located.direction == Direction::Ingress || !context.has_pods {
        return None;
    }
    located.rule.peers.iter().find_map(|peer| match peer {
        Peer::Block(block) if context.peer_pods(&located.name.namespace, peer).is_empty() => {
            Some(block)
        }
        Peer::Pods { .. } | Peer::Block(_) | Peer::Invalid { .. } => None,
    })
}

/// The named ports of pods, as a suggestion.
pub(super) fn known_ports(pods: &[&Pod]) -> String {
    let ports = pods.iter().flat_map(|pod| &pod.ports);
    let mut known: Vec<String> = ports
        .filter_map(|port| {
            Some(format!("{} ({}/{})", port.name.as_ref()?, port.port, port.protocol))
        })
        .collect();
    known.sort();
    known.dedup();
    if known.is_empty() {
        return "give the port by its number".to_owned();
    }
    format!("the pods have {}", some(known))
}

/// The pods that connections of a rule may be meant for.
fn destinations<'a>(context: &Context<'a>, located: &Located<'a>) -> Vec<&'a Pod> {
    let Located { name, policy, direction, rule, .. } = *located;
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
