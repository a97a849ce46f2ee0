//! A program of another before the agent's on the hook: put behind it, or else reported (S50).

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use policy_agent::dataplane::{Dataplane, Hooks, Options, hooks};
use policy_common::endpoint::Endpoint;
use policy_core::plan::Step;

use super::clsact::{add_foreign, tc};
use crate::{
    drift::{is_whole, mends_with},
    machine::{LIMIT, Machine, until},
    pins::enforced,
    traffic::Traffic,
};

const OPTIONS: [&str; 4] = ["--verify-interval", "1", "--listen", "127.0.0.1:9100"];

/// Attaches other programs before those of the agent, as long as the result lives.
fn attach_first(machine: &Machine) -> Result<Dataplane> {
    machine.inside(|| {
        let mut others = Dataplane::load(&Options::default())?;
        let address4 = [10, 0, 0, 2];
        let address6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        let open = Endpoint { ifindex: 10, slot: 3, address4, address6, ..Endpoint::default() };
        others.apply(&Step::PutEndpoint(open))?;
        Ok(others)
    })
}

/// The ids of the programs on both hooks, in order.
fn order(machine: &Machine) -> Result<[Vec<u32>; 2]> {
    let Hooks { from_pod, to_pod } = machine.inside(|| Ok(hooks("veth0")?))?;
    Ok([from_pod, to_pod].map(|hook| hook.iter().map(|program| program.id).collect()))
}

#[test]
fn s50_a_program_attached_before_the_agents_is_put_behind_it_under_traffic() -> Result<()> {
    let (machine, _agent) = enforced(&OPTIONS)?;
    let own = order(&machine)?;
    let traffic = Traffic::start(&machine)?;
    let _others = attach_first(&machine)?;
    until("the agent's programs are first", LIMIT, || {
        let order = order(&machine)?;
        Ok(order.iter().zip(&own).all(|(hook, own)| hook.len() == 2 && hook[0] == own[0]))
    })?;
    thread::sleep(Duration::from_secs(2));
    traffic.finish()?;
    let said = machine.said("stderr");
    ensure!(said.contains("TCX program `from_pod`"), "{said}");
    ensure!(machine.is_ready(), "nothing is bypassed any more");
    Ok(())
}

#[test]
fn s50_a_program_that_stays_before_the_agents_is_reported_everywhere() -> Result<()> {
    // Filters see packets after every TCX program.
    let (machine, _agent) = enforced(&[&OPTIONS[..], &["--clsact"]].concat())?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    let others = attach_first(&machine)?;
    until("it is not ready", LIMIT, || Ok(!machine.is_ready()))?;
    let ready = machine.ask("/readyz")?;
    ensure!(ready.contains("enforcement is bypassed: pod default/pod: TCX program"), "{ready}");
    let status = machine.ask("/status")?;
    ensure!(status.contains("not_enforced") && status.contains("sees packets before"), "{status}");
    let metrics = machine.ask("/metrics")?;
    ensure!(metrics.contains("policy_bypassed_hooks 2"), "{metrics}");
    let said = machine.said("stderr");
    ensure!(said.contains("enforcement is bypassed: pod default/pod"), "{said}");
    drop(others);
    until("it is ready again", LIMIT, || Ok(machine.is_ready()))?;
    ensure!(machine.ask("/metrics")?.contains("policy_bypassed_hooks 0"));
    Ok(())
}

#[test]
fn s50_filters_behind_a_program_that_stays_before_them_are_left_as_they_are() -> Result<()> {
    let (machine, _agent) = enforced(&[&OPTIONS[..], &["--clsact"]].concat())?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    // With their handles.
    let filters = || {
        let show = |hook| tc(&machine, &format!("filter show dev veth0 {hook}"));
        Ok::<_, anyhow::Error>([show("ingress")?, show("egress")?])
    };
    let before = filters()?;
    ensure!(before.iter().all(|shown| shown.contains("handle 0x1 ")), "{before:?}");
    let _others = attach_first(&machine)?;
    until("it is not ready", LIMIT, || Ok(!machine.is_ready()))?;
    // Two more verifications.
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(filters()?, before);
    Ok(())
}

#[test]
fn s50_a_filter_that_is_added_before_the_agents_and_ends_the_chain_is_put_behind_it() -> Result<()>
{
    mends_with(&["--clsact"], "attachment", |machine| {
        add_foreign(machine, "ingress", 2)?;
        ensure!(!is_whole(machine)?, "the pod should be open now");
        Ok(())
    })
    .map(drop)
}
