//! Cluster-wide policies and their rules, as the linter reads them.

pub(super) mod closed;
pub(super) mod networks;
pub(super) mod order;
pub(super) mod priority;
pub(super) mod selectors;

use crate::{
    explain::tier,
    model::{
        ClusterNetworkPolicy, ClusterPeer, ClusterPolicyName, ClusterRule, Direction, FieldPath,
        ObjectName, Pod, PodSet, PolicyRef,
    },
};

use super::{context::Context, finding::FieldRef};

/// A rule of a cluster-wide policy, and where it is.
#[derive(Clone, Copy)]
pub(super) struct LocatedTierRule<'a> {
    pub(super) name: &'a ClusterPolicyName,
    pub(super) policy: &'a ClusterNetworkPolicy,
    pub(super) direction: Direction,
    pub(super) index: usize,
    pub(super) rule: &'a ClusterRule,
}

/// The policies in the order in which they are evaluated: tier, priority, name.
pub(super) fn policies<'a>(
    context: &Context<'a>,
) -> impl Iterator<Item = (&'a ClusterPolicyName, &'a ClusterNetworkPolicy)> + use<'a> {
    let mut policies = tier::in_order(context.snapshot);
    policies.retain(|(name, _)| context.checks(|| PolicyRef::ClusterWide((*name).clone())));
    policies.into_iter()
}

/// Every rule, in the order of the policies, ingress first.
pub(super) fn rules<'a>(
    context: &Context<'a>,
) -> impl Iterator<Item = LocatedTierRule<'a>> + use<'a> {
    policies(context).flat_map(|(name, policy)| {
        Direction::BOTH.into_iter().flat_map(move |direction| {
            let rules = policy.rules(direction).iter().enumerate();
            rules.map(move |(index, rule)| LocatedTierRule { name, policy, direction, index, rule })
        })
    })
}

/// The pods of a set; pods that share the network of their node are in none.
pub(super) fn pods_of<'a>(context: &Context<'a>, set: &PodSet) -> Vec<(&'a ObjectName, &'a Pod)> {
    let pods = context.snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
    pods.filter(|(name, pod)| tier::holds(context.snapshot, set, name, pod)).collect()
}

/// The pods that a policy selects.
pub(super) fn subjects<'a>(
    context: &Context<'a>,
    policy: &ClusterNetworkPolicy,
) -> Vec<(&'a ObjectName, &'a Pod)> {
    // A policy with a subject that cannot be read selects every pod.
    let everyone = PodSet::default();
    pods_of(context, policy.subject.as_ref().unwrap_or(&everyone))
}

/// The pods that a peer matches by their labels.
pub(super) fn peer_pods<'a>(
    context: &Context<'a>,
    peer: &ClusterPeer,
) -> Vec<(&'a ObjectName, &'a Pod)> {
    match peer {
        ClusterPeer::Pods(set) => pods_of(context, set),
        ClusterPeer::Nodes(_) | ClusterPeer::Networks(_) | ClusterPeer::Unknown(_) => Vec::new(),
    }
}

impl LocatedTierRule<'_> {
    /// Its field path, as `spec.ingress[0]`.
    pub(super) fn path(&self) -> FieldPath {
        FieldPath::rule(self.direction, self.index)
    }

    /// The field path of a peer, as `spec.ingress[0].from[1]`.
    pub(super) fn peer_path(&self, index: usize) -> FieldPath {
        FieldPath::peer(self.direction, self.index, index)
    }

    /// The field path of an entry of `protocols`, as `spec.ingress[0].protocols[1]`.
    pub(super) fn protocol_path(&self, index: usize) -> FieldPath {
        self.path().field("protocols").index(index)
    }

    /// A field of its policy.
    pub(super) fn at(&self, field: FieldPath) -> FieldRef {
        policy_field(self.name, field)
    }
}

/// A field of a cluster-wide policy.
pub(super) fn policy_field(name: &ClusterPolicyName, field: FieldPath) -> FieldRef {
    FieldRef { object: PolicyRef::ClusterWide(name.clone()).into(), field }
}
