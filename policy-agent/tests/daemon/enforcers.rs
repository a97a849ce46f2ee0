//! Another enforcer on the node, named in a warning.

use std::{fs, process::Command, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    machine::{Machine, until},
    manifests::{DENY, POD},
};

const LIMIT: Duration = Duration::from_secs(20);

/// Rules as the enforcer leaves them, and what the agent calls it.
#[rustfmt::skip]
const TRACES: [(&str, &str); 5] = [
    ("table inet kindnet-network-policies { chain postrouting { type filter hook postrouting priority 95; } }", "kindnet (table kindnet-network-policies"),
    ("table ip filter { chain KUBE-NWPLCY-AAAA { } chain KUBE-POD-FW-BBBB { } }",                               "kube-router, as in k3s (chain KUBE-"),
    ("table ip filter { chain cali-FORWARD { } chain cali-tw-cali1 { } }",                                     "Calico (chain cali-"),
    ("table ip mangle { chain CILIUM_PRE_mangle { } }",                                                        "Cilium (chain CILIUM_PRE_mangle"),
    ("table inet calico { chain filter-FORWARD { } }",                                                         "Calico (table calico"),
];

fn nft(machine: &Machine, ruleset: &str) -> Result<()> {
    let file = machine.manifests().join("../rules.nft");
    fs::write(&file, ruleset)?;
    let output = machine.inside(|| Ok(Command::new("nft").arg("-f").arg(&file).output()?))?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn another_enforcer_is_named() -> Result<()> {
    for (ruleset, name) in TRACES {
        let machine = Machine::new()?;
        machine.plug()?;
        machine.write("pod.yaml", POD)?;
        machine.write("policy.yaml", DENY)?;
        nft(&machine, ruleset)?;
        let _agent = machine.agent(&[])?;
        until(name, LIMIT, || {
            let said = machine.said("stderr");
            Ok(said.contains("another enforcer is at work") && said.contains(name))
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
    nft(
        &machine,
        "table ip kube-proxy { chain filter-forward { } chain services { } }\n\
        table ip filter { chain KUBE-FORWARD { } chain KUBE-SERVICES { } chain FLANNEL-FWD { } }",
    )?;
    let _agent = machine.agent(&["--verify-interval", "1"])?;
    let named = || machine.said("stderr").matches("another enforcer is at work").count();
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
