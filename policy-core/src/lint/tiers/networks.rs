//! Networks of cluster-wide policies that hold what their author may not think of.

use crate::model::{Action, ClusterPeer, ClusterRule, ObjectName, Pod, Protocol, ProtocolMatch};

use super::{
    super::{Level, Report, context::Context, metadata::ADDRESSES},
    TierRule, peer_pods, rules,
    selectors::names,
};

/// Networks that hold addresses of pods, unless a rule before it is for those pods.
pub(in super::super) fn pods(context: &Context<'_>, report: &mut Report) {
    let finally = |located: &TierRule<'_>| located.rule.action != Action::Pass;
    for located in rules(context).filter(finally) {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let ClusterPeer::Networks(networks) = peer else { continue };
            let inside = |(_, pod): &(&ObjectName, &Pod)| {
                pod.usable_addresses().any(|at| networks.iter().any(|one| one.contains(at)))
            };
            let all = context.snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
            let settled: Vec<_> = before(&located)
                .filter(|rule| rule.protocols.is_empty())
                .flat_map(|rule| &rule.peers)
                .flat_map(|peer| peer_pods(context, peer))
                .map(|(name, _)| name)
                .collect();
            let covered: Vec<_> =
                all.filter(inside).filter(|(name, _)| !settled.contains(name)).collect();
            if covered.is_empty() {
                continue;
            }
            let wide = networks.iter().all(|network| network.prefix() == 0);
            report.add(
                located.at(located.peer_field(index)),
                if wide { Level::Note } else { Level::Warning },
                format!("the networks cover addresses of pods ({})", names(&covered)),
                "put a rule before it that is for pods, as {action: Pass, to: [{namespaces: {}}]}",
            );
        }
    }
}

/// Rules that accept a metadata address of the cloud (S43).
pub(in super::super) fn metadata(context: &Context<'_>, report: &mut Report) {
    let accepts = |located: &TierRule<'_>| located.rule.action == Action::Accept;
    for located in rules(context).filter(accepts).filter(|located| web(located.rule)) {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let open = ADDRESSES.iter().find(|address| {
                let holds = |peer: &ClusterPeer| match peer {
                    ClusterPeer::Networks(networks) => {
                        networks.iter().any(|network| network.contains(**address))
                    }
                    ClusterPeer::Pods(_) | ClusterPeer::Nodes(_) | ClusterPeer::Unknown { .. } => {
                        false
                    }
                };
                let settled =
                    before(&located).any(|rule| web(rule) && rule.peers.iter().any(holds));
                holds(peer) && !settled
            });
            if let Some(address) = open {
                let length = if address.is_ipv4() { 32 } else { 128 };
                report.add(
                    located.at(located.peer_field(index)),
                    Level::Warning,
                    format!("the metadata address {address} is reachable"),
                    format!("deny {address}/{length} by a rule before it"),
                );
            }
        }
    }
}

/// The rules of the same list before one.
fn before<'a>(located: &TierRule<'a>) -> impl Iterator<Item = &'a ClusterRule> + use<'a> {
    located.policy.rules(located.direction).iter().take(located.index)
}

/// Whether a rule is for the port of HTTP.
fn web(rule: &ClusterRule) -> bool {
    rule.protocols.is_empty()
        || rule.protocols.iter().any(|entry| match entry {
            ProtocolMatch::Range { protocol, first, last } => {
                *protocol == Protocol::Tcp && (*first..=*last).contains(&80)
            }
            ProtocolMatch::Named(_) | ProtocolMatch::Unknown { .. } => false,
        })
}
