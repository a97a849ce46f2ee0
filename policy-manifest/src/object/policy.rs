//! `NetworkPolicy` (`networking.k8s.io/v1`), strictly: an unknown field is an error.

use policy_core::model::{
    Direction, IpBlock, NetworkPolicy, Peer, Port, PortSpec, Protocol, Rule, Selector,
};

use super::{metadata, selector};
use crate::{
    decode::{Field, Map},
    problem::Problem,
    syntax,
};

/// Decodes a policy, without the parts that are not legal; the log has their errors.
pub(super) fn decode(object: &Map<'_>) -> NetworkPolicy {
    object.check_only(&["apiVersion", "kind", "metadata", "spec", "status"]);
    let annotations = metadata::check(object);
    // Without a spec, as without a podSelector, it selects every pod of its namespace.
    let every_pod =
        NetworkPolicy { subject: Some(Selector::default()), ..NetworkPolicy::default() };
    let policy = object.map("spec").map_or(every_pod, |spec| spec_of(&spec));
    NetworkPolicy { annotations, ..policy }
}

fn spec_of(spec: &Map<'_>) -> NetworkPolicy {
    spec.check_only(&["podSelector", "policyTypes", "ingress", "egress"]);
    let rules = |name, peers| spec.list(name).iter().map(|field| rule(field, peers)).collect();
    NetworkPolicy {
        subject: Some(
            spec.get("podSelector").map(|field| selector::decode(&field)).unwrap_or_default(),
        ),
        policy_types: policy_types(spec),
        ingress: rules("ingress", "from"),
        egress: rules("egress", "to"),
        ..NetworkPolicy::default()
    }
}

/// `None` where absent or empty (S4).
fn policy_types(spec: &Map<'_>) -> Option<Vec<Direction>> {
    const WORDS: [(&str, Direction); 2] =
        [("Ingress", Direction::Ingress), ("Egress", Direction::Egress)];
    let field = spec.get("policyTypes")?;
    let items = field.list();
    if items.len() > WORDS.len() {
        field.reject(Problem::TooMany { most: WORDS.len() });
    }
    let types: Vec<_> = items.iter().filter_map(|item| item.word(&WORDS)).collect();
    (!types.is_empty()).then_some(types)
}

fn rule(field: &Field<'_>, peers: &'static str) -> Rule {
    let Some(rule) = field.map() else {
        return Rule::default();
    };
    rule.check_only(&[peers, "ports"]);
    Rule {
        peers: rule.list(peers).iter().filter_map(peer).collect(),
        ports: rule.list("ports").iter().filter_map(port).collect(),
    }
}

fn peer(field: &Field<'_>) -> Option<Peer> {
    let peer = field.map()?;
    peer.check_only(&["podSelector", "namespaceSelector", "ipBlock"]);
    let pods = peer.get("podSelector").map(|field| selector::decode(&field));
    let namespaces = peer.get("namespaceSelector").map(|field| selector::decode(&field));
    match (peer.get("ipBlock"), pods, namespaces) {
        (None, None, None) => {
            field.reject(Problem::EmptyPeer);
            None
        }
        (None, pods, namespaces) => Some(Peer::Pods { namespaces, pods: pods.unwrap_or_default() }),
        (Some(block), None, None) => ip_block(&block.map()?).map(Peer::Block),
        (Some(block), ..) => {
            block.reject(Problem::BlockBesideSelector);
            None
        }
    }
}

fn ip_block(map: &Map<'_>) -> Option<IpBlock> {
    map.check_only(&["cidr", "except"]);
    let cidr = map.require("cidr")?.block();
    let mut except = Vec::new();
    for field in map.list("except") {
        let inner = field.block();
        // The API server requires both in one family, and the entry smaller than the block.
        match (inner, cidr) {
            (Some(inner), Some(cidr)) if !syntax::is_part(inner, cidr) => {
                field.reject(Problem::ExceptOutside {
                    found: inner.to_string(),
                    cidr: cidr.to_string(),
                });
            }
            (inner, _) => except.extend(inner),
        }
    }
    Some(IpBlock { cidr: cidr?, except })
}

fn port(field: &Field<'_>) -> Option<Port> {
    let map = field.map()?;
    map.check_only(&["protocol", "port", "endPort"]);
    let protocol = match map.get("protocol") {
        Some(field) => field.protocol(),
        None => Some(Protocol::Tcp),
    };
    let first = map.get("port");
    let spec = match (&first, map.get("endPort")) {
        (None, None) => Some(PortSpec::Every),
        (Some(first), None) => first.port_or_name(),
        (None, Some(last)) => {
            last.reject(Problem::EndPortAlone);
            None
        }
        (Some(first), Some(last)) => range(first.port_or_name(), &last),
    };
    Some(Port { protocol: protocol?, port: spec? })
}

fn range(port: Option<PortSpec>, end: &Field<'_>) -> Option<PortSpec> {
    let last = end.port();
    match port? {
        PortSpec::Range { first, .. } if first <= last? => {
            Some(PortSpec::Range { first, last: last? })
        }
        PortSpec::Range { first, .. } => {
            end.reject(Problem::EndPortBelow { first, last: last? });
            None
        }
        PortSpec::Every | PortSpec::Named(_) => {
            end.reject(Problem::EndPortAlone);
            None
        }
    }
}
