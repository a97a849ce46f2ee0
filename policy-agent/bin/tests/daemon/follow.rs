//! The daemon follows files and links.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::Result;

use crate::{
    machine::{ARRIVAL, LIMIT, Machine, POD as POD_IP, arrives, until},
    manifests::{ALLOW_5000, DENY, POD},
};

const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_change_of_a_file_is_enforced_within_a_second_and_a_broken_one_changes_nothing() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", DENY)?;
    fs::create_dir(machine.manifests().join("base"))?;
    let agent = machine.agent(&[])?;
    until("nothing passes", LIMIT, || Ok(!arrives(&machine, 5000)?))?;
    let said = machine.said("stderr");
    assert!(said.contains("folders in it are not read: base"), "{said}");
    // A loaded machine may be slow at times, but not each time.
    let mut slowest = Duration::MAX;
    for _ in 0..8 {
        slowest = slowest.min(follows(&machine)?);
        if slowest < SECOND {
            break;
        }
    }
    assert!(slowest < SECOND, "{slowest:?}");
    assert!(agent.terminate()?.success(), "{}", machine.said("stderr"));
    Ok(())
}

/// Goes through changes and back to the first state; how long the slowest took.
fn follows(machine: &Machine) -> Result<Duration> {
    machine.write("policy.yaml", ALLOW_5000)?;
    let opened = until("the port is opened", LIMIT, || arrives(machine, 5000))?;
    assert!(!arrives(machine, 5001)?, "another port");

    let before = machine.said("stderr").len();
    machine.write("policy.yaml", &ALLOW_5000.replace("podSelector", "podSelectors"))?;
    let broken = || Ok(machine.said("stderr")[before..].contains("policy.yaml:6:3"));
    let reported = until("the broken file is reported, with its place", LIMIT, broken)?;
    assert!(arrives(machine, 5000)? && !arrives(machine, 5001)?, "the last good state stays");

    machine.write("policy.yaml", DENY)?;
    let mended = until("the mended file is read", LIMIT, || Ok(!arrives(machine, 5000)?))?;
    fs::remove_file(machine.manifests().join("policy.yaml"))?;
    let removed = until("the policy is gone", LIMIT, || arrives(machine, 5001))?;
    machine.write("policy.yaml", DENY)?;
    until("the policy is back", LIMIT, || Ok(!arrives(machine, 5000)?))?;
    Ok(opened.max(reported).max(mended).max(removed))
}

#[test]
fn s54_manifests_that_are_broken_from_the_start_are_refused() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", &DENY.replace("podSelector", "podSelectors"))?;
    assert_eq!(machine.agent(&[])?.ended()?.code(), Some(2));
    let said = machine.said("stderr");
    assert!(said.contains("policy.yaml:") && said.contains('^'), "{said}");
    assert!(!said.contains("error: error"), "{said}");
    assert!(arrives(&machine, 5000)?, "nothing is applied in part");

    machine.write("policy.yaml", DENY)?;
    let agent = machine.agent(&[])?;
    until("nothing passes", LIMIT, || Ok(!arrives(&machine, 5000)?))?;
    agent.kill()?;
    machine.write("policy.yaml", "kind: [")?;
    assert_eq!(machine.agent(&[])?.ended()?.code(), Some(2));
    assert!(!arrives(&machine, 5000)?, "what was enforced stays");
    Ok(())
}

#[test]
fn s54_a_path_of_manifests_that_does_not_exist_ends_the_agent() -> Result<()> {
    let machine = Machine::new()?;
    fs::remove_dir(machine.manifests())?;
    assert_eq!(machine.agent(&[])?.ended_within(LIMIT)?.code(), Some(2));
    let said = machine.said("stderr");
    let path = machine.manifests().display().to_string();
    assert!(said.contains(&format!("error: cannot read the manifests {path}")), "{said}");
    Ok(())
}

#[test]
fn an_agent_for_a_node_that_no_manifest_names_warns_and_lists_the_nodes() -> Result<()> {
    let machine = Machine::new()?;
    let warning = "no Node and no pod has this node name";
    machine.write("pod.yaml", &POD.replace("nodeName: one", "nodeName: worker-1"))?;
    let agent = machine.agent(&[])?;
    until("it warns", LIMIT, || Ok(machine.said("stderr").contains(warning)))?;
    let said = machine.said("stderr");
    assert!(said.contains("nodes: worker-1"), "{said}");
    assert!(agent.terminate()?.success());

    machine.write("pod.yaml", POD)?;
    let agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    assert_eq!(machine.said("stderr").matches(warning).count(), 1, "a pod names the node");
    assert!(agent.terminate()?.success());
    Ok(())
}

#[test]
fn a_veth_that_appears_is_attached_to_and_one_that_goes_is_forgotten() -> Result<()> {
    let machine = Machine::new()?;
    machine.write("all.yaml", &format!("{POD}---{ALLOW_5000}"))?;
    let _agent = machine.agent(&["--log-format", "json"])?;
    let waits = || Ok(machine.said("stderr").contains("no interface leads to the pod"));
    until("the pod has no interface", LIMIT, waits)?;
    for _ in 0..2 {
        machine.plug()?;
        until("the new link is under the policy", LIMIT, || Ok(!arrives(&machine, 5001)?))?;
        until("what is allowed passes", LIMIT, || arrives(&machine, 5000))?;
        let logged = machine.said("stderr").matches("no interface leads to the pod").count();
        machine
            .node
            .run(async || Ok(policy_agent::net::build::NetBuilder::open()?.delete(10).await?))?;
        let forgotten = || {
            let said = machine.said("stderr");
            Ok(said.matches("no interface leads to the pod").count() > logged)
        };
        until("the link is forgotten", LIMIT, forgotten)?;
    }
    Ok(())
}

#[test]
fn an_interface_of_no_known_pod_is_cut_off_where_that_is_asked_for() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    // The host outside is behind a veth too, and no pod: only the node itself can be reached.
    let reached = || -> Result<bool> {
        let at_node = machine.node.run(async || Ok(UdpSocket::bind((NODE, 5000))?))?;
        at_node.set_read_timeout(Some(ARRIVAL))?;
        machine
            .pod
            .run(async || Ok(UdpSocket::bind((POD_IP, 0))?.send_to(b"hello", (NODE, 5000))?))?;
        Ok(at_node.recv(&mut [0; 8]).is_ok())
    };
    until("everything passes without an agent", LIMIT, reached)?;
    machine.write("pod.yaml", &POD.replace("10.0.0.2", "10.0.0.99"))?;
    let agent = machine.agent(&["--unknown-endpoints", "drop"])?;
    until("nothing passes", LIMIT, || Ok(!reached()?))?;
    machine.write("pod.yaml", POD)?;
    until("a pod that is known passes", LIMIT, reached)?;
    machine.write("pod.yaml", &POD.replace("10.0.0.2", "10.0.0.99"))?;
    until("a pod that is known no longer does not", LIMIT, || Ok(!reached()?))?;
    assert!(agent.terminate()?.success());
    Ok(())
}
