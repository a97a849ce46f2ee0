//! What the agent answers over HTTP.

use anyhow::{Context, Result};

use crate::{
    machine::{LIMIT, Machine, until},
    manifests::{DENY, POD},
};

/// Status code and body.
fn ask(machine: &Machine, path: &str) -> Result<(u16, String)> {
    let answer = machine.ask(path)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

#[test]
fn ready_is_who_enforces_and_metrics_tell_how_long_it_took() -> Result<()> {
    let machine = Machine::new()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", "")?;
    let agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    until("it lives", LIMIT, || Ok(ask(&machine, "/healthz").is_ok()))?;
    assert_eq!(ask(&machine, "/healthz")?, (200, "ok\n".to_owned()));
    let (status, missing) = ask(&machine, "/readyz")?;
    assert_eq!(status, 503, "a manifest is still to be written");
    assert!(missing.contains("pods"), "{missing}");

    machine.write("policy.yaml", DENY)?;
    until("it is ready", LIMIT, || Ok(ask(&machine, "/readyz")?.0 == 200))?;
    let metric = |name: &str| {
        let (_, metrics) = ask(&machine, "/metrics")?;
        let line = metrics.lines().find(|line| line.split(' ').next() == Some(name));
        let value =
            line.and_then(|line| line.split(' ').nth(1)).with_context(|| metrics.clone())?;
        Ok::<String, anyhow::Error>(value.to_owned())
    };
    let not_enforced = "policy_pods{state=\"not_enforced\"}";
    let waits = "policy_interface_wait_seconds_count";
    assert_eq!((&*metric(not_enforced)?, &*metric(waits)?), ("1", "0"));

    machine.plug()?;
    until("the pod is under its policies", LIMIT, || Ok(metric(not_enforced)? == "0"))?;
    assert_eq!(metric(waits)?, "1");
    let waited: f64 = metric("policy_interface_wait_seconds_sum")?.parse()?;
    assert!(waited > 0.0 && waited < LIMIT.as_secs_f64(), "{waited} s");
    assert_eq!(ask(&machine, "/elsewhere")?.0, 404);
    assert!(agent.terminate()?.success());
    Ok(())
}

#[test]
fn an_address_that_is_taken_is_refused_by_its_name() -> Result<()> {
    let machine = Machine::new()?;
    machine.write("pod.yaml", POD)?;
    let _taken = machine.node.run(async || Ok(std::net::TcpListener::bind("127.0.0.1:9100")?))?;
    let agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    assert_eq!(agent.ended()?.code(), Some(3));
    let said = machine.said("stderr");
    assert!(said.contains("cannot listen at 127.0.0.1:9100"), "{said}");
    Ok(())
}
