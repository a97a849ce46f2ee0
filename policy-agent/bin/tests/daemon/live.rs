//! Connections that live while the policies around them change.

use std::{
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use policy_agent::{
    dataplane::{Capacities, Options, UnknownEndpoints},
    node::{Node, NodeConfig},
};

use crate::{
    machine::{HOST, Machine, POD as POD_IP},
    manifests::{DENY, POD, snapshot},
    stream::{Flow, connect},
};

const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

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

/// A policy without its rules: what it selects stays isolated.
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
fn s29_datagrams_are_cut_off_with_their_rule_and_those_of_the_far_end_pass() -> Result<()> {
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
        // The denial is about the pod; nothing isolates the far end, nor the pod's ingress.
        back.flows()
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
        // No rule lets the host ask at port 6000, but the pod may send to port 7000 of the host: its answers
        // are a connection of its own from then on (S29).
        let (host, pod) = datagrams(machine)?;
        host.send_to(b"question", (POD_IP, 6000))?;
        pod.recv(&mut [0; 64])?;
        let answers = Flow::send(&pod, &host)?;
        let cut = [reply, download];
        cut.iter().chain([&answers]).try_for_each(Flow::flows)?;
        live.put(node, &[INGRESS, EGRESS]).await?;
        cut.iter().try_for_each(Flow::is_cut)?;
        answers.flows()
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

/// A pod of another node, at the host's address.
fn far(uid: u32, app: &str) -> String {
    elsewhere("far", "10.1.0.2", uid, app)
}

fn elsewhere(name: &str, address: &str, uid: u32, app: &str) -> String {
    format!(
        "\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default, \
         uid: '{uid}', labels: {{app: {app}}}}}\n\
         spec: {{nodeName: two, containers: []}}\nstatus: {{podIPs: [{{ip: {address}}}]}}\n"
    )
}

/// Isolates the pod for ingress; pods `far` may open TCP port 7000, and those that are called
/// otherwise are distinguished from everybody.
const FROM_FAR: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-far, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
    - {from: [{podSelector: {matchLabels: {app: far}}}], ports: [{port: 7000}]}
    - {from: [{podSelector: {matchLabels: {app: other}}}], ports: [{port: 9999}]}
";

#[test]
fn s08_a_server_cannot_turn_the_connection_of_a_pod_that_is_gone_around() -> Result<()> {
    let live = Live::new()?;
    live.run(async |machine, node| {
        let cluster = |far: &str| snapshot(&[POD, far, FROM_FAR].join("---"));
        node.reconcile(&cluster(&far(1, "far"))?).await?;
        let (client, server) = connect(&machine.host, &machine.pod, POD_IP, 7000)?;
        let push = Flow::push(&server, &client)?;
        push.flows()?;
        // The address is another pod's now, which may not open the port; the server may send to
        // whom it likes.
        node.reconcile(&cluster(&far(2, "other"))?).await?;
        push.is_cut()?;
        Flow::push(&client, &server)?.is_cut()
    })
}

#[test]
fn s29_a_plan_that_fails_on_the_way_revokes_with_the_next() -> Result<()> {
    for restarts in [false, true] {
        let machine = Machine::new()?;
        machine.plug()?;
        let start = || {
            let capacities = Capacities { addresses: 2, ..Capacities::default() };
            let options = Options { capacities, ..Options::default() };
            let pins = restarts.then(|| machine.pins());
            Node::start(NodeConfig { options, pins, ..NodeConfig::new("one") })
        };
        let cluster = |app: &str, others: u32| {
            let other =
                |n: u32| elsewhere(&format!("p{n}"), &format!("10.9.0.{n}"), 10 + n, "other");
            let parts = [POD.to_owned(), FROM_FAR.to_owned(), far(1, app)];
            snapshot(
                &parts.into_iter().chain((0..others).map(other)).collect::<Vec<_>>().join("---"),
            )
        };
        machine.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut node = start()?;
                node.reconcile(&cluster("far", 0)?).await?;
                let (client, server) = connect(&machine.host, &machine.pod, POD_IP, 7000)?;
                let push = Flow::push(&server, &client)?;
                push.flows()?;
                // The table is full before the plan has ended.
                assert!(node.reconcile(&cluster("other", 8)?).await.is_err());
                if restarts {
                    drop(node);
                    node = start()?;
                }
                node.reconcile(&cluster("other", 0)?).await?;
                push.is_cut()
            })
        })?;
    }
    Ok(())
}

#[test]
fn s49_an_interface_that_is_cut_off_is_not_opened_on_its_way_to_its_policies() -> Result<()> {
    let live = Live::new()?;
    let machine = &live.machine;
    machine.node.run(async || {
        let unknown_endpoints = UnknownEndpoints::Drop;
        let options = Options { unknown_endpoints, ..Options::default() };
        let mut node = Node::start(NodeConfig { options, ..NodeConfig::new("one") })?;
        let at_node = UdpSocket::bind((NODE, 5000))?;
        let pod = machine.pod.run(async || Ok(UdpSocket::bind((POD_IP, 6000))?))?;
        let unknown = POD.replace("10.0.0.2", "10.0.0.99");
        node.reconcile(&snapshot(&[&unknown, DENY].join("---"))?).await?;
        let flow = Flow::send(&pod, &at_node)?;
        thread::sleep(Duration::from_millis(100));
        node.reconcile(&snapshot(&[POD, DENY].join("---"))?).await?;
        thread::sleep(Duration::from_millis(100));
        ensure!(flow.arrived() == 0, "{} bytes came through", flow.arrived());
        Ok(())
    })
}
