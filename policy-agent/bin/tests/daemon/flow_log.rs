//! Dropped packets as lines of JSON.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::{SocketAddr, UdpSocket},
    os::unix::fs::OpenOptionsExt,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use nix::{fcntl::OFlag, sys::stat::Mode, unistd::mkfifo};
use policy_agent::net::build::NetBuilder;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    machine::{HOST, LIMIT, Machine, POD as POD_IP, arrives, until},
    manifests::{ALLOW_5000, DENY, POD},
    namespace::{Namespace, add_addresses, end},
};

/// Lines so far.
fn logged(machine: &Machine) -> usize {
    machine.said("stdout").matches('\n').count()
}

#[test]
fn a_drop_is_logged_with_both_ends_and_the_policies_that_isolate() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    let owner = "ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-7d9f, uid: u, \
                 controller: true}]";
    let labels = "labels: {app: web, pod-template-hash: 7d9f}";
    let pod = POD.replace("labels: {app: web}", &format!("{labels}, {owner}"));
    machine.write("pod.yaml", &pod)?;
    let annotated = "annotations: {ticket: NET-1}, namespace: default}\nspec:\n  podSelector";
    let policy = ALLOW_5000.replace("namespace: default}\nspec:\n  podSelector", annotated);
    machine.write("policy.yaml", &policy)?;
    let _agent = machine.agent(&[])?;
    let send = |from: u16, port: u16| {
        machine
            .pod
            .run(async || Ok(UdpSocket::bind((POD_IP, from))?.send_to(b"hello", (HOST, port))?))
    };
    // A connection that was there before is logged as revoked.
    until("the policy is in force", LIMIT, || Ok(send(4009, 5002)? > 0 && logged(&machine) > 0))?;
    send(4000, 5001)?;
    // Lines of the connection above may still arrive.
    let dropped = || {
        let said = machine.said("stdout");
        said.lines().find(|line| line.contains(r#""port":5001"#)).map(str::to_owned)
    };
    until("a drop is logged", LIMIT, || Ok(dropped().is_some()))?;
    send(4000, 5000)?;
    let line = &dropped().context("no line")?;
    let mut line: Value = serde_json::from_str(line)?;
    let time = line["time"].take();
    let time: jiff::Timestamp = time.as_str().context("no time")?.parse()?;
    let age = SystemTime::now().duration_since(SystemTime::from(time))?;
    assert!(age < Duration::from_secs(5), "{age:?} old");
    let want = json!({
        "time": null, "node": "one", "verdict": "drop", "reason": "no-rule", "direction": "egress",
        "source": {
            "address": "10.0.0.2", "port": 4000, "namespace": "default", "pod": "pod",
            "labels": {"app": "web", "pod-template-hash": "7d9f"},
            "workload": {"kind": "Deployment", "name": "web"},
        },
        "destination": {"address": "10.1.0.2", "port": 5001},
        "protocol": "UDP", "ether_type": "0x0800", "length": 47, "interface": 10,
        "decision": "no-rule-allows",
        "policies": [
            {
                "kind": "NetworkPolicy", "namespace": "default", "name": "deny", "rule": null,
                "annotations": {"ticket": "NET-1"},
            },
        ],
    });
    assert_eq!(line, want);
    Ok(())
}

#[test]
fn s60_labels_and_annotations_without_end_make_no_long_line() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    let many = |what: &str| {
        let one = |number: u16| format!(", {what}{number}: {}", "x".repeat(50));
        (0..300).map(one).collect::<Vec<_>>().concat()
    };
    let pod = POD.replace("app: web", &format!("app: web{}", many("label")));
    machine.write("pod.yaml", &pod)?;
    let annotations = format!("annotations: {{ticket: NET-1{}}}", many("note"));
    machine.write(
        "policy.yaml",
        &DENY.replace("name: deny,", &format!("name: deny, {annotations},")),
    )?;
    let _agent = machine.agent(&[])?;
    let first = || machine.said("stdout").lines().next().map(str::to_owned);
    until("a drop is logged", LIMIT, || Ok(!arrives(&machine, 5001)? && first().is_some()))?;
    let line = first().context("no line")?;
    anyhow::ensure!(line.len() < 8192, "{} bytes", line.len());
    let line: Value = serde_json::from_str(&line)?;
    assert_eq!((&line["shortened"], &line["source"]["pod"]), (&json!(true), &json!("pod")));
    assert_eq!(
        line["policies"][0],
        json!({"kind": "NetworkPolicy", "namespace": "default", "name": "deny", "rule": null})
    );
    Ok(())
}

#[test]
fn a_noisy_pod_hides_no_other_and_what_it_hides_of_its_own_is_counted() -> Result<()> {
    const NOISE: u64 = 5000;
    let machine = Machine::new()?;
    machine.plug()?;
    let quiet = Namespace::new()?;
    machine.node.join(&end(11, "veth1"), &quiet, &end(2, "eth0"), &["10.0.2.2/24"])?;
    let gateway = "10.0.2.1";
    machine.node.run(async || add_addresses(&NetBuilder::open()?, 11, &["10.0.2.1/24"]).await)?;
    quiet.run(async || {
        let gateway = Some(gateway.parse()?);
        Ok(NetBuilder::open()?.add_route("0.0.0.0/0".parse()?, gateway, 2).await?)
    })?;
    let second = POD.replace("name: pod", "name: quiet").replace("10.0.0.2", "10.0.2.2");
    machine.write("pod.yaml", &format!("{POD}---{second}"))?;
    machine.write("policy.yaml", DENY)?;
    let _agent = machine.agent(&["--max-drop-records", "1"])?;
    let socket = machine.pod.run(async || Ok(UdpSocket::bind((POD_IP, 4000))?))?;
    until("the policy is in force", LIMIT, || {
        socket.send_to(b"hello", (HOST, 5001))?;
        Ok(logged(&machine) > 0)
    })?;
    for _ in 0..NOISE {
        socket.send_to(b"hello", (HOST, 5001))?;
    }
    let send =
        || quiet.run(async || Ok(UdpSocket::bind(("10.0.2.2", 0))?.send_to(b"", (HOST, 5001))?));
    send()?;
    let lines = |pod: &str| {
        let said = machine.said("stdout");
        let lines = said.lines().map(serde_json::from_str::<Value>);
        let lines = lines.filter_map(Result::ok).filter(|line| line["source"]["pod"] == pod);
        lines.map(|line| line["left_out"].as_u64().unwrap_or_default()).collect::<Vec<_>>()
    };
    until("the quiet pod is heard", LIMIT, || Ok(lines("quiet") == [0]))?;
    assert!(lines("pod").len() < 110, "{} lines of the noisy pod", lines("pod").len());
    // Its next line, when it may have one more, counts all that have none.
    until("left-out records are counted", LIMIT, || {
        socket.send_to(b"hello", (HOST, 5001))?;
        thread::sleep(Duration::from_millis(50));
        Ok(lines("pod").len() as u64 + lines("pod").iter().sum::<u64>() >= NOISE)
    })?;
    Ok(())
}

#[test]
fn a_port_that_no_header_has_is_left_out() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", DENY)?;
    let _agent = machine.agent(&[])?;
    let before = logged(&machine);
    let send = |bytes: &[u8]| {
        machine.pod.run(async || Ok(UdpSocket::bind((POD_IP, 4000))?.send_to(bytes, (HOST, 5001))?))
    };
    until(
        "the policy is in force",
        LIMIT,
        || Ok(send(b"hello")? > 0 && logged(&machine) > before),
    )?;
    // Above what a link carries at once.
    send(&[0; 4000])?;
    let lines = |key: &str, word: &str| {
        let said = machine.said("stdout");
        let lines = said.lines().map(serde_json::from_str::<Value>).filter_map(Result::ok);
        lines.filter(|line| line[key] == word).collect::<Vec<_>>()
    };
    // The first fragment has the ports.
    let later = || {
        let lines = lines("reason", "no-rule").into_iter();
        lines.filter(|line| line["destination"].get("port").is_none()).collect::<Vec<_>>()
    };
    until("a later fragment is logged", LIMIT, || Ok(!later().is_empty()))?;
    // A common header, and no chunk.
    machine.pod.run(async || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(132)))?;
        let header = [0x0f, 0xa0, 0x13, 0x89, 0, 0, 0, 0, 0, 0, 0, 0];
        Ok(socket.send_to(&header, &SocketAddr::from((HOST, 0)).into())?)
    })?;
    until("a malformed packet is logged", LIMIT, || Ok(!lines("reason", "malformed").is_empty()))?;
    let unread = [later(), lines("reason", "malformed")].concat();
    for line in unread {
        for end in ["source", "destination"] {
            assert!(line[end]["address"].is_string(), "{line}");
            assert_eq!(line[end].get("port"), None, "{line}");
        }
    }
    Ok(())
}

#[test]
fn a_fifo_that_nobody_reads_is_refused_and_a_reader_that_stops_holds_up_nothing() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", DENY)?;
    let fifo = machine.manifests().with_file_name("fifo");
    mkfifo(&fifo, Mode::S_IRWXU)?;
    let path = fifo.to_str().context("a path that is no text")?;
    let options = ["--flow-log", path, "--max-drop-records", "0"];
    let refused = machine.agent(&options)?.ended_within(LIMIT)?;
    let said = machine.said("stderr");
    assert_eq!(refused.code(), Some(2), "{said}");
    assert!(said.contains("no process reads the flow log") && said.contains(path), "{said}");

    let reader = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&fifo)?;
    let agent = machine.agent(&options)?;
    until("the policy is in force", LIMIT, || Ok(!arrives(&machine, 5000)?))?;
    // More than the pipe holds, for a reader that does not read.
    let noise = machine.pod.run(async || Ok(UdpSocket::bind((POD_IP, 0))?))?;
    for _ in 0..2000 {
        noise.send_to(b"hello", (HOST, 5001))?;
    }
    machine.write("policy.yaml", ALLOW_5000)?;
    until("a change is followed", LIMIT, || arrives(&machine, 5000))?;
    let lines = BufReader::new(reader).lines().map_while(Result::ok).collect::<Vec<_>>();
    assert!(lines.len() > 10, "{} lines", lines.len());
    assert!(agent.terminate()?.success());
    Ok(())
}
