//! Dropped packets as lines of JSON.

use std::{
    net::UdpSocket,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    machine::{HOST, Machine, POD as POD_IP, until},
    manifests::{ALLOW_5000, POD},
};

const LIMIT: Duration = Duration::from_secs(20);

/// Lines so far.
fn told(machine: &Machine) -> usize {
    machine.said("stdout").matches('\n').count()
}

#[test]
fn a_drop_is_told_with_both_ends_and_the_policies_that_isolate() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", ALLOW_5000)?;
    let _agent = machine.agent(&[])?;
    let send = |from: u16, port: u16| {
        machine
            .pod
            .run(async || Ok(UdpSocket::bind((POD_IP, from))?.send_to(b"hello", (HOST, port))?))
    };
    // A connection that was there before is told to be revoked.
    until("the policy is in force", LIMIT, || Ok(send(4009, 5002)? > 0 && told(&machine) > 0))?;
    let before = told(&machine);
    send(4000, 5001)?;
    until("a drop is told", LIMIT, || Ok(told(&machine) > before))?;
    send(4000, 5000)?;
    let said = machine.said("stdout");
    let line = said.lines().last().context("no line")?;
    let mut line: Value = serde_json::from_str(line)?;
    let time = line["time"].take();
    let time: jiff::Timestamp = time.as_str().context("no time")?.parse()?;
    let age = SystemTime::now().duration_since(SystemTime::from(time))?;
    assert!(age < Duration::from_secs(5), "{age:?} old");
    let want = json!({
        "time": null, "node": "one", "verdict": "drop", "reason": "no-rule", "direction": "egress",
        "source": {
            "address": "10.0.0.2", "port": 4000, "namespace": "default", "pod": "pod",
            "labels": {"app": "web"},
        },
        "destination": {"address": "10.1.0.2", "port": 5001},
        "protocol": "UDP", "ether_type": "0x0800", "length": 47, "interface": 10,
        "policies": [
            {"kind": "NetworkPolicy", "namespace": "default", "name": "deny", "rule": null},
        ],
    });
    assert_eq!(line, want);
    Ok(())
}
