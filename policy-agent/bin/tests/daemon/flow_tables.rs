//! The flow tables of pods over restarts, changes of their size, and an upgrade (S48, S60).

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    drift::{bpftool, pin},
    kernel::flow_tables::possible_cpus,
    machine::{Agent, HOST, LIMIT, Machine, arrives, until},
    manifests::{ALLOW_5000, POD},
    pins::taken_over,
};

/// A connection of the pod, on which only its flow lets the far end send.
struct Connection {
    pod: TcpStream,
    host: TcpStream,
}

impl Connection {
    fn open(machine: &Machine) -> Result<Self> {
        let listener = machine.host.run(async || Ok(TcpListener::bind((HOST, 5000))?))?;
        let pod = machine.pod.run(async || Ok(TcpStream::connect((HOST, 5000))?))?;
        pod.set_read_timeout(Some(Duration::from_secs(3)))?;
        Ok(Self { pod, host: listener.accept()?.0 })
    }

    /// The far end sends, and the pod receives.
    fn lives(&self, claim: &str) -> Result<()> {
        (&self.host).write_all(b"more")?;
        (&self.pod).read_exact(&mut [0; 4]).with_context(|| format!("cut: {claim}"))
    }
}

/// A machine with such a connection, and its agent.
fn connected(options: &[&str]) -> Result<(Machine, Agent, Connection)> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine
        .write("policy.yaml", &ALLOW_5000.replace("{protocol: UDP, port: 5000}", "{port: 5000}"))?;
    let agent = machine.agent(options)?;
    // On a loaded machine a datagram may be late without any policy.
    until("the policy is in force", LIMIT, || {
        Ok(machine.said("stderr").contains("pinned programs and maps") && !arrives(&machine, 5001)?)
    })?;
    let connection = Connection::open(&machine)?;
    connection.lives("at first")?;
    Ok((machine, agent, connection))
}

/// A pinned map, as bpftool describes it.
fn shown(machine: &Machine, name: &str) -> Result<Value> {
    let path = pin(machine, &format!("maps/{name}"));
    Ok(serde_json::from_str(&bpftool(machine, &["-j", "map", "show", "pinned", &path])?)?)
}

/// The flows of a pinned table: key and value, each as bytes that bpftool takes.
fn flows(machine: &Machine, name: &str) -> Result<Vec<[Vec<String>; 2]>> {
    let path = pin(machine, &format!("maps/{name}"));
    let dump = bpftool(machine, &["-j", "map", "dump", "pinned", &path])?;
    let dump: Value = serde_json::from_str(&dump)?;
    let bytes = |entry: &Value| {
        let bytes = entry.as_array().context("no bytes")?.iter();
        bytes.map(|byte| Ok(byte.as_str().context("no byte")?.to_owned())).collect::<Result<_>>()
    };
    let entries = dump.as_array().context("no list")?.iter();
    entries.map(|entry| Ok([bytes(&entry["key"])?, bytes(&entry["value"])?])).collect()
}

#[test]
fn s48_s60_the_next_agent_adopts_the_tables_of_pods() -> Result<()> {
    let (machine, agent, connection) = connected(&[])?;
    let before = shown(&machine, "flows4_10")?;
    agent.kill()?;
    connection.lives("no agent runs")?;
    let agent = taken_over(&machine, &[])?;
    connection.lives("the next agent runs")?;
    assert_eq!(shown(&machine, "flows4_10")?["id"], before["id"], "the same table");

    agent.kill()?;
    let _agent = taken_over(&machine, &["--flows-per-pod", "300"])?;
    connection.lives("the table has another size")?;
    let after = shown(&machine, "flows4_10")?;
    assert_eq!(after["max_entries"], 300 + 128 * possible_cpus()?);
    ensure!(after["id"] != before["id"], "another table");
    ensure!(!machine.said("stderr").contains("moved=true"), "no other map was exchanged");
    Ok(())
}

#[test]
fn s48_s60_a_creation_of_tables_that_was_cut_short_is_ended_by_the_next_agent() -> Result<()> {
    let (machine, agent, connection) = connected(&[])?;
    let before = shown(&machine, "flows4_10")?;
    agent.kill()?;
    // Killed after the table came to its place; and another time, before.
    let maps = machine.pins().join("maps");
    machine.inside(|| Ok(fs::rename(maps.join("flows4_10"), maps.join("next_flows4_10"))?))?;
    let (other, next) =
        (pin(&machine, "maps/new_flows4"), pin(&machine, "maps/next_new_flows4_10"));
    bpftool(&machine, &["map", "pin", "pinned", &other, &next])?;
    let agent = taken_over(&machine, &[])?;
    connection.lives("the next agent runs")?;
    assert_eq!(shown(&machine, "flows4_10")?["id"], before["id"], "the same table");
    let names = machine.inside(|| {
        let names = fs::read_dir(&maps)?.map(|entry| Ok(entry?.file_name()));
        names.collect::<Result<Vec<_>>>()
    })?;
    let left = names.iter().any(|name| name.to_string_lossy().starts_with("next_"));
    ensure!(!left, "{names:?}");
    drop(agent);
    Ok(())
}

#[test]
fn s48_s60_flows_of_an_agent_without_tables_of_pods_are_carried_over() -> Result<()> {
    let (machine, agent, connection) = connected(&[])?;
    agent.kill()?;
    // The maps of the earlier version: one table of each kind for all pods.
    let shared = pin(&machine, "maps/flows4");
    for [key, value] in flows(&machine, "flows4_10")? {
        let head = ["map", "update", "pinned", &shared, "key"].map(str::to_owned);
        let command = [&head[..], &key, &["value".to_owned()], &value].concat();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        bpftool(&machine, &command)?;
    }
    let maps = machine.pins().join("maps");
    // Maps that it did not have are not needed to read the others.
    let own = ["flows4_10", "new_flows4_10", "pod_flows4", "pod_flows6", "pods", "tunnel_ports"];
    machine.inside(|| own.iter().try_for_each(|name| Ok(fs::remove_file(maps.join(name))?)))?;
    let _agent = taken_over(&machine, &[])?;
    ensure!(machine.said("stderr").contains("moved=true"), "{}", machine.said("stderr"));
    connection.lives("after the upgrade")?;
    assert!(!flows(&machine, "flows4_10")?.is_empty(), "they are in the pod's own table");
    assert!(flows(&machine, "flows4")?.is_empty(), "and not in the shared one");
    Ok(())
}
