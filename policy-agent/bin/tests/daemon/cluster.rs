//! The daemon beside an API server that refuses.

use std::{
    net::{Ipv4Addr, TcpListener},
    thread,
    time::Duration,
};

use anyhow::Result;
use fake_api_server::{Answer, ApiServer, CLUSTER_POLICIES, status};
use serde_json::{Value, json};

use crate::machine::{LIMIT, Machine, arrives, until};

#[test]
fn an_agent_that_may_not_read_cluster_wide_policies_changes_nothing_and_says_so() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    let listener = machine.node.run(async || Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    let server = ApiServer::at(listener)?;
    server.set("/api/v1/pods", Answer::Objects(vec![pod()]));
    server.serve_cluster_policies();
    let kubeconfig = server.kubeconfig(&machine.manifests())?;
    let options = ["--listen", "127.0.0.1:9100"];
    let agent = machine.agent_of(&kubeconfig, &options)?;
    let says = |path: &str, words: &[&str]| {
        let Ok(answer) = machine.ask(path) else { return Ok(false) };
        Ok(words.iter().all(|word| answer.contains(word)))
    };
    until("it enforces", LIMIT, || says("/readyz", &[" 200 "]))?;
    assert!(!arrives(&machine, 5000)?, "what is denied passes");
    agent.kill()?;

    server.set(CLUSTER_POLICIES, Answer::Json(403, status(403)));
    let agent = machine.agent_of(&kubeconfig, &options)?;
    let why = [" 503 ", "not listed yet: clusternetworkpolicies (", "ClusterRole", "refusal 403"];
    until("it says why it is not ready", LIMIT, || says("/readyz", &why))?;
    let gauge = |value| format!("policy_watch_broken{{kind=\"clusternetworkpolicies\"}} {value}\n");
    until("it is counted", LIMIT, || says("/metrics", &[&gauge(1)]))?;
    for _ in 0..20 {
        let is_closed = !arrives(&machine, 5000)?;
        assert!(is_closed, "what was enforced stays: {}", machine.said("stderr"));
        thread::sleep(Duration::from_millis(100));
    }
    let said = machine.said("stderr");
    let logged = said.matches("none were read yet").count();
    assert_eq!(logged, 1, "logged once, however often it is retried: {said}");

    server.set(CLUSTER_POLICIES, Answer::Objects(Vec::new()));
    until("it is ready", LIMIT, || says("/readyz", &[" 200 "]))?;
    until("it is counted no more", LIMIT, || says("/metrics", &[&gauge(0)]))?;
    until("everything passes", LIMIT, || arrives(&machine, 5000))?;
    assert!(agent.terminate()?.success());
    Ok(())
}

/// The pod at 10.0.0.2 of node `one`.
fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pod", "namespace": "default", "uid": "1", "resourceVersion": "1"},
        "spec": {"nodeName": "one", "containers": []},
        "status": {"podIPs": [{"ip": "10.0.0.2"}]},
    })
}

#[test]
fn s58_denied_connections_are_one_event_of_the_pod_that_names_the_rule() -> Result<()> {
    const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
    let machine = Machine::new()?;
    machine.plug()?;
    let listener = machine.node.run(async || Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    let server = ApiServer::at(listener)?;
    server.set("/api/v1/pods", Answer::Objects(vec![pod()]));
    server.serve_cluster_policies();
    let kubeconfig = server.kubeconfig(&machine.manifests())?;
    let agent = machine.agent_of(&kubeconfig, &[])?;
    until("it enforces", LIMIT, || Ok(!arrives(&machine, 5000)?))?;
    let mut requests = Vec::new();
    until("there is an Event", LIMIT, || {
        arrives(&machine, 5001)?;
        requests.extend(server.requests());
        Ok(!server.events().is_empty())
    })?;
    for port in 5002..5040 {
        arrives(&machine, port)?;
    }
    requests.extend(server.requests());
    let posted = requests.iter().filter(|request| request.path == EVENTS);
    let events: Vec<&Value> = posted.map(|request| &request.body).collect();
    assert_eq!(events.len(), 1, "a scan of ports is one Event: {events:#?}");
    assert_eq!(events[0]["reason"], "PolicyDenied");
    assert_eq!(
        (&events[0]["regarding"]["kind"], &events[0]["regarding"]["uid"]),
        (&json!("Pod"), &json!("1"))
    );
    let note = events[0]["note"].as_str().unwrap_or_default();
    let by = "is denied by spec.egress[0] of ClusterNetworkPolicy deny";
    assert!(note.starts_with("egress to 10.1.0.0/24 at port ") && note.contains(by), "{note}");

    let said = machine.said("stdout");
    let line: Value = serde_json::from_str(said.lines().last().unwrap_or_default())?;
    assert_eq!(
        (&line["reason"], &line["decision"]),
        (&json!("denied-by-rule"), &json!("denied-by-rule"))
    );
    let rule = json!([{"kind": "ClusterNetworkPolicy", "name": "deny", "rule": 0}]);
    assert_eq!(line["policies"], rule);
    assert!(agent.terminate()?.success());
    Ok(())
}
