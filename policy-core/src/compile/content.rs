//! Contents: one for each distinct outcome, shared by all pods that have it.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use crate::{
    desired::{Content, ContentIndex, DesiredEndpoint, Isolation},
    model::{Direction, ObjectName, Snapshot},
};

use super::{
    frontend::{Caller, Frontends},
    grant::{self, Table},
    identity::Identities,
    lists::Lists,
    meaning::Resolved,
    rule::CompiledPolicy,
    service,
    subject::{PolicyIndex, Subject},
};

/// What the last stage works on.
pub(super) struct Stage<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// The node; `None` for the whole cluster.
    pub(super) node: Option<&'a str>,
    pub(super) subjects: &'a [Subject<'a>],
    pub(super) policies: &'a [CompiledPolicy],
    pub(super) names: Vec<&'a ObjectName>,
    pub(super) lists: &'a Lists,
    pub(super) identities: &'a Identities,
}

/// What it makes.
pub(super) struct Enforced {
    pub(super) endpoints: BTreeMap<ObjectName, DesiredEndpoint>,
    pub(super) contents: Vec<Content>,
    pub(super) frontends: Frontends,
}

/// Distinct tables, and which of them each subject has.
#[derive(Default)]
struct Tables {
    distinct: Vec<Table>,
    /// Ingress and egress; `None` in a direction that no policy isolates.
    of: Vec<[Option<usize>; 2]>,
}

/// What a table depends on: policies, and what their names resolve to on the pod (ingress only).
type TableKey<'a> = (Direction, &'a [PolicyIndex], Resolved);

impl Stage<'_> {
    /// Makes the contents, and the endpoints that refer to them.
    pub(super) fn run(&self) -> Enforced {
        let tables = self.tables();
        let addresses: Vec<Vec<IpAddr>> =
            self.subjects.iter().map(|s| s.pod.usable_addresses().collect()).collect();
        let isolated = addresses.iter().zip(&tables.of);
        let callers: Vec<Caller<'_>> = isolated
            .filter_map(|(own, [_, egress])| Some((own.as_slice(), &tables.distinct[(*egress)?])))
            .collect();
        // Where nothing isolates egress, no look-up of a frontend is ever made.
        let targets = if callers.is_empty() {
            BTreeMap::new()
        } else {
            service::frontends(self.snapshot, self.node)
        };
        let frontends = Frontends::number(&targets, self.identities, &callers);
        let mut contents = Contents::new(&tables.distinct, &frontends);
        let mut endpoints = BTreeMap::new();
        for ((subject, addresses), [ingress, egress]) in
            self.subjects.iter().zip(&addresses).zip(&tables.of)
        {
            let ingress = ingress.map(|table| Isolation {
                content: contents.ingress(table),
                policies: self.names_of(&subject.ingress),
            });
            let egress = egress.map(|table| Isolation {
                content: contents.egress(table, addresses),
                policies: self.names_of(&subject.egress),
            });
            let (uid, addresses) = (subject.pod.uid.clone(), addresses.clone());
            let endpoint = DesiredEndpoint { uid, addresses, ingress, egress };
            endpoints.insert(subject.name.clone(), endpoint);
        }
        Enforced { endpoints, contents: contents.distinct, frontends }
    }

    fn names_of(&self, policies: &[PolicyIndex]) -> Vec<ObjectName> {
        policies.iter().map(|&index| self.names[index].clone()).collect()
    }

    /// Makes each distinct table once.
    fn tables(&self) -> Tables {
        let mut tables = Tables::default();
        let mut known: HashMap<TableKey<'_>, usize> = HashMap::new();
        for subject in self.subjects {
            let mut of = |direction, policies| {
                let resolved = self.resolved(subject, direction, policies);
                let distinct = &mut tables.distinct;
                *known.entry((direction, policies, resolved)).or_insert_with(|| {
                    let policies = policies.iter().map(|&index| &self.policies[index]);
                    let (pod, lists) = (subject.pod, self.lists);
                    distinct.push(grant::table(policies, direction, pod, lists, self.identities));
                    distinct.len() - 1
                })
            };
            let ingress = subject.ingress.as_slice();
            let ingress = (!ingress.is_empty()).then(|| of(Direction::Ingress, ingress));
            let egress = subject.egress.as_slice();
            let egress = (!egress.is_empty()).then(|| of(Direction::Egress, egress));
            tables.of.push([ingress, egress]);
        }
        tables
    }

    fn resolved(
        &self,
        subject: &Subject<'_>,
        direction: Direction,
        policies: &[PolicyIndex],
    ) -> Resolved {
        if direction == Direction::Egress {
            return Resolved::new();
        }
        let rules = policies.iter().flat_map(|&index| self.policies[index].rules(direction));
        rules.flat_map(|rule| rule.ports.names_on(subject.pod)).collect()
    }
}

/// Contents, interned by value.
struct Contents<'a> {
    tables: &'a [Table],
    frontends: &'a Frontends,
    distinct: Vec<Content>,
    index: BTreeMap<Content, ContentIndex>,
    /// By table; for egress with the addresses that lead back to the pod itself.
    known: HashMap<(usize, Option<Vec<IpAddr>>), ContentIndex>,
}

impl<'a> Contents<'a> {
    fn new(tables: &'a [Table], frontends: &'a Frontends) -> Self {
        let (distinct, index, known) = (Vec::new(), BTreeMap::new(), HashMap::new());
        Self { tables, frontends, distinct, index, known }
    }

    fn ingress(&mut self, table: usize) -> ContentIndex {
        self.intern((table, None))
    }

    fn egress(&mut self, table: usize, addresses: &[IpAddr]) -> ContentIndex {
        let own = addresses.iter().copied().filter(|at| self.frontends.leads_back(*at));
        let own = own.collect();
        self.intern((table, Some(own)))
    }

    fn intern(&mut self, key: (usize, Option<Vec<IpAddr>>)) -> ContentIndex {
        if let Some(&content) = self.known.get(&key) {
            return content;
        }
        let table = &self.tables[key.0];
        let frontends = key.1.as_ref().map(|own| self.frontends.outcomes(table, own));
        let frontends = frontends.unwrap_or_default();
        let content = Content { ports: table.ports.clone(), frontends };
        let next = self.distinct.len();
        let index = *self.index.entry(content.clone()).or_insert(next);
        if index == next {
            self.distinct.push(content);
        }
        self.known.insert(key, index);
        index
    }
}
