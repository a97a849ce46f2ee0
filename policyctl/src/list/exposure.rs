//! `policyctl list --exposure`: what workloads admit from, and send to, places that are not in the
//! manifests.
//!
//! Input: manifests. Output: for each workload and direction the ports of each place. A place is a
//! peer of a policy that selects the workload, and a pod stands in for it (`stand_in`): the allow
//! maps of the workload have its ports, exactly, whatever tiers and other rules say.
//!
//! ```text
//! from: [{namespaceSelector: {team: a}}]    stand-in: a pod without labels, in a namespace team=a
//! shop/db   <-   namespaces team=a          TCP 5432
//! ```
//!
//! The whole cluster is what every pod may do. Places with the same ports are no rows of their own,
//! nor are places that a pod of the manifests stands for already.

mod place;
mod stand_in;
mod text;

use std::collections::BTreeMap;

use policy_core::{
    compile::{Scope, compile},
    connections::{Connections, Outside},
    desired::Ports,
    model::{Direction, Family, ObjectName},
};
use policy_manifest::Manifests;
use serde::{Serialize, Serializer};

use super::controllers::{Controllers, ThroughController};
use crate::{port_set::PortSet, scope, workload};
use place::{ExposurePlace, PeerPlace};
use stand_in::StandIns;
pub(super) use text::{csv, markdown, table};

/// What is printed.
#[derive(Debug, Serialize)]
pub(super) struct ExposureReport {
    exposure: Vec<WorkloadExposure>,
}

/// One direction of a workload.
#[derive(Debug, Serialize)]
struct WorkloadExposure {
    #[serde(serialize_with = "display")]
    workload: ObjectName,
    #[serde(serialize_with = "direction_name")]
    direction: Direction,
    /// Whether policies select each of its pods in this direction.
    protected: bool,
    places: Vec<ExposedTo>,
}

/// The ports between a workload and a place.
#[derive(Debug, Serialize)]
struct ExposedTo {
    place: ExposurePlace,
    #[serde(serialize_with = "super::row::families")]
    families: Vec<Family>,
    ports: PortSet,
    /// Ports of pods there that have these names.
    named_ports: Vec<String>,
    some_pods_only: PortSet,
}

/// Finds the exposure of every workload of a scope.
pub(super) fn find(manifests: &Manifests, scope: &scope::Scope) -> ExposureReport {
    let places = place::of_policies(&manifests.snapshot);
    let (workloads, mut groups) = workload::groups(&manifests.snapshot);
    let controllers = Controllers::new(manifests, &mut groups);
    let stand_ins = StandIns::new(manifests, &controllers.manifests, &places);
    let (desired, _) = compile(&stand_ins.snapshot, Scope::Cluster);
    let connections = Connections::new(&desired, &groups);
    let mut exposure = Vec::new();
    for (index, (workload, pods)) in workloads.iter().zip(&groups).enumerate() {
        let has_sets = pods.iter().any(|pod| desired.endpoints.contains_key(pod));
        if !scope.holds(&workload.namespace) || !has_sets {
            continue;
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            let own = place::Selecting::new(&manifests.snapshot, pods, direction);
            let group =
                Group { connections: &connections, index, direction, stand_ins: &stand_ins };
            let mut exposed = group.places(&places, &own);
            if direction == Direction::Ingress {
                exposed.extend(controllers.to(index, &connections).flat_map(through));
            }
            exposure.push(WorkloadExposure {
                workload: workload.clone(),
                direction,
                protected: own.is_protected,
                places: exposed,
            });
        }
    }
    ExposureReport { exposure }
}

/// One direction of a group of pods.
struct Group<'a> {
    connections: &'a Connections<'a>,
    index: usize,
    direction: Direction,
    stand_ins: &'a StandIns,
}

/// For every pod of a group, and for some only.
type EveryAndSome = (Ports, Ports);

impl Group<'_> {
    fn places(&self, places: &[PeerPlace], own: &place::Selecting<'_>) -> Vec<ExposedTo> {
        let mut found = Vec::new();
        let mut all = places.iter().zip(&self.stand_ins.of_places);
        let cluster = all.find(|(place, _)| place.is_everything());
        let cluster =
            cluster.map(|(_, stand_ins)| self.by_family(stand_ins, true)).unwrap_or_default();
        found.extend(self.entries(&ExposurePlace::WholeCluster, &cluster));
        for (place, stand_ins) in places.iter().zip(&self.stand_ins.of_places) {
            if place.is_everything() || !own.names(place) || self.stand_ins.is_real(place) {
                continue;
            }
            let ports = self.by_family(stand_ins, false);
            if ports != cluster {
                found.extend(self.entries(&ExposurePlace::Pods(place.clone()), &ports));
            }
        }
        found.extend(self.connections.outside(self.index, self.direction).iter().map(outside));
        found
    }

    /// What every pod of a place may do, and what some of them may; `in_common` for what all of them
    /// have in common, where some of the workload's pods differ.
    fn by_family(
        &self,
        stand_ins: &[ObjectName],
        in_common: bool,
    ) -> BTreeMap<Family, EveryAndSome> {
        let ports = |family| {
            let all = stand_ins.iter().filter_map(|pod| self.at(pod, family));
            all.reduce(|(every, some), (also_every, also_some)| {
                let one = Ports::union([&every, &some]);
                let other = Ports::union([&also_every, &also_some]);
                let any = if in_common { one.and(&other) } else { Ports::union([&one, &other]) };
                let every = every.and(&also_every);
                let some = any.without(&every);
                (every, some)
            })
        };
        let families = Family::BOTH.into_iter();
        families.filter_map(|family| Some((family, ports(family)?))).collect()
    }

    fn at(&self, stand_in: &ObjectName, family: Family) -> Option<EveryAndSome> {
        let address = self.stand_ins.address(stand_in, family)?;
        self.connections.at(self.index, self.direction, address)
    }

    /// A row for each set of ports: one for both families where they are equal.
    fn entries(
        &self,
        place: &ExposurePlace,
        ports: &BTreeMap<Family, EveryAndSome>,
    ) -> Vec<ExposedTo> {
        let mut entries: Vec<(Vec<Family>, &EveryAndSome)> = Vec::new();
        for (family, ports) in ports {
            match entries.iter_mut().find(|(_, other)| *other == ports) {
                Some((families, _)) => families.push(*family),
                None => entries.push((vec![*family], ports)),
            }
        }
        let entry = |(families, (every, some)): (Vec<Family>, &EveryAndSome)| {
            let (ports, named_ports) = self.stand_ins.without_names(every);
            let (some, _) = self.stand_ins.without_names(some);
            ExposedTo {
                place: place.clone(),
                families,
                ports: PortSet::new(ports),
                named_ports,
                some_pods_only: PortSet::new(some),
            }
        };
        let entries = entries.into_iter().map(entry);
        let says_something = |one: &ExposedTo| {
            // A place with no ports is an exception of the whole cluster.
            matches!(one.place, ExposurePlace::Pods(_)) || !one.is_empty()
        };
        entries.filter(says_something).collect()
    }
}

impl ExposedTo {
    /// Whether nothing is allowed.
    fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.named_ports.is_empty() && self.some_pods_only.is_empty()
    }
}

fn outside(one: &Outside) -> ExposedTo {
    let Outside { region, every, some } = one.clone();
    ExposedTo {
        families: vec![Family::of(region.block.ip())],
        place: ExposurePlace::Outside(region),
        ports: PortSet::new(every),
        named_ports: Vec::new(),
        some_pods_only: PortSet::new(some),
    }
}

fn through(one: ThroughController<'_>) -> impl Iterator<Item = ExposedTo> {
    let place = ExposurePlace::Through(one.controller.clone());
    one.allowed.into_iter().map(move |allowed| {
        let (ports, some_pods_only) = ThroughController::sets(&allowed);
        let families = allowed.families;
        ExposedTo { place: place.clone(), families, ports, named_ports: Vec::new(), some_pods_only }
    })
}

fn display<S: Serializer>(name: &ObjectName, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(name)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn direction_name<S: Serializer>(direction: &Direction, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(direction.name())
}
