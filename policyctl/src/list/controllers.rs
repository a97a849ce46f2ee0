//! Connections from outside of the cluster that an ingress controller or a Gateway opens to pods.
//!
//! Input: the routes of manifests. Output: the ports that each controller may use at each workload:
//! those that a route names, as far as the policies of the workload admit the controller. Its pods
//! are rarely in the manifests, so that a pod stands in for it:
//!
//! ```text
//! Ingress                   a pod without labels, in a namespace without labels
//! Gateway infra/public      a pod in infra with gateway.networking.k8s.io/gateway-name: public
//! ```

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use policy_core::{
    connections::{Allowed, Connections},
    desired::Ports,
    model::{Labels, Namespace, ObjectName, Pod, Protocol, Snapshot},
};
use policy_manifest::{Manifests, Route, RouteController, SpareAddresses};

use crate::port_set::PortSet;

/// The label of a Gateway's pods (Gateway API, GEP-1762).
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Name of the stand-ins, with a number behind it.
const NAME: &str = "stand-in-of-a-controller";

/// The ports that routes of a controller name at a workload.
#[derive(Clone, Debug, Default)]
struct Routed {
    ports: BTreeSet<(Protocol, u16)>,
    routes: BTreeSet<String>,
}

/// Every controller of the routes.
pub(super) struct Controllers<'a> {
    /// The manifests with the stand-ins in them.
    pub(super) manifests: Cow<'a, Manifests>,
    /// The controllers with their stand-ins, in the order of their groups.
    stand_ins: Vec<(&'a RouteController, ObjectName)>,
    /// By the controller's index and the workload's.
    routed: BTreeMap<(usize, usize), Routed>,
    /// How many groups are before those of the stand-ins.
    workloads: usize,
}

/// What a controller may open to a workload.
#[derive(Clone, Debug)]
pub(super) struct ThroughController<'a> {
    pub(super) controller: &'a RouteController,
    /// As `Ingress shop/web`.
    pub(super) routes: &'a BTreeSet<String>,
    /// What the routes name and the policies admit; empty where they admit nothing of it.
    pub(super) allowed: Vec<Allowed>,
}

impl<'a> Controllers<'a> {
    /// `groups` are the pods of the workloads; those of the stand-ins are added behind them.
    pub(super) fn new(manifests: &'a Manifests, groups: &mut Vec<Vec<ObjectName>>) -> Self {
        let routes = &manifests.routes;
        let controllers: BTreeSet<_> = routes.iter().flat_map(|route| &route.controllers).collect();
        let mut all = Self {
            manifests: Cow::Borrowed(manifests),
            stand_ins: Vec::new(),
            routed: BTreeMap::new(),
            workloads: groups.len(),
        };
        let numbers: BTreeMap<&ObjectName, usize> = groups
            .iter()
            .enumerate()
            .flat_map(|(number, pods)| pods.iter().map(move |pod| (pod, number)))
            .collect();
        for (index, controller) in controllers.iter().enumerate() {
            for route in routes.iter().filter(|route| route.controllers.contains(controller)) {
                all.add_route(index, route, &numbers);
            }
        }
        if !controllers.is_empty() {
            let mut addresses = SpareAddresses::new(manifests);
            let snapshot = &mut all.manifests.to_mut().snapshot;
            for controller in controllers {
                let name = stand_in(snapshot, controller, &mut addresses);
                all.stand_ins.push((controller, name));
            }
        }
        groups.extend(all.stand_ins.iter().map(|(_, name)| vec![name.clone()]));
        all
    }

    fn add_route(&mut self, index: usize, route: &Route, numbers: &BTreeMap<&ObjectName, usize>) {
        for (pod, ports) in &route.targets {
            if let Some(workload) = numbers.get(pod) {
                let routed = self.routed.entry((index, *workload)).or_default();
                routed.ports.extend(ports);
                routed.routes.insert(route.to_string());
            }
        }
    }

    /// What each controller may open to the workload with this index.
    pub(super) fn to<'c>(
        &'c self,
        workload: usize,
        connections: &'c Connections<'_>,
    ) -> impl Iterator<Item = ThroughController<'c>> {
        let controllers = self.stand_ins.iter().enumerate();
        controllers.filter_map(move |(index, (controller, _))| {
            let at_workload = self.routed.get(&(index, workload))?;
            let ports = at_workload.ports.iter().map(|(protocol, port)| (*protocol, *port, *port));
            let ports = Ports::from_ranges(ports);
            let allowed = connections.between(self.workloads + index, workload);
            let allowed = allowed.iter().map(|one| Allowed {
                families: one.families.clone(),
                every: one.every.and(&ports),
                some: one.some.and(&ports),
            });
            let allowed = allowed.filter(|one| !one.every.is_empty() || !one.some.is_empty());
            Some(ThroughController {
                controller,
                routes: &at_workload.routes,
                allowed: allowed.collect(),
            })
        })
    }

    /// A note for each route that the policies of its workload deny.
    pub(super) fn notes(
        &self,
        workloads: &[ObjectName],
        connections: &Connections<'_>,
    ) -> Vec<String> {
        let denied = workloads.iter().enumerate().flat_map(|(index, workload)| {
            let denied = self.to(index, connections).filter(|one| one.allowed.is_empty());
            denied.map(move |one| {
                let routes = one.routes.iter().cloned().collect::<Vec<_>>().join(", ");
                format!(
                    "{routes}: {workload} does not admit {}; `policyctl list --exposure` has the \
                     places that it admits",
                    unknown(one.controller)
                )
            })
        });
        denied.collect()
    }
}

/// The controller, as far as it is known.
fn unknown(controller: &RouteController) -> String {
    match controller {
        RouteController::Ingress => {
            "an ingress controller of which labels and namespace are not known".to_owned()
        }
        RouteController::Gateway(name) => format!("the pods of Gateway {name}"),
    }
}

/// Adds the pod that stands in for a controller.
fn stand_in(
    snapshot: &mut Snapshot,
    controller: &RouteController,
    addresses: &mut SpareAddresses,
) -> ObjectName {
    let (namespace, labels) = match controller {
        RouteController::Ingress => (free_namespace(snapshot), Labels::default()),
        RouteController::Gateway(name) => {
            let label = (GATEWAY_NAME.to_owned(), name.name.clone());
            (name.namespace.clone(), [label].into_iter().collect())
        }
    };
    if !snapshot.namespaces.contains_key(&namespace) {
        let labels = snapshot.namespace_labels(&namespace).into_owned();
        snapshot.namespaces.insert(namespace.clone(), Namespace { labels, ..Namespace::default() });
    }
    let mut name = ObjectName::new(namespace, NAME);
    while snapshot.pods.contains_key(&name) {
        name.name.push_str("-x");
    }
    let addresses = addresses.next_of_each_family();
    snapshot.pods.insert(name.clone(), Pod { labels, addresses, ..Pod::default() });
    name
}

fn free_namespace(snapshot: &Snapshot) -> String {
    let mut name = NAME.to_owned();
    while snapshot.namespaces.contains_key(&name) {
        name.push_str("-x");
    }
    name
}

impl ThroughController<'_> {
    /// The set for every pod of the workload, and for some of them only.
    pub(super) fn sets(allowed: &Allowed) -> (PortSet, PortSet) {
        (PortSet::new(allowed.every.clone()), PortSet::new(allowed.some.clone()))
    }
}
