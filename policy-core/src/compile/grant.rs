//! Grants: what the rules of one pod, or of pods alike, come to for each identity.
//!
//! Precedence ends here. The rules that mean an identity are put in their order and flattened
//! into one set of ports; `NetworkPolicy` has no order, so that its rules are just joined (S2).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{Direction, Pod, Protocol},
    ports::Ports,
};

use super::{
    identity::Identities,
    lists::{ListId, Lists},
    meaning::Resolved,
    rule::{CompiledPolicy, RulePorts},
};

/// What one rule, or several with the same ports, grant.
struct Grant {
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
    let grants = grants(policies, direction, subject, lists);
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
    let everyone: Vec<_> = grants.iter().filter(|grant| grant.everyone).collect();
    if everyone.iter().any(|grant| !grant.ports.names.is_empty()) {
        let named = identities.meanings.iter().zip(1..);
        for (_, identity) in named.filter(|(meaning, _)| !meaning.named.is_empty()) {
            meant.entry(identity).or_default();
        }
    }
    let nothing_named = Resolved::new();
    let default = flatten(everyone.iter().copied(), &nothing_named);
    let mut ports = BTreeMap::new();
    for (identity, indices) in meant {
        let named = identities.meaning(identity).map_or(&nothing_named, |meaning| &meaning.named);
        let meant = indices.iter().map(|&index| &grants[index]);
        let flat = flatten(everyone.iter().copied().chain(meant), named);
        if flat != default {
            ports.insert(identity, flat);
        }
    }
    if !default.is_empty() {
        ports.insert(0, default);
    }
    Table { ports }
}

/// The rules' grants, those with the same ports as one.
fn grants<'a>(
    policies: impl Iterator<Item = &'a CompiledPolicy>,
    direction: Direction,
    subject: &Pod,
    lists: &Lists,
) -> Vec<Grant> {
    let mut by_ports: BTreeMap<RulePorts, (Vec<ListId>, bool)> = BTreeMap::new();
    for rule in policies.flat_map(|policy| policy.rules(direction)) {
        let ports = match direction {
            Direction::Egress => rule.ports.clone(),
            Direction::Ingress => RulePorts {
                numbers: rule.ports.resolve(&rule.ports.names_on(subject)),
                names: BTreeSet::new(),
            },
        };
        let (peers, everyone) = by_ports.entry(ports).or_default();
        match &rule.peers {
            None => *everyone = true,
            // Every list of a rule in force has its number; one without would match nobody.
            Some(list) => peers.extend(lists.id(list)),
        }
    }
    let grant = |(ports, (peers, everyone))| Grant { peers, everyone, ports };
    by_ports.into_iter().map(grant).collect()
}

/// What grants that all mean one identity come to.
fn flatten<'a>(grants: impl Iterator<Item = &'a Grant>, named: &Resolved) -> Ports {
    let resolved: Vec<_> = grants.map(|grant| grant.ports.resolve(named)).collect();
    Ports::union(&resolved)
}
