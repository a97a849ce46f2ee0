//! What somebody else did to maps, programs and pins, put right and counted (S50).

use std::{fs, process::Command, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use policy_agent::dataplane::hooks;
use serde_json::Value;

use crate::{
    machine::{Agent, LIMIT, Machine, arrives, until},
    pins,
    traffic::Traffic,
};

const OPTIONS: [&str; 4] = ["--verify-interval", "1", "--listen", "127.0.0.1:9100"];

/// A machine under `ALLOW_5000`, and an agent that verifies every second.
fn enforced(options: &[&str]) -> Result<(Machine, Agent)> {
    pins::enforced(&[&OPTIONS[..], options].concat())
}

/// Whether the policy is in force, neither more nor less.
pub(crate) fn is_whole(machine: &Machine) -> Result<bool> {
    Ok(arrives(machine, 5000)? && !arrives(machine, 5001)?)
}

/// What the agent counted of a kind of drift.
fn repaired(machine: &Machine, what: &str) -> Result<u64> {
    let text = machine.ask("/metrics")?;
    let name = format!("policy_drift_repaired_total{{what=\"{what}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    Ok(line.with_context(|| format!("no {name} in {text}"))?.parse()?)
}

/// Does something to the agent's work, and sees it counted and the policy in force again.
fn mends(what: &str, act: impl Fn(&Machine) -> Result<()>) -> Result<Machine> {
    mends_with(&[], what, act)
}

/// As [`mends`], with further options for the agent.
pub(crate) fn mends_with(
    options: &[&str],
    what: &str,
    act: impl Fn(&Machine) -> Result<()>,
) -> Result<Machine> {
    let (machine, agent) = enforced(options)?;
    let before = repaired(&machine, what)?;
    act(&machine)?;
    let counted = until("it is counted", LIMIT, || Ok(repaired(&machine, what)? > before));
    counted.with_context(|| machine.said("stderr"))?;
    until("the policy is in force again", LIMIT, || is_whole(&machine))?;
    // Once is enough.
    let counted = repaired(&machine, what)?;
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(repaired(&machine, what)?, counted, "{what}: it is put right again and again");
    // And it is so for good.
    assert!(agent.terminate()?.success());
    ensure!(is_whole(&machine)?, "it went with the agent");
    Ok(machine)
}

pub(crate) fn bpftool(machine: &Machine, arguments: &[&str]) -> Result<String> {
    let output = machine.inside(|| Ok(Command::new("bpftool").args(arguments).output()?))?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The bytes of the first key of a pinned map, as bpftool takes them.
fn first_key(machine: &Machine, pin: &str) -> Result<Vec<String>> {
    let dump: Value =
        serde_json::from_str(&bpftool(machine, &["-j", "map", "dump", "pinned", pin])?)?;
    let key = dump[0]["key"].as_array().with_context(|| format!("{pin} is empty: {dump}"))?;
    key.iter().map(|byte| Ok(byte.as_str().context("no byte")?.to_owned())).collect()
}

fn delete_first(machine: &Machine, map: &str) -> Result<()> {
    let pin = pin(machine, &format!("maps/{map}"));
    let key = first_key(machine, &pin)?;
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    bpftool(machine, &[&["map", "delete", "pinned", &pin, "key"], &key[..]].concat())?;
    Ok(())
}

pub(crate) fn pin(machine: &Machine, name: &str) -> String {
    machine.pins().join(name).to_string_lossy().into_owned()
}

/// The allow map of the pod's egress, by the one that has an entry.
fn allow_map(machine: &Machine) -> Result<String> {
    let maps = machine.pins().join("maps");
    let names = machine.inside(|| {
        let names = fs::read_dir(&maps)?.map(|entry| Ok(entry?.file_name()));
        names.collect::<Result<Vec<_>>>()
    })?;
    let names = names.iter().map(|name| name.to_string_lossy().into_owned());
    let mut names = names.filter(|name| name.starts_with("allow_") && name != "allow_0");
    let full = |name: &String| first_key(machine, &pin(machine, &format!("maps/{name}"))).is_ok();
    names.find(full).context("no allow map has an entry")
}

#[test]
fn s50_entries_that_are_deleted_come_back() -> Result<()> {
    for map in ["blocks", "endpoints", "node_addresses", "pods", "tunnel_ports"] {
        println!("{map}");
        mends("entry", |machine| delete_first(machine, map))?;
    }
    mends("entry", |machine| delete_first(machine, &allow_map(machine)?))?;
    Ok(())
}

#[test]
fn s50_entries_that_are_added_or_changed_go() -> Result<()> {
    // The port set of the one allowed block says: every port.
    mends("entry", |machine| {
        let pin = pin(machine, &format!("maps/{}", allow_map(machine)?));
        let key = first_key(machine, &pin)?;
        let mut value: Vec<String> = key.clone();
        value.extend(["0", "0", "0", "0", "0xff"].map(str::to_owned));
        let dump: Value =
            serde_json::from_str(&bpftool(machine, &["-j", "map", "dump", "pinned", &pin])?)?;
        let length = dump[0]["value"].as_array().context("no value")?.len();
        value.resize(length, "0".to_owned());
        let head = ["map", "update", "pinned", &pin, "key"];
        let rest = key.iter().map(String::as_str).chain(["value"]);
        let rest = rest.chain(value.iter().map(String::as_str));
        let all: Vec<&str> = head.into_iter().chain(rest).collect();
        bpftool(machine, &all)?;
        ensure!(arrives(machine, 5001)?, "the change should open a port");
        Ok(())
    })?;
    // The host outside is one of the node's addresses.
    mends("entry", |machine| {
        let pin = pin(machine, "maps/node_addresses");
        let key = "0 0 0 0 0 0 0 0 0 0 255 255 10 1 0 77";
        let text = format!("map update pinned {pin} key {key} value 1 0 0 0");
        bpftool(machine, &text.split(' ').collect::<Vec<_>>())?;
        Ok(())
    })?;
    Ok(())
}

#[test]
fn s50_programs_that_are_detached_are_attached_again() -> Result<()> {
    let machine = mends("attachment", |machine| {
        bpftool(machine, &["link", "detach", "pinned", &pin(machine, "links/from_pod_10")])?;
        ensure!(arrives(machine, 5001)?, "the pod should be open now");
        Ok(())
    })?;
    let hooks = machine.inside(|| Ok(hooks("veth0")?))?;
    assert_eq!((hooks.from_pod.len(), hooks.to_pod.len()), (1, 1));
    mends("attachment", |machine| {
        bpftool(machine, &["link", "detach", "pinned", &pin(machine, "links/to_pod_10")]).map(drop)
    })?;
    Ok(())
}

#[test]
fn s50_pins_that_are_removed_are_made_again_and_nothing_is_cut() -> Result<()> {
    for (what, name) in [
        ("attachment", "links/from_pod_10"),
        ("pin", "programs/to_pod"),
        ("pin", "maps/flows4"),
        ("pin", "maps/events"),
        ("entry", "maps/allow_*"),
        ("pin", "maps/version_*"),
        ("pin", ""),
    ] {
        println!("{name}");
        let remove = |machine: &Machine| {
            let command = format!("rm -r {}", pin(machine, name));
            let output =
                machine.inside(|| Ok(Command::new("sh").args(["-c", &command]).output()?))?;
            ensure!(output.status.success(), "{output:?}");
            Ok(())
        };
        let machine = mends(what, remove)?;
        // The next agent finds everything, and takes it over.
        let traffic = Traffic::start(&machine)?;
        let agent = machine.agent(&OPTIONS)?;
        until("it has taken over", LIMIT, || {
            Ok(machine.said("stderr").matches("took over from an earlier agent").count() == 1)
        })?;
        thread::sleep(Duration::from_millis(500));
        traffic.finish()?;
        ensure!(!machine.said("stderr").contains("moved=true"), "the maps are the same");
        drop(agent);
    }
    Ok(())
}

#[test]
fn s50_what_nobody_touched_is_left_alone_under_traffic() -> Result<()> {
    let (machine, _agent) = enforced(&[])?;
    let traffic = Traffic::start(&machine)?;
    thread::sleep(Duration::from_secs(4));
    traffic.finish()?;
    for what in ["entry", "attachment", "pin"] {
        assert_eq!(repaired(&machine, what)?, 0, "{what}");
    }
    Ok(())
}
