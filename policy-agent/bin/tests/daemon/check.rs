//! `policy-agent check`: what it finds on a node, and what it says to do.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{enforcers::make, machine::Machine};

/// Exit code and the conditions.
fn check(machine: &Machine, options: &[&str]) -> Result<(Option<i32>, Vec<Value>)> {
    let output = machine.inside(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_policy-agent"));
        Ok(command.args(["check", "-o", "json"]).args(options).output()?)
    })?;
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok((output.status.code(), checks))
}

/// The condition of a name: its outcome, and what was found with the advice.
fn of<'a>(checks: &'a [Value], name: &str) -> Result<(&'a str, String)> {
    let check = checks.iter().find(|check| check["name"] == name).context(name.to_owned())?;
    let text = |field: &str| check[field].as_str().unwrap_or_default();
    Ok((text("outcome"), format!("{}; {}", text("found"), text("advice"))))
}

#[test]
fn a_node_is_checked_before_an_install_and_each_line_says_what_to_do() -> Result<()> {
    let machine = Machine::new()?;
    let pins = machine.pins();
    let folder = machine.manifests();
    let (pins, folder) = (pins.to_string_lossy(), folder.to_string_lossy());
    let places = ["--cni-conf-dir", &*folder, "--cni-bin-dir", &*folder];
    let on_bpffs = [&["--pin-dir", &*pins][..], &places].concat();
    make(&machine, "ip kube-proxy", &["services"])?;
    machine.write("10-net.conflist", "{}")?;
    let (code, checks) = check(&machine, &on_bpffs)?;
    let names: Vec<_> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    #[rustfmt::skip]
    let expected = [
        "kernel", "btf", "lockdown", "privileges", "bpffs", "interfaces", "tc-programs", "enforcers",
        "kube-proxy", "conntrack", "bridge", "cni",
    ];
    assert_eq!(names, expected);
    ensure!(code != Some(3), "{code:?} {checks:#?}");
    for name in ["kernel", "btf", "privileges", "bpffs", "interfaces", "enforcers", "cni"] {
        assert_eq!(of(&checks, name)?.0, "ok", "{checks:#?}");
    }
    ensure!(of(&checks, "kube-proxy")?.1.starts_with("mode nftables"), "{checks:#?}");
    for check in &checks {
        let has_advice = check["advice"].as_str().is_some_and(|advice| !advice.is_empty());
        assert_eq!(check["outcome"] != "ok", has_advice, "{check}");
    }

    make(&machine, "inet kindnet-network-policies", &["postrouting"])?;
    let (code, checks) = check(&machine, &on_bpffs)?;
    assert_eq!(code, Some(1), "{checks:#?}");
    let (outcome, text) = of(&checks, "enforcers")?;
    ensure!(outcome == "warning" && text.contains("kindnet") && text.contains("disable one"));

    let elsewhere = [&["--pin-dir", "/tmp/policy"][..], &places].concat();
    let (code, checks) = check(&machine, &elsewhere)?;
    assert_eq!(code, Some(3), "{checks:#?}");
    let (outcome, text) = of(&checks, "bpffs")?;
    ensure!(outcome == "failed" && text.contains("mount -t bpf bpf /sys/fs/bpf"), "{text}");
    Ok(())
}
