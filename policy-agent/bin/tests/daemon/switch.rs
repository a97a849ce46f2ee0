//! Enforcement that is switched off, and on again.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fake_api_server::{Answer, ApiServer};
use serde_json::json;

use crate::{
    machine::{HOST, LIMIT, Machine, arrives, until},
    manifests::POD,
    stream::{Flow, connect},
};

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:9100"];

/// TCP port 7000 of the host outside may be reached, and nothing else.
const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: egress, namespace: default}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  egress: [{to: [{ipBlock: {cidr: 10.1.0.2/32}}], ports: [{port: 7000}]}]
";

/// Runs `policy-agent off` or `on`; exit code and output.
fn switch(machine: &Machine, command: &str) -> Result<(Option<i32>, String)> {
    let pins = machine.pins();
    let output = machine.inside(|| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_policy-agent"));
        program.args([command, "--address", "127.0.0.1:9100", "--pin-dir"]).arg(&pins);
        Ok(program.output()?)
    })?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn s30_enforcement_that_was_off_cuts_no_connection_that_policies_allow() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", POLICY)?;
    let agent = machine.agent(&LISTEN)?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    ensure!(!arrives(&machine, 5001)?, "it is denied");
    let (client, server) = connect(&machine.pod, &machine.host, HOST, 7000)?;
    let before = Flow::push(&client, &server)?;
    before.flows()?;

    let (code, said) = switch(&machine, "off")?;
    ensure!(code == Some(0) && said.contains("enforcement of node one is off"), "{code:?} {said}");
    ensure!(arrives(&machine, 5001)?, "nothing is enforced");
    // Both directions of each: the server of the first pushes, so that its pod only answers.
    let (client, server) = connect(&machine.pod, &machine.host, HOST, 7000)?;
    let allowed = Flow::push(&server, &client)?;
    let (client, server) = connect(&machine.pod, &machine.host, HOST, 7001)?;
    let denied = Flow::push(&client, &server)?;
    for (flow, which) in [(&before, "before"), (&allowed, "allowed"), (&denied, "denied")] {
        flow.flows().with_context(|| format!("{which}, while it is off"))?;
    }
    let status = machine.ask("/status")?;
    let why = "enforcement is off: `policy-agent off` has switched it off";
    ensure!(status.contains(why) && status.contains(r#""state":"not_enforced""#), "{status}");
    let metrics = machine.ask("/metrics")?;
    ensure!(metrics.contains("policy_enforcement_off 1\n"), "{metrics}");
    ensure!(metrics.contains("policy_pods{state=\"not_enforced\"} 1\n"), "{metrics}");
    ensure!(machine.said("stderr").contains("ERROR enforcement is off, and every packet passes"));

    // It stays so over a restart, and no packet is lost.
    ensure!(agent.terminate()?.success());
    let agent = machine.agent(&LISTEN)?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    ensure!(machine.ask("/metrics")?.contains("policy_enforcement_off 1\n"));
    ensure!(arrives(&machine, 5001)?, "it stays off");
    denied.flows().context("after the restart")?;

    let (code, said) = switch(&machine, "on")?;
    ensure!(code == Some(0) && said.contains("enforcement of node one is on"), "{code:?} {said}");
    denied.is_cut()?;
    ensure!(!arrives(&machine, 5001)?, "it is denied again");
    for (flow, which) in [(&before, "before"), (&allowed, "allowed")] {
        flow.flows().with_context(|| format!("{which}, when it is on again"))?;
        flow.all_arrived().context(which)?;
    }
    ensure!(machine.ask("/metrics")?.contains("policy_enforcement_off 0\n"));
    ensure!(agent.terminate()?.success());
    Ok(())
}

#[test]
fn a_switch_that_no_agent_confirms_is_reported_and_counts_for_the_next_agent() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", POLICY)?;
    let (code, said) = switch(&machine, "off")?;
    ensure!(code == Some(3) && said.contains("cannot write the switch"), "{code:?} {said}");
    let agent = machine.agent(&LISTEN)?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    ensure!(agent.terminate()?.success());
    let (code, said) = switch(&machine, "off")?;
    ensure!(code == Some(3) && said.contains("no agent confirms it"), "{code:?} {said}");
    ensure!(!arrives(&machine, 5001)?, "what is pinned stays in force");
    let agent = machine.agent(&LISTEN)?;
    until("the next agent follows", LIMIT, || arrives(&machine, 5001))?;
    ensure!(agent.terminate()?.success());

    let mut detach = Command::new(env!("CARGO_BIN_EXE_policy-agent"));
    detach.args(["detach", "--pins-only", "--pin-dir"]).arg(machine.pins());
    let detached = machine.inside(move || Ok(detach.output()?))?;
    ensure!(detached.status.success(), "{detached:?}");
    ensure!(!machine.inside(|| Ok(machine.pins().exists()))?, "nothing stays");
    Ok(())
}

#[test]
fn s57_the_annotation_of_the_node_switches_off_where_the_agent_allows_it() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    let listener = machine.node.run(async || Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    let server = ApiServer::at(listener)?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pod", "namespace": "default", "uid": "1", "resourceVersion": "1"},
        "spec": {"nodeName": "one", "containers": []},
        "status": {"podIPs": [{"ip": "10.0.0.2"}]},
    });
    let annotations = json!({"policy-agent.io/enforcement": "disabled"});
    let metadata =
        json!({"name": "one", "uid": "9", "resourceVersion": "1", "annotations": annotations});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata});
    server.set("/api/v1/pods", Answer::Objects(vec![pod]));
    server.set("/api/v1/nodes", Answer::Objects(vec![node]));
    server.serve_cluster_policies();
    let kubeconfig = server.kubeconfig(&machine.manifests())?;
    let agent = machine.agent_of(&kubeconfig, &LISTEN)?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    ensure!(!arrives(&machine, 5001)?, "the annotation does not count");
    ensure!(agent.terminate()?.success());

    let options = [LISTEN[0], LISTEN[1], "--enforcement-annotation"];
    let agent = machine.agent_of(&kubeconfig, &options)?;
    until("it counts", LIMIT, || arrives(&machine, 5001))?;
    let mut requests = Vec::new();
    until("there is an Event", Duration::from_mins(1), || {
        requests.extend(server.requests());
        Ok(requests.iter().any(|request| {
            request.body["reason"] == "EnforcementOff"
                && request.body["regarding"]["kind"] == "Node"
        }))
    })?;
    let (code, said) = switch(&machine, "on")?;
    ensure!(code == Some(1) && said.contains("annotation policy-agent.io/enforcement"), "{said}");
    ensure!(agent.terminate()?.success());
    Ok(())
}
