//! Routes from outside of the cluster to Services: `Ingress` (`networking.k8s.io`), and `HTTPRoute`
//! and its kin of the Gateway API. Only what says which Service gets connections, and from where.

use std::fmt;

use policy_core::model::ObjectName;

use super::{group, metadata};
use crate::{
    decode::{Field, Map},
    syntax,
};

/// Groups and kinds that are read.
const KINDS: [(&str, &str); 6] = [
    ("networking.k8s.io", "Ingress"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
    ("gateway.networking.k8s.io", "GRPCRoute"),
    ("gateway.networking.k8s.io", "TLSRoute"),
    ("gateway.networking.k8s.io", "TCPRoute"),
    ("gateway.networking.k8s.io", "UDPRoute"),
];

/// Who opens the connections of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteController {
    /// The ingress controller; the manifests do not say where its pods are.
    Ingress,
    /// The pods of a Gateway.
    Gateway(ObjectName),
}

/// A route, before its Services are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DecodedRoute {
    pub kind: &'static str,
    pub name: ObjectName,
    /// Who opens the connections; none for a route inside of a mesh.
    pub controllers: Vec<RouteController>,
    pub backends: Vec<RouteBackend>,
}

/// A Service that gets connections, and its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RouteBackend {
    pub service: ObjectName,
    pub port: RoutePort,
}

/// Which port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RoutePort {
    Number(u16),
    Name(String),
}

/// As `ingress controller` or `Gateway infra/public`.
impl fmt::Display for RouteController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingress => f.write_str("ingress controller"),
            Self::Gateway(name) => write!(f, "Gateway {name}"),
        }
    }
}

/// The kind of routes of this name and version, if it is read.
pub(super) fn kind(name: &str, api_version: &str) -> Option<&'static str> {
    let group = group(api_version)?;
    let found = KINDS.iter().find(|known| **known == (group, name));
    found.map(|(_, kind)| *kind)
}

/// Decodes a route.
pub(super) fn decode(kind: &'static str, object: &Map<'_>) -> Option<DecodedRoute> {
    let name = metadata::namespaced_name(object, syntax::is_subdomain)?;
    let spec = object.map("spec");
    let (controllers, backends) = match (&spec, kind) {
        (None, _) => (Vec::new(), Vec::new()),
        (Some(spec), "Ingress") => (vec![RouteController::Ingress], of_ingress(spec, &name)),
        (Some(spec), _) => (gateways(spec, &name), of_rules(spec, &name)),
    };
    Some(DecodedRoute { kind, name, controllers, backends })
}

/// `spec.defaultBackend`, and the backend of each path.
fn of_ingress(spec: &Map<'_>, route: &ObjectName) -> Vec<RouteBackend> {
    let mut backends: Vec<Map<'_>> = spec.map("defaultBackend").into_iter().collect();
    for rule in spec.list("rules").iter().filter_map(Field::map) {
        let paths = rule.map("http").map(|http| http.list("paths")).unwrap_or_default();
        backends.extend(paths.iter().filter_map(|path| path.map()?.map("backend")));
    }
    let backend = |backend: &Map<'_>| {
        // A backend without a Service is a resource of the controller, such as a bucket.
        let service = backend.map("service")?;
        let port = service.map("port")?;
        let number = port.get("number").and_then(|field| field.port()).map(RoutePort::Number);
        let named = || port.get("name")?.string().map(RoutePort::Name);
        let name = ObjectName::new(&route.namespace, service.get("name")?.string()?);
        Some(RouteBackend { service: name, port: number.or_else(named)? })
    };
    backends.iter().filter_map(backend).collect()
}

/// `spec.parentRefs` that are Gateways; a parent of the kind Service is a route inside of a mesh.
fn gateways(spec: &Map<'_>, route: &ObjectName) -> Vec<RouteController> {
    let parents = spec.list("parentRefs");
    let gateway = |parent: Map<'_>| {
        let is_gateway = parent.get("kind").is_none_or(|kind| kind.is_string("Gateway"));
        let name = parent.get("name")?.string()?;
        let name = ObjectName::new(namespace(&parent, route), name);
        is_gateway.then_some(RouteController::Gateway(name))
    };
    parents.iter().filter_map(Field::map).filter_map(gateway).collect()
}

/// `spec.rules[].backendRefs` that are Services.
fn of_rules(spec: &Map<'_>, route: &ObjectName) -> Vec<RouteBackend> {
    let rules = spec.list("rules");
    let references = rules.iter().filter_map(Field::map).flat_map(|rule| rule.list("backendRefs"));
    let backend = |reference: Field<'_>| {
        let reference = reference.map()?;
        let is_service = reference.get("kind").is_none_or(|kind| kind.is_string("Service"));
        let has_weight = !reference.get("weight").is_some_and(|weight| weight.is_number("0"));
        let service =
            ObjectName::new(namespace(&reference, route), reference.get("name")?.string()?);
        let port = RoutePort::Number(reference.get("port")?.port()?);
        (is_service && has_weight).then_some(RouteBackend { service, port })
    };
    references.filter_map(backend).collect()
}

/// The namespace of a reference, by default that of the route.
fn namespace(reference: &Map<'_>, route: &ObjectName) -> String {
    let given = reference.get("namespace").and_then(|field| field.string());
    given.unwrap_or_else(|| route.namespace.clone())
}
