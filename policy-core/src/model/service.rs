//! Services and `EndpointSlices`, as far as kube-proxy's translation depends on them.

use std::net::IpAddr;

use super::Protocol;

/// A Service (`core/v1`) that kube-proxy translates. Others, such as headless Services, are left out
/// (S40).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Service {
    /// `spec.clusterIPs` without `None`.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs` and `status.loadBalancer.ingress[].ip` where `ipMode` is not `Proxy`.
    pub external_ips: Vec<IpAddr>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.internalTrafficPolicy: Local`: a cluster IP leads only to endpoints of the sender's node.
    ///
    /// `externalTrafficPolicy` is not here: kube-proxy leads pods to all endpoints either way.
    pub internal_traffic_local: bool,
}

/// An entry of `spec.ports` of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`; empty for the only port of a Service. The port of the slice with this name has the
    /// backend's port number.
    pub name: String,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`.
    pub port: u16,
    /// `nodePort`.
    pub node_port: Option<u16>,
}

/// An `EndpointSlice` (`discovery.k8s.io/v1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Label `kubernetes.io/service-name`: a Service of the slice's namespace.
    pub service: String,
    /// `ports`; one without a number is left out.
    pub ports: Vec<SlicePort>,
    /// `endpoints`.
    pub endpoints: Vec<SliceEndpoint>,
}

/// An entry of `ports` of an `EndpointSlice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// `name`; empty where absent.
    pub name: String,
    /// `port`.
    pub port: u16,
    /// `protocol`.
    pub protocol: Protocol,
}

/// An entry of `endpoints` of an `EndpointSlice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// `addresses[0]`; the rest is unspecified by the API.
    pub address: IpAddr,
    /// `conditions.ready`; absent is true.
    pub ready: bool,
    /// `conditions.serving`; absent is the value of `ready`.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
    /// `nodeName`.
    pub node: Option<String>,
    /// `hints`; empty where absent.
    pub hints: TopologyHints,
}

/// `hints` of an endpoint: the places from which it is meant to be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopologyHints {
    /// `forZones`.
    pub zones: Vec<String>,
    /// `forNodes`.
    pub nodes: Vec<String>,
}

impl SliceEndpoint {
    /// A ready endpoint, on no known node.
    #[must_use]
    pub fn ready(address: IpAddr) -> Self {
        let hints = TopologyHints::default();
        Self { address, ready: true, serving: true, terminating: false, node: None, hints }
    }
}
