//! Policies that do not fit into the maps: their namespace is held back, and no other waits for it.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use policy_agent::{
    dataplane::{Capacities, Options},
    node::{Node, NodeConfig},
};
use policy_core::compile::Change;

use crate::{
    machine::{HOST, Machine, POD as POD_IP, arrives},
    manifests::{POD, snapshot},
    namespace::Namespace,
    stream::{Flow, connect},
};

/// The tenant's pod, and one that is created later.
const TENANT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const LATER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

fn pod(name: &str, address: Ipv4Addr) -> String {
    format!(
        "\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: tenant}}\n\
         spec: {{nodeName: one, containers: []}}\nstatus: {{podIPs: [{{ip: {address}}}]}}\n"
    )
}

/// Isolates the pods of a namespace for ingress, but for TCP port 7000 from these blocks.
fn policy(namespace: &str, blocks: &[String]) -> String {
    let peers: Vec<String> =
        blocks.iter().map(|block| format!("{{ipBlock: {{cidr: {block}}}}}")).collect();
    let peers = peers.join(", ");
    let rules = if blocks.is_empty() {
        String::new()
    } else {
        format!("  ingress: [{{from: [{peers}], ports: [{{port: 7000}}]}}]\n")
    };
    format!(
        "\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{name: ingress, namespace: {namespace}}}\n\
         spec:\n  podSelector: {{}}\n  policyTypes: [Ingress]\n{rules}"
    )
}

/// A cluster in which `default` and `tenant` have such policies.
fn cluster(default: &[String], tenant: &[String]) -> Result<policy_core::model::Snapshot> {
    let policies = [policy("default", default), policy("tenant", tenant)];
    snapshot(&[POD, &pod("pod", TENANT), &policies[0], &policies[1]].join("---"))
}

/// A node that takes 16 blocks.
fn few_blocks() -> NodeConfig {
    let capacities = Capacities { blocks: 16, ..Capacities::default() };
    let options = Options { capacities, ..Options::default() };
    NodeConfig { options, ..NodeConfig::new("one") }
}

#[test]
fn s26_policies_that_do_not_fit_hold_up_no_other_namespace() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    let (tenant, later) = (Namespace::new()?, Namespace::new()?);
    machine.plug_another(&tenant, 1)?;
    machine.node.run(async || {
        let mut node = Node::start(few_blocks())?;
        let host = [format!("{HOST}/32")];
        node.reconcile(&cluster(&host, &host)?).await?;
        let (client, server) = connect(&machine.host, &machine.pod, POD_IP, 7000)?;
        let revoked = Flow::push(&server, &client)?;
        let (client, server) = connect(&machine.host, &tenant, TENANT, 7000)?;
        let last_good = Flow::push(&server, &client)?;
        revoked.flows()?;
        last_good.flows()?;

        let many: Vec<String> = (0..100).map(|block| format!("10.2.{block}.0/24")).collect();
        // It needs a block itself, which entries left of the other namespace must not take.
        let other = ["10.3.0.0/16".to_owned()];
        let result = node.reconcile(&cluster(&other, &many)?).await?;
        let held: Vec<_> = result.held_back.iter().map(|held| &*held.namespace).collect();
        ensure!(held == ["tenant"], "{held:?}");
        ensure!(result.held_back[0].reason.contains("`blocks` is full"), "{:?}", result.held_back);
        assert_eq!(node.take_full_maps(), ["blocks"], "for the metric");
        let uses = node.map_use();
        let blocks =
            uses.iter().find(|one| one.map == "blocks").map(|one| (one.used, one.capacity));
        // One place more than asked for is of the entry that separates the families.
        assert_eq!(blocks, Some((2, 17)), "those of both namespaces that are in force");
        revoked.is_cut()?;
        last_good.flows()?;

        machine.plug_another(&later, 2)?;
        let with_later = snapshot(&pod("later", LATER))?;
        for (name, pod) in with_later.pods {
            node.intent().apply(Change::Pod(name, Some(pod)));
        }
        let result = node.enforce().await?;
        ensure!(result.held_back.len() == 1 && result.pods_without_interface.is_empty());
        ensure!(
            connect(&machine.host, &later, LATER, 7000).is_err(),
            "there is no last good state"
        );
        last_good.flows()?;

        let asked = cluster(&other, &host)?;
        for (name, policy) in asked.policies {
            node.intent().apply(Change::Policy(name, Some(policy)));
        }
        let result = node.enforce().await?;
        ensure!(result.held_back.is_empty(), "{:?}", result.held_back);
        connect(&machine.host, &later, LATER, 7000)?;
        last_good.flows()?;
        revoked.is_cut()
    })
}

#[test]
fn s26_policies_that_do_not_fit_at_the_start_leave_pods_closed() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.node.run(async || {
        let mut node = Node::start(few_blocks())?;
        let many: Vec<String> = (0..100).map(|block| format!("10.1.{block}.0/24")).collect();
        let error =
            node.reconcile(&cluster(&many, &[])?).await.expect_err("nothing is known to be good");
        ensure!(format!("{:?}", anyhow::Error::from(error)).contains("`blocks` is full"));
        ensure!(connect(&machine.host, &machine.pod, POD_IP, 7000).is_err(), "closed until then");
        Ok(())
    })
}

/// A Service of `tenant` with these addresses outside and these ports, all of which lead to its pod.
fn service(name: &str, addresses: &[Ipv4Addr], ports: std::ops::Range<u16>) -> String {
    let ports: Vec<String> =
        ports.map(|port| format!("{{name: p{port}, port: {port}, targetPort: 7000}}")).collect();
    let addresses: Vec<String> = addresses.iter().map(Ipv4Addr::to_string).collect();
    let (ports, addresses) = (ports.join(", "), addresses.join(", "));
    format!(
        "\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: tenant}}\n\
         spec: {{selector: {{app: x}}, clusterIP: 10.96.0.9, externalIPs: [{addresses}], ports: [{ports}]}}\n"
    )
}

/// Isolates the pods of `default` for egress, but for these blocks.
fn egress_policy(blocks: &str) -> String {
    format!(
        "\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{name: egress, namespace: default}}\n\
         spec: {{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: {blocks}}}}}]}}]}}\n"
    )
}

#[test]
fn s26_services_that_fill_a_map_hold_up_no_policy_and_are_closed() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.node.run(async || {
        let capacities = Capacities { frontends: 64, ..Capacities::default() };
        let options = Options { capacities, ..Options::default() };
        let mut node = Node::start(NodeConfig { options, ..NodeConfig::new("one") })?;
        let mut cluster = async |services: &str, blocks: &str| {
            let text = [POD, &egress_policy(blocks), services].join("---");
            anyhow::Ok(node.reconcile(&snapshot(&text)?).await?.left_out_services)
        };
        let other = Ipv4Addr::new(10, 1, 0, 3);
        // Two addresses, 30 ports each.
        let first = service("first", &[other], 1..31);
        ensure!(cluster(&first, "10.0.0.0/8").await?.is_empty());
        ensure!(arrives(&machine, 7000)?);
        // Old and new do not fit together, but one after the other.
        let second = service("second", &[other], 101..131);
        ensure!(cluster(&second, "10.0.0.0/8").await?.is_empty());
        ensure!(arrives(&machine, 7000)?);

        let large = service("large", &[HOST], 1..301);
        let left_out = cluster(&large, "10.0.0.0/8").await?;
        ensure!(left_out.len() == 1 && left_out[0].namespace == "tenant", "{left_out:?}");
        ensure!(!arrives(&machine, 7000)?, "its address is closed");
        let large = service("large", &[other], 1..301);
        cluster(&large, "10.0.0.0/8").await?;
        ensure!(arrives(&machine, 7000)?);
        let left_out = cluster(&large, "10.2.0.0/16").await?;
        ensure!(!arrives(&machine, 7000)?, "it is revoked");
        ensure!(left_out.len() == 1, "{left_out:?}");
        ensure!(cluster("", "10.0.0.0/8").await?.is_empty());
        ensure!(arrives(&machine, 7000)?);
        Ok(())
    })
}

#[test]
fn s26_a_denial_takes_effect_beside_a_service_that_fills_the_map() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.node.run(async || {
        let mut node = Node::start(NodeConfig::new("one"))?;
        let first = u32::from(Ipv4Addr::new(172, 30, 0, 0));
        let addresses: Vec<_> = (first..first + 300).map(Ipv4Addr::from).collect();
        let with = |blocks: &str, services: &str| {
            snapshot(&[POD, &egress_policy(blocks), services].join("---"))
        };
        node.reconcile(&with("10.0.0.0/8", "")?).await?;
        ensure!(arrives(&machine, 7000)?);
        let full = with("10.0.0.0/8", &service("large", &addresses, 1..301))?;
        let left_out = node.reconcile(&full).await?.left_out_services;
        ensure!(left_out.len() == 1 && left_out[0].services == 1, "{left_out:?}");
        ensure!(left_out[0].open == 0, "each of its addresses is closed: {left_out:?}");
        ensure!(arrives(&machine, 7000)?);

        let revoked = with("10.2.0.0/16", "")?;
        for (name, policy) in revoked.policies {
            node.intent().apply(Change::Policy(name, Some(policy)));
        }
        let reconciled = node.enforce().await?;
        ensure!(reconciled.held_back.is_empty(), "{:?}", reconciled.held_back);
        ensure!(!arrives(&machine, 7000)?, "the other namespace's denial is in force");
        Ok(())
    })
}
