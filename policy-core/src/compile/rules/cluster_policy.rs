//! Rules of `ClusterNetworkPolicies` in working form. A rule that cannot be expressed is read as
//! closed: it accepts nothing, or denies everything (S52).

use std::collections::BTreeSet;

use crate::{
    compile::{
        prefix::{is_mapped, masked},
        rules::{
            network_policy::RuleCompiler,
            peer_list::{Namespaces, PeerKey, PeerList},
            rule::{CompiledPolicy, CompiledRule, NamedPort, RulePorts, Stage},
        },
    },
    fault::{Effect, Fault, Problem},
    model::{
        Action, ClusterNetworkPolicy, ClusterPeer, ClusterPolicyName, ClusterRule, Direction,
        FieldPath, PerDirection, PolicyRef, Protocol, ProtocolMatch, Selector, Snapshot, Tier,
        is_usable,
    },
    ports::Ports,
};

impl RuleCompiler {
    /// The rules of a policy.
    pub(super) fn cluster_policy(
        &mut self,
        name: &ClusterPolicyName,
        policy: &ClusterNetworkPolicy,
        snapshot: &Snapshot,
    ) -> CompiledPolicy {
        if policy.subject.is_none() {
            let (field, effect) = (FieldPath::spec("subject"), Effect::SelectsEveryPod);
            self.faults.push(fault(name, field, Problem::UnreadableSubject, effect));
        }
        let unread = policy.subject.is_none();
        let rules = PerDirection::from_fn(|direction| {
            let rules = policy.rules(direction).iter().enumerate();
            let compiled = rules.map(|(index, rule)| {
                self.cluster_rule(name, (direction, index), rule, snapshot, unread)
            });
            compiled.collect()
        });
        let stage = match policy.tier {
            Tier::Admin => Stage::Admin,
            Tier::Baseline => Stage::Baseline,
        };
        CompiledPolicy { stage, rules }
    }

    fn cluster_rule(
        &mut self,
        name: &ClusterPolicyName,
        (direction, index): (Direction, usize),
        rule: &ClusterRule,
        snapshot: &Snapshot,
        unread: bool,
    ) -> CompiledRule {
        let unknown_peers = rule.peers.iter().enumerate().filter_map(|(at, peer)| match peer {
            ClusterPeer::Unknown(reason) => Some((FieldPath::peer(direction, index, at), reason)),
            ClusterPeer::Pods(_) | ClusterPeer::Nodes(_) | ClusterPeer::Networks(_) => None,
        });
        let effect = match rule.action {
            Action::Accept => Effect::RuleMatchesNothing,
            Action::Deny | Action::Pass => Effect::RuleDeniesEverything,
        };
        let mut understood = !unread;
        for (field, reason) in unknown_peers {
            self.faults.push(fault(name, field, Problem::UnknownPeer(*reason), effect));
            understood = false;
        }
        match (understood, rule.action) {
            (true, action) => {
                let keys = rule.peers.iter().flat_map(|peer| keys(peer, snapshot)).collect();
                // Of pods that share an address, one that the rule denies is enough.
                let peers = Some(PeerList::new(keys, action == Action::Deny));
                CompiledRule { action, peers, merged: None, ports: ports(&rule.protocols) }
            }
            (false, Action::Accept) => {
                let (peers, ports) = (Some(PeerList::nobody()), RulePorts::default());
                CompiledRule { action: Action::Accept, peers, merged: None, ports }
            }
            (false, Action::Deny | Action::Pass) => {
                let ports = RulePorts::everything();
                CompiledRule { action: Action::Deny, peers: None, merged: None, ports }
            }
        }
    }
}

/// The peers of one entry.
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
        ClusterPeer::Unknown(_) => Vec::new(),
    }
}

/// Addresses of the nodes with these labels.
fn nodes<'a>(
    selector: &'a Selector,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = std::net::IpAddr> + 'a {
    let matching = snapshot.nodes.values().filter(|node| selector.matches(&node.labels));
    matching.flat_map(|node| &node.addresses).copied()
}

fn ports(protocols: &[ProtocolMatch]) -> RulePorts {
    if protocols.is_empty() {
        return RulePorts::everything();
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
        }
    }
    RulePorts { numbers: Ports::from_ranges(ranges), names }
}

fn fault(name: &ClusterPolicyName, field: FieldPath, problem: Problem, effect: Effect) -> Fault {
    let object = PolicyRef::ClusterWide(name.clone()).into();
    Fault { object, field, problem, effect }
}
