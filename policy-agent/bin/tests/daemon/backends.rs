//! Live connections to a Service whose backends change (S42).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use policy_agent::node::{Node, NodeConfig};

use crate::{
    machine::{HOST, Machine},
    manifests::snapshot,
    stream::Flow,
};

const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 20);
const CLUSTER_IP_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x20);

/// A pod that may open TCP and UDP port 7000 of the host outside, and a Service.
const CLUSTER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: pod, namespace: default, labels: {app: web}}
spec: {nodeName: one, containers: []}
status: {podIPs: [{ip: 10.0.0.2}, {ip: 'fd00::2'}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: egress, namespace: default}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to: [{ipBlock: {cidr: 10.1.0.2/32}}, {ipBlock: {cidr: 'fd00:1::2/128'}}]
    ports: [{port: 7000}, {protocol: UDP, port: 7000}]
";

const SERVICE: &str = "---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: default}
spec:
  clusterIPs: [10.96.0.20, 'fd00:10:96::20']
  ports: [{name: t, port: 80, targetPort: 7000}, {name: u, port: 80, targetPort: 7000, protocol: UDP}]
";

/// The Service with backends at these addresses of each family; the first is the host outside.
fn service(backends: &[[&str; 2]], ready: bool) -> String {
    let slices = ["IPv4", "IPv6"].into_iter().enumerate().map(|(family, kind)| {
        let endpoint = |backend: &[&str; 2]| {
            format!("{{addresses: ['{}'], conditions: {{ready: {ready}}}}}", backend[family])
        };
        let endpoints: Vec<String> = backends.iter().map(endpoint).collect();
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: {kind}\n\
             metadata: {{name: db-{family}, namespace: default, labels: {{kubernetes.io/service-name: db}}}}\n\
             ports: [{{name: t, port: 7000}}, {{name: u, port: 7000, protocol: UDP}}]\n\
             endpoints: [{}]\n",
            endpoints.join(", ")
        )
    });
    [SERVICE.to_owned()].into_iter().chain(slices).collect()
}

const ALLOWED: [&str; 2] = ["10.1.0.2", "fd00:1::2"];
const DENIED: [&str; 2] = ["10.1.0.3", "fd00:1::3"];

/// Translates the Service to the host outside, as kube-proxy does.
fn translate(machine: &Machine) -> Result<()> {
    let ruleset = format!(
        "add table inet proxy; \
         add chain inet proxy services {{ type nat hook prerouting priority dstnat; }}; \
         add rule inet proxy services ip daddr {CLUSTER_IP} meta l4proto {{tcp, udp}} th dport 80 dnat ip to {HOST}:7000; \
         add rule inet proxy services ip6 daddr {CLUSTER_IP_V6} meta l4proto {{tcp, udp}} th dport 80 dnat ip6 to [{HOST_V6}]:7000"
    );
    let output = machine.inside(|| Ok(Command::new("nft").arg(&ruleset).output()?))?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Both directions of a connection of the pod to the Service.
fn open(machine: &Machine, service: IpAddr, backend: IpAddr) -> Result<[Flow; 2]> {
    let listener = machine.host.run(async || Ok(TcpListener::bind((backend, 7000))?))?;
    let limit = Duration::from_secs(20);
    let opened =
        machine.pod.run(async || Ok(TcpStream::connect_timeout(&(service, 80).into(), limit)?));
    let (client, server) = (opened.context("cannot connect")?, listener.accept()?.0);
    Ok([Flow::push(&client, &server)?, Flow::push(&server, &client)?])
}

fn opens(machine: &Machine, service: IpAddr) -> Result<bool> {
    let limit = Duration::from_millis(300);
    machine.pod.run(async || Ok(TcpStream::connect_timeout(&(service, 80).into(), limit).is_ok()))
}

fn run(test: impl AsyncFnOnce(&Machine, &mut Node) -> Result<()> + Send) -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.track()?;
    translate(&machine)?;
    machine.node.run(async || test(&machine, &mut Node::start(NodeConfig::new("one"))?).await)
}

async fn put(node: &mut Node, service: &str) -> Result<()> {
    node.reconcile(&snapshot(&format!("{CLUSTER}{service}"))?).await?;
    Ok(())
}

#[test]
fn s42_a_live_connection_keeps_its_backend_whatever_happens_to_the_service() -> Result<()> {
    run(async |machine, node| {
        put(node, &service(&[ALLOWED], true)).await?;
        let ends: [(IpAddr, IpAddr); 2] =
            [(CLUSTER_IP.into(), HOST.into()), (CLUSTER_IP_V6.into(), HOST_V6.into())];
        let live: Vec<[Flow; 2]> =
            ends.iter().map(|(service, at)| open(machine, *service, *at)).collect::<Result<_>>()?;
        let flow = || live.iter().flatten().try_for_each(Flow::flows);
        flow()?;
        for (change, service) in [
            ("the backend turns unready", service(&[ALLOWED], false)),
            ("a denied one is in its place", service(&[DENIED], true)),
            ("a denied one has joined", service(&[ALLOWED, DENIED], true)),
            ("no slice has an endpoint", service(&[], true)),
            ("the Service is gone", String::new()),
        ] {
            put(node, &service).await?;
            flow().context(change)?;
            put(node, &service).await?;
            flow().with_context(|| format!("{change}, and nothing more happened"))?;
        }
        for (service, _) in ends {
            ensure!(!opens(machine, service)?, "a new connection to a Service that is gone");
        }
        node.reconcile(&snapshot(&CLUSTER.replace("7000", "7001"))?).await?;
        live.iter().flatten().try_for_each(Flow::is_cut)
    })
}

#[test]
fn s42_datagrams_keep_a_backend_as_long_as_the_service_has_it() -> Result<()> {
    run(async |machine, node| {
        put(node, &service(&[ALLOWED], true)).await?;
        let host = machine.host.run(async || Ok(UdpSocket::bind((HOST, 7000))?))?;
        let pod = machine.pod.run(async || {
            let socket = UdpSocket::bind(("0.0.0.0", 6000))?;
            socket.connect((CLUSTER_IP, 80))?;
            Ok(socket)
        })?;
        host.set_read_timeout(Some(Duration::from_millis(300)))?;
        let arrives = || {
            pod.send(b"question")?;
            Ok::<_, anyhow::Error>(host.recv(&mut [0; 64]).is_ok())
        };
        ensure!(arrives()?);
        put(node, &service(&[ALLOWED, DENIED], true)).await?;
        ensure!(arrives()?, "a denied backend has joined");
        // kube-proxy would send the next one to the other backend.
        put(node, &service(&[DENIED], true)).await?;
        ensure!(!arrives()?, "the backend has left");
        Ok(())
    })
}
