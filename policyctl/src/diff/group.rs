//! What changes, by workload, set of ports and block.
//!
//! Input: two compiled sides. Output: a [`ChangedPorts`] for each pair of workloads, each workload and
//! block, and each workload and Service, between which ports open or close. Sets of ports are those
//! of the allow maps, so that nothing is probed but Services, at their own ports:
//!
//! ```text
//! opened shop/web -> shop/db TCP 5432 IPv4, IPv6      every pod of web, every pod of db
//! opened 203.0.113.0/24 -> shop/web TCP 443 IPv4      a block that a policy names
//! closed shop/web -> any other IPv4 address all       what no block holds
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use policy_core::{
    connections::{Changes, Part, Region},
    desired::Ports,
    explain::{ConnectionEnd, Explainer, Question},
    model::{Direction, Family, ObjectName, Protocol},
};
use policy_manifest::{End, Manifests};
use policy_probe::{Outcome, Probe, Row, Selection, choose, if_any, input::InputError};
use serde::Serialize;

use Effect::{Closed, Opened};

use super::{Side, ends};
use crate::{error::Error, port_set::PortSet, workload};

/// Exceptions of a block that are listed; more are counted.
const EXCEPTIONS: usize = 3;

/// What happens to connections; what opens comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Effect {
    Opened,
    Closed,
}

/// Ports that open or close between two ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChangedPorts {
    pub(super) change: Effect,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) families: Vec<&'static str>,
    pub(super) ports: PortSet,
    /// Whether it is about some pods of the workloads only.
    pub(super) some_pods_only: bool,
    /// The policies that decided at the first of these ports, and those that decide now, in words.
    pub(super) was_by: Option<String>,
    pub(super) now_by: Option<String>,
    /// The rows before and after, for places of policies.
    #[serde(skip)]
    pub(super) rows: Option<(Row, Row)>,
}

/// The effect, and the ends as text: what makes one group in each family.
type EffectBetween = (Effect, String, String);

/// The changes of some parts of workloads.
#[derive(Default)]
struct Found {
    ports: Ports,
    /// Parts that it is about.
    parts: BTreeSet<(usize, usize)>,
    /// A connection of the first of them.
    question: Option<Question>,
}

/// Every group, those that open first; with the rows before and after only where these are kept, as a
/// large difference has a hundred thousand.
pub(super) fn groups(
    old: &Side<'_>,
    new: &Side<'_>,
    keeps_rows: bool,
) -> Result<Vec<ChangedPorts>, Error> {
    let (workloads, pods) = common_workloads(old.manifests, new.manifests);
    if pods.is_empty() {
        return Err(Error::NothingToCompare);
    }
    let changes = Changes::new(old.desired, new.desired, &pods);
    let mut all =
        Collected { groups: BTreeMap::new(), workloads: &workloads, parts: changes.parts() };
    let taken: BTreeSet<_> = [old, new]
        .into_iter()
        .flat_map(|side| side.manifests.snapshot.pods.values())
        .filter(|pod| !pod.host_network)
        .flat_map(|pod| pod.addresses.iter().copied())
        .collect();
    for from in 0..changes.parts().len() {
        for to in 0..changes.parts().len() {
            for one in changes.between(from, to).iter() {
                for (effect, ports) in [(Opened, &one.opened), (Closed, &one.closed)] {
                    all.add_pair((from, to), &one.families, effect, ports);
                }
            }
        }
        for direction in Direction::BOTH {
            for one in changes.outside(from, direction).iter() {
                for (effect, ports) in [(Opened, &one.opened), (Closed, &one.closed)] {
                    all.add_region(from, direction, &one.region, &taken, (effect, ports));
                }
            }
        }
    }
    let rows = to_services(old, new, changes.parts())?;
    for (part, before, after) in rows {
        all.add_service(part, &before, after);
    }
    Ok(all.finish(old, new, keeps_rows))
}

/// Workloads that have pods on both sides, and their pods that run on both.
fn common_workloads(old: &Manifests, new: &Manifests) -> (Vec<ObjectName>, Vec<Vec<ObjectName>>) {
    let mut groups: BTreeMap<ObjectName, Vec<ObjectName>> = BTreeMap::new();
    for (pod, workload) in workload::of_pods(&new.snapshot) {
        if ends::is_live(&old.snapshot, &pod) && ends::is_live(&new.snapshot, &pod) {
            groups.entry(workload).or_default().push(pod);
        }
    }
    groups.into_iter().unzip()
}

/// The rows from each part to each Service whose verdict changes.
fn to_services(
    old: &Side<'_>,
    new: &Side<'_>,
    parts: &[Part],
) -> Result<Vec<(usize, Row, Row)>, Error> {
    let services = ends::services(&old.manifests.snapshot, &new.manifests.snapshot);
    let callers =
        parts.iter().enumerate().filter_map(|(part, one)| Some((one.pods.first()?, part)));
    let callers: BTreeMap<&ObjectName, usize> = callers.collect();
    if services.is_empty() || callers.is_empty() {
        return Ok(Vec::new());
    }
    let from = callers.keys().map(|name| End::Pod((*name).clone())).collect();
    let selection = Selection { from, to: services, ..Selection::default() };
    let rows = |side: &Side<'_>| {
        let probes = if_any(choose(side.manifests, &selection, None));
        let probes = probes.map_err(InputError::Probes)?.into_iter();
        let row = |probe: Probe| {
            let explanation = side.explainer.explain(&probe.question())?;
            Some(Row::of(probe, explanation, None))
        };
        Ok::<_, Error>(probes.filter_map(row).collect::<Vec<Row>>())
    };
    let key = |row: &Row| {
        (row.from.clone(), row.to.clone(), row.port, row.protocol.name(), row.family.name())
    };
    let mut before: BTreeMap<_, Row> = rows(old)?.into_iter().map(|row| (key(&row), row)).collect();
    let changed = rows(new)?.into_iter().filter_map(|after| {
        let before = before.remove(&key(&after))?;
        let End::Pod(name) = &after.from else { return None };
        let part = *callers.get(name)?;
        (before.verdict != after.verdict).then_some((part, before, after))
    });
    Ok(changed.collect())
}

/// Groups as they are found.
struct Collected<'a> {
    groups: BTreeMap<EffectBetween, BTreeMap<Family, Found>>,
    workloads: &'a [ObjectName],
    parts: &'a [Part],
}

impl Collected<'_> {
    fn add_pair(
        &mut self,
        (from, to): (usize, usize),
        families: &[Family],
        effect: Effect,
        ports: &Ports,
    ) {
        let pod = |part: usize, at: usize| self.parts[part].pods.get(at);
        // Pods of one part among each other need two of them.
        let ends = pod(from, 0).zip(pod(to, usize::from(from == to)));
        let question = ends.zip(families.first()).and_then(|((from, to), family)| {
            let pod = |name: &ObjectName| ConnectionEnd::Pod(name.clone());
            question(pod(from), pod(to), *family, ports)
        });
        let (from_name, to_name) = (self.name(from), self.name(to));
        for family in families {
            let key = (effect, from_name.clone(), to_name.clone());
            self.add(key, *family, (from, to), ports, question.as_ref());
        }
    }

    fn add_region(
        &mut self,
        part: usize,
        direction: Direction,
        region: &Region,
        taken: &BTreeSet<std::net::IpAddr>,
        (effect, ports): (Effect, &Ports),
    ) {
        let family = Family::of(region.block.ip());
        let pod = self.parts[part].pods.first().map(|name| ConnectionEnd::Pod(name.clone()));
        let far = region.first_address(taken).map(ConnectionEnd::Address);
        let (own_name, far_name) = (self.name(part), region_name(region));
        let (ends, from, to) = match direction {
            Direction::Egress => (pod.zip(far), own_name, far_name),
            Direction::Ingress => (far.zip(pod), far_name, own_name),
        };
        let question = ends.and_then(|(from, to)| question(from, to, family, ports));
        self.add((effect, from, to), family, (part, part), ports, question.as_ref());
    }

    fn add_service(&mut self, part: usize, before: &Row, after: Row) {
        let effect = if after.verdict == Outcome::Allow { Opened } else { Closed };
        let ports = Ports::from_ranges([(after.protocol, after.port, after.port)]);
        let Row { from, to, family, protocol, port, .. } = after;
        let (End::Pod(pod), End::Service(service)) = (from, to) else { return };
        let question = Question {
            from: ConnectionEnd::Pod(pod),
            to: ConnectionEnd::Service(service),
            family,
            protocol,
            port,
        };
        let key = (effect, self.name(part), before.to.to_string());
        self.add(key, family, (part, part), &ports, Some(&question));
    }

    fn add(
        &mut self,
        key: EffectBetween,
        family: Family,
        between: (usize, usize),
        ports: &Ports,
        question: Option<&Question>,
    ) {
        if ports.is_empty() {
            return;
        }
        let found = self.groups.entry(key).or_default().entry(family).or_default();
        found.ports = Ports::union([&found.ports, ports]);
        found.parts.insert(between);
        found.question = found.question.take().or_else(|| question.cloned());
    }

    fn name(&self, part: usize) -> String {
        let workload = self.parts.get(part).and_then(|part| self.workloads.get(part.group));
        workload.map(ToString::to_string).unwrap_or_default()
    }

    /// Joins families with equal ports, and finds out who decides.
    fn finish(self, old: &Side<'_>, new: &Side<'_>, keeps_rows: bool) -> Vec<ChangedPorts> {
        let mut parts: BTreeMap<String, usize> = BTreeMap::new();
        for part in 0..self.parts.len() {
            *parts.entry(self.name(part)).or_default() += 1;
        }
        let mut groups: Vec<ChangedPorts> = Vec::new();
        for ((change, from, to), by_family) in self.groups {
            // A workload and a block, or a Service, have as many pairs as the workload has parts.
            let pairs = match (parts.get(&from), parts.get(&to)) {
                (Some(one), Some(other)) => one * other,
                (Some(one), None) | (None, Some(one)) => *one,
                (None, None) => 1,
            };
            let mut joined: Vec<(Vec<Family>, Found)> = Vec::new();
            for (family, found) in by_family {
                match joined.iter_mut().find(|(_, one)| one.ports == found.ports) {
                    Some((families, _)) => families.push(family),
                    None => joined.push((vec![family], found)),
                }
            }
            for (families, found) in joined {
                let rows = found.question.as_ref().and_then(|question| {
                    Some((row(&old.explainer, question)?, row(&new.explainer, question)?))
                });
                let by = rows.as_ref().map(|(was, now)| (was.decided_by(), now.decided_by()));
                let (was_by, now_by) = by.unzip();
                groups.push(ChangedPorts {
                    change,
                    from: from.clone(),
                    to: to.clone(),
                    families: names(&families),
                    ports: PortSet::new(found.ports),
                    some_pods_only: found.parts.len() < pairs,
                    was_by,
                    now_by,
                    rows: rows.filter(|_| keeps_rows),
                });
            }
        }
        // Port 0 is no port.
        groups.retain(|group| !group.ports.is_empty());
        groups
    }
}

impl ChangedPorts {
    /// Whether ports open.
    pub(super) fn opens(&self) -> bool {
        self.change == Opened
    }
}

/// As in the output of every format.
impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Opened => "opened",
            Closed => "closed",
        })
    }
}

fn names(families: &[Family]) -> Vec<&'static str> {
    families.iter().map(|family| family.name()).collect()
}

/// A connection at the first of some ports; `None` for protocols without ports.
fn question(
    from: ConnectionEnd,
    to: ConnectionEnd,
    family: Family,
    ports: &Ports,
) -> Option<Question> {
    let first = ports.ranges.first().map(|(protocol, first, _)| (*protocol, (*first).max(1)));
    let every = ports.every_protocol.then_some((Protocol::Tcp, 1));
    let (protocol, port) = first.or(every)?;
    Some(Question { from, to, family, protocol, port })
}

/// The verdict on a question, with its deciding policies.
fn row(explainer: &Explainer<'_>, question: &Question) -> Option<Row> {
    let explanation = explainer.explain(question)?;
    let end = |end: &ConnectionEnd| match end {
        ConnectionEnd::Pod(name) => End::Pod(name.clone()),
        ConnectionEnd::Service(name) => End::Service(name.clone()),
        ConnectionEnd::Address(address) => End::Address(*address),
    };
    let Question { family, protocol, port, .. } = *question;
    // The addresses of a probe are not in its row.
    let unknown = std::net::Ipv4Addr::UNSPECIFIED.into();
    let (from, to) = (end(&question.from), end(&question.to));
    let probe = Probe { from, to, port, protocol, family, source: unknown, destination: unknown };
    Some(Row::of(probe, explanation, None))
}

/// A region in words: by its block, or as what no block holds.
fn region_name(region: &Region) -> String {
    let Region { block, except } = region;
    match (block.prefix(), except.len()) {
        (0, 1..) => format!("any other {} address", Family::of(block.ip()).name()),
        (_, count) if count > EXCEPTIONS => format!("{block} except {count} blocks in it"),
        _ => region.to_string(),
    }
}
