//! Grants: the rules of some policies in the order in which they decide, and their flattening.
//!
//! Precedence ends here. Tiers decide rule by rule (S51); `NetworkPolicies` have no order, so that
//! their rules are joined (S2). Of the ports that one identity asks for, each tier takes some and
//! leaves the rest to the next:
//!
//! ```text
//! all ports
//! Admin            pass 1-1023, deny 22-23, accept 8080     accepted: 8080
//!                  left: 1-1023 (passed), all but 8080      22-23 were passed before the deny
//! NetworkPolicy    accept 80                                accepted: 80; what is left is denied
//! Baseline         only where no NetworkPolicy isolates; what it leaves is accepted
//! result           80, 8080
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    compile::rules::{
        lists::{ListId, PeerLists},
        rule::{CompiledPolicy, ResolvedPorts, RulePorts, Stage},
    },
    model::{Action, Direction, Pod},
    ports::Ports,
};

/// One rule, or several of `NetworkPolicies` with the same ports.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    stage: Stage,
    action: Action,
    /// The lists that it applies to.
    pub(super) peers: Vec<ListId>,
    /// Whether it applies to every address.
    pub(super) everyone: bool,
    pub(super) ports: RulePorts,
}

/// Grants in the order in which they decide.
#[derive(Clone, Debug)]
pub(super) struct Grants {
    pub(super) all: Vec<Grant>,
    /// Whether a `NetworkPolicy` isolates, so that what no rule accepts is denied.
    isolated: bool,
}

impl Grants {
    /// The rules of policies, which come in the order in which they decide.
    ///
    /// Named ports resolve on `subject` for ingress, and on each identity for egress (S23).
    pub(super) fn new<'a>(
        policies: impl Iterator<Item = &'a CompiledPolicy>,
        direction: Direction,
        subject: &Pod,
        lists: &PeerLists,
    ) -> Self {
        let mut by_ports: BTreeMap<RulePorts, (Vec<ListId>, bool)> = BTreeMap::new();
        let (mut admin, mut baseline) = (Vec::new(), Vec::new());
        let mut isolated = false;
        for policy in policies {
            isolated |= policy.stage == Stage::NetworkPolicy;
            for rule in policy.rules(direction) {
                for (list, ports) in rule.grants() {
                    let ports = match direction {
                        Direction::Egress => ports.clone(),
                        Direction::Ingress => ports.resolved_on(subject),
                    };
                    let everyone = list.is_none();
                    // Every list of a rule in use has an id.
                    let list = list.and_then(|list| lists.id(list));
                    debug_assert!(everyone || list.is_some(), "a rule in use has an unknown list");
                    let (stage, action) = (policy.stage, rule.action);
                    let grant = |ports| {
                        let peers = list.into_iter().collect();
                        Grant { stage, action, peers, everyone, ports }
                    };
                    match stage {
                        Stage::Admin => admin.push(grant(ports)),
                        Stage::Baseline => baseline.push(grant(ports)),
                        // Without an order, rules with the same ports are one grant to all of
                        // their peers: clusters have few distinct sets of ports.
                        Stage::NetworkPolicy => {
                            let (peers, all) = by_ports.entry(ports).or_default();
                            *all |= everyone;
                            peers.extend(list);
                        }
                    }
                }
            }
        }
        let (stage, action) = (Stage::NetworkPolicy, Action::Accept);
        let joined = by_ports.into_iter().map(|(ports, (mut peers, everyone))| {
            peers.sort_unstable();
            peers.dedup();
            Grant { stage, action, peers, everyone, ports }
        });
        Self { all: admin.into_iter().chain(joined).chain(baseline).collect(), isolated }
    }

    /// The ports that some grants allow together, given by their places in order.
    pub(super) fn flatten(&self, places: &[usize], names: &ResolvedPorts) -> Ports {
        let of = |stage| {
            let grants = places.iter().map(|&place| &self.all[place]);
            grants.filter(move |grant| grant.stage == stage)
        };
        let joined = || {
            let resolved: Vec<_> =
                of(Stage::NetworkPolicy).map(|grant| grant.ports.resolve(names)).collect();
            Ports::union(&resolved)
        };
        let is_tiered = places.iter().any(|&place| self.all[place].stage != Stage::NetworkPolicy);
        // Nearly all pods have no tiers: their rules are joined without the steps below.
        if self.isolated && !is_tiered {
            return joined();
        }
        let (accepted, rest) = tier(of(Stage::Admin), Ports::everything(), names);
        // A `NetworkPolicy` decides about all that the tier before leaves, and nothing gets past it.
        if self.isolated {
            return Ports::union([&accepted, &rest.and(&joined())]);
        }
        // What no tier decides about is allowed: nothing isolates the pod.
        let (later, rest) = tier(of(Stage::Baseline), rest, names);
        Ports::union([&accepted, &later, &rest])
    }
}

impl RulePorts {
    /// The same with every name resolved on a pod.
    fn resolved_on(&self, pod: &Pod) -> Self {
        Self { numbers: self.resolve(&self.names_on(&pod.ports)), names: BTreeSet::new() }
    }
}

/// What a tier accepts of some ports, and what it leaves to the next.
fn tier<'a>(
    grants: impl Iterator<Item = &'a Grant>,
    ports: Ports,
    names: &ResolvedPorts,
) -> (Ports, Ports) {
    let (mut accepted, mut passed, mut undecided) = (Vec::new(), Vec::new(), ports);
    for grant in grants {
        let decided = undecided.and(&grant.ports.resolve(names));
        // The first rule that matches a port decides about it; later ones do not see the port.
        undecided = undecided.without(&decided);
        match grant.action {
            Action::Accept => accepted.push(decided),
            Action::Deny => {}
            Action::Pass => passed.push(decided),
        }
    }
    passed.push(undecided);
    (Ports::union(&accepted), Ports::union(&passed))
}
