//! One node, from a snapshot to packets on the wire.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, UdpSocket},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use policy_agent::{
    dataplane::{ActiveParts, Hooks, Options, hooks},
    net::build::NetBuilder,
    node::{Node, NodeConfig, Reconciled},
};
use policy_common::drops::{DropKey, Reason};
use policy_core::model::{
    self, Direction, NetworkPolicy, ObjectName, Pod, Protocol, Selector, Service, ServicePort,
    Snapshot,
};

use super::bpftool;
use crate::namespace::{Namespace, add_addresses, end};

const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const POD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// An address that the pod has but the API does not.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 66);

fn node_and_pod() -> Result<(Namespace, Namespace)> {
    let (node, pod) = (Namespace::new()?, Namespace::new()?);
    let addresses = ["10.0.0.2/24", "10.0.0.66/24"];
    node.join(&end(10, "veth0"), &pod, &end(2, "eth0"), &addresses)?;
    node.run(async || add_addresses(&NetBuilder::open()?, 10, &["10.0.0.1/24"]).await)?;
    Ok((node, pod))
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("default", name)
}

/// A pod of node `one`.
fn pod(address: Ipv4Addr) -> Pod {
    Pod {
        uid: address.to_string(),
        node: Some("one".to_owned()),
        addresses: vec![IpAddr::V4(address)],
        ..Pod::default()
    }
}

/// The pod behind the veth, without a policy.
fn open() -> Snapshot {
    Snapshot {
        namespaces: BTreeMap::from([("default".to_owned(), model::Namespace::default())]),
        pods: BTreeMap::from([(name("pod"), pod(POD))]),
        ..Snapshot::default()
    }
}

/// The pod behind the veth, and nothing that it may send.
fn isolated() -> Snapshot {
    let policy = NetworkPolicy {
        subject: Some(Selector::default()),
        policy_types: Some(vec![Direction::Egress]),
        ..NetworkPolicy::default()
    };
    Snapshot { policies: BTreeMap::from([(name("deny"), policy)]), ..open() }
}

/// Sends a datagram to the node; whether it arrived, and how many packets were dropped.
async fn send(node: &mut Node, from: &Namespace, source: Ipv4Addr) -> Result<(bool, u64)> {
    let at_node = UdpSocket::bind((NODE, 0))?;
    let to = at_node.local_addr()?;
    from.run(async || {
        UdpSocket::bind((source, 0))?.send_to(b"hello", to)?;
        Ok(())
    })?;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    at_node.set_nonblocking(true)?;
    let arrived = at_node.recv(&mut [0; 8]).is_ok();
    let counts = node.dataplane().drop_counts()?;
    let reasons = [Reason::NoRule as u8, Reason::SpoofedSource as u8];
    let of_interest = |key: &DropKey| {
        key.ifindex == 10
            && key.direction == Direction::Egress as u8
            && reasons.contains(&key.reason)
    };
    let dropped = counts.iter().filter(|(key, _)| of_interest(key));
    Ok((arrived, dropped.map(|(_, count)| count).sum()))
}

#[test]
fn s10_a_policy_comes_and_goes_with_the_snapshot() -> Result<()> {
    let (namespace, pod) = node_and_pod()?;
    namespace.run(async || {
        let mut node = Node::start(NodeConfig::new("one"))?;
        let first = node.reconcile(&open()).await?;
        assert!(first.steps > 0 && first.pods_without_interface.is_empty(), "{first:?}");
        assert!(send(&mut node, &pod, POD).await?.0, "no policy");
        node.reconcile(&isolated()).await?;
        let (arrived, dropped) = send(&mut node, &pod, POD).await?;
        assert!(!arrived && dropped > 0, "isolated: {dropped} dropped");
        let again = node.reconcile(&isolated()).await?;
        let nothing = Reconciled { write_time: again.write_time, ..Reconciled::default() };
        assert_eq!(again, nothing, "nothing changed");
        node.reconcile(&open()).await?;
        assert!(send(&mut node, &pod, POD).await?.0, "no policy again");
        Ok(())
    })
}

#[test]
fn s40_a_node_port_is_a_frontend_at_every_address_of_the_node() -> Result<()> {
    let (namespace, _pod) = node_and_pod()?;
    namespace.run(async || {
        let mut node = Node::start(NodeConfig::new("one"))?;
        let mut snapshot = isolated();
        let port = ServicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: Some(30080),
        };
        let service = Service { ports: vec![port], ..Service::default() };
        snapshot.services.insert(name("web"), service);
        node.reconcile(&snapshot).await?;
        let written = bpftool::dump(node.dataplane(), "frontends")?;
        let keys: Vec<_> = written.into_iter().map(|(key, _)| key).collect();
        let [high, low] = 30080_u16.to_be_bytes();
        let address = NODE.to_ipv6_mapped().octets();
        let key =
            serde_json::json!({ "address": address, "port": [high, low], "protocol": 6, "pad": 0 });
        assert_eq!(keys, [key], "though no Node object says so");
        Ok(())
    })
}

#[test]
fn s37_the_nodes_own_addresses_are_those_of_its_interfaces() -> Result<()> {
    let (namespace, _pod) = node_and_pod()?;
    namespace.run(async || {
        let mut node = Node::start(NodeConfig::new("one"))?;
        node.reconcile(&open()).await?;
        let written = bpftool::dump(node.dataplane(), "node_addresses")?;
        let address = NODE.to_ipv6_mapped().octets();
        assert_eq!(written, [(serde_json::json!(address), serde_json::json!(1))]);
        Ok(())
    })
}

#[test]
fn s46_tunnels_may_lead_to_pods_and_the_nodes_devices_show_their_ports() -> Result<()> {
    let (namespace, _pod) = node_and_pod()?;
    namespace.run(async || {
        let ip = |arguments: &str| -> Result<()> {
            let status = Command::new("ip").args(arguments.split(' ')).status()?;
            ensure!(status.success(), "ip {arguments}: {status}");
            Ok(())
        };
        ip("link add vx type vxlan id 1 dstport 4321 local 10.0.0.1")?;
        let mut node = Node::start(NodeConfig::new("one"))?;
        let numbers = |node: &mut Node| -> Result<BTreeSet<u64>> {
            let entries = bpftool::dump(node.dataplane(), "tunnel_ports")?;
            Ok(entries.iter().filter_map(|(port, _)| port.as_u64()).collect())
        };
        let usual = BTreeSet::from([4789, 6081, 6784, 8472]);
        assert_eq!(numbers(&mut node)?, usual, "before anything is known of the node");
        node.reconcile(&open()).await?;
        let mut with_device = usual.clone();
        with_device.insert(4321);
        assert_eq!(numbers(&mut node)?, with_device);
        let pods = bpftool::dump(node.dataplane(), "pods")?;
        let address = POD.to_ipv6_mapped().octets();
        assert_eq!(pods, [(serde_json::json!(address), serde_json::json!(1))]);
        ip("link delete vx")?;
        let mut without = open();
        without.pods.clear();
        node.reconcile(&without).await?;
        assert_eq!(numbers(&mut node)?, usual);
        assert_eq!(bpftool::dump(node.dataplane(), "pods")?, []);
        Ok(())
    })
}

#[test]
fn pods_without_an_interface_and_interfaces_without_a_pod_are_reported() -> Result<()> {
    let (namespace, _pod) = node_and_pod()?;
    namespace.run(async || {
        let mut node = Node::start(NodeConfig::new("one"))?;
        node.reconcile(&open()).await?;
        let mut snapshot = open();
        let moved = pod(Ipv4Addr::new(10, 0, 0, 99));
        snapshot.pods.insert(name("pod"), moved);
        let Reconciled { pods_without_interface, interfaces_without_pod, .. } =
            node.reconcile(&snapshot).await?;
        assert_eq!(pods_without_interface, [name("pod")]);
        let left = interfaces_without_pod.first().context("no interface is left")?;
        assert_eq!((left.ifindex, left.name.as_str()), (10, "veth0"));
        assert_eq!(hooks("veth0")?, Hooks::default(), "detached from an interface without a pod");
        Ok(())
    })
}

#[test]
fn s46_a_spoofed_source_passes_only_where_the_lab_leaves_the_check_out() -> Result<()> {
    let (namespace, pod) = node_and_pod()?;
    namespace.run(async || {
        for anti_spoofing in [true, false] {
            let parts = ActiveParts { anti_spoofing, ..ActiveParts::default() };
            let options = Options { parts, ..Options::default() };
            let mut node = Node::start(NodeConfig { options, ..NodeConfig::new("one") })?;
            node.reconcile(&open()).await?;
            // Resolves the neighbour first: a spoofed ARP request would be dropped too.
            send(&mut node, &pod, POD).await?;
            let (arrived, _) = send(&mut node, &pod, OTHER).await?;
            assert_eq!(arrived, !anti_spoofing);
        }
        Ok(())
    })
}
