//! Translates Services as kube-proxy does in its nftables mode. Pure.
//!
//! Input: a snapshot. Output: a [`Proxy`], which [`ruleset()`] writes as text for `nft`, the same on every
//! node. For example, the Service `ns/web` with port 80 and two ready endpoints is one
//! [`Translation`] from 10.96.0.1:80 to 10.244.0.5:8080 or 10.244.1.5:8080.

mod backends;
mod ruleset;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use policy_core::model::{Protocol, Service, ServicePort, Snapshot};

pub use backends::backends;
pub use ruleset::ruleset;

/// The translation of one Service port in one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Cluster IPs, external IPs and load-balancer IPs.
    pub frontends: BTreeSet<IpAddr>,
    /// The frontends that are cluster IPs.
    pub cluster_ips: BTreeSet<IpAddr>,
    /// Port of the frontends.
    pub port: u16,
    /// Port on the addresses of every node.
    pub node_port: Option<u16>,
    /// Protocol.
    pub protocol: Protocol,
    /// Endpoints that accept connections; without any, kube-proxy refuses connections.
    pub backends: BTreeSet<SocketAddr>,
}

/// The Services of a cluster, as the kube-proxy of every node translates them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// The translations in the order of Services and ports, IPv4 before IPv6.
    pub translations: Vec<Translation>,
    /// Addresses of pods; a connection to a cluster IP from any other address is masqueraded.
    pub pods: BTreeSet<IpAddr>,
    /// Addresses of nodes, on which node ports are open.
    pub nodes: BTreeSet<IpAddr>,
}

impl Proxy {
    /// Selects the Services and endpoints that kube-proxy translates.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let mut proxy = Self::default();
        for (name, service) in &snapshot.services {
            for port in &service.ports {
                let backends = backends(snapshot, name, port);
                for ipv4 in [true, false] {
                    proxy.translations.extend(translation(service, port, &backends, ipv4));
                }
            }
        }
        let pods = snapshot.pods.values().filter(|pod| !pod.host_network);
        proxy.nodes =
            snapshot.nodes.values().flat_map(|node| node.addresses.iter().copied()).collect();
        proxy.pods = pods.flat_map(|pod| pod.addresses.iter().copied()).collect();
        proxy
    }

    /// The backends of a frontend or node port; `None` where there is no such frontend.
    #[must_use]
    pub fn backends_of(
        &self,
        frontend: SocketAddr,
        protocol: Protocol,
    ) -> Option<&BTreeSet<SocketAddr>> {
        let address = frontend.ip();
        let found = self.translations.iter().find(|translation| {
            let own_port =
                translation.port == frontend.port() && translation.frontends.contains(&address);
            let same_family =
                translation.cluster_ips.iter().any(|ip| ip.is_ipv4() == address.is_ipv4());
            let node_port = same_family
                && translation.node_port == Some(frontend.port())
                && self.nodes.contains(&address);
            translation.protocol == protocol && (own_port || node_port)
        });
        found.map(|translation| &translation.backends)
    }
}

/// Translates a Service port in one family; `None` where the Service has no address of it.
fn translation(
    service: &Service,
    port: &ServicePort,
    backends: &BTreeMap<bool, BTreeSet<SocketAddr>>,
    ipv4: bool,
) -> Option<Translation> {
    let of_family = |at: &&IpAddr| at.is_ipv4() == ipv4;
    let cluster_ips: BTreeSet<IpAddr> =
        service.cluster_ips.iter().filter(of_family).copied().collect();
    if cluster_ips.is_empty() {
        return None;
    }
    let external = service.external_ips.iter().filter(of_family);
    Some(Translation {
        frontends: cluster_ips.iter().chain(external).copied().collect(),
        cluster_ips,
        port: port.port,
        node_port: port.node_port,
        protocol: port.protocol,
        backends: backends.get(&ipv4).cloned().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
