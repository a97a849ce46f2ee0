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

/// What one rule, or several with the same peers, grant.
struct Grant {
    /// Whom; `None` for all.
    peers: Option<ListId>,
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
    let mut meant: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    let mut everyone = Vec::new();
    for (index, grant) in grants.iter().enumerate() {
        let Some(list) = grant.peers else {
            everyone.push(index);
            continue;
        };
        for &identity in &identities.members[list as usize] {
            meant.entry(identity).or_default().insert(index);
        }
    }
    if everyone.iter().any(|&index| !grants[index].ports.names.is_empty()) {
        let named = identities.meanings.iter().zip(1..);
        for (_, identity) in named.filter(|(meaning, _)| !meaning.named.is_empty()) {
            meant.entry(identity).or_default();
        }
    }
    let nothing_named = Resolved::new();
    let default = flatten(everyone.iter().map(|&index| &grants[index]), &nothing_named);
    let mut ports = BTreeMap::new();
    for (identity, indices) in meant {
        let named = identities.meaning(identity).map_or(&nothing_named, |meaning| &meaning.named);
        let grants = everyone.iter().chain(&indices).map(|&index| &grants[index]);
        let flat = flatten(grants, named);
        if flat != default {
            ports.insert(identity, flat);
        }
    }
    if !default.is_empty() {
        ports.insert(0, default);
    }
    Table { ports }
}

/// The rules' grants, those with the same peers as one.
fn grants<'a>(
    policies: impl Iterator<Item = &'a CompiledPolicy>,
    direction: Direction,
    subject: &Pod,
    lists: &Lists,
) -> Vec<Grant> {
    let mut by_peers: BTreeMap<Option<ListId>, Vec<&RulePorts>> = BTreeMap::new();
    for rule in policies.flat_map(|policy| policy.rules(direction)) {
        let peers = match &rule.peers {
            None => None,
            // Every list of a rule in force has its number; one without would match nobody.
            Some(list) => match lists.id(list) {
                Some(id) => Some(id),
                None => continue,
            },
        };
        by_peers.entry(peers).or_default().push(&rule.ports);
    }
    let join = |(peers, ports): (Option<ListId>, Vec<&RulePorts>)| {
        let numbers = Ports::union(ports.iter().map(|ports| &ports.numbers));
        let names = ports.iter().flat_map(|ports| ports.names.iter().cloned()).collect();
        let joined = RulePorts { numbers, names };
        let ports = match direction {
            Direction::Egress => joined,
            Direction::Ingress => RulePorts {
                numbers: joined.resolve(&joined.names_on(subject)),
                names: BTreeSet::new(),
            },
        };
        Grant { peers, ports }
    };
    by_peers.into_iter().map(join).collect()
}

/// What grants that all mean one identity come to.
fn flatten<'a>(grants: impl Iterator<Item = &'a Grant>, named: &Resolved) -> Ports {
    let resolved: Vec<_> = grants.map(|grant| grant.ports.resolve(named)).collect();
    Ports::union(&resolved)
}
