//! `Service` (`core/v1`): only the fields that kube-proxy's translation depends on.

use std::net::IpAddr;

use policy_core::model::{Labels, PortSpec, Protocol, Service, ServicePort};

use super::metadata;
use crate::{
    decode::{Field, Map},
    problem::Problem,
    syntax,
};

/// A Service, with the fields from which its endpoints are derived if there is no slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DecodedService {
    /// Whether kube-proxy translates it (S40): not if it is headless, an `ExternalName`, or
    /// another proxy's.
    pub translated: bool,
    /// The part that the model has.
    pub service: Service,
    /// From what its endpoints are derived.
    pub backends: Backends,
}

/// The fields from which the endpoints of a Service are derived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backends {
    /// `spec.selector`; empty where its endpoints are managed by the user.
    pub selector: Labels,
    /// `targetPort` of each of the Service's ports, in the same order.
    pub targets: Vec<TargetPort>,
}

/// `targetPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetPort {
    /// A number, by default the Service's own.
    Number(u16),
    /// The name of a port of the pod.
    Name(String),
}

/// Decodes a Service, without the parts that are not legal; the log has their errors.
pub(super) fn decode(object: &Map<'_>) -> DecodedService {
    let labels = metadata::labels(object);
    let Some(spec) = object.map("spec") else {
        return DecodedService::default();
    };
    let (ports, targets) = spec.list("ports").iter().filter_map(port).unzip();
    let cluster_ips = cluster_ips(&spec);
    let external_name = spec.get("type").and_then(|field| field.word(&TYPES));
    let traffic_policy = spec.get("internalTrafficPolicy");
    let traffic_policy = traffic_policy.and_then(|field| field.word(&TRAFFIC_POLICIES));
    let selector = spec.map("selector").map(|map| metadata::label_map(&map));
    DecodedService {
        translated: cluster_ips.is_some()
            && external_name != Some(true)
            && !metadata::is_of_another_proxy(&labels),
        service: Service {
            cluster_ips: cluster_ips.unwrap_or_default(),
            external_ips: external_ips(&spec, object.map("status").as_ref()),
            ports,
            internal_traffic_local: traffic_policy == Some(true),
        },
        backends: Backends { selector: selector.unwrap_or_default(), targets },
    }
}

const TRAFFIC_POLICIES: [(&str, bool); 2] = [("Cluster", false), ("Local", true)];

const TYPES: [(&str, bool); 4] =
    [("ClusterIP", false), ("NodePort", false), ("LoadBalancer", false), ("ExternalName", true)];

/// `clusterIPs`, or `clusterIP` where that is all there is; `None` for a headless Service.
fn cluster_ips(spec: &Map<'_>) -> Option<Vec<IpAddr>> {
    let several = spec.list("clusterIPs");
    let fields =
        if several.is_empty() { spec.get("clusterIP").into_iter().collect() } else { several };
    if fields.iter().any(|field| field.is_string("None")) {
        return None;
    }
    let given = fields.iter().filter(|field| !field.is_empty_string());
    Some(given.filter_map(Field::address).collect())
}

/// `spec.externalIPs` and the load balancer's addresses that kube-proxy binds.
fn external_ips(spec: &Map<'_>, status: Option<&Map<'_>>) -> Vec<IpAddr> {
    let balancer = status.and_then(|status| status.map("loadBalancer"));
    let ingress = balancer.map(|balancer| balancer.list("ingress")).unwrap_or_default();
    let bound = ingress.iter().filter_map(Field::map).filter_map(|entry| {
        let proxied = entry.get("ipMode").is_some_and(|mode| mode.is_string("Proxy"));
        if proxied { None } else { entry.get("ip")?.address() }
    });
    let external = spec.list("externalIPs");
    external.iter().filter_map(Field::address).chain(bound).collect()
}

fn port(field: &Field<'_>) -> Option<(ServicePort, TargetPort)> {
    let map = field.map()?;
    // Unlike a container's, this name is a DNS label.
    let name = map.get("name").filter(|name| !name.is_empty_string());
    let name =
        name.map(|name| name.checked(syntax::is_label, |found| Problem::ObjectName { found }));
    let protocol = map.get("protocol").map(|field| field.protocol());
    let node_port = map.get("nodePort").filter(|field| !field.is_number("0"));
    let node_port = node_port.map(|field| field.port());
    let target = map.get("targetPort").filter(|field| !field.is_number("0"));
    let target = target.map(|field| field.port_or_name());
    let port = map.require("port")?.port();
    let target = match target {
        None => TargetPort::Number(port?),
        Some(target) => match target? {
            PortSpec::Named(name) => TargetPort::Name(name),
            PortSpec::Range { first, .. } => TargetPort::Number(first),
            PortSpec::Every => return None,
        },
    };
    let port = ServicePort {
        name: name.unwrap_or(Some(String::new()))?,
        protocol: protocol.unwrap_or(Some(Protocol::Tcp))?,
        port: port?,
        node_port: node_port.map_or(Some(None), |port| port.map(Some))?,
    };
    Some((port, target))
}
