//! Grants: what the rules of one pod, or of pods alike, come to for each identity.
//!
//! Precedence ends here. The rules that mean an identity are put in their order and flattened
//! into one set of ports: tiers rule by rule (S51); `NetworkPolicy` has no order, so that its
//! rules are just joined (S2).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{Action, Direction, Pod, Protocol},
    ports::Ports,
};

use super::{
    identity::Identities,
    lists::{ListId, Lists},
    meaning::Resolved,
    rule::{CompiledPolicy, RulePorts, Stage},
};

/// What one rule, or several of network policies with the same ports, say.
struct Grant {
    stage: Stage,
    action: Action,
    /// To whom.
    peers: Vec<ListId>,
    /// Whether to all.
    everyone: bool,
    ports: RulePorts,
}

/// Ports by identity; 0 for those without an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Table {
    pub(super) ports: BTreeMap<u32, Ports>,
}

impl Table {
    /// The ports of an identity; `None` for none.
    pub(super) fn of(&self, identity: u32) -> Option<&Ports> {
        self.ports.get(&identity).or_else(|| self.ports.get(&0))
    }

    /// Whether an identity may be reached at a port.
    pub(super) fn allows(&self, identity: u32, protocol: Protocol, port: u16) -> bool {
        self.of(identity).is_some_and(|ports| ports.contains(protocol, port))
    }
}

/// Joins the rules of some policies in one direction into a table.
///
/// Ports by name resolve on `subject` for ingress, on each identity for egress (S23).
pub(super) fn table<'a>(
    policies: impl Iterator<Item = &'a CompiledPolicy>,
    direction: Direction,
    subject: &Pod,
    lists: &Lists,
    identities: &Identities,
) -> Table {
    let Grants { all: grants, isolated } = grants(policies, direction, subject, lists);
    let mut meant: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, grant) in grants.iter().enumerate() {
        let members = grant.peers.iter().flat_map(|list| &identities.members[*list as usize]);
        let mut members: Vec<u32> = members.copied().collect();
        members.sort_unstable();
        members.dedup();
        for identity in members {
            meant.entry(identity).or_default().push(index);
        }
    }
    let everyone: Vec<_> = (0..grants.len()).filter(|&index| grants[index].everyone).collect();
    let flatten = |indices: &[usize], named: &Resolved| {
        let mut indices = [everyone.as_slice(), indices].concat();
        indices.sort_unstable();
        indices.dedup();
        let meant: Vec<_> = indices.into_iter().map(|index| &grants[index]).collect();
        flatten(&meant, isolated, named)
    };
    if everyone.iter().any(|&index| !grants[index].ports.names.is_empty()) {
        let named = identities.meanings.iter().zip(1..);
        for (_, identity) in named.filter(|(meaning, _)| !meaning.named.is_empty()) {
            meant.entry(identity).or_default();
        }
    }
    let nothing_named = Resolved::new();
    let default = flatten(&[], &nothing_named);
    let mut ports = BTreeMap::new();
    for (identity, indices) in meant {
        let named = identities.meaning(identity).map_or(&nothing_named, |meaning| &meaning.named);
        let flat = flatten(&indices, named);
        if flat != default {
            ports.insert(identity, flat);
        }
    }
    if !default.is_empty() {
        ports.insert(0, default);
    }
    Table { ports }
}

/// Grants in the order in which they count.
struct Grants {
    all: Vec<Grant>,
    /// Whether a network policy is among the policies, so that what none allows is denied.
    isolated: bool,
}

/// The rules' grants, those of network policies with the same ports as one.
fn grants<'a>(
    policies: impl Iterator<Item = &'a CompiledPolicy>,
    direction: Direction,
    subject: &Pod,
    lists: &Lists,
) -> Grants {
    let mut by_ports: BTreeMap<RulePorts, (Vec<ListId>, bool)> = BTreeMap::new();
    let (mut admin, mut baseline) = (Vec::new(), Vec::new());
    let mut isolated = false;
    for policy in policies {
        isolated |= policy.stage == Stage::NetworkPolicy;
        for rule in policy.rules(direction) {
            let ports = match direction {
                Direction::Egress => rule.ports.clone(),
                Direction::Ingress => RulePorts {
                    numbers: rule.ports.resolve(&rule.ports.names_on(subject)),
                    names: BTreeSet::new(),
                },
            };
            // Every list of a rule in force has its number; one without would match nobody.
            let list = rule.list().and_then(|list| lists.id(list));
            let (stage, action, all) = (policy.stage, rule.action, rule.peers.is_none());
            let ordered = match stage {
                Stage::Admin => &mut admin,
                Stage::Baseline => &mut baseline,
                Stage::NetworkPolicy => {
                    let (peers, everyone) = by_ports.entry(ports).or_default();
                    *everyone |= all;
                    peers.extend(list);
                    continue;
                }
            };
            let peers = list.into_iter().collect();
            ordered.push(Grant { stage, action, peers, everyone: all, ports });
        }
    }
    let (stage, action) = (Stage::NetworkPolicy, Action::Accept);
    let joined = by_ports.into_iter().map(|(ports, (mut peers, everyone))| {
        peers.sort_unstable();
        peers.dedup();
        Grant { stage, action, peers, everyone, ports }
    });
    Grants { all: admin.into_iter().chain(joined).chain(baseline).collect(), isolated }
}

/// What grants in their order that all mean one identity come to (S51).
fn flatten(grants: &[&Grant], isolated: bool, named: &Resolved) -> Ports {
    let of = |stage| grants.iter().filter(move |grant| grant.stage == stage);
    let joined = || {
        let resolved: Vec<_> =
            of(Stage::NetworkPolicy).map(|grant| grant.ports.resolve(named)).collect();
        Ports::union(&resolved)
    };
    let tiered = grants.iter().any(|grant| grant.stage != Stage::NetworkPolicy);
    if isolated && !tiered {
        return joined();
    }
    let (accepted, rest) = tier(of(Stage::Admin), Ports::everything(), named);
    if isolated {
        return Ports::union([&accepted, &rest.and(&joined())]);
    }
    let (later, rest) = tier(of(Stage::Baseline), rest, named);
    Ports::union([&accepted, &later, &rest])
}

/// What a tier accepts of some ports, and what it leaves to the next.
fn tier<'a, 'b: 'a>(
    grants: impl Iterator<Item = &'a &'b Grant>,
    ports: Ports,
    named: &Resolved,
) -> (Ports, Ports) {
    let (mut accepted, mut passed, mut undecided) = (Vec::new(), Vec::new(), ports);
    for grant in grants {
        let meant = undecided.and(&grant.ports.resolve(named));
        undecided = undecided.without(&meant);
        match grant.action {
            Action::Accept => accepted.push(meant),
            Action::Deny => {}
            Action::Pass => passed.push(meant),
        }
    }
    passed.push(undecided);
    (Ports::union(&accepted), Ports::union(&passed))
}
