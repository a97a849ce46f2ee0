//! New pods with a problem, beside others.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Result, ensure};
use fake_api_server::{Answer, ApiServer, groups};
use nix::mount::{MsFlags, mount, umount};

use policy_agent::net::build::NetBuilder;
use serde_json::json;

use crate::{
    machine::{ARRIVAL, LIMIT, Machine, arrives, until},
    manifests::{ALLOW_5000, DENY, POD},
    namespace::{Namespace, add_addresses, end},
};

#[test]
fn a_pod_that_cannot_be_attached_to_is_logged_and_delays_no_other() -> Result<()> {
    let machine = Machine::new()?;
    let other = |name: &str, number| {
        POD.replace("name: pod", &format!("name: {name}"))
            .replace("10.0.0.2", &format!("10.0.{number}.2"))
    };
    machine.write("pods.yaml", &[POD, &other("refused", 1), &other("late", 2)].join("---"))?;
    machine.write("policy.yaml", DENY)?;
    let (refused, late) = (Namespace::new()?, Namespace::new()?);
    machine.plug()?;
    let _agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    // Nobody can pin where something is mounted.
    let obstacle = machine.pins().join("links/to_pod_11");
    machine.inside(|| {
        fs::create_dir(&obstacle)?;
        let none: Option<&str> = None;
        Ok(mount(none, &obstacle, Some("tmpfs"), MsFlags::empty(), none)?)
    })?;
    machine.plug_another(&refused, 1)?;
    let message = "no policy is enforced at the pod, retrying: cannot write endpoint 11";
    until("it is logged", LIMIT, || Ok(machine.said("stderr").contains(message)))?;
    machine.plug_another(&late, 2)?;
    let has = |enforced: usize, not: usize| -> Result<bool> {
        let metrics = machine.ask("/metrics")?;
        let says = |state: &str, count: usize| {
            metrics.contains(&format!("policy_pods{{state=\"{state}\"}} {count}\n"))
        };
        Ok(says("enforced", enforced) && says("not_enforced", not) && says("without_address", 0))
    };
    until("all others are enforced", LIMIT, || has(2, 1))?;
    machine.inside(|| Ok(umount(&obstacle)?))?;
    until("so is the one that was refused", LIMIT, || has(3, 0)).map(drop)
}

/// Sends an `enforce` request as the plugin does; the response.
fn enforce(socket: &Path, address: &str, patience: Duration) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    let question = json!({
        "ask": "enforce", "namespace": "default", "name": "pod", "container": "c",
        "netns": "/n", "interface": "eth0", "addresses": [address],
        "patience": u64::try_from(patience.as_millis())?,
    });
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

#[test]
fn s08_the_hint_of_a_pod_that_never_started_is_removed() -> Result<()> {
    let machine = Machine::new()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", DENY)?;
    machine.plug()?;
    let socket = machine.manifests().join("run/cni.sock");
    let option = format!("--cni-socket={}", socket.display());
    let _agent = machine.agent(&["--listen", "127.0.0.1:9100", &option])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    ensure!(!arrives(&machine, 5001)?, "the policy is in force");
    let said = enforce(&socket, "10.0.0.9", Duration::from_millis(300))?;
    ensure!(said.contains("no interface"), "{said}");
    until("the pod is where its status says", LIMIT, || Ok(!arrives(&machine, 5001)?))?;
    // A CHECK gives no hint.
    let said = enforce(&socket, "10.0.0.9", Duration::ZERO)?;
    ensure!(said.contains("no interface"), "{said}");
    ensure!(!arrives(&machine, 5001)?, "a question opens the pod");
    let said = enforce(&socket, "10.0.0.2", Duration::from_secs(5))?;
    ensure!(said.contains("enforced"), "{said}");
    Ok(())
}

#[test]
fn s45_a_pod_with_an_interface_for_each_family_is_under_its_policies_at_both() -> Result<()> {
    let machine = Machine::new()?;
    let both = "podIPs: [{ip: 10.0.0.2}, {ip: \"fd00:0:1::2\"}]";
    machine.write("pod.yaml", &POD.replace("podIPs: [{ip: 10.0.0.2}]", both))?;
    let (node, pod) = (&machine.node, &machine.pod);
    node.join(&end(10, "veth0"), pod, &end(2, "eth0"), &["10.0.0.2/24"])?;
    node.join(&end(11, "veth1"), pod, &end(3, "eth1"), &["fd00:0:1::2/64"])?;
    node.run(async || {
        let builder = NetBuilder::open()?;
        add_addresses(&builder, 10, &["10.0.0.1/24"]).await?;
        add_addresses(&builder, 11, &["fd00:0:1::1/64"]).await
    })?;
    pod.run(async || {
        let builder = NetBuilder::open()?;
        builder.add_route("0.0.0.0/0".parse()?, Some("10.0.0.1".parse()?), 2).await?;
        Ok(builder.add_route("::/0".parse()?, Some("fd00:0:1::1".parse()?), 3).await?)
    })?;
    let arrives_by_six = || -> Result<bool> {
        let host = machine.host.run(async || Ok(UdpSocket::bind("[fd00:1::2]:5001")?))?;
        host.set_read_timeout(Some(ARRIVAL))?;
        pod.run(async || {
            let socket = UdpSocket::bind("[fd00:0:1::2]:0")?;
            Ok(socket.send_to(b"hello", "[fd00:1::2]:5001").map(drop)?)
        })?;
        Ok(host.recv(&mut [0; 8]).is_ok())
    };
    let _agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    let has_both = |metrics: String| metrics.contains("policy_pods{state=\"enforced\"} 1\n");
    until("one pod is enforced", LIMIT, || Ok(machine.ask("/metrics").is_ok_and(has_both)))?;
    until("both families are open", LIMIT, || Ok(arrives(&machine, 5001)? && arrives_by_six()?))?;
    machine.write("policy.yaml", DENY)?;
    until("IPv4 is denied", LIMIT, || Ok(!arrives(&machine, 5001)?))?;
    until("IPv6 is denied", LIMIT, || Ok(!arrives_by_six()?))?;
    ensure!(!arrives(&machine, 5001)? && !arrives_by_six()?);
    let drops = machine.ask("/metrics")?;
    let dropped = "policy_drops_total{namespace=\"default\",pod=\"pod\",direction=\"egress\"";
    ensure!(drops.contains(dropped), "{drops}");
    Ok(())
}

#[test]
fn s07_a_pod_that_runs_on_after_its_deletion_stays_denied() -> Result<()> {
    let machine = Machine::new()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", ALLOW_5000)?;
    machine.plug()?;
    let agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    let denied = || Ok(!arrives(&machine, 5001)?);
    until("the policy is in force", LIMIT, denied)?;
    ensure!(arrives(&machine, 5000)?, "it allows a port");
    machine.write(
        "pod.yaml",
        &POD.replace("name: pod", "name: other").replace("10.0.0.2", "10.0.0.9"),
    )?;
    until("nothing is allowed any more", LIMIT, || Ok(!arrives(&machine, 5000)?))?;
    ensure!(denied()?, "whoever may delete a pod sets it free");
    let drops = || machine.ask("/metrics").map(|text| text.matches("policy_drops_total{").count());
    ensure!(drops()? > 0, "nothing is counted");
    agent.kill()?;
    let agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    until("the next agent is ready", LIMIT, || Ok(machine.is_ready()))?;
    ensure!(denied()? && !arrives(&machine, 5000)?, "it stays closed");
    machine.write("pod.yaml", POD)?;
    until("the pod is back", LIMIT, || arrives(&machine, 5000))?;
    ensure!(denied()?);
    ensure!(agent.terminate()?.success());
    Ok(())
}

#[test]
fn s08_an_address_that_the_runtime_gave_to_a_new_pod_is_no_other_pods() -> Result<()> {
    let machine = Machine::new()?;
    // Its status is older than the node's restart, and its name sorts first.
    let stale = POD.replace("name: pod", "name: a").replace("app: web", "app: free");
    machine.write(
        "pods.yaml",
        &[stale.as_str(), &POD.replace("status: {podIPs: [{ip: 10.0.0.2}]}", "")].join("---"),
    )?;
    machine.write(
        "policy.yaml",
        &DENY.replace("podSelector: {}", "podSelector: {matchLabels: {app: web}}"),
    )?;
    let socket = machine.manifests().join("run/cni.sock");
    let option = format!("--cni-socket={}", socket.display());
    let _agent = machine.agent(&["--listen", "127.0.0.1:9100", &option])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    machine.plug()?;
    let said = enforce(&socket, "10.0.0.2", Duration::from_secs(20))?;
    ensure!(said.contains("enforced"), "{said}");
    ensure!(!arrives(&machine, 5001)?, "it has the policies of another");
    Ok(())
}

#[test]
fn s47_a_pod_waits_until_its_namespace_is_known() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    let listener = machine.node.run(async || Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    let server = ApiServer::at(listener)?;
    server.set("/apis", groups(false));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pod", "namespace": "default", "uid": "1", "resourceVersion": "2"},
        "spec": {"nodeName": "one", "containers": []}, "status": {},
    });
    server.set("/api/v1/pods", Answer::Objects(vec![pod]));
    server.set("/api/v1/namespaces", Answer::Objects(Vec::new()));
    let kubeconfig = server.kubeconfig(&machine.manifests())?;
    let socket = machine.manifests().join("run/cni.sock");
    let option = format!("--cni-socket={}", socket.display());
    let agent = machine.agent_of(&kubeconfig, &["--listen", "127.0.0.1:9100", &option])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    let said = enforce(&socket, "10.0.0.2", Duration::from_secs(2))?;
    ensure!(said.contains("has not reported the pod's namespace"), "{said}");
    agent.kill()?;

    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "default", "resourceVersion": "3"},
    });
    server.set("/api/v1/namespaces", Answer::Objects(vec![namespace]));
    let _agent = machine.agent_of(&kubeconfig, &["--listen", "127.0.0.1:9100", &option])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    let said = enforce(&socket, "10.0.0.2", Duration::from_secs(20))?;
    ensure!(said.contains("enforced"), "{said}");
    Ok(())
}
