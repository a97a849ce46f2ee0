//! Connections of every kind that existed before a pod is isolated.

use std::{fs, net::Ipv6Addr, os::fd::AsRawFd, thread, time::Duration};

use anyhow::{Result, ensure};
use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto,
        setsockopt, socket, sockopt::ReceiveTimeout,
    },
    time::{TimeVal, TimeValLike},
};
use policy_agent::node::{Node, NodeConfig};
use policy_core::model::Snapshot;
use tokio::net::TcpSocket;

use crate::{
    machine::{HOST, Machine, POD as POD_IP},
    manifests::{DENY, POD, snapshot},
    namespace::Namespace,
    stream::{Flow, connect},
};

/// The pod and the host outside.
const POD_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);

fn policy(spec: &str) -> String {
    format!(
        "\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{name: policy, namespace: default}}\nspec: {{podSelector: {{}}, {spec}}}\n"
    )
}

/// The pod, with an address of each family, and a policy.
fn cluster(policy: &str) -> Result<Snapshot> {
    let pod = POD.replace("{ip: 10.0.0.2}", &format!("{{ip: 10.0.0.2}}, {{ip: '{POD_V6}'}}"));
    snapshot(&[&pod, policy].join("---"))
}

/// Runs a test in a node that tracks connections, and enforces nothing yet.
fn run(test: impl AsyncFnOnce(&Machine, &mut Node) -> Result<()> + Send) -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.track()?;
    machine.node.run(async || test(&machine, &mut Node::start(NodeConfig::new("one"))?).await)
}

#[test]
fn s30_connections_of_ipv6_live_on_too() -> Result<()> {
    run(async |machine, node| {
        let allow = |direction: &str, peers: &str| {
            format!(
                "{direction}: [{{{peers}: [{{ipBlock: {{cidr: '{HOST_V6}/128'}}}}], ports: [{{port: 7000}}]}}]"
            )
        };
        let spec = format!(
            "policyTypes: [Ingress, Egress], {}, {}",
            allow("ingress", "from"),
            allow("egress", "to")
        );
        let push = |port| {
            let (client, server) = connect(&machine.host, &machine.pod, POD_V6, port)?;
            let (opener, far) = connect(&machine.pod, &machine.host, HOST_V6, port)?;
            Ok::<_, anyhow::Error>([Flow::push(&server, &client)?, Flow::push(&far, &opener)?])
        };
        let (allowed, denied) = (push(7000)?, push(7001)?);
        allowed.iter().chain(&denied).try_for_each(Flow::flows)?;
        node.reconcile(&cluster(&policy(&spec))?).await?;
        allowed.iter().try_for_each(Flow::flows)?;
        for flow in &allowed {
            flow.all_arrived()?;
        }
        denied.iter().try_for_each(Flow::is_cut)
    })
}

#[test]
fn s37_what_a_process_of_the_node_opened_before_lives_on() -> Result<()> {
    run(async |machine, node| {
        let (client, server) = connect(&machine.node, &machine.pod, POD_IP, 7000)?;
        let push = Flow::push(&server, &client)?;
        push.flows()?;
        node.reconcile(&cluster(DENY)?).await?;
        push.flows()?;
        push.all_arrived().map(drop)
    })
}

/// Sends an ICMP message from one namespace to an address.
fn ping(from: &Namespace, to: std::net::Ipv4Addr, kind: u8, id: u8) -> Result<()> {
    let mut message = [kind, 0, 0, 0, 0, id, 0, 1];
    let sum = u16::from_be_bytes([kind, 0]) + u16::from(id) + 1;
    message[2..4].copy_from_slice(&(!sum).to_be_bytes());
    let socket = from.run(async || raw())?;
    sendto(
        socket.as_raw_fd(),
        &message,
        &SockaddrIn::from(std::net::SocketAddrV4::new(to, 0)),
        MsgFlags::empty(),
    )?;
    Ok(())
}

fn raw() -> Result<std::os::fd::OwnedFd> {
    let (family, kind) = (AddressFamily::Inet, SockType::Raw);
    Ok(socket(family, kind, SockFlag::empty(), SockProtocol::Icmp)?)
}

#[test]
fn s30_an_echo_request_from_before_is_answered_and_no_other() -> Result<()> {
    const REQUEST: u8 = 8;
    const REPLY: u8 = 0;
    run(async |machine, node| {
        machine.pod.run(async || {
            // The pod answers when the test does.
            Ok(fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1")?)
        })?;
        ping(&machine.host, POD_IP, REQUEST, 77)?;
        thread::sleep(Duration::from_millis(50));
        let spec = format!(
            "policyTypes: [Ingress, Egress], ingress: [{{from: [{{ipBlock: {{cidr: {HOST}/32}}}}]}}]"
        );
        node.reconcile(&cluster(&policy(&spec))?).await?;
        let host = machine.host.run(async || raw())?;
        setsockopt(&host, ReceiveTimeout, &TimeVal::milliseconds(500))?;
        let arrives = |id| {
            ping(&machine.pod, HOST, REPLY, id)?;
            let mut packet = [0; 64];
            while let Ok(length) = recv(host.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                if length == 28 && packet[20] == REPLY && packet[25] == id {
                    return Ok(true);
                }
            }
            Ok::<_, anyhow::Error>(false)
        };
        ensure!(arrives(77)?, "nobody answers");
        ensure!(!arrives(78)?, "an answer to nothing");
        Ok(())
    })
}

#[test]
fn s08_what_was_recorded_when_the_pod_was_last_isolated_counts_no_more() -> Result<()> {
    run(async |machine, node| {
        machine.node.run(async || {
            let closed = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close";
            Ok(fs::write(closed, "1")?)
        })?;
        let egress =
            format!("policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: {HOST}/32}}}}]}}]");
        node.reconcile(&cluster(&policy(&egress))?).await?;
        // The pod opens a connection from its port 6000, and resets it.
        let listener = machine.host.run(async || Ok(std::net::TcpListener::bind((HOST, 7000))?))?;
        let opened = machine.pod.run(async || {
            let socket = TcpSocket::new_v4()?;
            socket.bind((POD_IP, 6000).into())?;
            socket.set_zero_linger()?;
            Ok(socket.connect((HOST, 7000).into()).await?.into_std()?)
        })?;
        drop((listener.accept()?, opened, listener));
        thread::sleep(Duration::from_secs(3));
        // Nothing isolates the pod any more, and the host opens one between the same ports.
        node.reconcile(&cluster("")?).await?;
        let listener =
            machine.pod.run(async || Ok(std::net::TcpListener::bind((POD_IP, 6000))?))?;
        let client = machine.host.run(async || {
            let socket = TcpSocket::new_v4()?;
            socket.bind((HOST, 7000).into())?;
            let client = socket.connect((POD_IP, 6000).into()).await?.into_std()?;
            client.set_nonblocking(false)?;
            Ok(client)
        })?;
        let push = Flow::push(&listener.accept()?.0, &client)?;
        push.flows()?;
        node.reconcile(&cluster(&policy("policyTypes: [Ingress]"))?).await?;
        push.is_cut()
    })
}
