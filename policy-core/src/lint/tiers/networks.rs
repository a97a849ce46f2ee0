//! NP008 and NP015 for cluster-wide policies: networks that hold pods, or a metadata address.

use crate::{
    model::{Action, ClusterPeer, ClusterRule, ObjectName, Pod, Protocol, ProtocolMatch},
    names::first_few,
};

use super::{
    super::{
        context::{Context, LISTED},
        finding::{Level, Report},
        metadata::HTTP,
        well_known::METADATA,
    },
    LocatedTierRule, peer_pods, rules,
};

/// Networks that hold addresses of pods, unless an earlier rule is for these pods.
pub(in super::super) fn pods(context: &Context<'_>, report: &mut Report) {
    let is_final = |located: &LocatedTierRule<'_>| located.rule.action != Action::Pass;
    for located in rules(context).filter(is_final) {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let ClusterPeer::Networks(networks) = peer else { continue };
            let is_inside = |(_, pod): &(&ObjectName, &Pod)| {
                pod.usable_addresses().any(|at| networks.iter().any(|one| one.contains(at)))
            };
            let all = context.snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
            let decided_before: Vec<_> = earlier_rules(&located)
                .filter(|rule| rule.protocols.is_empty())
                .flat_map(|rule| &rule.peers)
                .flat_map(|peer| peer_pods(context, peer))
                .map(|(name, _)| name)
                .collect();
            let covered: Vec<_> = all
                .filter(is_inside)
                .map(|(name, _)| name)
                .filter(|name| !decided_before.contains(name))
                .collect();
            if covered.is_empty() {
                continue;
            }
            let whole_family = networks.iter().all(|network| network.prefix() == 0);
            report.add(
                located.at(located.peer_path(index)),
                if whole_family { Level::Note } else { Level::Warning },
                format!("the networks cover addresses of pods ({})", first_few(covered, LISTED)),
                "put a rule for pods before it, as {action: Pass, to: [{namespaces: {}}]}",
            );
        }
    }
}

/// Rules that accept a metadata address of the cloud (S43).
pub(in super::super) fn metadata(context: &Context<'_>, report: &mut Report) {
    let accepts = |located: &LocatedTierRule<'_>| located.rule.action == Action::Accept;
    for located in rules(context).filter(accepts).filter(|located| is_for_http(located.rule)) {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let open = METADATA.iter().find(|address| {
                let holds = |peer: &ClusterPeer| match peer {
                    ClusterPeer::Networks(networks) => {
                        networks.iter().any(|network| network.contains(**address))
                    }
                    ClusterPeer::Pods(_) | ClusterPeer::Nodes(_) | ClusterPeer::Unknown(_) => false,
                };
                let decided_before = earlier_rules(&located)
                    .any(|rule| is_for_http(rule) && rule.peers.iter().any(holds));
                holds(peer) && !decided_before
            });
            if let Some(address) = open {
                let length = if address.is_ipv4() { 32 } else { 128 };
                report.add(
                    located.at(located.peer_path(index)),
                    Level::Note,
                    format!("the metadata address {address} is reachable"),
                    format!("deny {address}/{length} in a rule before it"),
                );
            }
        }
    }
}

/// The rules of the same list before one.
fn earlier_rules<'a>(
    located: &LocatedTierRule<'a>,
) -> impl Iterator<Item = &'a ClusterRule> + use<'a> {
    located.policy.rules(located.direction).iter().take(located.index)
}

/// Whether a rule is for the port of HTTP.
fn is_for_http(rule: &ClusterRule) -> bool {
    rule.protocols.is_empty()
        || rule.protocols.iter().any(|entry| match entry {
            ProtocolMatch::Range { protocol, first, last } => {
                *protocol == Protocol::Tcp && (*first..=*last).contains(&HTTP)
            }
            ProtocolMatch::Named(_) => false,
        })
}
