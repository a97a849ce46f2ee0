//! Host sides of pods, found by netlink alone.

use std::{collections::BTreeSet, fs, net::IpAddr, process::Command};

use anyhow::{Context, Result, ensure};
use policy_agent::net::{Discovered, Network, build::NetBuilder};
use policy_core::plan::{Interface, InterfaceOwner};

use crate::namespace::{Namespace, add_addresses, addresses, end};

/// Addresses of pods.
const PODS: [&str; 9] = [
    "10.9.0.2",
    "fd00:9::2",
    "10.8.0.11",
    "fd00:8::11",
    "10.8.0.12",
    "fd00:8::12",
    "10.7.0.2",
    "fd00:7::2",
    "10.7.0.3",
];

fn pods() -> Result<BTreeSet<IpAddr>> {
    Ok(addresses(&PODS)?.into_iter().collect())
}

fn discover(node: &Namespace) -> Result<Discovered> {
    node.run(async || Ok(Network::open()?.discover(&pods()?, |_| false).await?))
}

#[test]
fn a_veth_has_the_addresses_of_its_far_end_in_both_families() -> Result<()> {
    let (node, pod) = (Namespace::new()?, Namespace::new()?);
    let own = ["10.9.0.1/32", "fd00:9::1/128", "169.254.7.7/32"];
    // The same index at both ends: a kernel that ignores the namespace returns the host's.
    node.join(&end(10, "veth0"), &pod, &end(10, "eth0"), &["10.9.0.2/32", "fd00:9::2/128"])?;
    node.run(async || add_addresses(&NetBuilder::open()?, 10, &own).await)?;
    // Not found: both ends are in this namespace.
    node.run(async || {
        let builder = NetBuilder::open()?;
        builder
            .add_veth(&end(20, "left"), &end(21, "right"), std::os::fd::AsFd::as_fd(&node))
            .await?;
        add_addresses(&builder, 21, &["10.9.9.9/32"]).await
    })?;
    let discovered = discover(&node)?;
    let want = Interface {
        ifindex: 10,
        name: "veth0".to_owned(),
        bridge: 0,
        guarded: false,
        owner: InterfaceOwner::ByAddress,
        addresses: addresses(&["10.9.0.2", "fd00:9::2"])?,
    };
    assert_eq!(discovered.interfaces.into_values().collect::<Vec<_>>(), [want]);
    let found: Vec<_> = discovered.node_addresses.into_iter().collect();
    assert_eq!(found, addresses(&["10.9.0.1", "10.9.9.9", "169.254.7.7", "fd00:9::1"])?);
    Ok(())
}

#[test]
fn a_bridge_port_has_the_index_of_its_bridge() -> Result<()> {
    let (node, one, two) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
    node.join(&end(11, "veth1"), &one, &end(2, "eth0"), &["10.8.0.11/24", "fd00:8::11/64"])?;
    node.join(&end(12, "veth2"), &two, &end(2, "eth0"), &["10.8.0.12/24", "fd00:8::12/64"])?;
    node.run(async || {
        let builder = NetBuilder::open()?;
        builder.add_bridge(&end(40, "cni0"), true).await?;
        builder.add_port(11, 40, true).await?;
        builder.add_port(12, 40, true).await?;
        add_addresses(&builder, 40, &["10.8.0.1/24", "fd00:8::1/64"]).await
    })?;
    let discovered = discover(&node)?;
    let found: Vec<_> = discovered
        .interfaces
        .values()
        .map(|interface| (interface.ifindex, interface.bridge, interface.addresses.clone()))
        .collect();
    let want = [
        (11, 40, addresses(&["10.8.0.11", "fd00:8::11"])?),
        (12, 40, addresses(&["10.8.0.12", "fd00:8::12"])?),
    ];
    assert_eq!(found, want);
    let node_addresses: Vec<_> = discovered.node_addresses.into_iter().collect();
    assert_eq!(node_addresses, addresses(&["10.8.0.1", "fd00:8::1"])?);
    Ok(())
}

#[test]
fn s45_an_address_that_is_added_later_is_found_later() -> Result<()> {
    let (node, pod) = (Namespace::new()?, Namespace::new()?);
    node.join(&end(10, "veth0"), &pod, &end(2, "eth0"), &[])?;
    node.run(async || {
        let mut network = Network::open()?;
        let mut far = async || -> Result<_> {
            let mut discovered = network.discover(&pods()?, |_| false).await?;
            Ok(discovered.interfaces.remove(&10).context("the veth was not found")?.addresses)
        };
        // It has a link-local address, which identifies no pod.
        assert_eq!(far().await?, addresses(&[])?);
        for (late, so_far) in
            [("10.7.0.2/32", vec!["10.7.0.2"]), ("fd00:7::2/128", vec!["10.7.0.2", "fd00:7::2"])]
        {
            pod.run(async || add_addresses(&NetBuilder::open()?, 2, &[late]).await)?;
            assert_eq!(far().await?, addresses(&so_far)?);
        }
        Ok(())
    })
}

#[test]
fn an_interface_is_removed_with_its_pod() -> Result<()> {
    let (node, pod) = (Namespace::new()?, Namespace::new()?);
    node.join(&end(10, "veth0"), &pod, &end(2, "eth0"), &["10.6.0.2/32"])?;
    assert_eq!(discover(&node)?.interfaces.len(), 1);
    drop(pod);
    // The kernel removes namespaces asynchronously.
    for _ in 0..500 {
        if discover(&node)?.interfaces.is_empty() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    anyhow::bail!("the veth outlives the pod by five seconds")
}

#[test]
fn a_pod_that_changes_its_many_addresses_without_an_end_hides_neither_itself_nor_others()
-> Result<()> {
    let (node, pod, other) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
    node.join(&end(10, "veth0"), &pod, &end(2, "eth0"), &["10.7.0.2/32"])?;
    node.join(&end(11, "veth1"), &other, &end(2, "eth0"), &["10.7.0.3/32"])?;
    let folder = tempfile::tempdir()?;
    let batch = |name: &str, lines: Vec<String>| -> Result<_> {
        let path = folder.path().join(name);
        fs::write(&path, lines.join("\n"))?;
        pod.run(async || Ok(Command::new("ip").arg("-batch").arg(path).spawn()?))
    };
    // Addresses of smaller scope are listed first, and of IPv6 the newest.
    let many = (0..5_000).flat_map(|number: u32| {
        let [.., high, low] = number.to_be_bytes();
        let four = format!("address add 10.100.{high}.{low}/32 dev eth0 scope link");
        [four, format!("address add fd00:100::{number:x}/128 dev eth0 nodad")]
    });
    ensure!(batch("many", many.collect())?.wait()?.success());
    let changes = ["add", "delete"].map(|act| format!("address {act} 10.7.0.9/32 dev eth0"));
    let mut churn = batch("churn", changes.iter().cycle().take(2_000_000).cloned().collect())?;
    let found: Result<Vec<_>> = (0..5).map(|_| discover(&node)).collect();
    let is_over = churn.try_wait()?.is_some();
    churn.kill()?;
    churn.wait()?;
    ensure!(!is_over, "the addresses did not change meanwhile");
    for discovered in found? {
        let of = |ifindex| discovered.interfaces.get(&ifindex).map(|found| &found.addresses);
        assert_eq!(of(11), Some(&addresses(&["10.7.0.3"])?));
        assert_eq!(of(10), Some(&addresses(&["10.7.0.2"])?), "and nothing that is no pod's");
    }
    Ok(())
}
