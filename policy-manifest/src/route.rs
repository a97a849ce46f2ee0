//! Routes from outside of the cluster: which pods an ingress controller or a Gateway connects to, and
//! at which ports.
//!
//! A route names a port of a Service, and the controller connects to the pods behind it at their own
//! port:
//!
//! ```text
//! Ingress shop/web    path /, Service web, port 80
//! Service shop/web    selector app=web, port 80, targetPort http
//! Pod shop/web-1      app=web, containerPort 8080 with the name http     -> TCP 8080
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use policy_core::model::{ContainerPort, ObjectName, Phase, Protocol, Snapshot};

use crate::object::{
    DecodedRoute, DecodedService, RouteBackend, RouteController, RoutePort, TargetPort,
};

/// A route from outside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `Ingress`, `HTTPRoute`, …
    pub kind: &'static str,
    /// Its namespace and name.
    pub name: ObjectName,
    /// Who opens the connections.
    pub controllers: Vec<RouteController>,
    /// The pods that get connections, with the ports.
    pub targets: BTreeMap<ObjectName, BTreeSet<(Protocol, u16)>>,
    /// Services that it names, and of which the manifests have no pod.
    pub without_pods: BTreeSet<ObjectName>,
}

/// Every Service, headless ones too.
pub(crate) type RoutedServices = BTreeMap<ObjectName, DecodedService>;

/// As `Ingress shop/web`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Finds the pods of each route.
pub(crate) fn resolve(
    routes: Vec<DecodedRoute>,
    services: &RoutedServices,
    snapshot: &Snapshot,
) -> Vec<Route> {
    let route = |DecodedRoute { kind, name, controllers, backends }: DecodedRoute| {
        let mut targets: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let mut without_pods = BTreeSet::new();
        for backend in backends {
            let pods = pods(&backend, services, snapshot);
            if pods.is_empty() {
                without_pods.insert(backend.service);
            }
            for (pod, port) in pods {
                targets.entry(pod).or_default().insert(port);
            }
        }
        Route { kind, name, controllers, targets, without_pods }
    };
    routes.into_iter().map(route).collect()
}

/// The pods behind a port of a Service, with the port of each.
fn pods(
    backend: &RouteBackend,
    services: &RoutedServices,
    snapshot: &Snapshot,
) -> Vec<(ObjectName, (Protocol, u16))> {
    let RouteBackend { service: name, port } = backend;
    let Some(DecodedService { service, backends, .. }) = services.get(name) else {
        return Vec::new();
    };
    let mut ports = service.ports.iter().zip(&backends.targets);
    let found = ports.find(|(one, _)| match port {
        RoutePort::Number(number) => one.port == *number,
        RoutePort::Name(name) => one.name == *name,
    });
    let Some((port, target)) = found else { return Vec::new() };
    let selected = snapshot.pods.iter().filter(|(pod_name, pod)| {
        let selector = &backends.selector;
        pod_name.namespace == name.namespace
            && pod.phase == Phase::Live
            && !selector.is_empty()
            && selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
    });
    let with_port = selected.filter_map(|(name, pod)| {
        let number = match target {
            TargetPort::Number(number) => *number,
            TargetPort::Name(wanted) => {
                let mut ports = pod.ports.iter();
                let is_it = |one: &&ContainerPort| {
                    one.name.as_ref() == Some(wanted) && one.protocol == port.protocol
                };
                ports.find(is_it)?.port
            }
        };
        Some((name.clone(), (port.protocol, number)))
    });
    with_port.collect()
}
