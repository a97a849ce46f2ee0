//! `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy` (`policy.networking.k8s.io/v1alpha1`), the
//! predecessors of `ClusterNetworkPolicy`: read strictly, and converted into its tiers.
//!
//! ```text
//! AdminNetworkPolicy, priority 5, action Allow     tier Admin, priority 5, action Accept
//! BaselineAdminNetworkPolicy, action Deny          tier Baseline, priority 0, action Deny
//! ```
//!
//! The name of a converted policy keeps the kind ([`ClusterPolicyName`]).

use policy_core::model::{
    Action, ClusterNetworkPolicy, ClusterPolicyName, ClusterRule, OlderKind, PodSet, PolicyRef,
    Protocol, ProtocolMatch, Tier,
};

use super::{
    cluster_policy::{self, EGRESS_PEERS, INGRESS_PEERS, PRIORITY, items, range},
    metadata, selector,
};
use crate::{
    ErrorSubject,
    decode::{Field, Log, Map},
    problem::Problem,
    syntax,
};

/// The version that is read.
const API_VERSION: &str = "policy.networking.k8s.io/v1alpha1";

/// Most entries of each list (`maxItems` in the CRD).
const ENTRIES: usize = 100;

/// Most entries of `networks`.
const NETWORKS: usize = 25;

/// The only name of a `BaselineAdminNetworkPolicy`.
const BASELINE_NAME: &str = "default";

const ACTIONS: [(&str, Action); 3] =
    [("Allow", Action::Accept), ("Deny", Action::Deny), ("Pass", Action::Pass)];

/// The kind of this name; `None` for a kind or version that is not read here.
pub(super) fn kind(kind: &str, api_version: &str) -> Option<OlderKind> {
    OlderKind::from_name(kind).filter(|_| api_version == API_VERSION)
}

/// Decodes a policy of a kind. The log has the errors.
pub(super) fn decode(
    kind: OlderKind,
    object: &Map<'_>,
    log: &Log,
) -> Option<(ClusterPolicyName, ClusterNetworkPolicy)> {
    let tier = kind.tier();
    let field = object.require("metadata")?.map()?.require("name")?;
    let name = field.checked(syntax::is_subdomain, |found| Problem::ObjectName { found })?;
    let policy_name = ClusterPolicyName { older: Some(kind), name: name.clone() };
    log.set_subject(ErrorSubject::Object(PolicyRef::ClusterWide(policy_name.clone()).into()));
    if tier == Tier::Baseline && name != BASELINE_NAME {
        field.reject(Problem::NotOneOf {
            found: name,
            allowed: BASELINE_NAME.to_owned(),
            nearest: None,
        });
        return None;
    }
    object.check_only(&["apiVersion", "kind", "metadata", "spec", "status"]);
    let annotations = metadata::check(object);
    let spec = object.require("spec")?.map()?;
    let fields = ["subject", "ingress", "egress", "priority"];
    spec.check_only(if tier == Tier::Admin { &fields } else { &fields[..3] });
    let priority = match tier {
        Tier::Admin => spec.require("priority").and_then(|field| field.whole_number(PRIORITY)),
        Tier::Baseline => Some(0),
    };
    let subject = spec.require("subject").and_then(|field| cluster_policy::subject(&field, pods));
    let actions = if tier == Tier::Admin { &ACTIONS[..] } else { &ACTIONS[..2] };
    let policy = ClusterNetworkPolicy {
        tier,
        priority: priority?,
        subject: Some(subject?),
        ingress: rules(&spec, ("ingress", "from"), actions, &INGRESS_PEERS),
        egress: rules(&spec, ("egress", "to"), actions, &EGRESS_PEERS),
        annotations,
    };
    Some((policy_name, policy))
}

fn rules(
    spec: &Map<'_>,
    (name, list): (&'static str, &'static str),
    actions: &[(&str, Action)],
    peers: &[&'static str],
) -> Vec<ClusterRule> {
    let Some(field) = spec.get(name) else { return Vec::new() };
    let rule = |field: &Field<'_>| {
        let map = field.map()?;
        map.check_only(&["name", "action", list, "ports"]);
        let action = map.require("action").and_then(|field| field.word(actions));
        let peer = |field: &Field<'_>| cluster_policy::peer(field, peers, NETWORKS, pods);
        let found = map.require(list).map(|field| items(&field, 1, ENTRIES)).unwrap_or_default();
        let found = found.iter().filter_map(peer).collect();
        let ports = map.get("ports").map(|field| items(&field, 1, ENTRIES)).unwrap_or_default();
        let protocols = ports.iter().filter_map(port).collect();
        Some(ClusterRule { action: action?, peers: found, protocols })
    };
    items(&field, 0, ENTRIES).iter().filter_map(rule).collect()
}

/// `namespaceSelector` and `podSelector`: one that is absent selects everything, as examples of the
/// API write it.
fn pods(field: &Field<'_>) -> Option<PodSet> {
    let map = field.map()?;
    map.check_only(&["namespaceSelector", "podSelector"]);
    let selector = |name| map.get(name).map(|field| selector::decode(&field)).unwrap_or_default();
    Some(PodSet { namespaces: selector("namespaceSelector"), pods: selector("podSelector") })
}

fn port(field: &Field<'_>) -> Option<ProtocolMatch> {
    const NAMES: [&str; 3] = ["portNumber", "portRange", "namedPort"];
    let (name, field) = field.map()?.only_one(&NAMES)?;
    if name == "namedPort" {
        return field.port_name().map(ProtocolMatch::Named);
    }
    let map = field.map()?;
    let protocol = match map.get("protocol") {
        Some(field) => field.protocol(),
        None => Some(Protocol::Tcp),
    };
    let (first, last) = if name == "portNumber" {
        map.check_only(&["protocol", "port"]);
        map.require("port")?.port().map(|port| (port, port))?
    } else {
        range(&map, &["protocol", "start", "end"])?
    };
    Some(ProtocolMatch::Range { protocol: protocol?, first, last })
}
