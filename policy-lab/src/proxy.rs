//! Services as kube-proxy translates them in its nftables mode: one table per node. Pure.

mod backends;
mod ruleset;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use policy_core::model::{Protocol, Service, ServicePort, Snapshot};

pub use backends::backends;
pub use ruleset::ruleset;

/// One port of one Service in one family, and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Cluster IPs, external IPs and load-balancer IPs, with those that come from outside masked.
    pub frontends: BTreeSet<IpAddr>,
    /// Those of them that are cluster IPs.
    pub cluster_ips: BTreeSet<IpAddr>,
    /// Port of the frontends.
    pub port: u16,
    /// Port on every node's addresses.
    pub node_port: Option<u16>,
    /// Protocol.
    pub protocol: Protocol,
    /// Endpoints that take connections; without any, connections are refused.
    pub backends: BTreeSet<SocketAddr>,
}

/// What the table of every node of a cluster says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// In the order of Services and ports, IPv4 before IPv6.
    pub translations: Vec<Translation>,
    /// Addresses of pods; a connection to a cluster IP from elsewhere is masqueraded.
    pub pods: BTreeSet<IpAddr>,
    /// Addresses of nodes, which have the node ports.
    pub nodes: BTreeSet<IpAddr>,
}

impl Proxy {
    /// Reads Services and their endpoints as kube-proxy does.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
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

    /// Endpoints behind a frontend, a node port included; `None` where there is no such frontend.
    #[must_use]
    pub fn behind(
        &self,
        frontend: SocketAddr,
        protocol: Protocol,
    ) -> Option<&BTreeSet<SocketAddr>> {
        let at = frontend.ip();
        let found = self.translations.iter().find(|translation| {
            let own = translation.port == frontend.port() && translation.frontends.contains(&at);
            let family = translation.cluster_ips.iter().any(|ip| ip.is_ipv4() == at.is_ipv4());
            let node_port = family
                && translation.node_port == Some(frontend.port())
                && self.nodes.contains(&at);
            translation.protocol == protocol && (own || node_port)
        });
        found.map(|translation| &translation.backends)
    }
}

/// A Service's port in a family; `None` where the Service has no address in it.
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
