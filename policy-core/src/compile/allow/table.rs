//! Grants: what the rules of one pod, or of pods alike, come to for each identity.
//!
//! Precedence ends here. The rules that mean an identity are put in their order and flattened
//! into one set of ports: tiers rule by rule (S51); `NetworkPolicy` has no order, so that its
//! rules are just joined (S2).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    compile::{
        identities::numbers::{IdentityId, Numbers},
        peers::lists::{ListId, Lists},
        rules::rule::{CompiledPolicy, ResolvedPorts, RulePorts, Stage},
    },
    desired::Identity,
    model::{Action, Direction, Pod, Protocol},
    ports::Ports,
};

/// What one rule, or several of network policies with the same ports, say.
#[derive(Clone, Debug)]
struct Grant {
    stage: Stage,
    action: Action,
    /// To whom.
    peers: Vec<ListId>,
    /// Whether to all.
    everyone: bool,
    ports: RulePorts,
}

/// What policies grant in one direction, and what that comes to for each meaning.
#[derive(Clone, Debug)]
pub(crate) struct AllowTable {
    grants: Vec<Grant>,
    /// Whether a network policy is among the policies, so that what none allows is denied.
    isolated: bool,
    /// Grants to a list, by its number.
    by_list: BTreeMap<ListId, Vec<usize>>,
    /// Grants to everyone.
    everyone: Vec<usize>,
    /// Whether one of those names ports, which resolve anywhere.
    asks_all: bool,
    /// For meanings without an entry.
    default: Ports,
    ports: BTreeMap<IdentityId, Ports>,
}

impl AllowTable {
    /// Joins the rules of some policies in one direction.
    ///
    /// Ports by name resolve on `subject` for ingress, on each identity for egress (S23).
    pub(crate) fn new<'a>(
        policies: impl Iterator<Item = &'a CompiledPolicy>,
        direction: Direction,
        subject: &Pod,
        lists: &Lists,
        numbers: &Numbers,
    ) -> Self {
        let Grants { all: grants, isolated } = grants(policies, direction, subject, lists);
        let mut by_list: BTreeMap<ListId, Vec<usize>> = BTreeMap::new();
        for (index, grant) in grants.iter().enumerate() {
            for list in &grant.peers {
                by_list.entry(*list).or_default().push(index);
            }
        }
        let everyone: Vec<_> = (0..grants.len()).filter(|&index| grants[index].everyone).collect();
        let asks_all = everyone.iter().any(|&index| !grants[index].ports.names.is_empty());
        let (default, ports) = (Ports::default(), BTreeMap::new());
        let mut table = Self { grants, isolated, by_list, everyone, asks_all, default, ports };
        table.default = table.flat(&[], &ResolvedPorts::new());
        let mut meant: BTreeSet<_> = table.lists().flat_map(|list| numbers.with(list)).collect();
        if asks_all {
            meant
                .extend(numbers.iter().filter(|(_, one)| !one.named().is_empty()).map(|one| one.0));
        }
        for meaning in meant {
            table.learn(meaning, numbers);
        }
        table
    }

    /// The lists that it grants something to.
    pub(crate) fn lists(&self) -> impl Iterator<Item = ListId> + '_ {
        self.by_list.keys().copied()
    }

    /// Whether it resolves named ports at every address.
    pub(crate) fn asks_all(&self) -> bool {
        self.asks_all
    }

    /// Finds out what it grants to a meaning.
    pub(crate) fn learn(&mut self, id: IdentityId, numbers: &Numbers) {
        let Some(meaning) = numbers.get(id) else { return };
        let ports = self.flat(&meaning.lists, meaning.named());
        if ports != self.default {
            self.ports.insert(id, ports);
        }
    }

    /// Forgets a meaning; tells whether that had an entry.
    pub(crate) fn forget(&mut self, id: IdentityId) -> bool {
        self.ports.remove(&id).is_some()
    }

    fn flat(&self, lists: &[ListId], named: &ResolvedPorts) -> Ports {
        let mut indices = self.everyone.clone();
        if lists.len() <= self.by_list.len() {
            let here = lists.iter().filter_map(|list| self.by_list.get(list));
            indices.extend(here.flatten());
        } else {
            let mut here = self.by_list.iter();
            let here = here.by_ref().filter(|(list, _)| lists.binary_search(list).is_ok());
            indices.extend(here.flat_map(|(_, indices)| indices));
        }
        indices.sort_unstable();
        indices.dedup();
        let meant: Vec<_> = indices.into_iter().map(|index| &self.grants[index]).collect();
        flatten(&meant, self.isolated, named)
    }

    /// The ports of a meaning.
    pub(crate) fn of(&self, id: IdentityId) -> &Ports {
        self.ports.get(&id).unwrap_or(&self.default)
    }

    /// Whether a meaning may be reached at a port.
    pub(crate) fn allows(&self, id: IdentityId, protocol: Protocol, port: u16) -> bool {
        self.of(id).contains(protocol, port)
    }

    /// The ports of a meaning, if it has an entry.
    pub(crate) fn entry(&self, id: IdentityId) -> Option<&Ports> {
        self.ports.get(&id)
    }

    /// Ports by identity, as an allow map has them.
    pub(crate) fn by_value(&self, numbers: &Numbers) -> BTreeMap<Identity, Ports> {
        let entries = self.ports.iter().map(|(&id, ports)| (numbers.identity(id), ports.clone()));
        let default = (!self.default.is_empty()).then(|| (None, self.default.clone()));
        entries.chain(default).collect()
    }

    /// What happens at frontends without an entry.
    pub(crate) fn is_open(&self) -> bool {
        self.default.every_protocol
    }
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
        let granted = policy
            .rules(direction)
            .iter()
            .flat_map(|rule| rule.grants().map(move |(list, ports)| (rule.action, list, ports)));
        for (action, list, ports) in granted {
            let ports = match direction {
                Direction::Egress => ports.clone(),
                Direction::Ingress => RulePorts {
                    numbers: ports.resolve(&ports.names_on(subject)),
                    names: BTreeSet::new(),
                },
            };
            // Every list of a rule in force has its number; one without would match nobody.
            let (all, list) = (list.is_none(), list.and_then(|list| lists.id(list)));
            let stage = policy.stage;
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
fn flatten(grants: &[&Grant], isolated: bool, named: &ResolvedPorts) -> Ports {
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
    named: &ResolvedPorts,
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
