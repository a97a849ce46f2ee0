//! Enforcement that does not depend on the agent running (S48).

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use policy_agent::{
    dataplane::{Hooks, hooks},
    net::build::NetBuilder,
};

use crate::{
    machine::{Agent, HOST, LIMIT, Machine, arrives, until},
    manifests::{ALLOW_5000, DENY, POD},
    traffic::Traffic,
};

const AWAY: Duration = Duration::from_millis(300);

/// A machine under `ALLOW_5000`, and its agent.
pub(crate) fn enforced(options: &[&str]) -> Result<(Machine, Agent)> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    machine.write("policy.yaml", ALLOW_5000)?;
    let agent = machine.agent(options)?;
    until("the policy is in force", LIMIT, || {
        Ok(arrives(&machine, 5000)? && !arrives(&machine, 5001)?)
    })?;
    Ok((machine, agent))
}

/// Starts another agent and waits until it has taken over.
pub(crate) fn taken_over(machine: &Machine, options: &[&str]) -> Result<Agent> {
    let count = || machine.said("stderr").matches("took over from an earlier agent").count();
    let before = count();
    let agent = machine.agent(options)?;
    until("the next agent has taken over", LIMIT, || Ok(count() > before))?;
    Ok(agent)
}

pub(crate) fn programs(machine: &Machine) -> Result<Hooks> {
    machine.inside(|| Ok(hooks("veth0")?))
}

/// Kills an agent and starts the next under traffic, packet by packet.
fn exchanged(machine: &Machine, agent: Agent, options: &[&str]) -> Result<Agent> {
    let before = programs(machine)?;
    let traffic = Traffic::start(machine)?;
    thread::sleep(AWAY);
    agent.kill()?;
    thread::sleep(AWAY);
    let agent = taken_over(machine, options)?;
    thread::sleep(AWAY);
    traffic.finish()?;
    let after = programs(machine)?;
    for (before, after) in [(before.from_pod, after.from_pod), (before.to_pod, after.to_pod)] {
        assert_eq!((before.len(), after.len()), (1, 1));
        assert_ne!(before[0].id, after[0].id, "the next agent's own program");
    }
    Ok(agent)
}

/// As [`exchanged`], and the next agent is in charge.
fn survives(options: &[&str]) -> Result<(Machine, Agent)> {
    let (machine, agent) = enforced(&[])?;
    let agent = exchanged(&machine, agent, options)?;
    // It is in charge.
    machine.write("policy.yaml", DENY)?;
    until("the next policy is in force", LIMIT, || Ok(!arrives(&machine, 5000)?))?;
    Ok((machine, agent))
}

#[test]
fn s48_a_killed_agent_and_the_next_neither_open_nor_cut_anything() -> Result<()> {
    let (machine, agent) = survives(&[])?;
    // A pod is judged by the same flows, however often.
    assert!(agent.terminate()?.success());
    assert!(!arrives(&machine, 5001)?, "nobody runs");
    Ok(())
}

#[test]
fn s48_maps_of_another_shape_neither_open_nor_cut_anything() -> Result<()> {
    let (machine, agent) = survives(&["--max-flows", "65536"])?;
    assert!(machine.said("stderr").contains("moved=true"), "{}", machine.said("stderr"));
    let folders = machine.inside(|| {
        let entries = fs::read_dir(machine.pins())?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    })?;
    assert_eq!(folders, ["links", "maps", "programs"], "the maps of before are gone");
    agent.kill()?;
    drop(taken_over(&machine, &["--max-flows", "65536"])?);
    assert_eq!(machine.said("stderr").matches("moved=true").count(), 1, "the same shape");
    Ok(())
}

#[test]
fn s48_another_binary_with_other_programs_neither_opens_nor_cuts_anything() -> Result<()> {
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bpf/policy-v2.o");
    assert!(other.exists(), "no {}; run `cargo xtask test`", other.display());
    let other = other.to_str().context("a path that is no text")?;
    let tags = |machine: &Machine| {
        let hooks = programs(machine)?;
        Ok::<_, anyhow::Error>([hooks.from_pod, hooks.to_pod].map(|hook| hook[0].tag))
    };
    let (machine, agent) = enforced(&[])?;
    let own = tags(&machine)?;
    let agent = exchanged(&machine, agent, &["--bpf-object", other])?;
    let others = tags(&machine)?;
    assert!(own.iter().all(|tag| !others.contains(tag)), "the programs are the same");
    // And back, a downgrade.
    let _agent = exchanged(&machine, agent, &[])?;
    assert_eq!(tags(&machine)?, own);
    Ok(())
}

#[test]
fn s48_agents_that_are_killed_while_they_begin_neither_open_nor_cut_anything() -> Result<()> {
    let (machine, agent) = enforced(&[])?;
    let traffic = Traffic::start(&machine)?;
    agent.kill()?;
    let start = Instant::now();
    drop(taken_over(&machine, &["--max-flows", "32768"])?);
    let whole = start.elapsed();
    let said = || machine.said("stderr").matches("took over from an earlier agent").count();
    let before = said();
    for part in 0..24 {
        // Every other one has another layout of the maps to change over to.
        let options = if part % 2 == 0 { &[][..] } else { &["--max-flows", "65536"] };
        let agent = machine.agent(options)?;
        // Up to twice as long as an undisturbed start, because the machine's speed varies.
        thread::sleep(whole * part / 12);
        agent.kill()?;
    }
    assert!((1..24).contains(&(said() - before)), "some came to their end, and not all");
    let agent = taken_over(&machine, &[])?;
    traffic.finish()?;
    let hooks = programs(&machine)?;
    assert_eq!((hooks.from_pod.len(), hooks.to_pod.len()), (1, 1));
    assert!(agent.terminate()?.success());
    Ok(())
}

#[test]
fn s48_an_exchange_of_maps_that_was_cut_short_is_ended_by_the_next_agent() -> Result<()> {
    // What a kill may leave of the folders, beside `maps` or in its place.
    let left: [&[(&str, Option<&str>)]; 3] =
        [&[("new", None)], &[("new", Some("maps")), ("old", None)], &[("old", None)]];
    for folders in left {
        let (machine, agent) = enforced(&[])?;
        let traffic = Traffic::start(&machine)?;
        agent.kill()?;
        machine.inside(|| {
            for (name, from) in folders {
                let path = machine.pins().join(name);
                match from {
                    Some(from) => fs::rename(machine.pins().join(from), path)?,
                    None => fs::create_dir(path)?,
                }
            }
            Ok(())
        })?;
        let _agent = taken_over(&machine, &[])?;
        traffic.finish().with_context(|| format!("{folders:?}"))?;
        let left =
            machine.inside(|| Ok(["new", "old"].map(|name| machine.pins().join(name).exists())))?;
        assert_eq!(left, [false; 2], "{folders:?}");
    }
    Ok(())
}

#[test]
fn s48_connections_that_begin_while_maps_are_exchanged_go_on() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    machine.write("pod.yaml", POD)?;
    // Without its flow, nothing that the host pushes passes.
    machine
        .write("policy.yaml", &ALLOW_5000.replace("{protocol: UDP, port: 5000}", "{port: 5000}"))?;
    let agent = machine.agent(&[])?;
    let listener = machine.host.run(async || Ok(TcpListener::bind((HOST, 5000))?))?;
    // On a loaded machine a datagram may be late without any policy.
    until("the policy is in force", LIMIT, || {
        Ok(machine.said("stderr").contains("pinned programs and maps") && !arrives(&machine, 5001)?)
    })?;
    agent.kill()?;
    let over = AtomicBool::new(false);
    let pairs = thread::scope(|scope| {
        let opener = scope.spawn(|| {
            machine.pod.run(async || {
                let mut pairs = Vec::new();
                // A loaded machine opens few in that time.
                while !over.load(Ordering::Relaxed) || pairs.len() < 100 {
                    pairs.push((TcpStream::connect((HOST, 5000))?, listener.accept()?.0));
                    thread::sleep(Duration::from_millis(1));
                }
                Ok(pairs)
            })
        });
        thread::sleep(AWAY);
        let agent = taken_over(&machine, &["--max-flows", "65536"]);
        thread::sleep(AWAY);
        over.store(true, Ordering::Relaxed);
        let pairs = opener.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        agent.map(|agent| (agent, pairs))
    })?;
    let (_agent, pairs) = pairs;
    for (_, server) in &pairs {
        (&*server).write_all(b"more")?;
    }
    let mut cut = 0;
    for (client, _) in &pairs {
        client.set_read_timeout(Some(AWAY))?;
        cut += usize::from((&*client).read_exact(&mut [0; 4]).is_err());
    }
    assert_eq!(cut, 0, "of {} connections", pairs.len());
    Ok(())
}

#[test]
fn s48_maps_of_another_shape_count_on() -> Result<()> {
    let listen = ["--listen", "127.0.0.1:9100"];
    let (machine, agent) = enforced(&listen)?;
    let dropped = || {
        let answer = machine.ask("/metrics")?;
        let line = answer.lines().find(|line| {
            let labels = ["pod=\"pod\"", "direction=\"egress\"", "reason=\"no-rule\""];
            line.starts_with("policy_drops_total{") && labels.iter().all(|of| line.contains(of))
        });
        let count =
            line.and_then(|line| line.rsplit(' ').next()).with_context(|| answer.clone())?;
        Ok::<u64, anyhow::Error>(count.parse()?)
    };
    let before = dropped()?;
    assert!(before > 0, "the first that was denied");
    agent.kill()?;
    let _agent = taken_over(&machine, &[&listen[..], &["--max-flows", "65536"]].concat())?;
    let after = dropped()?;
    assert!(!arrives(&machine, 5001)?);
    assert_eq!((after, dropped()?), (before, before + 1));
    Ok(())
}

#[test]
fn s48_a_link_that_went_while_no_agent_ran_is_attached_again() -> Result<()> {
    let (machine, agent) = enforced(&[])?;
    agent.kill()?;
    machine.node.run(async || Ok(NetBuilder::open()?.delete(10).await?))?;
    machine.plug()?;
    until("the new link is open", LIMIT, || arrives(&machine, 5001))?;
    let _agent = machine.agent(&[])?;
    until("the new link is under the policy", LIMIT, || Ok(!arrives(&machine, 5001)?))?;
    assert!(arrives(&machine, 5000)?);
    let hooks = programs(&machine)?;
    assert_eq!((hooks.from_pod.len(), hooks.to_pod.len()), (1, 1));
    Ok(())
}

#[test]
fn an_agent_that_finds_nothing_takes_nothing_over() -> Result<()> {
    let (machine, agent) = enforced(&[])?;
    let said = machine.said("stderr");
    assert!(said.contains("pinned programs and maps"), "{said}");
    assert!(!said.contains("took over"), "{said}");
    agent.kill()?;
    drop(taken_over(&machine, &[])?);
    Ok(())
}

#[test]
fn a_folder_on_no_bpffs_is_refused_with_what_to_do() -> Result<()> {
    let machine = Machine::new()?;
    machine.write("pod.yaml", POD)?;
    let elsewhere = machine.manifests().join("pins");
    let agent = machine.agent_at(&elsewhere, &[])?;
    assert_eq!(agent.ended()?.code(), Some(3));
    let said = machine.said("stderr");
    assert!(said.contains("is not on a bpffs") && said.contains("mount -t bpf"), "{said}");
    Ok(())
}
