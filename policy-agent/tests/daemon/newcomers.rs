//! New pods that something is wrong with, beside others.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::mount::{MsFlags, mount, umount};

use crate::{
    machine::{LIMIT, Machine, arrives, until},
    manifests::{DENY, POD},
    namespace::Namespace,
};

#[test]
fn a_pod_that_cannot_be_attached_to_holds_up_no_other_and_is_told() -> Result<()> {
    let machine = Machine::new()?;
    let other = |name: &str, number| {
        POD.replace("name: pod", &format!("name: {name}"))
            .replace("10.0.0.2", &format!("10.0.{number}.2"))
    };
    machine.write("pods.yaml", &[POD, &other("refused", 1), &other("late", 2)].join("---"))?;
    machine.write("policy.yaml", DENY)?;
    let (refused, late) = (Namespace::new()?, Namespace::new()?);
    machine.plug()?;
    let _agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    until("it is ready", LIMIT, || {
        Ok(machine.ask("/readyz").is_ok_and(|said| said.contains("200 OK")))
    })?;
    // Nobody can pin where something is mounted.
    let obstacle = machine.pins().join("links/to_pod_11");
    machine.inside(|| {
        fs::create_dir(&obstacle)?;
        let none: Option<&str> = None;
        Ok(mount(none, &obstacle, Some("tmpfs"), MsFlags::empty(), none)?)
    })?;
    machine.plug_another(&refused, 1)?;
    let told = "nothing is enforced at the pod, tried again: cannot write endpoint 11";
    until("it is told", LIMIT, || Ok(machine.said("stderr").contains(told)))?;
    machine.plug_another(&late, 2)?;
    let has = |enforced: usize, not: usize| -> Result<bool> {
        let metrics = machine.ask("/metrics")?;
        let says = |state: &str, count: usize| {
            metrics.contains(&format!("policy_pods{{state=\"{state}\"}} {count}\n"))
        };
        Ok(says("enforced", enforced) && says("not_enforced", not) && says("without_address", 0))
    };
    until("all others are enforced", LIMIT, || has(2, 1))?;
    machine.inside(|| Ok(umount(&obstacle)?))?;
    until("so is the one that was refused", LIMIT, || has(3, 0)).map(drop)
}

/// The answer to a question of the plugin.
fn ask(socket: &Path, address: &str, patience: Duration) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    let question = serde_json::json!({
        "ask": "enforce", "namespace": "default", "name": "pod", "container": "c",
        "netns": "/n", "interface": "eth0", "addresses": [address],
        "patience": u64::try_from(patience.as_millis())?,
    });
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

#[test]
fn s08_an_address_that_the_plugin_told_in_vain_is_taken_back() -> Result<()> {
    let machine = Machine::new()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", DENY)?;
    machine.plug()?;
    let socket = machine.manifests().join("run/cni.sock");
    let option = format!("--cni-socket={}", socket.display());
    let _agent = machine.agent(&["--listen", "127.0.0.1:9100", &option])?;
    until("it is ready", LIMIT, || {
        Ok(machine.ask("/readyz").is_ok_and(|said| said.contains("200 OK")))
    })?;
    ensure!(!arrives(&machine, 5001)?, "the policy is in force");
    let said = ask(&socket, "10.0.0.9", Duration::from_millis(300))?;
    ensure!(said.contains("no interface"), "{said}");
    until("the pod is where its status says", LIMIT, || Ok(!arrives(&machine, 5001)?))?;
    // Who only asks how it stands teaches nothing.
    let said = ask(&socket, "10.0.0.9", Duration::ZERO)?;
    ensure!(said.contains("no interface"), "{said}");
    ensure!(!arrives(&machine, 5001)?, "a question opens the pod");
    let said = ask(&socket, "10.0.0.2", Duration::from_secs(5))?;
    ensure!(said.contains("enforced"), "{said}");
    Ok(())
}
