//! How much an addition opens, as a number of connections: subjects times far ends times ports.

use ipnetwork::IpNetwork;

use crate::model::{
    AnyPolicy, ClusterNetworkPolicy, ClusterPeer, ClusterRule, IpBlock, NetworkPolicy, Peer, Pod,
    PodSet, Port, PortSpec, ProtocolMatch, Rule, Selector, Snapshot,
};

use super::addition::{Addition, PolicyChange};

/// Number of ports of a protocol.
const PORTS: u128 = 1 << 16;

/// The connections that an addition allows: pods that the policy selects, times addresses of the far
/// end, times ports. The maximum where the policy does not have the rule that is added to.
pub(super) fn opened(snapshot: &Snapshot, change: &PolicyChange) -> u128 {
    let widths = match snapshot.policy(&change.policy) {
        Some(AnyPolicy::Namespaced(name, policy)) => {
            of_addition(snapshot, &name.namespace, policy, change)
        }
        Some(AnyPolicy::ClusterWide(_, policy)) => of_tier_addition(snapshot, policy, change),
        None => None,
    };
    widths.map_or(u128::MAX, |widths| widths.into_iter().fold(1, u128::saturating_mul))
}

/// Subjects, far ends and ports of an addition to a `NetworkPolicy` of namespace `own`.
fn of_addition(
    snapshot: &Snapshot,
    own: &str,
    policy: &NetworkPolicy,
    change: &PolicyChange,
) -> Option<[u128; 3]> {
    let rule = |at: usize| policy.rules(change.direction).get(at);
    let of_peers = |rule: &Rule| sum(&rule.peers, |peer| of_peer(snapshot, own, peer));
    let (far, ports) = match &change.addition {
        Addition::Port(at, _) => (of_peers(rule(*at)?), 1),
        Addition::Peer(at, peer) => (of_peer(snapshot, own, peer), sum(&rule(*at)?.ports, of_port)),
        Addition::Rule(rule) => (of_peers(rule), sum(&rule.ports, of_port)),
        Addition::Protocol(..) | Addition::ClusterPeer(..) | Addition::ClusterRule(..) => {
            return None;
        }
    };
    let subjects = pods(snapshot, |namespace, pod| namespace == own && policy.selects(&pod.labels));
    Some([subjects, far, ports])
}

/// The same of an addition to a `ClusterNetworkPolicy`.
fn of_tier_addition(
    snapshot: &Snapshot,
    policy: &ClusterNetworkPolicy,
    change: &PolicyChange,
) -> Option<[u128; 3]> {
    let rule = |at: usize| policy.rules(change.direction).get(at);
    let of_peers = |rule: &ClusterRule| sum(&rule.peers, |peer| of_cluster_peer(snapshot, peer));
    let (far, ports) = match &change.addition {
        Addition::Protocol(at, _) => (of_peers(rule(*at)?), 1),
        Addition::ClusterPeer(at, peer) => {
            (of_cluster_peer(snapshot, peer), sum(&rule(*at)?.protocols, of_protocol))
        }
        Addition::ClusterRule(_, rule) => (of_peers(rule), sum(&rule.protocols, of_protocol)),
        Addition::Port(..) | Addition::Peer(..) | Addition::Rule(_) => return None,
    };
    let subjects = policy.subject.as_ref().map_or(u128::MAX, |set| of_set(snapshot, set));
    Some([subjects, far, ports])
}

/// Sum over a list; an empty list matches everything.
fn sum<T>(entries: &[T], width: impl Fn(&T) -> u128) -> u128 {
    let all = entries.iter().map(width).reduce(u128::saturating_add);
    all.unwrap_or(u128::MAX)
}

fn of_peer(snapshot: &Snapshot, own: &str, peer: &Peer) -> u128 {
    match peer {
        Peer::Pods { namespaces, pods: selector } => pods(snapshot, |namespace, pod| {
            let is_meant = match namespaces {
                None => namespace == own,
                Some(namespaces) => namespaces.matches(&snapshot.namespace_labels(namespace)),
            };
            is_meant && selector.matches(&pod.labels)
        }),
        Peer::Block(IpBlock { cidr, except }) => {
            // Excepts that overlap are subtracted twice, and the block seems narrower than it is:
            // the width only orders additions, and such lists are rare.
            let left_out = except.iter().map(|block| of_block(*block));
            left_out.fold(of_block(*cidr), u128::saturating_sub)
        }
    }
}

fn of_cluster_peer(snapshot: &Snapshot, peer: &ClusterPeer) -> u128 {
    match peer {
        ClusterPeer::Pods(set) => of_set(snapshot, set),
        ClusterPeer::Nodes(selector) => of_nodes(snapshot, selector),
        ClusterPeer::Networks(networks) => sum(networks, |network| of_block(*network)),
        ClusterPeer::Unknown(_) => 0,
    }
}

fn of_set(snapshot: &Snapshot, set: &PodSet) -> u128 {
    pods(snapshot, |namespace, pod| {
        set.namespaces.matches(&snapshot.namespace_labels(namespace))
            && set.pods.matches(&pod.labels)
    })
}

fn of_nodes(snapshot: &Snapshot, selector: &Selector) -> u128 {
    snapshot.nodes.values().filter(|node| selector.matches(&node.labels)).count() as u128
}

fn of_block(block: IpNetwork) -> u128 {
    let bits = if block.is_ipv4() { 32 } else { 128 };
    1u128.checked_shl(bits - u32::from(block.prefix())).unwrap_or(u128::MAX)
}

fn of_port(port: &Port) -> u128 {
    match &port.port {
        PortSpec::Every => PORTS,
        PortSpec::Range { first, last } => u128::from(last.saturating_sub(*first)) + 1,
        // A name is nearly always one number on each pod.
        PortSpec::Named(_) => 1,
    }
}

fn of_protocol(entry: &ProtocolMatch) -> u128 {
    match entry {
        ProtocolMatch::Range { first, last, .. } => u128::from(last.saturating_sub(*first)) + 1,
        ProtocolMatch::Named(_) => 1,
    }
}

/// Number of pods that policies can select and that `is_meant` accepts.
fn pods(snapshot: &Snapshot, is_meant: impl Fn(&str, &Pod) -> bool) -> u128 {
    let all = snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
    all.filter(|(name, pod)| is_meant(&name.namespace, pod)).count() as u128
}
