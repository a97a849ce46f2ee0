//! Another enforcer on the node, named in a warning.

use std::{fs, process::Command, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    machine::{LIMIT, Machine, arrives, until},
    manifests::{DENY, POD},
    pins::enforced,
};

/// A table and its chains as the enforcer names them, and what the agent calls it.
#[rustfmt::skip]
const TRACES: [(&str, &[&str], &str); 5] = [
    ("inet kindnet-network-policies", &["postrouting"],                            "kindnet (table kindnet-network-policies"),
    ("ip filter",                     &["KUBE-NWPLCY-AAAA", "KUBE-POD-FW-BBBB"],   "kube-router, as in k3s (chain KUBE-"),
    ("ip filter",                     &["cali-FORWARD", "cali-tw-cali1"],          "Calico (chain cali-"),
    ("ip mangle",                     &["CILIUM_PRE_mangle"],                      "Cilium (chain CILIUM_PRE_mangle"),
    ("inet calico",                   &["filter-FORWARD"],                         "Calico (table calico"),
];

/// Makes a table with its chains, by nft(8).
pub(crate) fn make(machine: &Machine, table: &str, chains: &[&str]) -> Result<()> {
    let chains = chains.iter().map(|chain| format!("add chain {table} {chain}\n"));
    let ruleset = format!("add table {table}\n{}", chains.collect::<String>());
    let output = machine.inside(|| Ok(Command::new("nft").arg(&ruleset).output()?))?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn another_enforcer_is_named() -> Result<()> {
    for (table, chains, name) in TRACES {
        let machine = Machine::new()?;
        machine.plug()?;
        machine.write("pod.yaml", POD)?;
        machine.write("policy.yaml", DENY)?;
        make(&machine, table, chains)?;
        let _agent = machine.agent(&[])?;
        until(name, LIMIT, || {
            let said = machine.said("stderr");
            Ok(said.contains("another policy enforcer runs on this node") && said.contains(name))
        })?;
    }
    Ok(())
}

#[test]
fn one_that_comes_later_is_named_once_and_kube_proxy_is_none() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", DENY)?;
    make(&machine, "ip kube-proxy", &["filter-forward", "services"])?;
    make(&machine, "ip filter", &["KUBE-FORWARD", "KUBE-SERVICES", "FLANNEL-FWD"])?;
    let _agent = machine.agent(&["--verify-interval", "1"])?;
    let named =
        || machine.said("stderr").matches("another policy enforcer runs on this node").count();
    until("it enforces", LIMIT, || Ok(machine.said("stderr").contains("enforced")))?;
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(named(), 0, "{}", machine.said("stderr"));
    machine.inside(|| Ok(fs::create_dir(machine.manifests().join("../bpf/cilium"))?))?;
    until("it is named", LIMIT, || Ok(named() > 0))?;
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(named(), 1, "once");
    assert!(machine.said("stderr").contains("Cilium (programs in"), "{}", machine.said("stderr"));
    Ok(())
}

#[test]
fn an_agent_with_another_folder_of_pins_is_named_until_they_are_taken_away() -> Result<()> {
    let (machine, agent) = enforced(&[])?;
    ensure!(agent.terminate()?.success());
    ensure!(!machine.said("stderr").contains("another agent"), "{}", machine.said("stderr"));
    fs::remove_file(machine.manifests().join("policy.yaml"))?;
    // Beside it, and further down.
    let own = machine.pins().with_file_name("a").join("b");
    machine.inside(|| Ok(fs::create_dir(machine.pins().with_file_name("a"))?))?;
    let agent =
        machine.agent_at(&own, &["--verify-interval", "1", "--listen", "127.0.0.1:9100"])?;
    let before = machine.pins();
    let named = format!("another agent (--pin-dir {};", before.display());
    until("it is named", LIMIT, || Ok(machine.said("stderr").contains(&named)))?;
    ensure!(!arrives(&machine, 5001)?, "what was pinned before is in force");
    let mut detach = Command::new(env!("CARGO_BIN_EXE_policy-agent"));
    detach.args(["detach", "--pins-only", "--pin-dir"]).arg(&before);
    let detached = machine.inside(move || Ok(detach.output()?))?;
    ensure!(detached.status.success(), "{detached:?}");
    until("nothing isolates the pod", LIMIT, || arrives(&machine, 5001))?;
    until("it is named no more", LIMIT, || Ok(!machine.ask("/status")?.contains("another agent")))?;
    assert_eq!(machine.said("stderr").matches(&named).count(), 1, "once");
    ensure!(agent.terminate()?.success());
    Ok(())
}
