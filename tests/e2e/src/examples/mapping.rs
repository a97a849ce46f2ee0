//! Translates an example's nodes and addresses to those of the cluster.
//!
//! ```text
//! example                               cluster
//! node a, 192.168.0.1                   node1, 172.30.0.11
//! ipBlock 192.168.0.0/24 (the nodes)    ipBlock 172.30.0.8/29 (the nodes and the API server)
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Node as KubeNode;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use policy_manifest::{End, Manifests};
use serde_json::Value;
use testbed::client::Client;

/// A node of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) addresses: Vec<IpAddr>,
}

/// Which node of the cluster stands for which node of the example.
#[derive(Debug)]
pub(super) struct Mapping {
    /// By the name in the example.
    pub(super) nodes: BTreeMap<String, Node>,
    /// The smallest block that holds every node and the API server.
    block: IpNetwork,
}

impl Mapping {
    /// Assigns a node of the cluster to each node of the example, in the order of their names.
    pub(super) fn new(client: &Client, manifests: &Manifests) -> Result<Self> {
        let listed = client.cluster_wide::<KubeNode>().list("")?;
        let mut there: Vec<_> = listed.into_iter().filter_map(node).collect();
        there.sort_by(|one, other| one.name.cmp(&other.name));
        let wanted = manifests.snapshot.nodes.keys();
        ensure!(there.len() >= wanted.len(), "the example has {} nodes", wanted.len());
        let slices = client.namespaced::<EndpointSlice>("default");
        let slices = slices.list("kubernetes.io/service-name=kubernetes")?;
        let api_server = slices.into_iter().filter_map(|slice| slice.endpoints).flatten();
        let api_server = api_server.flat_map(|endpoint| parsed(endpoint.addresses));
        let all = there.iter().flat_map(|node| node.addresses.clone()).chain(api_server);
        let block = covering(all.filter_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }));
        let block = block.context("the nodes have no address")?;
        Ok(Self { nodes: wanted.cloned().zip(there).collect(), block })
    }

    /// A block of a policy, translated: the nodes' network and the gateways are those of the cluster.
    pub(super) fn block(&self, manifests: &Manifests, text: &str, pods: &Pods) -> String {
        let Ok(block) = text.parse::<IpNetwork>() else { return text.to_owned() };
        if block.prefix() == 32
            && let Some(gateway) = self.gateway(manifests, block.ip(), pods)
        {
            return format!("{gateway}/32");
        }
        // A block that contains every node of the example means the network of the nodes.
        let nodes = manifests.snapshot.nodes.values().flat_map(|node| node.addresses.iter());
        let holds_nodes =
            nodes.clone().next().is_some() && nodes.clone().all(|node| block.contains(*node));
        if block.prefix() > 0 && holds_nodes { self.block.to_string() } else { text.to_owned() }
    }

    /// The address in the cluster for an address of the example that belongs to no pod.
    pub(super) fn address(&self, manifests: &Manifests, address: IpAddr, pods: &Pods) -> IpAddr {
        for (name, node) in &manifests.snapshot.nodes {
            if node.addresses.contains(&address) {
                let real = self.nodes.get(name).into_iter().flat_map(|node| node.addresses.iter());
                let mut real = real.filter(|real| real.is_ipv4() == address.is_ipv4());
                return real.next().copied().unwrap_or(address);
            }
        }
        self.gateway(manifests, address, pods).unwrap_or(address)
    }

    /// The first address of a node's pods, where the node itself listens.
    fn gateway(&self, manifests: &Manifests, address: IpAddr, pods: &Pods) -> Option<IpAddr> {
        let first = first_of(address)?;
        if first != address {
            return None;
        }
        let neighbour = manifests.snapshot.pods.iter().find(|(_, pod)| {
            !pod.host_network && pod.addresses.iter().any(|own| first_of(*own) == Some(first))
        });
        let (_, neighbour) = neighbour?;
        let on = |name: &Option<String>| self.nodes.get(name.as_deref()?).map(|node| &node.name);
        let there = pods.of_node(on(&neighbour.node)?)?;
        first_of(there)
    }
}

/// Addresses that pods and Services of the cluster have.
#[derive(Debug, Default)]
pub(super) struct Pods {
    /// By the name in the example.
    pub(super) addresses: BTreeMap<End, Vec<IpAddr>>,
    /// An address of a pod of each node.
    pub(super) by_node: BTreeMap<String, IpAddr>,
}

impl Pods {
    fn of_node(&self, node: &str) -> Option<IpAddr> {
        self.by_node.get(node).copied()
    }
}

/// The entries of a field.
pub(super) fn items_of(field: &Value) -> &[Value] {
    field.as_array().map_or(&[], Vec::as_slice)
}

/// The addresses among texts; a headless Service has the text `None`.
pub(super) fn parsed(texts: impl IntoIterator<Item = String>) -> Vec<IpAddr> {
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

fn node(object: KubeNode) -> Option<Node> {
    let own = object.status.unwrap_or_default().addresses.unwrap_or_default();
    let own = own.into_iter().filter(|address| address.type_ == "InternalIP");
    let addresses = parsed(own.map(|address| address.address));
    Some(Node { name: object.metadata.name?, addresses })
}

fn covering(addresses: impl Iterator<Item = Ipv4Addr>) -> Option<IpNetwork> {
    let numbers: Vec<_> = addresses.map(u32::from).collect();
    let (low, high) = (*numbers.iter().min()?, *numbers.iter().max()?);
    let prefix = (low ^ high).leading_zeros();
    let mask = if prefix == 0 { 0 } else { u32::MAX << (32 - prefix) };
    let network = Ipv4Addr::from(low & mask);
    IpNetwork::new(IpAddr::V4(network), u8::try_from(prefix).ok()?).ok()
}

fn first_of(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Some(IpAddr::from([a, b, c, 1]))
        }
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::covering;

    #[test]
    fn a_block_covers_all_and_little_else() {
        let block = |texts: &[&str]| {
            let addresses = texts.iter().map(|text| text.parse().expect("legal"));
            covering(addresses).map(|block| block.to_string())
        };
        assert_eq!(
            block(&["172.30.0.10", "172.30.0.11", "172.30.0.12"]),
            Some("172.30.0.8/29".into())
        );
        assert_eq!(block(&["10.0.0.1"]), Some("10.0.0.1/32".into()));
        assert_eq!(block(&["10.0.0.1", "192.168.0.1"]), Some("0.0.0.0/0".into()));
        assert_eq!(block(&[]), None);
    }
}
