//! The daemon beside an API server that refuses.

use std::{
    net::{Ipv4Addr, TcpListener},
    thread,
    time::Duration,
};

use anyhow::Result;
use fake_api_server::{Answer, ApiServer, CLUSTER_POLICIES, denies_all, groups, resources, status};
use serde_json::json;

use crate::machine::{LIMIT, Machine, arrives, until};

#[test]
fn an_agent_that_may_not_read_cluster_wide_policies_changes_nothing_and_says_so() -> Result<()> {
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
    server.set("/api/v1/pods", Answer::Objects(vec![pod]));
    server.set("/apis", groups(true));
    server.set("/apis/policy.networking.k8s.io/v1alpha2", resources("v1alpha2"));
    server.set(CLUSTER_POLICIES, Answer::Objects(vec![denies_all()]));
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
