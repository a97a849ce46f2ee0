//! Places that policies name and that manifests need not have: the pods of their peers.

use std::{collections::BTreeSet, fmt};

use policy_core::{
    connections::Region,
    model::{
        ClusterPeer, Direction, NAMESPACE_NAME, ObjectName, Operator, Peer, PodSet, Requirement,
        Selector, Snapshot,
    },
};
use policy_manifest::RouteController;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::internet;

/// Pods by the labels of their namespaces and their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerPlace {
    pub(super) namespaces: Selector,
    pub(super) pods: Selector,
}

/// Where a workload is exposed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExposurePlace {
    /// Every pod that no other place of the direction names.
    WholeCluster,
    /// The pods of a peer.
    Pods(PeerPlace),
    /// Addresses outside of the cluster.
    Outside(Region),
    /// The same by way of an ingress controller or a Gateway.
    Through(RouteController),
}

/// The places that the policies of some pods name in one direction.
pub(super) struct Selecting<'a> {
    places: BTreeSet<PeerPlace>,
    /// Whether a policy selects each of the pods.
    pub(super) is_protected: bool,
    snapshot: &'a Snapshot,
}

/// Every place that a policy names, each once, in order; the first one is the whole cluster.
pub(super) fn of_policies(snapshot: &Snapshot) -> Vec<PeerPlace> {
    let mut places = BTreeSet::from([PeerPlace::everything()]);
    for direction in Direction::BOTH {
        for (name, policy) in &snapshot.policies {
            let rules = policy.rules(direction).iter();
            let peers = rules.flat_map(|rule| &rule.peers);
            places.extend(peers.filter_map(|peer| PeerPlace::of_peer(&name.namespace, peer)));
        }
        for policy in snapshot.cluster_policies.values() {
            let peers = policy.rules(direction).iter().flat_map(|rule| &rule.peers);
            places.extend(peers.filter_map(PeerPlace::of_cluster_peer));
        }
    }
    places.into_iter().collect()
}

impl PeerPlace {
    fn everything() -> Self {
        Self { namespaces: Selector::default(), pods: Selector::default() }
    }

    /// Whether it is every pod.
    pub(super) fn is_everything(&self) -> bool {
        *self == Self::everything()
    }

    /// The place of a peer of a policy in `namespace`; `None` for a block.
    fn of_peer(namespace: &str, peer: &Peer) -> Option<Self> {
        let Peer::Pods { namespaces, pods } = peer else { return None };
        let own = || {
            let operator = Operator::In([namespace.to_owned()].into());
            let key = NAMESPACE_NAME.to_owned();
            Selector { requirements: [Requirement { key, operator }].into() }
        };
        Some(Self { namespaces: namespaces.clone().unwrap_or_else(own), pods: pods.clone() })
    }

    fn of_cluster_peer(peer: &ClusterPeer) -> Option<Self> {
        let ClusterPeer::Pods(PodSet { namespaces, pods }) = peer else { return None };
        Some(Self { namespaces: namespaces.clone(), pods: pods.clone() })
    }

    /// The one namespace that it names, if it names one.
    pub(super) fn namespace(&self) -> Option<&str> {
        named(self.namespaces.requirements.iter())
    }
}

/// The value that requirements want for the name of the namespace.
fn named<'a>(mut requirements: impl Iterator<Item = &'a Requirement>) -> Option<&'a str> {
    requirements.find_map(|one| match &one.operator {
        Operator::In(values) if one.key == NAMESPACE_NAME => values.first().map(String::as_str),
        Operator::In(_) | Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => None,
    })
}

impl<'a> Selecting<'a> {
    /// The policies that select pods of a workload in a direction.
    pub(super) fn new(snapshot: &'a Snapshot, pods: &[ObjectName], direction: Direction) -> Self {
        let mut all = Self { places: BTreeSet::new(), is_protected: true, snapshot };
        for pod in pods {
            all.is_protected &= all.add(pod, direction);
        }
        all
    }

    /// Whether one of the policies names a place.
    pub(super) fn names(&self, place: &PeerPlace) -> bool {
        self.places.contains(place)
    }

    /// Adds the places of the policies that select a pod; whether there is such a policy.
    fn add(&mut self, name: &ObjectName, direction: Direction) -> bool {
        let Some(pod) = self.snapshot.pods.get(name) else { return true };
        let mut is_selected = false;
        for (_, policy) in self.snapshot.policies_of(&name.namespace) {
            if policy.applies(direction) && policy.selects(&pod.labels) {
                is_selected = true;
                let peers = policy.rules(direction).iter().flat_map(|rule| &rule.peers);
                let places = peers.filter_map(|peer| PeerPlace::of_peer(&name.namespace, peer));
                self.places.extend(places);
            }
        }
        let labels = self.snapshot.namespace_labels(&name.namespace);
        for policy in self.snapshot.cluster_policies.values() {
            let is_subject = policy.subject.as_ref().is_none_or(|subject| {
                subject.namespaces.matches(&labels) && subject.pods.matches(&pod.labels)
            });
            let rules = policy.rules(direction);
            if is_subject && !rules.is_empty() {
                is_selected = true;
                let peers = rules.iter().flat_map(|rule| &rule.peers);
                self.places.extend(peers.filter_map(PeerPlace::of_cluster_peer));
            }
        }
        is_selected
    }
}

/// `namespace shop, pods app=web`, `any namespace, pods app=web`, `the whole cluster`,
/// `the internet (0.0.0.0/0 except …)` or the block.
impl fmt::Display for ExposurePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WholeCluster => f.write_str("the whole cluster"),
            Self::Outside(region) if is_internet(region) => write!(f, "the internet ({region})"),
            Self::Outside(region) => region.fmt(f),
            Self::Through(controller) => write!(f, "outside through {controller}"),
            Self::Pods(place) => {
                match (place.namespace(), place.namespaces.requirements.len()) {
                    (Some(name), 1) => write!(f, "namespace {name}")?,
                    (_, 0) => f.write_str("any namespace")?,
                    (_, _) => write!(f, "namespaces {}", place.namespaces)?,
                }
                if place.pods.requirements.is_empty() {
                    return Ok(());
                }
                write!(f, ", pods {}", place.pods)
            }
        }
    }
}

/// Whether a region is a family, maybe without some blocks.
fn is_internet(region: &Region) -> bool {
    internet::families().any(|whole| {
        whole.is_ipv4() == region.block.is_ipv4()
            && region.block.prefix() <= whole.prefix()
            && region.block.contains(whole.network())
    })
}

/// `{"whole_cluster": true}`, `{"namespaces", "pods"}` as selectors, `{"block", "except"}` or
/// `{"through"}`.
impl Serialize for ExposurePlace {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        match self {
            Self::WholeCluster => map.serialize_entry("whole_cluster", &true)?,
            Self::Pods(place) => {
                map.serialize_entry("namespaces", &place.namespaces.to_string())?;
                map.serialize_entry("pods", &place.pods.to_string())?;
            }
            Self::Outside(region) => {
                let except: Vec<String> = region.except.iter().map(ToString::to_string).collect();
                map.serialize_entry("block", &region.block.to_string())?;
                map.serialize_entry("except", &except)?;
            }
            Self::Through(controller) => {
                map.serialize_entry("through", &controller.to_string())?;
            }
        }
        map.end()
    }
}
