//! Pods that left the API before the agent has attached to them (S47).

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{
    cni::{added, born},
    http::ask,
    machine::{Agent, LIMIT, Machine, arrives, until},
    manifests::ALLOW_5000,
    runtime::Runtime,
};

/// A namespace without pods.
const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: default}}";

/// Starts an agent that reads the runtime's cache, and waits until it enforces.
fn agent(machine: &Machine, runtime: &Runtime<'_>) -> Result<Agent> {
    let cache = format!("--cni-cache={}", runtime.cache().display());
    let agent = machine.agent(&[&cache, "--listen", "127.0.0.1:9100"])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    Ok(agent)
}

/// Names of the pods in `/status`.
fn pods(machine: &Machine) -> Result<Vec<String>> {
    let (_, status) = ask(machine, "/status")?;
    let status: Value = serde_json::from_str(&status)?;
    let pods = status["pods"].as_array().into_iter().flatten();
    Ok(pods.filter_map(|pod| Some(pod["name"].as_str()?.to_owned())).collect())
}

#[test]
fn s47_a_pod_deleted_before_its_interface_came_is_judged_by_its_last_object() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    machine.write("namespace.yaml", NAMESPACE)?;
    machine.write(
        "policy.yaml",
        &ALLOW_5000.replace("podSelector: {}", "podSelector: {matchLabels: {app: web}}"),
    )?;
    machine.write("pod.yaml", &born())?;
    let _agent = agent(&machine, &runtime)?;
    assert_eq!(pods(&machine)?, ["pod"]);
    std::fs::remove_file(machine.manifests().join("pod.yaml"))?;
    until("the pod has left", LIMIT, || Ok(pods(&machine)?.is_empty()))?;

    let result = added(&runtime, &machine.pod)?;
    runtime.keep(&result)?;
    until("its policy is in force", LIMIT, || Ok(!arrives(&machine, 5001)?))?;
    ensure!(arrives(&machine, 5000)?, "its policy allows this port");
    ensure!(!arrives(&machine, 5001)?);
    let shown = pods(&machine)?;
    ensure!(shown.len() == 1 && shown[0].starts_with("pod (deleted, interface "), "{shown:?}");

    runtime.delete(&machine.pod, Some(&result))?;
    until("it is forgotten with its link", LIMIT, || Ok(pods(&machine)?.is_empty()))?;
    Ok(())
}

#[test]
fn s47_a_pod_that_the_api_never_had_is_closed_where_its_namespace_has_a_policy() -> Result<()> {
    for has_policy in [true, false] {
        let machine = Machine::new()?;
        let runtime = Runtime::new(&machine)?;
        machine.write("namespace.yaml", NAMESPACE)?;
        if has_policy {
            machine.write("policy.yaml", ALLOW_5000)?;
        }
        let _agent = agent(&machine, &runtime)?;
        let result = added(&runtime, &machine.pod)?;
        runtime.keep(&result)?;
        until("the agent has its interface", LIMIT, || Ok(!pods(&machine)?.is_empty()))?;
        if has_policy {
            // Its labels are unknown: what the policy allows to others is not allowed to it.
            until("it is closed", LIMIT, || Ok(!arrives(&machine, 5000)?))?;
            ensure!(!arrives(&machine, 5001)?);
            machine.write("pod.yaml", &born())?;
            until("it is judged by its object", LIMIT, || arrives(&machine, 5000))?;
        }
        assert_eq!(arrives(&machine, 5001)?, !has_policy);
    }
    Ok(())
}
