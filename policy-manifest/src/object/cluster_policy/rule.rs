//! Rules of a `ClusterNetworkPolicy`.

use policy_core::model::{Action, ClusterPeer, ClusterRule, Protocol, ProtocolMatch, UnknownPeer};

use super::{ENTRIES, PodsDecoder, items, namespaces, pods};
use crate::{
    decode::{Field, Map},
    object::selector,
    problem::Problem,
    syntax,
};

/// Most characters of a rule's name.
const NAME: usize = 100;

/// The kinds of peers of `ingress`.
pub(in crate::object) const INGRESS_PEERS: [&str; 2] = ["namespaces", "pods"];

/// The kinds of peers of `egress`.
pub(in crate::object) const EGRESS_PEERS: [&str; 5] =
    ["namespaces", "pods", "nodes", "networks", "domainNames"];

/// An entry of `ingress`.
pub(super) fn ingress(field: &Field<'_>) -> Option<ClusterRule> {
    rule(field, "from", |field| peer(field, &INGRESS_PEERS, ENTRIES, pods))
}

/// An entry of `egress`.
pub(super) fn egress(field: &Field<'_>) -> Option<ClusterRule> {
    rule(field, "to", |field| peer(field, &EGRESS_PEERS, ENTRIES, pods))
}

/// A peer of one of some kinds, with at most so many networks, and a decoder of `pods`.
pub(in crate::object) fn peer(
    field: &Field<'_>,
    kinds: &[&'static str],
    most_networks: usize,
    pods: PodsDecoder,
) -> Option<ClusterPeer> {
    let (kind, field) = field.map()?.only_one(kinds)?;
    match kind {
        "namespaces" => Some(ClusterPeer::Pods(namespaces(&field))),
        "nodes" => Some(ClusterPeer::Nodes(selector::decode(&field))),
        "networks" => {
            let networks = items(&field, 1, most_networks);
            Some(ClusterPeer::Networks(networks.iter().filter_map(Field::block).collect()))
        }
        "domainNames" => Some(domain_names(&field)),
        _ => pods(&field).map(ClusterPeer::Pods),
    }
}

fn rule(
    field: &Field<'_>,
    list: &'static str,
    peer: fn(&Field<'_>) -> Option<ClusterPeer>,
) -> Option<ClusterRule> {
    let map = field.map()?;
    map.check_only(&["name", "action", list, "protocols"]);
    if let Some(name) = map.get("name")
        && name.string().is_some_and(|text| text.chars().count() > NAME)
    {
        name.reject(Problem::TooLong { most: NAME });
    }
    let action = map
        .require("action")
        .and_then(|field| field.word(&Action::ALL.map(|action| (action.name(), action))));
    let peers: Vec<_> = map
        .require(list)
        .map(|field| items(&field, 1, ENTRIES).iter().filter_map(peer).collect())
        .unwrap_or_default();
    let protocols = map.get("protocols").map(|field| items(&field, 1, ENTRIES)).unwrap_or_default();
    let matches: Vec<_> = protocols.iter().filter_map(protocol).collect();
    let of_pods = peers.iter().all(|peer| matches!(peer, ClusterPeer::Pods(_)));
    let named = matches.iter().any(|entry| matches!(entry, ProtocolMatch::Named(_)));
    if named && !of_pods {
        field.reject(Problem::NamedPortWithoutPods);
    }
    Some(ClusterRule { action: action?, peers, protocols: matches })
}

/// Checks domain names. They cannot be enforced, as packets have addresses, so the compiler treats the
/// rule as denying (S52).
fn domain_names(field: &Field<'_>) -> ClusterPeer {
    for name in items(field, 1, ENTRIES) {
        name.checked(syntax::is_domain_pattern, |found| Problem::DomainName { found });
    }
    ClusterPeer::Unknown(UnknownPeer::DomainNames)
}

fn protocol(field: &Field<'_>) -> Option<ProtocolMatch> {
    const NAMES: [&str; 4] = ["tcp", "udp", "sctp", "destinationNamedPort"];
    let (name, field) = field.map()?.only_one(&NAMES)?;
    let protocol = match name {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return field.port_name().map(ProtocolMatch::Named),
    };
    let map = field.map()?;
    map.check_only(&["destinationPort"]);
    let port = map.require("destinationPort")?.map()?;
    let (first, last) = match port.only_one(&["number", "range"])? {
        ("range", field) => range(&field.map()?, &["start", "end"])?,
        (_, field) => field.port().map(|port| (port, port))?,
    };
    Some(ProtocolMatch::Range { protocol, first, last })
}

/// `start` and `end` of a mapping with these fields.
pub(in crate::object) fn range(map: &Map<'_>, fields: &[&str]) -> Option<(u16, u16)> {
    map.check_only(fields);
    let start = map.require("start").and_then(|field| field.port());
    let end = map.require("end").and_then(|field| field.port());
    let (start, end) = (start?, end?);
    if start >= end {
        map.reject(Problem::RangeBackwards { start, end });
        return None;
    }
    Some((start, end))
}
