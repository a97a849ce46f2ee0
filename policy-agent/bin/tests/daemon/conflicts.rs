//! Interfaces with the address of another pod: a pod that may change its network gives itself any.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Result, ensure};
use policy_agent::{
    net::build::NetBuilder,
    node::{Node, NodeConfig, Reconciled},
};

use crate::{
    machine::{ARRIVAL, HOST, LIMIT, Machine, POD as POD_IP, arrives, until},
    manifests::{ALLOW_5000, POD, snapshot},
    namespace::{Namespace, add_addresses},
};

/// The address of the second pod.
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);

/// Whether a datagram with this source arrives at the host from a pod.
fn arrives_from(machine: &Machine, pod: &Namespace, source: Ipv4Addr) -> Result<bool> {
    let host = machine.host.run(async || Ok(UdpSocket::bind((HOST, 5002))?))?;
    host.set_read_timeout(Some(ARRIVAL))?;
    pod.run(async || {
        UdpSocket::bind((source, 0))?.send_to(b"hello", (HOST, 5002))?;
        Ok(())
    })?;
    Ok(host.recv(&mut [0; 8]).is_ok())
}

/// Gives an address to the interface of a pod, from inside.
fn take(pod: &Namespace, address: Ipv4Addr) -> Result<()> {
    pod.run(async || add_addresses(&NetBuilder::open()?, 2, &[&format!("{address}/32")]).await)
}

/// The second pod, with these fields of its status.
fn second(status: &str) -> String {
    POD.replace("name: pod", "name: second").replace("podIPs: [{ip: 10.0.0.2}]", status)
}

fn conflicts(reconciled: &Reconciled) -> Vec<(&str, &str)> {
    let conflicts = reconciled.conflicts.iter();
    conflicts.map(|conflict| (&*conflict.interface, &*conflict.pod.name)).collect()
}

#[test]
fn s46_a_second_interface_with_the_address_of_a_pod_is_closed() -> Result<()> {
    let (machine, thief) = (Machine::new()?, Namespace::new()?);
    machine.plug()?;
    machine.plug_another(&thief, 1)?;
    take(&thief, POD_IP)?;
    until("nothing enforces yet", LIMIT, || arrives_from(&machine, &thief, POD_IP))?;
    machine.node.run(async || {
        let mut node = Node::start(NodeConfig::new("one"))?;
        // Neither is known to be the pod's.
        let reconciled = node.reconcile(&snapshot(POD)?).await?;
        assert_eq!(conflicts(&reconciled), [("veth0", "pod"), ("veth1", "pod")]);
        ensure!(!arrives_from(&machine, &thief, POD_IP)? && !arrives(&machine, 5000)?);
        NetBuilder::open()?.delete(11).await?;
        node.enforce().await?;
        until("the other is the pod's", LIMIT, || arrives(&machine, 5000))?;

        let thief = Namespace::new()?;
        machine.plug_another(&thief, 2)?;
        take(&thief, POD_IP)?;
        let reconciled = node.enforce().await?;
        assert_eq!(conflicts(&reconciled), [("veth2", "pod")]);
        ensure!(!arrives_from(&machine, &thief, POD_IP)?);
        until("the pod keeps its interface", LIMIT, || arrives(&machine, 5000))?;
        Ok(())
    })
}

#[test]
fn s46_an_address_that_is_taken_before_the_status_arrives_makes_no_pod_another() -> Result<()> {
    let (machine, thief) = (Machine::new()?, Namespace::new()?);
    machine.plug()?;
    machine.node.run(async || {
        let mut node = Node::start(NodeConfig::new("one"))?;
        node.reconcile(&snapshot(&[POD, &second("")].join("---"))?).await?;
        machine.plug_another(&thief, 1)?;
        take(&thief, POD_IP)?;
        let reconciled = node.enforce().await?;
        assert_eq!(conflicts(&reconciled), [("veth1", "pod")]);
        ensure!(!arrives_from(&machine, &thief, POD_IP)?);

        let status = second("podIPs: [{ip: 10.0.1.2}]");
        let reconciled = node.reconcile(&snapshot(&[POD, &status].join("---"))?).await?;
        assert_eq!(conflicts(&reconciled), []);
        until("it is its own pod", LIMIT, || arrives_from(&machine, &thief, SECOND))?;
        ensure!(!arrives_from(&machine, &thief, POD_IP)?, "and no other");
        ensure!(arrives(&machine, 5000)?);
        Ok(())
    })
}

#[test]
fn s46_a_pod_that_outlives_its_object_gets_no_other_pods_address() -> Result<()> {
    let (machine, other) = (Machine::new()?, Namespace::new()?);
    machine.plug()?;
    machine.plug_another(&other, 1)?;
    machine.node.run(async || {
        let mut node = Node::start(NodeConfig::new("one"))?;
        node.reconcile(&snapshot(&[POD, ALLOW_5000].join("---"))?).await?;
        ensure!(arrives(&machine, 5000)?);
        // Its object is deleted; it runs on, and another pod comes.
        take(&machine.pod, SECOND)?;
        let status = second("podIPs: [{ip: 10.0.1.2}]").replace("app: web", "app: other");
        let reconciled = node.reconcile(&snapshot(&status)?).await?;
        assert_eq!(conflicts(&reconciled), [("veth0", "second")]);
        ensure!(!arrives_from(&machine, &machine.pod, SECOND)? && !arrives(&machine, 5000)?);
        ensure!(arrives_from(&machine, &other, SECOND)?);
        Ok(())
    })
}
