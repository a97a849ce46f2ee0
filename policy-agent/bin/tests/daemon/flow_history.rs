//! Denied flows of the last hours, as `/flows` answers.

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use policy_report::flows::{FlowReport, ReportedFlow};
use serde_json::{Value, json};

use crate::{
    http::ask,
    machine::{HOST, LIMIT, Machine, POD as POD_IP, until},
    manifests::{DENY, POD},
};

/// The flows of a machine to a port.
fn flows(machine: &Machine, query: &str, port: u16) -> Result<Vec<ReportedFlow>> {
    let (status, body) = ask(machine, &format!("/flows{query}"))?;
    ensure!(status == 200, "{status}: {body}");
    let report: FlowReport = serde_json::from_str(&body)?;
    Ok(report.flows.into_iter().filter(|flow| flow.port == Some(port)).collect())
}

fn machine() -> Result<Machine> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", DENY)?;
    Ok(machine)
}

/// Sends a packet of 5 bytes out of the pod.
fn send(machine: &Machine, port: u16) -> Result<usize> {
    machine.pod.run(async || Ok(UdpSocket::bind((POD_IP, 4000))?.send_to(b"hello", (HOST, port))?))
}

#[test]
fn s58_denied_packets_are_added_up_with_the_policy_that_denies() -> Result<()> {
    let machine = machine()?;
    let agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    until("the policy is in force", LIMIT, || {
        send(&machine, 5001)?;
        Ok(!flows(&machine, "", 5001)?.is_empty())
    })?;
    for _ in 0..3 {
        send(&machine, 5002)?;
    }
    until("all are counted", LIMIT, || {
        Ok(flows(&machine, "", 5002)?.iter().map(|flow| flow.packets).sum::<u64>() == 3)
    })?;
    let found = flows(&machine, "?since=1m", 5002)?;
    ensure!(found[0].first < found[0].last, "two times");
    let mut found = serde_json::to_value(&found)?;
    (found[0]["first"], found[0]["last"]) = (Value::Null, Value::Null);
    let want = json!([{
        "verdict": "deny", "reason": "no-rule", "decision": "no-rule-allows", "direction": "egress",
        "source": {
            "kind": "Pod", "namespace": "default", "name": "pod", "pods": ["pod"], "address": POD_IP,
        },
        "destination": {"kind": "Block", "name": "10.1.0.0/24", "address": HOST},
        "protocol": "UDP", "port": 5002,
        "policies": [{
            "kind": "NetworkPolicy", "namespace": "default", "name": "deny", "rule": null,
        }],
        "packets": 3, "bytes": 3 * 47, "first": null, "last": null,
    }]);
    assert_eq!(found, want);
    let (_, head) = ask(&machine, "/flows?since=0s")?;
    let head: Value = serde_json::from_str(&head)?;
    assert_eq!((&head["version"], &head["node"]), (&json!(1), &json!("one")));
    assert_eq!(head["flows"], json!([]), "no packet since now");
    assert_eq!(head["lost"], json!({"flows": 0, "packets": 0}));
    let (status, why) = ask(&machine, "/flows?since=yesterday")?;
    ensure!(status == 400 && why.contains("since=5m"), "{status}: {why}");
    ensure!(agent.terminate()?.success());
    Ok(())
}

#[test]
fn packets_without_a_record_are_counted_as_lost() -> Result<()> {
    let machine = machine()?;
    let agent = machine.agent(&["--listen", "127.0.0.1:9100", "--max-drop-records", "1"])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    until("packets are lost", LIMIT, || {
        for _ in 0..200 {
            send(&machine, 5001)?;
        }
        let (_, metrics) = ask(&machine, "/metrics")?;
        let lost = r#"policy_flow_history_lost_total{what="packets"} "#;
        Ok(metrics.contains(lost) && !metrics.contains(&format!("{lost}0\n")))
    })?;
    ensure!(agent.terminate()?.success());
    Ok(())
}

#[test]
fn no_flow_is_kept_where_there_is_no_memory_for_any() -> Result<()> {
    let machine = machine()?;
    let agent = machine.agent(&["--listen", "127.0.0.1:9100", "--flow-memory", "0"])?;
    until("packets are denied", LIMIT, || {
        send(&machine, 5001)?;
        Ok(machine.said("stdout").contains("no-rule"))
    })?;
    assert_eq!(flows(&machine, "", 5001)?, []);
    ensure!(agent.terminate()?.success());
    Ok(())
}
