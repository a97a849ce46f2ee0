//! What an operator reads without a question: the log and Events, beside an API server.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, ensure};
use fake_api_server::{Answer, ApiServer, CLUSTER_POLICIES, groups, status};
use serde_json::{Value, json};

use crate::{
    machine::{LIMIT, Machine, arrives, until},
    namespace::Namespace,
};

/// A pod of node `one`; container port 8080 is named `http`.
fn pod(name: &str, address: &str) -> Value {
    let ports = json!([{"name": "http", "containerPort": 8080}]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": "1"},
        "spec": {"nodeName": "one", "containers": [{"name": "web", "ports": ports}]},
        "status": {"podIPs": [{"ip": address}]},
    })
}

/// A policy for all pods, with a port name that none of them has.
fn misspelt() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": "default", "uid": "7", "resourceVersion": "1"},
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": "htpp"}]}]},
    })
}

/// Lines of the agent's log that an operator sees without further options.
fn shown(machine: &Machine) -> Vec<String> {
    let said = machine.said("stderr");
    let is_shown = |line: &&str| !line.contains("DEBUG") && !line.contains("TRACE");
    said.lines().filter(is_shown).map(str::to_owned).collect()
}

#[test]
fn the_log_has_no_line_for_each_pod_and_none_for_the_uplink() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    let listener = machine.node.run(async || Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    let server = ApiServer::at(listener)?;
    server.set("/api/v1/pods", Answer::Objects(vec![pod("pod", "10.0.0.2")]));
    server.serve_cluster_policies();
    let kubeconfig = server.kubeconfig(&machine.manifests())?;
    let agent = machine.agent_of(&kubeconfig, &["--listen", "127.0.0.1:9100"])?;
    let is_enforced = |interface: &str| {
        let named = format!(r#""interface":"{interface}","state":"enforced""#);
        machine.ask("/status").is_ok_and(|status| status.contains(&named))
    };
    until("it enforces", LIMIT, || Ok(is_enforced("veth0")))?;
    let before = shown(&machine);
    ensure!(before.iter().any(|line| line.contains("policies of this node's pods are enforced")));

    let another = Namespace::new()?;
    machine.plug_another(&another, 1)?;
    until("its interface is seen", LIMIT, || {
        Ok(machine.ask("/status")?.contains(r#""unknownInterfaces":["veth1","uplink"]"#))
    })?;
    let added = json!({"type": "ADDED", "object": pod("next", "10.0.1.2")});
    server.send("/api/v1/pods", added);
    until("the next pod is enforced", LIMIT, || Ok(is_enforced("veth1")))?;
    assert_eq!(shown(&machine), before, "a pod that starts is no news");
    ensure!(!before.iter().any(|line| line.contains("uplink")), "{before:#?}");
    ensure!(agent.terminate()?.success());
    Ok(())
}

#[test]
fn s24_a_port_name_that_no_pod_has_and_a_kind_that_disappears_are_reported() -> Result<()> {
    const POLICIES: &str = "/apis/networking.k8s.io/v1";
    let machine = Machine::new()?;
    machine.plug()?;
    let listener = machine.node.run(async || Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    let server = ApiServer::at(listener)?;
    server.set("/api/v1/pods", Answer::Objects(vec![pod("pod", "10.0.0.2")]));
    let default = json!({"metadata": {"name": "default", "uid": "8"}});
    server.set("/api/v1/namespaces", Answer::Objects(vec![default]));
    for path in ["networkpolicies", "namespaces/default/networkpolicies"] {
        server.set(&format!("{POLICIES}/{path}"), Answer::Objects(vec![misspelt()]));
    }
    server.serve_cluster_policies();
    let kubeconfig = server.kubeconfig(&machine.manifests())?;
    let agent = machine.agent_of(&kubeconfig, &["--listen", "127.0.0.1:9100"])?;
    let what = r#"no destination pod has a TCP port named "htpp""#;
    until("the status has it", LIMIT, || {
        let Ok(status) = machine.ask("/status") else { return Ok(false) };
        Ok(status.contains("the pods have http (8080/TCP)"))
    })?;
    let status_text = machine.ask("/status")?;
    let policy = r#""name":"web","state":"enforced","pods":1,"reasons":[],"notes":["spec.ingress[0].ports[0]: no destination"#;
    ensure!(status_text.contains(policy), "{status_text}");
    ensure!(!arrives(&machine, 5000)?, "a cluster-wide policy denies it");

    server.set("/apis", groups(false));
    server.set(CLUSTER_POLICIES, Answer::Json(404, status(404)));
    until("nothing denies it any more", LIMIT, || arrives(&machine, 5000))?;
    let mut events = Vec::new();
    let mut has = |reason: &str, kind: &str, words: &str| {
        let requests = server.requests().into_iter();
        events.extend(requests.filter(|request| request.method == "POST").map(|one| one.body));
        events.iter().any(|event: &Value| {
            event["reason"] == reason
                && event["regarding"]["kind"] == kind
                && event["note"].as_str().is_some_and(|note| note.contains(words))
        })
    };
    until("there are Events", LIMIT, || {
        let removed = "install its CustomResourceDefinition";
        Ok(has("UnresolvedPort", "NetworkPolicy", what) && has("KindRemoved", "Namespace", removed))
    })?;
    let said = shown(&machine);
    for words in [what, "no longer has the resource clusternetworkpolicies"] {
        let lines: Vec<_> = said.iter().filter(|line| line.contains(words)).collect();
        ensure!(lines.len() == 1 && lines[0].contains("WARN"), "{words}: {said:#?}");
    }
    ensure!(agent.terminate()?.success());
    Ok(())
}
