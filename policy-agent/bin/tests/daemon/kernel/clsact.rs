//! Filters of a clsact qdisc, as before Linux 6.6: they outlive the agent, the next one adopts them, and
//! those of others stay (S48, S50). The kernel of the tests has TCX links too, so the agent is asked for
//! filters.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Result, ensure};
use policy_agent::dataplane::{Hooks, hooks};

use super::bpftool;
use crate::{
    detach::detach,
    drift::{is_whole, mends_with},
    machine::{Agent, LIMIT, Machine, arrives, until},
    manifests::{ALLOW_5000, DENY, POD},
    pins::{enforced, taken_over},
    traffic::Traffic,
};

const CLSACT: &str = "--clsact";
const AWAY: Duration = Duration::from_millis(300);

/// The filters of the pod's interface, as [`bpftool::filters`] shows them.
fn filters(machine: &Machine) -> Result<Vec<(String, String, u64)>> {
    machine.inside(bpftool::filters)
}

/// The programs of TCX links; a kernel without them has none.
fn links(machine: &Machine) -> Result<Hooks> {
    machine.inside(|| Ok(hooks("veth0").unwrap_or_default()))
}

/// Their names, by hook; `bpftool` lists ingress first.
fn names(machine: &Machine) -> Result<Vec<String>> {
    Ok(filters(machine)?.into_iter().map(|(_, name, _)| name).collect())
}

/// The output of `tc` on the machine.
pub(crate) fn tc(machine: &Machine, command: &str) -> Result<String> {
    let words = command.split(' ');
    let output = machine.inside(|| Ok(Command::new("tc").args(words).output()?))?;
    ensure!(output.status.success(), "tc {command}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Puts a filter of another program at a handle of the priority that the agent takes on an empty hook.
/// It ends the chain, so that every packet that sees it first passes.
pub(crate) fn add_foreign(machine: &Machine, hook: &str, handle: u32) -> Result<()> {
    let command = format!("filter add dev veth0 {hook} prio 1 handle {handle} bpf bytecode");
    let mut words: Vec<&str> = command.split(' ').collect();
    // Classic BPF: return -1, which matches every packet.
    words.extend(["1,6 0 0 4294967295", "flowid", "1:1"]);
    let output = machine.inside(|| Ok(Command::new("tc").args(&words).output()?))?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn foreign(machine: &Machine, hook: &str) -> Result<usize> {
    let shown = tc(machine, &format!("filter show dev veth0 {hook}"))?;
    Ok(shown.matches("bytecode").count())
}

/// Runs `policy-agent detach`, which must succeed; what it said.
fn detached(machine: &Machine, folder: &Path, options: &[&str]) -> Result<String> {
    let output = detach(machine, folder, options)?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stderr)?)
}

/// The next policy is enforced: the agent is in charge.
fn takes_changes(machine: &Machine) -> Result<()> {
    machine.write("policy.yaml", DENY)?;
    until("the next policy is in force", LIMIT, || Ok(!arrives(machine, 5000)?)).map(drop)
}

#[test]
fn s48_filters_outlive_sigterm_and_sigkill_and_the_next_agent_exchanges_them_in_place() -> Result<()>
{
    let (machine, agent) = enforced(&[CLSACT])?;
    let before = filters(&machine)?;
    assert_eq!(names(&machine)?, ["from_pod", "to_pod"]);
    assert_eq!(links(&machine)?, Hooks::default());
    let traffic = Traffic::start(&machine)?;
    assert!(agent.terminate()?.success());
    thread::sleep(AWAY);
    let agent = taken_over(&machine, &[CLSACT])?;
    thread::sleep(AWAY);
    agent.kill()?;
    thread::sleep(AWAY);
    let _agent = taken_over(&machine, &[CLSACT])?;
    thread::sleep(AWAY);
    traffic.finish()?;
    let after = filters(&machine)?;
    assert_eq!(names(&machine)?, ["from_pod", "to_pod"], "exchanged in place");
    assert!(before.iter().zip(&after).all(|(before, after)| before.2 != after.2), "{after:?}");
    takes_changes(&machine)
}

#[test]
fn s48_maps_of_another_shape_are_exchanged_under_filters_too() -> Result<()> {
    let (machine, agent) = enforced(&[CLSACT])?;
    let traffic = Traffic::start(&machine)?;
    agent.kill()?;
    let _agent = taken_over(&machine, &[CLSACT, "--max-flows", "65536"])?;
    thread::sleep(AWAY);
    traffic.finish()?;
    ensure!(machine.said("stderr").contains("moved=true"), "{}", machine.said("stderr"));
    assert_eq!(names(&machine)?, ["from_pod", "to_pod"]);
    takes_changes(&machine)
}

#[test]
fn s48_an_agent_that_attaches_in_another_way_leaves_no_program_twice() -> Result<()> {
    let (machine, agent) = enforced(&[])?;
    // The kernel stops the interface's queue for a moment when a qdisc is added to it.
    tc(&machine, "qdisc add dev veth0 clsact")?;
    let traffic = Traffic::start(&machine)?;
    let on_hooks = |machine: &Machine| {
        let hooks = links(machine)?;
        Ok::<_, anyhow::Error>((hooks.from_pod.len(), hooks.to_pod.len(), names(machine)?.len()))
    };
    assert_eq!(on_hooks(&machine)?, (1, 1, 0));
    agent.kill()?;
    let agent = taken_over(&machine, &[CLSACT])?;
    // The kernel lets a link go a moment after its last pin.
    until("only filters are left", LIMIT, || Ok(on_hooks(&machine)? == (0, 0, 2)))?;
    agent.kill()?;
    let _agent = taken_over(&machine, &[])?;
    until("only links are left", LIMIT, || Ok(on_hooks(&machine)? == (1, 1, 0)))?;
    traffic.finish()
}

#[test]
fn s48_a_filter_that_no_endpoint_needs_goes_with_the_next_agent() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    // The pod of the interface is not known.
    machine.write("pod.yaml", &POD.replace("10.0.0.2", "10.0.0.99"))?;
    let agent = machine.agent(&[CLSACT, "--unknown-endpoints", "drop"])?;
    until("the unknown interface is guarded", LIMIT, || Ok(!arrives(&machine, 5001)?))?;
    agent.kill()?;
    assert!(!arrives(&machine, 5001)?, "nobody runs");
    let _agent = taken_over(&machine, &[CLSACT])?;
    until("no filter is left", LIMIT, || Ok(names(&machine)?.is_empty()))?;
    assert!(arrives(&machine, 5001)?, "an unknown interface is open again");
    Ok(())
}

#[test]
fn s48_detach_removes_filters_and_leaves_those_of_others() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    tc(&machine, "qdisc add dev veth0 clsact")?;
    for hook in ["ingress", "egress"] {
        add_foreign(&machine, hook, 1)?;
    }
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", ALLOW_5000)?;
    let agent = machine.agent(&[CLSACT])?;
    until("the policy is in force, before the other filter", LIMIT, || is_whole(&machine))?;
    agent.kill()?;
    let agent = taken_over(&machine, &[CLSACT])?;
    ensure!(is_whole(&machine)?, "after a takeover");
    assert!(agent.terminate()?.success());
    ensure!(is_whole(&machine)?, "nobody runs");
    detached(&machine, &machine.pins(), &[])?;
    assert!(!names(&machine)?.iter().any(|name| name.ends_with("_pod")), "{:?}", names(&machine)?);
    assert!(!machine.inside(|| Ok(machine.pins().exists()))?, "a folder is left");
    assert_eq!((foreign(&machine, "ingress")?, foreign(&machine, "egress")?), (1, 1));
    assert!(arrives(&machine, 5001)?, "everything passes");
    Ok(())
}

#[test]
fn s48_detach_removes_filters_whose_pins_somebody_removed() -> Result<()> {
    let (machine, agent) = enforced(&[CLSACT])?;
    agent.kill()?;
    machine.inside(|| Ok(fs::remove_dir_all(machine.pins())?))?;
    ensure!(is_whole(&machine)?, "a filter needs no pin");
    let said = detached(&machine, &machine.pins(), &[])?;
    ensure!(said.contains("removed 2 filters") && !said.contains("nothing to detach"), "{said}");
    assert_eq!(names(&machine)?, [""; 0]);
    Ok(())
}

#[test]
fn s48_filters_of_an_agent_with_other_pins_are_left_alone() -> Result<()> {
    let (machine, agent) = enforced(&[CLSACT])?;
    let other = machine.pins().with_file_name("other");
    let second: Agent = machine.agent_at(&other, &[CLSACT])?;
    until("both are attached", LIMIT, || Ok(names(&machine)?.len() == 4))?;
    assert!(second.terminate()?.success());
    detached(&machine, &other, &["--pins-only"])?;
    assert_eq!(names(&machine)?, ["from_pod", "to_pod"]);
    ensure!(is_whole(&machine)?, "the first one enforces");
    assert!(agent.terminate()?.success());
    Ok(())
}

#[test]
fn s50_filters_that_are_removed_or_given_another_program_come_back() -> Result<()> {
    for (claim, command) in [
        ("removed", "filter del dev veth0 ingress prio 1 handle 1 bpf"),
        ("the qdisc removed", "qdisc del dev veth0 clsact"),
    ] {
        println!("{claim}");
        let machine = mends_with(&[CLSACT], "attachment", |machine| {
            tc(machine, command)?;
            ensure!(arrives(machine, 5001)?, "the pod should be open now");
            Ok(())
        })?;
        assert_eq!(names(&machine)?, ["from_pod", "to_pod"], "{claim}");
    }
    Ok(())
}

#[test]
fn s50_a_filter_that_another_program_took_over_is_added_before_it() -> Result<()> {
    let machine = mends_with(&[CLSACT], "attachment", |machine| {
        tc(machine, "filter del dev veth0 ingress prio 1 handle 1 bpf")?;
        add_foreign(machine, "ingress", 1)
    })?;
    assert_eq!(foreign(&machine, "ingress")?, 1, "it is left alone");
    Ok(())
}
