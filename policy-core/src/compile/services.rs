//! Stage 5: Services, judged by their backends before kube-proxy translates an address (S39-S42).
//!
//! Input: Services and nodes that a change touches, addresses with another identity, and allow maps
//! with other entries. Output: the backend set of each frontend, and for each allow map of egress
//! what happens to a connection to each backend set:
//!
//! ```text
//! frontend 10.96.0.1 tcp 80, backends 10.0.0.7:8080 and 10.0.0.8:8080 (both identity a)
//! frontend 10.96.0.2 tcp 80, backend 10.0.0.8:8080                    (identity a)
//! both have the backend set {a:8080}: policies cannot distinguish them
//! allow map {a: tcp 8080}    {a:8080}: pass
//! allow map {a: tcp 80}      {a:8080}: refuse, ServiceDenied
//! ```

mod backend_set;
mod boundary;
mod endpoints;
mod frontends;
mod nodes;
mod outcomes;
mod resolve;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    compile::{
        allow::{Allow, AllowMapId},
        change::{Touched, TouchedPods},
        desired::{AllowMap, Frontend},
        rules::Rules,
    },
    model::{ObjectName, Snapshot},
};

use frontends::{FrontendOwner, Frontends};
use nodes::Nodes;

pub(crate) use boundary::{EarlierDeltas, EarlierStages, ServicesDelta};
pub(crate) use resolve::service_backends;

/// Frontends of Services and addresses of nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services {
    nodes: Nodes,
    frontends: Frontends,
}

impl Services {
    /// Resolves the frontends that a change touches, and judges them in the allow maps for egress.
    pub(crate) fn update(
        &mut self,
        snapshot: &Snapshot,
        touched: &Touched,
        before: EarlierStages<'_>,
        deltas: EarlierDeltas<'_>,
    ) -> ServicesDelta {
        let own = before.rules.node();
        let addresses = touched.nodes.then(|| self.nodes.update(snapshot, own, before.peers));
        // Frontends exist only while some pod is isolated for egress. When the first one is, every
        // Service is read; when the last one no longer is, every Service is dropped.
        let was_active = self.frontends.is_active();
        if !deltas.rules.subjects.is_empty() {
            self.update_callers(before.rules, before.allow);
        }
        for owner in self.owners_to_read(snapshot, touched, was_active) {
            self.frontends.read(owner, snapshot, (own, self.nodes.with_ports()));
        }
        let mut delta = self.frontends.update(before, deltas);
        delta.node_addresses = addresses.filter(|_| own.is_some());
        delta
    }

    /// Takes over which pods are isolated for egress.
    fn update_callers(&mut self, rules: &Rules, allow: &Allow) {
        let mut callers = BTreeMap::new();
        let mut is_active = false;
        for (name, subject) in rules.subjects() {
            let Some(map) = allow.subjects().get(name).and_then(|maps| maps.egress) else {
                continue;
            };
            is_active = true;
            callers.extend(subject.addresses.iter().map(|address| (*address, map)));
        }
        self.frontends.set_callers(callers, is_active);
    }

    /// The Services and pods with frontends that may have changed.
    fn owners_to_read(
        &self,
        snapshot: &Snapshot,
        touched: &Touched,
        was_active: bool,
    ) -> BTreeSet<FrontendOwner> {
        let with_host_ports = || {
            let pods = snapshot.pods.iter().filter(|(_, pod)| !pod.host_ports.is_empty());
            pods.map(|(name, _)| FrontendOwner::Pod(name.clone()))
        };
        match (was_active, self.frontends.is_active()) {
            (false, false) => BTreeSet::new(),
            (false, true) => {
                let services = snapshot.services.keys().cloned().map(FrontendOwner::Service);
                services.chain(with_host_ports()).collect()
            }
            (true, false) => self.frontends.owners().cloned().collect(),
            (true, true) => {
                let mut services = touched.services.clone();
                if touched.nodes {
                    services.extend(depending_on_nodes(snapshot));
                }
                let mut owners: BTreeSet<_> =
                    services.into_iter().map(FrontendOwner::Service).collect();
                if touched.nodes {
                    owners.extend(with_host_ports());
                }
                if let TouchedPods::One(name, _) = &touched.pods {
                    owners.insert(FrontendOwner::Pod(name.clone()));
                }
                owners
            }
        }
    }

    /// The allow map of a pod for egress: that of its policies, and what leads back to the pod.
    pub(crate) fn allow_map_of(
        &self,
        map: AllowMapId,
        allow: &Allow,
        addresses: &[IpAddr],
    ) -> Option<Arc<AllowMap>> {
        self.frontends.allow_map_of(map, allow.get(map)?, addresses)
    }

    /// Whether an address is taken for a node's while no pod has it.
    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        self.nodes.is_gateway(address)
    }

    /// The frontends of each Service, and of each pod with host ports.
    pub(crate) fn by_owner(&self) -> impl Iterator<Item = (&ObjectName, &[Frontend])> {
        self.frontends.by_owner()
    }

    /// How many frontends there are.
    pub(crate) fn len(&self) -> usize {
        self.frontends.len()
    }

    /// How many ids are spent on backend sets that are gone.
    pub(crate) fn spent(&self) -> usize {
        self.frontends.spent()
    }

    /// Whether no invariant was found broken.
    pub(crate) fn is_sound(&self) -> bool {
        self.frontends.is_sound()
    }
}

/// Services with frontends at nodes, or with backends that depend on the node that translates.
fn depending_on_nodes(snapshot: &Snapshot) -> impl Iterator<Item = ObjectName> {
    let services = snapshot.services.iter();
    let with_node_port =
        services.filter(|(_, service)| service.ports.iter().any(|port| port.node_port.is_some()));
    let slices = snapshot.endpoint_slices.iter();
    let hinted = slices.filter(|(_, slice)| endpoints::has_hints(slice));
    let hinted = hinted.map(|(name, slice)| ObjectName::new(&*name.namespace, &*slice.service));
    with_node_port.map(|(name, _)| name.clone()).chain(hinted)
}
