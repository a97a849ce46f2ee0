//! Connections that live while the policies around them change.

use std::{net::UdpSocket, thread, time::Duration};

use anyhow::{Result, ensure};
use policy_agent::node::{Node, NodeConfig};

use crate::{
    machine::{HOST, Machine, POD as POD_IP},
    manifests::{POD, snapshot},
    stream::{Flow, connect},
};

/// Isolates the pod for ingress: TCP port 7000 is open to the host outside.
const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ingress, namespace: default}
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress: [{from: [{ipBlock: {cidr: 10.1.0.2/32}}], ports: [{port: 7000}, {protocol: UDP, port: 7000}]}]
";

/// Isolates the pod for egress: port 7000 of the host outside is open to it.
const EGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: egress, namespace: default}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{to: [{ipBlock: {cidr: 10.1.0.2/32}}], ports: [{port: 7000}, {protocol: UDP, port: 7000}]}]
";

/// A node under some policies; its pod, and the host outside.
struct Live {
    machine: Machine,
    pod: String,
}

impl Live {
    fn new() -> Result<Self> {
        let machine = Machine::new()?;
        machine.plug()?;
        machine.track()?;
        Ok(Self { machine, pod: POD.to_owned() })
    }

    /// Does something with a node that enforces nothing so far.
    fn run(&self, test: impl AsyncFnOnce(&Machine, &mut Node) -> Result<()> + Send) -> Result<()> {
        self.machine.node.run(async || {
            let mut node = Node::start(NodeConfig::new("one"))?;
            test(&self.machine, &mut node).await
        })
    }

    /// Brings policies into force.
    async fn put(&self, node: &mut Node, policies: &[&str]) -> Result<()> {
        let manifests = [&[self.pod.as_str()], policies].concat().join("---");
        node.reconcile(&snapshot(&manifests)?).await?;
        Ok(())
    }
}

/// A policy whose rules are gone: what it selects stays isolated.
fn without_rules(policy: &str) -> String {
    let rules = |line: &&str| !line.starts_with("  ingress:") && !line.starts_with("  egress:");
    policy.lines().filter(rules).collect::<Vec<_>>().join("\n")
}

/// Packets that were dropped by policy so far.
fn drops(node: &mut Node) -> Result<u64> {
    Ok(node.dataplane().drop_counts()?.values().sum())
}

/// Sockets at port 7000 of the host, and at 6000 of the pod.
fn datagrams(machine: &Machine) -> Result<(UdpSocket, UdpSocket)> {
    let host = machine.host.run(async || Ok(UdpSocket::bind((HOST, 7000))?))?;
    let pod = machine.pod.run(async || Ok(UdpSocket::bind((POD_IP, 6000))?))?;
    Ok((host, pod))
}

#[test]
fn s29_a_server_that_goes_on_pushing_is_cut_off_with_its_rule() -> Result<()> {
    let live = Live::new()?;
    live.run(async |machine, node| {
        live.put(node, &[INGRESS]).await?;
        let (client, server) = connect(&machine.host, &machine.pod, POD_IP, 7000)?;
        let push = Flow::push(&server, &client)?;
        push.flows()?;
        live.put(node, &[&without_rules(INGRESS)]).await?;
        push.is_cut()?;
        ensure!(drops(node)? > 0, "the server did not go on");
        Ok(())
    })
}

#[test]
fn s29_a_download_is_cut_off_with_its_rule() -> Result<()> {
    let live = Live::new()?;
    live.run(async |machine, node| {
        live.put(node, &[EGRESS]).await?;
        let (client, server) = connect(&machine.pod, &machine.host, HOST, 7000)?;
        let download = Flow::push(&server, &client)?;
        download.flows()?;
        live.put(node, &[&without_rules(EGRESS)]).await?;
        download.is_cut()?;
        ensure!(drops(node)? > 0, "the server did not go on");
        Ok(())
    })
}

#[test]
fn s29_datagrams_are_cut_off_with_their_rule_both_ways() -> Result<()> {
    let live = Live::new()?;
    live.run(async |machine, node| {
        live.put(node, &[EGRESS]).await?;
        let (host, pod) = datagrams(machine)?;
        let out = Flow::send(&pod, &host)?;
        out.flows()?;
        let back = Flow::send(&host, &pod)?;
        back.flows()?;
        live.put(node, &[&without_rules(EGRESS)]).await?;
        out.is_cut()?;
        back.is_cut()
    })
}

#[test]
fn s29_what_is_still_allowed_loses_nothing_at_full_speed() -> Result<()> {
    let live = Live::new()?;
    live.run(async |machine, node| {
        let other = EGRESS.replace("name: egress", "name: other").replace("7000", "7001");
        live.put(node, &[EGRESS, INGRESS]).await?;
        let (client, server) = connect(&machine.pod, &machine.host, HOST, 7000)?;
        let (upload, download) = (Flow::rush(&client, &server)?, Flow::rush(&server, &client)?);
        for _ in 0..20 {
            // A rule more, a rule less; isolated in one direction more, in one less.
            for policies in [&[EGRESS, &other][..], &[EGRESS], &[EGRESS, INGRESS]] {
                live.put(node, policies).await?;
                upload.flows()?;
            }
        }
        let bytes = upload.all_arrived()? + download.all_arrived()?;
        println!("{} MiB", bytes >> 20);
        ensure!(drops(node)? == 0, "{} packets were dropped", drops(node)?);
        Ok(())
    })
}

#[test]
fn s10_a_connection_lives_on_when_the_last_policy_goes() -> Result<()> {
    let live = Live::new()?;
    live.run(async |machine, node| {
        live.put(node, &[INGRESS, EGRESS]).await?;
        let (client, server) = connect(&machine.host, &machine.pod, POD_IP, 7000)?;
        let push = Flow::push(&server, &client)?;
        push.flows()?;
        live.put(node, &[]).await?;
        push.flows()?;
        push.all_arrived()?;
        ensure!(drops(node)? == 0, "{} packets were dropped", drops(node)?);
        Ok(())
    })
}

#[test]
fn s30_connections_from_before_live_on_where_the_first_policy_allows_them() -> Result<()> {
    // First under control with its policies, or under control before the first of them.
    for under_control in [false, true] {
        let live = Live::new()?;
        live.run(async |machine, node| {
            if under_control {
                live.put(node, &[]).await?;
            }
            let (client, server) = connect(&machine.host, &machine.pod, POD_IP, 7000)?;
            let reply = Flow::push(&server, &client)?;
            let (opener, far) = connect(&machine.pod, &machine.host, HOST, 7000)?;
            let download = Flow::push(&far, &opener)?;
            let (host, pod) = datagrams(machine)?;
            pod.send_to(b"question", (HOST, 7000))?;
            host.recv(&mut [0; 64])?;
            let answers = Flow::send(&host, &pod)?;
            let flows = [reply, download, answers];
            flows.iter().try_for_each(Flow::flows)?;
            live.put(node, &[INGRESS, EGRESS]).await?;
            flows.iter().try_for_each(Flow::flows)?;
            for flow in &flows {
                flow.all_arrived()?;
            }
            ensure!(drops(node)? == 0, "{} packets were dropped", drops(node)?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn s30_connections_from_before_are_cut_off_where_the_first_policy_denies_them() -> Result<()> {
    let live = Live::new()?;
    live.run(async |machine, node| {
        let (client, server) = connect(&machine.host, &machine.pod, POD_IP, 7001)?;
        let reply = Flow::push(&server, &client)?;
        let (opener, far) = connect(&machine.pod, &machine.host, HOST, 7001)?;
        let download = Flow::push(&far, &opener)?;
        // The pod may send to port 7000 of the host, and is not asked at port 6000: only who began
        // tells that it may not answer.
        let (host, pod) = datagrams(machine)?;
        host.send_to(b"question", (POD_IP, 6000))?;
        pod.recv(&mut [0; 64])?;
        let answers = Flow::send(&pod, &host)?;
        let flows = [reply, download, answers];
        flows.iter().try_for_each(Flow::flows)?;
        live.put(node, &[INGRESS, EGRESS]).await?;
        flows.iter().try_for_each(Flow::is_cut)
    })
}

#[test]
fn s08_flows_end_with_the_pod_at_either_end() -> Result<()> {
    let far = |uid: u32| {
        format!(
            "\napiVersion: v1\nkind: Pod\n\
             metadata: {{name: far, namespace: default, uid: '{uid}', labels: {{app: far}}}}\n\
             spec: {{nodeName: two, containers: []}}\nstatus: {{podIPs: [{{ip: 10.1.0.2}}]}}\n"
        )
    };
    let near = |uid: u32| POD.replace("name: pod", &format!("name: pod, uid: '{uid}'"));
    let policies = without_rules(EGRESS) + "\n---" + INGRESS;
    for (claim, next) in [
        ("at the far end", format!("{}---{}", near(1), far(2))),
        ("at the near end", format!("{}---{}", near(2), far(1))),
    ] {
        let live = Live { pod: format!("{}---{}", near(1), far(1)), ..Live::new()? };
        live.run(async |machine, node| {
            live.put(node, &[&policies]).await?;
            let host = machine.host.run(async || Ok(UdpSocket::bind((HOST, 6000))?))?;
            let pod = machine.pod.run(async || Ok(UdpSocket::bind((POD_IP, 7000))?))?;
            host.send_to(b"question", (POD_IP, 7000))?;
            pod.recv(&mut [0; 64])?;
            // The pod may open nothing itself.
            let answers = Flow::send(&pod, &host)?;
            answers.flows()?;
            live.put(node, &[&policies]).await?;
            answers.flows()?;
            node.reconcile(&snapshot(&format!("{next}---{policies}"))?).await?;
            answers.is_cut()?;
            thread::sleep(Duration::from_millis(10));
            ensure!(drops(node)? > 0, "{claim}: nobody was denied");
            Ok(())
        })?;
    }
    Ok(())
}
