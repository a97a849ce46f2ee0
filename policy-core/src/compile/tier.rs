//! Rules of `ClusterNetworkPolicies` in working form; what cannot be expressed is closed (S52).

use std::collections::BTreeSet;

use crate::{
    fault::Fault,
    model::{
        Action, ClusterNetworkPolicy, ClusterPeer, ClusterRule, Direction, ObjectName, Protocol,
        ProtocolMatch, Selector, Snapshot, Tier, is_usable,
    },
    ports::Ports,
};

use super::{
    meaning::{NamedPort, Namespaces, PeerKey, PeerList},
    rule::{CompiledPolicy, CompiledRule, RuleCompiler, RulePorts, Stage, is_mapped, masked},
};

/// The closed reading of a rule that is not understood.
const CLOSED_ACCEPT: &str = "the rule matches nothing";
const CLOSED_DENY: &str = "the rule denies everything";

impl RuleCompiler {
    /// The rules of a policy of a tier.
    pub(super) fn cluster_policy(
        &mut self,
        name: &ObjectName,
        policy: &ClusterNetworkPolicy,
        snapshot: &Snapshot,
    ) -> CompiledPolicy {
        if policy.subject.is_none() {
            let (field, reason) =
                ("spec.subject".to_owned(), "the subject cannot be read".to_owned());
            let action =
                "selects every pod; rules that accept match nothing, others deny everything";
            self.faults.push(fault(name, field, reason, action));
        }
        let mut rules = |direction| {
            let rules = policy.rules(direction).iter().enumerate();
            rules
                .map(|(index, rule)| {
                    let unread = policy.subject.is_none();
                    let field = field(direction, index);
                    self.cluster_rule(name, &field, direction, rule, snapshot, unread)
                })
                .collect()
        };
        let (ingress, egress) = (rules(Direction::Ingress), rules(Direction::Egress));
        let stage = match policy.tier {
            Tier::Admin => Stage::Admin,
            Tier::Baseline => Stage::Baseline,
        };
        CompiledPolicy { stage, ingress, egress }
    }

    fn cluster_rule(
        &mut self,
        name: &ObjectName,
        field: &str,
        direction: Direction,
        rule: &ClusterRule,
        snapshot: &Snapshot,
        unread: bool,
    ) -> CompiledRule {
        let list = match direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        let unknown_peers = rule.peers.iter().enumerate().filter_map(|(index, peer)| match peer {
            ClusterPeer::Unknown { reason } => Some((format!("{field}.{list}[{index}]"), reason)),
            ClusterPeer::Pods(_) | ClusterPeer::Nodes(_) | ClusterPeer::Networks(_) => None,
        });
        let protocols = rule.protocols.iter().enumerate();
        let unknown_protocols = protocols.filter_map(|(index, protocol)| match protocol {
            ProtocolMatch::Unknown { reason } => {
                Some((format!("{field}.protocols[{index}]"), reason))
            }
            ProtocolMatch::Range { .. } | ProtocolMatch::Named(_) => None,
        });
        let closed = if rule.action == Action::Accept { CLOSED_ACCEPT } else { CLOSED_DENY };
        let mut understood = !unread;
        for (field, reason) in unknown_peers.chain(unknown_protocols) {
            self.faults.push(fault(name, field, reason.clone(), closed));
            understood = false;
        }
        match (understood, rule.action) {
            (true, action) => {
                let keys = rule.peers.iter().flat_map(|peer| keys(peer, snapshot)).collect();
                // Of the pods that share an address, one is enough to be kept out.
                let peers = PeerList::new(keys, action == Action::Deny);
                let peers = Some(peers);
                CompiledRule { action, peers, joined: None, ports: ports(&rule.protocols) }
            }
            (false, Action::Accept) => {
                let peers = Some(PeerList::new(BTreeSet::new(), false));
                CompiledRule {
                    action: Action::Accept,
                    peers,
                    joined: None,
                    ports: RulePorts::default(),
                }
            }
            (false, Action::Deny | Action::Pass) => {
                let ports = RulePorts { numbers: Ports::everything(), names: BTreeSet::new() };
                CompiledRule { action: Action::Deny, peers: None, joined: None, ports }
            }
        }
    }
}

/// The peers that one entry means.
fn keys(peer: &ClusterPeer, snapshot: &Snapshot) -> Vec<PeerKey> {
    let block = |cidr| PeerKey::Block { cidr, except: BTreeSet::new() };
    match peer {
        ClusterPeer::Pods(set) => vec![PeerKey::Pods {
            namespaces: Namespaces::Matching(set.namespaces.clone()),
            pods: set.pods.clone(),
        }],
        ClusterPeer::Nodes(selector) => {
            let addresses = nodes(selector, snapshot).filter(|address| is_usable(*address));
            addresses.map(|address| block(address.into())).collect()
        }
        ClusterPeer::Networks(networks) => {
            let networks = networks.iter().map(|network| masked(*network));
            networks.filter(|network| !is_mapped(*network)).map(block).collect()
        }
        ClusterPeer::Unknown { .. } => Vec::new(),
    }
}

/// Addresses of the nodes with these labels.
fn nodes<'a>(
    selector: &'a Selector,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = std::net::IpAddr> + 'a {
    let meant = snapshot.nodes.values().filter(|node| selector.matches(&node.labels));
    meant.flat_map(|node| &node.addresses).copied()
}

fn ports(protocols: &[ProtocolMatch]) -> RulePorts {
    if protocols.is_empty() {
        return RulePorts { numbers: Ports::everything(), names: BTreeSet::new() };
    }
    let mut ranges = Vec::new();
    let mut names = BTreeSet::new();
    for entry in protocols {
        match entry {
            ProtocolMatch::Range { protocol, first, last } => {
                ranges.push((*protocol, *first, *last));
            }
            ProtocolMatch::Named(name) => names
                .extend(Protocol::ALL.map(|protocol| NamedPort { name: name.clone(), protocol })),
            ProtocolMatch::Unknown { .. } => {}
        }
    }
    RulePorts { numbers: Ports::from_ranges(ranges), names }
}

fn field(direction: Direction, rule: usize) -> String {
    match direction {
        Direction::Ingress => format!("spec.ingress[{rule}]"),
        Direction::Egress => format!("spec.egress[{rule}]"),
    }
}

fn fault(name: &ObjectName, field: String, reason: String, action: &'static str) -> Fault {
    Fault { kind: "ClusterNetworkPolicy", object: name.clone(), field, reason, action }
}
