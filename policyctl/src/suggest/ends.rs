//! The pods and addresses of observed connections.
//!
//! A flow names a pod that may be gone: another pod of its workload stands for it, found by the
//! workload, by labels, or by the name without what a controller appends:
//!
//! ```text
//! shop/web-6d5f-x2x (gone)   workload Deployment web, or labels app=web   -> shop/web-7c9-abc
//! 10.96.0.1 TCP 443          cluster IP of default/kubernetes             -> its backends
//! 10.0.0.9                   no pod has it                                -> the address
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_core::{
    desired::Frontend,
    model::{Labels, ObjectName, Protocol, Snapshot},
};
use policy_manifest::{End, Manifests};

use super::{
    connection::{ObservedConnection, PodOrAddress},
    flows::{ObservedEnd, ObservedFlow, ObservedProtocol},
    not_expressed::NotExpressed,
};
use crate::{named::Named, service_backends};

/// Looks up ends in manifests.
struct PodIndex<'a> {
    manifests: &'a Manifests,
    own: &'a str,
    by_address: BTreeMap<IpAddr, &'a ObjectName>,
    /// Backends of the frontends of all Services.
    backends: BTreeMap<Frontend, BTreeSet<(IpAddr, u16)>>,
}

/// Finds the ends of every connection; those that cannot be found are returned apart.
pub(super) fn find(
    manifests: &Manifests,
    own: &str,
    flows: &[ObservedFlow],
) -> (Vec<ObservedConnection>, Vec<NotExpressed>) {
    let index = PodIndex::new(manifests, own);
    let (mut connections, mut not_expressed) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for flow in flows {
        match index.connection(flow) {
            Ok(one) => {
                let key = (one.from.clone(), one.to.clone(), one.protocol, one.port);
                if seen.insert(key) {
                    connections.push(one);
                }
            }
            Err(reason) => not_expressed.push(NotExpressed::of_flow(flow, reason)),
        }
    }
    (connections, not_expressed)
}

impl<'a> PodIndex<'a> {
    fn new(manifests: &'a Manifests, own: &'a str) -> Self {
        let snapshot = &manifests.snapshot;
        let pods = snapshot.pods.iter().filter(|(_, pod)| pod.is_subject());
        let by_address =
            pods.flat_map(|(name, pod)| pod.addresses.iter().map(move |address| (*address, name)));
        let by_address = by_address.collect();
        Self { manifests, own, by_address, backends: service_backends::of(snapshot) }
    }

    fn connection(&self, flow: &ObservedFlow) -> Result<ObservedConnection, String> {
        let (protocol, port) = match &flow.protocol {
            ObservedProtocol::Port(protocol, port) => (*protocol, *port),
            ObservedProtocol::Other(name) => {
                return Err(format!(
                    "a rule cannot name {name}; only a rule without ports, which allows every \
                     port, allows it"
                ));
            }
        };
        let from = self.end(&flow.from)?;
        let to = self.service(&flow.to, protocol, port).map_or_else(|| self.end(&flow.to), Ok)?;
        let backends = self.backends(&to, protocol, port)?;
        Ok(ObservedConnection { from, to, protocol, port, backends, place: flow.place.clone() })
    }

    /// The cluster IP of a Service that a table names.
    fn service(&self, end: &ObservedEnd, protocol: Protocol, port: u16) -> Option<PodOrAddress> {
        let named: Named = end.name.as_ref()?.parse().ok()?;
        let ends = named.ends(self.manifests, self.own).ok()?;
        let [End::Service(name)] = ends.as_slice() else { return None };
        let service = self.snapshot().services.get(name)?;
        let mut addresses = service.cluster_ips.iter();
        let has = |address: &&IpAddr| {
            self.backends.contains_key(&Frontend { address: **address, protocol, port })
        };
        addresses.find(has).map(|address| PodOrAddress::Address(*address))
    }

    fn end(&self, end: &ObservedEnd) -> Result<PodOrAddress, String> {
        if let Some(pod) = self.pod(end) {
            let is_own = self.snapshot().pods.get(&pod).is_some_and(|pod| !pod.host_network);
            let addresses = self.snapshot().pods.get(&pod).map(|pod| pod.addresses.clone());
            return match addresses.unwrap_or_default().first() {
                _ if is_own => Ok(PodOrAddress::Pod(pod)),
                // A pod of the host's network has the addresses of its node.
                Some(address) => Ok(PodOrAddress::Address(end.address.unwrap_or(*address))),
                None => Err(format!("{pod} has no address")),
            };
        }
        let name = end.namespace.as_ref().zip(end.pod.as_ref());
        let name = name.map(|(namespace, pod)| format!("{namespace}/{pod}"));
        match (end.address, name.or_else(|| end.name.clone())) {
            (Some(address), None) => Ok(PodOrAddress::Address(address)),
            (Some(address), Some(text)) if text.parse() == Ok(address) => {
                Ok(PodOrAddress::Address(address))
            }
            (_, Some(name)) => Err(format!("no pod of the manifests is {name} or like it")),
            (None, None) => Err("an end has neither a pod nor an address".to_owned()),
        }
    }

    /// The pod of an end, or another one of its workload.
    fn pod(&self, end: &ObservedEnd) -> Option<ObjectName> {
        let snapshot = self.snapshot();
        if let Some(named) = end.name.as_ref().and_then(|name| name.parse::<Named>().ok()) {
            let ends = named.ends(self.manifests, self.own).unwrap_or_default();
            let pods = ends.iter().filter_map(|end| match end {
                End::Pod(name) if snapshot.pods.contains_key(name) => Some(name),
                End::Pod(_) | End::Service(_) | End::Host(_) | End::Address(_) => None,
            });
            if let Some(pod) = pods.min() {
                return Some(pod.clone());
            }
        }
        let Some((namespace, name)) = end.namespace.as_ref().zip(end.pod.as_ref()) else {
            return self.by_address.get(&end.address?).map(|name| (*name).clone());
        };
        let exact = ObjectName::new(namespace, name);
        if snapshot.pods.contains_key(&exact) {
            return Some(exact);
        }
        self.like(namespace, name, end)
    }

    /// A pod that runs in place of one that is gone.
    fn like(&self, namespace: &str, name: &str, end: &ObservedEnd) -> Option<ObjectName> {
        let pods = self.snapshot().pods.iter().filter(|(pod, _)| pod.namespace == namespace);
        let pods: Vec<_> = pods.filter(|(_, pod)| !pod.addresses.is_empty()).collect();
        let of_workload = pods.iter().find(|(_, pod)| {
            let workload = pod.workload.as_ref();
            workload.is_some_and(|one| end.workload.as_ref() == Some(&**one))
        });
        let has_labels = |lasting: &Labels| {
            !lasting.is_empty()
                && lasting.iter().all(|(key, value)| end.labels.get(key) == Some(value))
        };
        let by_labels = || pods.iter().find(|(_, pod)| has_labels(&pod.lasting_labels()));
        let by_name = || {
            // web-7d9f8-x2x4z of a Deployment, db-0 of a StatefulSet.
            let owners =
                [name.rsplitn(3, '-').nth(2), name.rsplit_once('-').map(|(owner, _)| owner)];
            pods.iter().find(|(_, pod)| {
                let workload = pod.workload.as_ref().map(|one| one.name.as_str());
                workload.is_some() && owners.contains(&workload)
            })
        };
        let found = of_workload.or_else(by_labels).or_else(by_name);
        found.map(|(pod, _)| (*pod).clone())
    }

    /// Where a connection ends.
    fn backends(
        &self,
        to: &PodOrAddress,
        protocol: Protocol,
        port: u16,
    ) -> Result<Vec<(PodOrAddress, u16)>, String> {
        let PodOrAddress::Address(address) = to else { return Ok(vec![(to.clone(), port)]) };
        let frontend = Frontend { address: *address, protocol, port };
        let Some(backends) = self.backends.get(&frontend) else {
            return Ok(vec![(to.clone(), port)]);
        };
        if backends.is_empty() {
            return Err(format!(
                "{address} is a Service, and the manifests have none of its endpoints; add its \
                 EndpointSlices"
            ));
        }
        let end = |address: &IpAddr| match self.by_address.get(address) {
            Some(pod) => PodOrAddress::Pod((*pod).clone()),
            None => PodOrAddress::Address(*address),
        };
        Ok(backends.iter().map(|(address, port)| (end(address), *port)).collect())
    }

    fn snapshot(&self) -> &'a Snapshot {
        &self.manifests.snapshot
    }
}
