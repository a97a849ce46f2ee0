//! `ClusterNetworkPolicies`, judged as their API's comments say.

use policy_core::model::{
    Action, ClusterPeer, ClusterPolicyName, ClusterRule, Direction, IpBlock, ObjectName, Pod,
    PodSet, Protocol, ProtocolMatch, Snapshot, Tier,
};

use super::{End, in_block, namespace_label, selected};

/// The first packet of a connection, at one pod.
pub(super) struct Packet<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) direction: Direction,
    pub(super) subject: (&'a ObjectName, &'a Pod),
    pub(super) far: &'a End<'a>,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
}

impl Packet<'_> {
    /// What a tier makes of it; `None` where it leaves it to the next.
    pub(super) fn tier(&self, tier: Tier) -> Option<bool> {
        self.deciding_rule(tier).map(|(_, _, allows)| allows)
    }

    /// The rule of a tier that decides: its policy, its index, and whether it allows.
    pub(super) fn deciding_rule(&self, tier: Tier) -> Option<(&ClusterPolicyName, usize, bool)> {
        let mut policies: Vec<_> =
            self.snapshot.cluster_policies.iter().filter(|(_, one)| one.tier == tier).collect();
        policies.sort_by_key(|(name, policy)| (policy.priority, (*name).clone()));
        for (name, policy) in policies {
            if policy.subject.as_ref().is_some_and(|set| !self.is_in(set, self.subject)) {
                continue;
            }
            let rules = match self.direction {
                Direction::Ingress => &policy.ingress,
                Direction::Egress => &policy.egress,
            };
            for (index, rule) in rules.iter().enumerate() {
                // What is not understood: a rule that accepts is none, another denies all.
                if policy.subject.is_none() || has_unknown(rule) {
                    if rule.action == Action::Accept {
                        continue;
                    }
                    return Some((name, index, false));
                }
                if !self.peers(rule) || !self.protocols(rule) {
                    continue;
                }
                match rule.action {
                    Action::Accept => return Some((name, index, true)),
                    Action::Deny => return Some((name, index, false)),
                    Action::Pass => return None,
                }
            }
        }
        None
    }

    fn is_in(&self, set: &PodSet, (name, pod): (&ObjectName, &Pod)) -> bool {
        let there =
            selected(&set.namespaces, |key| namespace_label(self.snapshot, &name.namespace, key));
        there && selected(&set.pods, |key| pod.labels.get(key).cloned())
    }

    fn peers(&self, rule: &ClusterRule) -> bool {
        let by_address = rule.peers.iter().any(|peer| match peer {
            ClusterPeer::Networks(networks) => networks.iter().any(|network| {
                in_block(&IpBlock { cidr: *network, except: Vec::new() }, self.far.address)
            }),
            ClusterPeer::Nodes(selector) => self.snapshot.nodes.values().any(|node| {
                let label = |key: &str| node.labels.get(key).cloned();
                node.addresses.contains(&self.far.address) && selected(selector, label)
            }),
            ClusterPeer::Pods(_) | ClusterPeer::Unknown(_) => false,
        });
        let by_selector = |owner: &(&ObjectName, &Pod)| {
            rule.peers.iter().any(|peer| match peer {
                ClusterPeer::Pods(set) => self.is_in(set, *owner),
                ClusterPeer::Networks(_) | ClusterPeer::Nodes(_) | ClusterPeer::Unknown(_) => false,
            })
        };
        // A reused address: accepted where each of its owners is, denied where one of them is.
        let owners = &self.far.owners;
        by_address
            || match rule.action {
                Action::Deny => owners.iter().any(by_selector),
                Action::Accept | Action::Pass => {
                    !owners.is_empty() && owners.iter().all(by_selector)
                }
            }
    }

    fn protocols(&self, rule: &ClusterRule) -> bool {
        let on_subject = [self.subject];
        let destination: &[(&ObjectName, &Pod)] = match self.direction {
            Direction::Ingress => &on_subject,
            Direction::Egress => &self.far.owners,
        };
        let declares = |name: &str, pod: &Pod| {
            pod.ports.iter().any(|declared| {
                declared.name.as_deref() == Some(name)
                    && (declared.protocol, declared.port) == (self.protocol, self.port)
            })
        };
        let matches = |entry: &ProtocolMatch| match entry {
            ProtocolMatch::Range { protocol, first, last } => {
                *protocol == self.protocol && (*first..=*last).contains(&self.port)
            }
            ProtocolMatch::Named(name) => {
                !destination.is_empty() && destination.iter().all(|(_, pod)| declares(name, pod))
            }
        };
        rule.protocols.is_empty() || rule.protocols.iter().any(matches)
    }
}

fn has_unknown(rule: &ClusterRule) -> bool {
    rule.peers.iter().any(|peer| matches!(peer, ClusterPeer::Unknown(_)))
}
