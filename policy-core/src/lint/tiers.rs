//! Cluster-wide policies and their rules, as the linter looks at them.

pub(super) mod closed;
pub(super) mod networks;
pub(super) mod order;
pub(super) mod priority;
pub(super) mod selectors;

use crate::{
    explain::tier,
    model::{
        ClusterNetworkPolicy, ClusterPeer, ClusterRule, Direction, FieldPath, Kind, ObjectName,
        ObjectRef, Pod, PodSet,
    },
};

use super::{Subject, context::Context};

/// A rule of a tier in its place.
#[derive(Clone, Copy)]
pub(super) struct TierRule<'a> {
    pub(super) name: &'a str,
    pub(super) policy: &'a ClusterNetworkPolicy,
    pub(super) direction: Direction,
    pub(super) index: usize,
    pub(super) rule: &'a ClusterRule,
}

const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// The policies, in the order in which they are asked.
pub(super) fn policies<'a>(
    context: &Context<'a>,
) -> impl Iterator<Item = (&'a str, &'a ClusterNetworkPolicy)> + use<'a> {
    tier::in_order(context.snapshot).into_iter().map(|(name, policy)| (name.as_str(), policy))
}

/// Every rule, in the order of the policies.
pub(super) fn rules<'a>(context: &Context<'a>) -> impl Iterator<Item = TierRule<'a>> + use<'a> {
    policies(context).flat_map(|(name, policy)| {
        BOTH.into_iter().flat_map(move |direction| {
            let rules = policy.rules(direction).iter().enumerate();
            rules.map(move |(index, rule)| TierRule { name, policy, direction, index, rule })
        })
    })
}

/// The pods of a set that policy knows.
pub(super) fn pods_of<'a>(context: &Context<'a>, set: &PodSet) -> Vec<(&'a ObjectName, &'a Pod)> {
    let pods = context.snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
    pods.filter(|(name, pod)| tier::holds(context.snapshot, set, name, pod)).collect()
}

/// The pods that a policy selects.
pub(super) fn subjects<'a>(
    context: &Context<'a>,
    policy: &ClusterNetworkPolicy,
) -> Vec<(&'a ObjectName, &'a Pod)> {
    // One whose subject cannot be read selects every pod.
    let everyone = PodSet::default();
    pods_of(context, policy.subject.as_ref().unwrap_or(&everyone))
}

/// The pods that a peer means by their labels.
pub(super) fn peer_pods<'a>(
    context: &Context<'a>,
    peer: &ClusterPeer,
) -> Vec<(&'a ObjectName, &'a Pod)> {
    match peer {
        ClusterPeer::Pods(set) => pods_of(context, set),
        ClusterPeer::Nodes(_) | ClusterPeer::Networks(_) | ClusterPeer::Unknown { .. } => {
            Vec::new()
        }
    }
}

impl TierRule<'_> {
    /// Its field path.
    pub(super) fn field(&self) -> FieldPath {
        FieldPath::rule(self.direction, self.index)
    }

    /// The field path of a peer.
    pub(super) fn peer_field(&self, index: usize) -> FieldPath {
        FieldPath::peer(self.direction, self.index, index)
    }

    /// What a finding about a field of the policy is about.
    pub(super) fn at(&self, field: FieldPath) -> Subject {
        policy(self.name, field)
    }
}

/// A field of a policy.
pub(super) fn policy(name: &str, field: FieldPath) -> Subject {
    let object = ObjectRef::cluster_wide(Kind::ClusterNetworkPolicy, name);
    Subject { object, field }
}
