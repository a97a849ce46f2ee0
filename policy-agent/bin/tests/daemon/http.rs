//! What the agent answers over HTTP.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::{
    machine::{LIMIT, Machine, arrives, until},
    manifests::{ALLOW_5000, DENY, POD},
};

/// Status code and body of the answer.
pub(crate) fn ask(machine: &Machine, path: &str) -> Result<(u16, String)> {
    let answer = machine.ask(path)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

#[test]
fn an_agent_that_enforces_is_ready_and_metrics_show_how_long_it_took() -> Result<()> {
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
fn metrics_have_an_address_of_their_own_and_name_the_policy_that_denies() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", DENY)?;
    let options = ["--listen", "127.0.0.1:9100", "--metrics-listen", "127.0.0.1:9101"];
    let agent = machine.agent(&[&options[..], &["--verify-interval", "1"]].concat())?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    ensure!(!arrives(&machine, 5001)?, "it is denied");
    let has = |text: &str| Ok(machine.ask_at(9101, "/metrics")?.contains(text));
    let denied = r#"policy_denied_packets_total{kind="NetworkPolicy",namespace="default",policy="deny",direction="egress"} 1"#;
    until("the policy is named", LIMIT, || has(denied))?;
    let verdicts = r#"policy_verdicts_total{namespace="default",direction="egress",verdict="drop",reason="no-rule"} 1"#;
    ensure!(has(verdicts)?, "{}", machine.ask_at(9101, "/metrics")?);
    ensure!(
        has("policy_map_entries{map=\"endpoints\"} 1\n")?
            && has("policy_map_capacity{map=\"allow\"} 16384\n")?
    );
    ensure!(
        has("policy_watch_stale_seconds{kind=\"pods\"} 0\n")?
            && has("policy_compile_duration_seconds_count 1\n")?
    );
    until("flow tables are counted", LIMIT, || {
        has(r#"policy_flow_table_use_ratio{namespace="default",pod="pod"} 0"#)
    })?;
    for path in ["/status", "/readyz", "/healthz"] {
        ensure!(machine.ask_at(9101, path)?.contains("404"), "{path} is not for everyone");
    }
    ensure!(agent.terminate()?.success());
    Ok(())
}

/// Exit code and output of `policy-agent status` on the machine.
pub(crate) fn status(machine: &Machine, options: &[&str]) -> Result<(Option<i32>, String)> {
    let output = machine.inside(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_policy-agent"));
        Ok(command.arg("status").args(options).output()?)
    })?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn an_address_that_is_none_is_refused_with_an_example() -> Result<()> {
    let machine = Machine::new()?;
    let (code, said) = status(&machine, &["--address", "nonsense"])?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("write an IP address and a port, as in 127.0.0.1:9470"), "{said}");
    Ok(())
}

/// The status of the test below; the text of the fault is taken from `said`.
fn expected_status(said: &Value) -> Result<Value> {
    let pod = |name: &str, address: &[&str], interface: Option<&str>, state: &str| {
        let reason = (state == "not_enforced").then_some("no interface of the node leads to it");
        json!({
            "namespace": "default", "name": name, "addresses": address, "interface": interface,
            "state": state, "reason": reason,
            "ingress": ["default/deny"], "egress": ["tier", "default/deny"],
        })
    };
    let missing = "not enforced at pod default/away: no interface of the node leads to it";
    let closed = "spec.egress[0].to[0]: domainNames";
    let fault = said["policies"][0]["reasons"][1].as_str().unwrap_or_default();
    ensure!(fault.starts_with(closed), "{said:#}");
    let policy = |kind: &str, namespace: &str, name: &str, reasons: &[&str]| {
        json!({
            "kind": kind, "namespace": namespace, "name": name, "state": "not_enforced",
            "pods": 3, "reasons": reasons, "notes": [],
        })
    };
    Ok(json!({
        "node": "one",
        "notReady": null,
        "off": null,
        "offByCommand": false,
        "pods": [
            pod("away", &["10.0.0.3"], None, "not_enforced"),
            pod("born", &[], None, "without_address"),
            pod("pod", &["10.0.0.2"], Some("veth0"), "enforced"),
        ],
        "policies": [
            policy("ClusterNetworkPolicy", "", "tier", &[missing, fault]),
            policy("NetworkPolicy", "default", "deny", &[missing]),
        ],
        "unknownInterfaces": ["uplink"],
        "otherEnforcers": [],
    }))
}

#[test]
fn s50_status_shows_for_every_pod_and_policy_whether_it_is_enforced() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    let status = |form: &str| status(&machine, &["--address=127.0.0.1:9100", "-o", form]);
    let (code, said) = status("table")?;
    assert_eq!(code, Some(3), "{said}");
    ensure!(said.contains("no agent responds at 127.0.0.1:9100"), "{said}");

    let away = POD.replace("name: pod", "name: away").replace("10.0.0.2", "10.0.0.3");
    let born = POD.replace("name: pod", "name: born").replace("podIPs: [{ip: 10.0.0.2}]", "");
    machine.write("pods.yaml", &[POD, &away, &born].join("---"))?;
    machine.write("policy.yaml", &[DENY, TIER].join("---"))?;
    let agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    let (code, said) = status("json")?;
    assert_eq!(code, Some(1), "{said}");
    let said: Value = serde_json::from_str(&said)?;
    assert_eq!(said, expected_status(&said)?, "{said:#}");

    let named =
        |named: &[&str]| self::status(&machine, &[named, &["--address=127.0.0.1:9100"]].concat());
    let (code, said) = named(&["policy", "default/deny"])?;
    ensure!(code == Some(1) && said.contains("default/deny") && !said.contains("uplink"), "{said}");
    let (code, said) = named(&["pod", "other/pod"])?;
    ensure!(code == Some(2) && said.contains("no pod of this node is named other/pod"), "{said}");

    machine.write("pods.yaml", POD)?;
    machine.write("policy.yaml", DENY)?;
    until("all is enforced", LIMIT, || Ok(status("table")?.0 == Some(0)))?;
    let (_, said) = status("table")?;
    ensure!(said.starts_with("Node one: the agent is ready\n"), "{said}");
    ensure!(said.contains("default/pod  veth0      enforced  default/deny"), "{said}");
    ensure!(agent.terminate()?.success());
    Ok(())
}

#[test]
fn s50_status_shows_that_a_change_is_not_in_force() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", ALLOW_5000)?;
    let _agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    until("it enforces", LIMIT, || Ok(arrives(&machine, 5000)? && !arrives(&machine, 5001)?))?;
    // No allow map can be pinned any more.
    machine.inside(|| {
        let none: Option<&str> = None;
        let paths = (1..60).map(|number| machine.pins().join(format!("maps/allow_{number}")));
        for path in paths.filter(|path| !path.exists()) {
            fs::create_dir(&path)?;
            mount(none, &path, Some("tmpfs"), MsFlags::empty(), none)?;
        }
        Ok(())
    })?;
    let other = ALLOW_5000.replace("name: deny", "name: new").replace("5000", "5002");
    machine.write("policy.yaml", &other)?;
    let message = "retrying until it succeeds";
    until("it fails", LIMIT, || Ok(machine.said("stderr").contains(message)))?;
    let (_, status) = ask(&machine, "/status")?;
    let status: Value = serde_json::from_str(&status)?;
    let reason = status["pods"][0]["reason"].as_str().unwrap_or_default();
    ensure!(reason.starts_with("the last change is not in force: cannot create"), "{status:#}");
    let policy = &status["policies"][0];
    assert_eq!((&policy["name"], &policy["state"]), (&json!("new"), &json!("not_enforced")));
    ensure!(arrives(&machine, 5000)?, "what was in force stays");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(machine.said("stderr").matches(message).count(), 1, "each failure is logged once");
    Ok(())
}

/// A cluster-wide policy that needs more than the kernel's maps hold.
const TIER: &str = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: tier}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  egress:
  - {action: Deny, to: [{domainNames: [example.org]}]}
";
