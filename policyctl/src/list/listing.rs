//! The list, row by row: a large cluster has millions of rows, so that none are kept.

use policy_core::{
    connections::{Connections, Outside},
    model::{Direction, Family, ObjectName},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    controllers::{Controllers, ThroughController},
    row::{Party, Row},
};
use crate::{port_set::PortSet, scope::Scope};

/// What is listed.
pub(super) struct Listing<'a> {
    pub(super) connections: Connections<'a>,
    /// Names of the groups, in their order.
    pub(super) workloads: Vec<ObjectName>,
    pub(super) scope: Scope,
    /// What comes from outside through ingress controllers.
    pub(super) controllers: &'a Controllers<'a>,
}

impl Listing<'_> {
    /// Every allowed set of connections: from each workload to the others and to blocks, then from
    /// blocks to it, and from outside through controllers.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let workloads = self.workloads.iter().enumerate();
        let rows = workloads.flat_map(move |(from, name)| {
            self.to_workloads(from, name)
                .chain(self.outside(from, name, Direction::Egress))
                .chain(self.outside(from, name, Direction::Ingress))
                .chain(self.through_controllers(from, name))
        });
        rows.filter(|row| !row.is_empty())
    }

    fn to_workloads<'a>(
        &'a self,
        from: usize,
        name: &'a ObjectName,
    ) -> impl Iterator<Item = Row<'a>> {
        let others = self.workloads.iter().enumerate();
        let own = self.scope.holds(&name.namespace);
        others.filter(move |(_, other)| own || self.scope.holds(&other.namespace)).flat_map(
            move |(to, other)| {
                let allowed = self.connections.between(from, to);
                let row = |one: &policy_core::connections::Allowed| Row {
                    from: Party::Workload(name),
                    to: Party::Workload(other),
                    families: one.families.clone(),
                    ports: PortSet::new(one.every.clone()),
                    some_pods_only: PortSet::new(one.some.clone()),
                };
                allowed.iter().map(row).collect::<Vec<_>>()
            },
        )
    }

    fn outside<'a>(
        &'a self,
        group: usize,
        name: &'a ObjectName,
        direction: Direction,
    ) -> Vec<Row<'a>> {
        if !self.scope.holds(&name.namespace) {
            return Vec::new();
        }
        let row = |one: &Outside| {
            let Outside { region, every, some } = one.clone();
            let families = vec![Family::of(region.block.ip())];
            let (own, far) = (Party::Workload(name), Party::Block(region));
            let (from, to) = match direction {
                Direction::Egress => (own, far),
                Direction::Ingress => (far, own),
            };
            let (ports, some_pods_only) = (PortSet::new(every), PortSet::new(some));
            Row { from, to, families, ports, some_pods_only }
        };
        self.connections.outside(group, direction).iter().map(row).collect()
    }

    fn through_controllers<'a>(&'a self, workload: usize, name: &'a ObjectName) -> Vec<Row<'a>> {
        if !self.scope.holds(&name.namespace) {
            return Vec::new();
        }
        let rows = self.controllers.to(workload, &self.connections).flat_map(|one| {
            let ThroughController { controller, routes, allowed } = one;
            allowed.into_iter().map(move |one| {
                let (ports, some_pods_only) = ThroughController::sets(&one);
                Row {
                    from: Party::Through(controller, routes),
                    to: Party::Workload(name),
                    families: one.families,
                    ports,
                    some_pods_only,
                }
            })
        });
        rows.collect()
    }
}

/// `{"connections": [row, …]}`.
impl Serialize for Listing<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Rows<'a>(&'a Listing<'a>);
        impl Serialize for Rows<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_seq(self.0.rows())
            }
        }
        let mut map = to.serialize_map(Some(1))?;
        map.serialize_entry("connections", &Rows(self))?;
        map.end()
    }
}
