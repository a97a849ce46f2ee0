//! `ClusterNetworkPolicies`; none in half of the clusters.

use std::collections::BTreeMap;

use policy_core::model::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterPolicyName, ClusterRule, Direction, PodSet,
    ProtocolMatch, Tier, UnknownPeer,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{BLOCKS, PORTS, namespace_selector, protocol, selector};

pub(super) fn policies() -> impl Strategy<Value = BTreeMap<ClusterPolicyName, ClusterNetworkPolicy>>
{
    let some = prop_oneof![1 => vec(policy(), 0..1), 1 => vec(policy(), 1..4)];
    some.prop_map(|policies| {
        let named = policies.into_iter().enumerate();
        named.map(|(index, policy)| (format!("cnp{index}").into(), policy)).collect()
    })
}

fn policy() -> impl Strategy<Value = ClusterNetworkPolicy> {
    let tier = select(vec![Tier::Admin, Tier::Baseline]);
    // Few priorities, so that some are equal.
    let subject = option::weighted(0.97, pod_set());
    let parts = (
        tier,
        0..3_u16,
        subject,
        vec(rule(Direction::Ingress), 0..3),
        vec(rule(Direction::Egress), 0..3),
    );
    parts.prop_map(|(tier, priority, subject, ingress, egress)| ClusterNetworkPolicy {
        tier,
        priority,
        subject,
        ingress,
        egress,
        annotations: BTreeMap::new(),
    })
}

fn pod_set() -> impl Strategy<Value = PodSet> {
    (namespace_selector(), selector())
        .prop_map(|(namespaces, pods)| PodSet { namespaces: namespaces.unwrap_or_default(), pods })
}

fn rule(direction: Direction) -> impl Strategy<Value = ClusterRule> {
    let action = select(vec![Action::Accept, Action::Deny, Action::Pass]);
    let block = |block: &str| block.parse().expect("a block");
    let networks = vec(select(BLOCKS.to_vec()), 1..3)
        .prop_map(move |blocks| ClusterPeer::Networks(blocks.into_iter().map(block).collect()));
    let nodes =
        namespace_selector().prop_map(|selector| ClusterPeer::Nodes(selector.unwrap_or_default()));
    let unknown = Just(ClusterPeer::Unknown(UnknownPeer::DomainNames));
    let pods = || pod_set().prop_map(ClusterPeer::Pods);
    let peer = match direction {
        Direction::Ingress => prop_oneof![20 => pods(), 1 => unknown].boxed(),
        Direction::Egress => {
            prop_oneof![20 => pods(), 12 => networks, 6 => nodes, 1 => unknown].boxed()
        }
    };
    (action, vec(peer, 1..3), vec(protocol_match(), 0..3))
        .prop_map(|(action, peers, protocols)| ClusterRule { action, peers, protocols })
}

fn protocol_match() -> impl Strategy<Value = ProtocolMatch> {
    let range = (protocol(), select(PORTS.to_vec()), select(vec![0_u16, 0, 1, 400, 60000]));
    prop_oneof![
        20 => range.prop_map(|(protocol, first, more)| {
            ProtocolMatch::Range { protocol, first, last: first.saturating_add(more) }
        }),
        8 => select(vec!["http", "dns", "none"])
            .prop_map(|name| ProtocolMatch::Named(name.to_owned())),
    ]
}
