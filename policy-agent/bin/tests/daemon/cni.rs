//! Pods that start only once their policies are in force (S47).

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    machine::{Agent, LIMIT, Machine, arrives, started, until},
    manifests::{DENY, POD},
    namespace::Namespace,
    runtime::{Runtime, UID},
};

/// The pod before kubelet has published its address.
pub(crate) fn born() -> String {
    let pod = POD.replace("name: pod,", &format!("name: pod, uid: {UID},"));
    pod.replace("status: {podIPs: [{ip: 10.0.0.2}]}", "status: {phase: Pending}")
}

/// The pod as kubelet publishes it, a while after its containers have started.
fn published() -> String {
    POD.replace("name: pod,", &format!("name: pod, uid: {UID},"))
}

/// Starts an agent that chains the plugin, with `more` options.
pub(crate) fn chained(runtime: &Runtime, machine: &Machine, more: &[&str]) -> Result<Agent> {
    let options = runtime.options()?;
    let options: Vec<&str> =
        options.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let agent = machine.agent(&options)?;
    until("the plugin is chained", LIMIT, || Ok(runtime.is_chained()))?;
    Ok(agent)
}

pub(crate) fn added(runtime: &Runtime, pod: &Namespace) -> Result<Value> {
    runtime.add(pod)?.map_err(|error| anyhow::anyhow!("{error}"))
}

#[test]
fn s47_the_first_packet_of_a_container_is_judged_with_the_plugin_and_passes_without() -> Result<()>
{
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    machine.write("pod.yaml", &born())?;
    machine.write("policy.yaml", DENY)?;
    let agent = machine.agent(&[])?;
    until("it enforces", LIMIT, || Ok(machine.said("stderr").contains("manifests read")))?;

    let mut result = added(&runtime, &machine.pod)?;
    let open = Instant::now();
    ensure!(arrives(&machine, 5001)?, "without the plugin the first packet should pass");
    machine.write("pod.yaml", &published())?;
    until("the policy is in force", LIMIT, || Ok(!arrives(&machine, 5001)?))?;
    println!("without the plugin: open for {:?}", open.elapsed());
    runtime.delete(&machine.pod, Some(&result))?;
    assert!(agent.terminate()?.success());

    machine.write("pod.yaml", &born())?;
    let _agent = chained(&runtime, &machine, &[])?;
    for port in 6000..6020 {
        let start = Instant::now();
        result = added(&runtime, &machine.pod)?;
        let took = start.elapsed();
        ensure!(!arrives(&machine, port)?, "the first packet of a container passed");
        println!("with the plugin: ADD took {took:?}");
        let port = format!("\"port\":{port}");
        until("the drop is logged", LIMIT, || Ok(machine.said("stdout").contains(&port)))?;
        ensure!(runtime.check(&machine.pod, &result)?.is_ok(), "it is as it should be");
        runtime.delete(&machine.pod, Some(&result))?;
    }
    // No policies are in force at a sandbox that was removed.
    let error = runtime.check(&machine.pod, &result)?.expect_err("the wire is gone");
    ensure!(error["code"].as_u64().is_some(), "{error}");
    Ok(())
}

#[test]
fn s47_a_pod_waits_until_the_api_server_has_reported_it() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    machine.write("policy.yaml", DENY)?;
    let _agent = chained(&runtime, &machine, &[])?;
    thread::scope(|scope| {
        let add = scope.spawn(|| added(&runtime, &machine.pod));
        thread::sleep(Duration::from_secs(1));
        ensure!(!add.is_finished(), "nobody knows the pod");
        machine.write("pod.yaml", &born())?;
        let result = add.join().ok().context("it panicked")??;
        ensure!(!arrives(&machine, 5001)?, "the pod is open");
        runtime.delete(&machine.pod, Some(&result))
    })
}

#[test]
fn s47_without_an_agent_pods_fail_closed_or_open_as_configured() -> Result<()> {
    for (fail, starts) in [("closed", false), ("open", true)] {
        let machine = Machine::new()?;
        let runtime = Runtime::new(&machine)?;
        machine.write("pod.yaml", &born())?;
        machine.write("policy.yaml", DENY)?;
        let agent = chained(&runtime, &machine, &["--cni-fail", fail])?;
        agent.kill()?;
        let result = runtime.add(&machine.pod)?;
        assert_eq!(result.is_ok(), starts, "{fail}: {result:?}");
        if let Err(error) = &result {
            assert_eq!(error["code"], 11, "{error}");
            let message = error["msg"].as_str().unwrap_or_default();
            ensure!(message.contains("cannot reach the agent"), "{error}");
        } else {
            ensure!(arrives(&machine, 5001)?, "open means open");
        }
        // The sandbox can be removed in either case.
        runtime.delete(&machine.pod, result.as_ref().ok())?;
        // The next agent handles pods at once.
        let _agent = chained(&runtime, &machine, &["--cni-fail", fail])?;
        until("it handles pods", LIMIT, || {
            let result = runtime.add(&machine.pod)?;
            let is_closed = result.is_ok() && !arrives(&machine, 5001)?;
            runtime.delete(&machine.pod, result.as_ref().ok())?;
            Ok(is_closed)
        })?;
    }
    Ok(())
}

#[test]
fn s47_the_plugin_survives_a_rewrite_and_detach_restores_every_byte() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    let conflist = runtime.conflist();
    fs::set_permissions(&conflist, Permissions::from_mode(0o640))?;
    let agent = chained(&runtime, &machine, &[])?;
    let (old, new) = (runtime.configuration("1.0.0"), runtime.configuration("0.4.0"));
    for round in 0..10 {
        let text = if round % 2 == 0 { &new } else { &old };
        if round % 3 == 0 {
            let aside = runtime.conf_dir().join("aside");
            fs::write(&aside, text)?;
            fs::set_permissions(&aside, Permissions::from_mode(0o640))?;
            fs::rename(&aside, &conflist)?;
        } else {
            fs::write(&conflist, text)?;
        }
        let took = until("it is put back", LIMIT, || Ok(runtime.is_chained()))?;
        println!("put back after {took:?}");
    }
    // An incomplete file is repaired once it is complete.
    fs::write(&conflist, &old[..old.len() / 2])?;
    until("it is logged", LIMIT, || {
        Ok(machine.said("stderr").contains("not a CNI configuration"))
    })?;
    fs::write(&conflist, &old)?;
    until("it is put back", LIMIT, || Ok(runtime.is_chained()))?;
    fs::remove_file(runtime.bin_dir().join("policy-cni"))?;
    fs::write(&conflist, &old)?;
    until("its program is put back", LIMIT, || Ok(runtime.is_chained()))?;
    // Another configuration becomes the first.
    let first = runtime.conf_dir().join("05-other.conflist");
    fs::write(&first, &new)?;
    until("it is in the first", LIMIT, || Ok(fs::read_to_string(&first)?.contains("policy-cni")))?;

    assert!(agent.terminate()?.success());
    ensure!(runtime.is_chained(), "an agent that ends removes nothing");
    let mut detach = started(&[]);
    detach.args(runtime.detach_arguments());
    let detached = machine.inside(move || Ok(detach.output()?))?;
    ensure!(detached.status.success(), "{detached:?}");
    assert_eq!((fs::read_to_string(&conflist)?, fs::read_to_string(&first)?), (old, new));
    assert_eq!(fs::metadata(&conflist)?.permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(runtime.bin_dir())?.count(), 0, "the program is left");
    assert_eq!(fs::read_dir(runtime.conf_dir())?.count(), 2, "a file is left");
    ensure!(!runtime.socket().exists(), "the socket is left");
    Ok(())
}

#[test]
fn the_result_cache_has_a_pods_address_before_its_status() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    machine.write("pod.yaml", &born())?;
    machine.write("policy.yaml", DENY)?;
    let cache = format!("--cni-cache={}", runtime.cache().display());
    let _agent = machine.agent(&[&cache])?;
    until("it enforces", LIMIT, || Ok(machine.said("stderr").contains("manifests read")))?;
    let result = added(&runtime, &machine.pod)?;
    ensure!(arrives(&machine, 5001)?, "without the plugin there is a window");
    runtime.keep(&result)?;
    let took = until("the policy is in force", LIMIT, || Ok(!arrives(&machine, 5001)?))?;
    println!("by the cache: open for less than {took:?}");
    Ok(())
}
