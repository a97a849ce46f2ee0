//! `ClusterNetworkPolicy` (`policy.networking.k8s.io`), strictly, with the rules of its CRD; `v1beta1`
//! and `v1alpha2` have the same fields.

mod rule;

use policy_core::model::{ClusterNetworkPolicy, PodSet, Selector, Tier};

pub(super) use rule::{EGRESS_PEERS, INGRESS_PEERS, peer, range};

use super::{metadata, selector};
use crate::{
    decode::{Field, Map},
    problem::Problem,
};

/// Most entries of each list (`maxItems` in the CRD).
const ENTRIES: usize = 25;

/// Highest priority.
pub(super) const PRIORITY: u16 = 1000;

/// Decodes a policy; `None` where tier, priority or subject is not legal. The log has the errors.
pub(super) fn decode(object: &Map<'_>) -> Option<ClusterNetworkPolicy> {
    object.check_only(&["apiVersion", "kind", "metadata", "spec", "status"]);
    let annotations = metadata::check(object);
    let spec = object.require("spec")?.map()?;
    spec.check_only(&["tier", "priority", "subject", "ingress", "egress"]);
    let tier = spec
        .require("tier")
        .and_then(|field| field.word(&Tier::ALL.map(|tier| (tier.name(), tier))));
    let priority = spec.require("priority").and_then(|field| field.whole_number(PRIORITY));
    let subject = spec.require("subject").and_then(|field| subject(&field, pods));
    let rules = |name, list: fn(&Field<'_>) -> _| {
        let Some(field) = spec.get(name) else { return Vec::new() };
        items(&field, 0, ENTRIES).iter().filter_map(list).collect()
    };
    let ingress = rules("ingress", rule::ingress);
    let egress = rules("egress", rule::egress);
    Some(ClusterNetworkPolicy {
        tier: tier?,
        priority: priority?,
        subject: Some(subject?),
        ingress,
        egress,
        annotations,
    })
}

/// `namespaces` or `pods`, with a decoder of the latter.
pub(super) fn subject(field: &Field<'_>, pods: PodsDecoder) -> Option<PodSet> {
    match field.map()?.only_one(&["namespaces", "pods"])? {
        ("pods", field) => pods(&field),
        (_, field) => Some(namespaces(&field)),
    }
}

/// Decodes `pods` of a subject or a peer.
pub(super) type PodsDecoder = fn(&Field<'_>) -> Option<PodSet>;

/// Every pod of some namespaces.
fn namespaces(field: &Field<'_>) -> PodSet {
    PodSet { namespaces: selector::decode(field), pods: Selector::default() }
}

/// `NamespacedPod`.
fn pods(field: &Field<'_>) -> Option<PodSet> {
    let map = field.map()?;
    map.check_only(&["namespaceSelector", "podSelector"]);
    let namespaces = map.get("namespaceSelector").map(|field| selector::decode(&field));
    let pods = selector::decode(&map.require("podSelector")?);
    Some(PodSet { namespaces: namespaces.unwrap_or_default(), pods })
}

/// The items of a list, which must have at least `least` and at most `most`.
pub(super) fn items<'a>(field: &Field<'a>, least: usize, most: usize) -> Vec<Field<'a>> {
    let items = field.list();
    if items.len() < least {
        field.reject(Problem::TooFew { least });
    }
    if items.len() > most {
        field.reject(Problem::TooMany { most });
    }
    items
}
