//! `policy-agent trace`: the steps of a decision in words, and nothing changes meanwhile.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use policy_agent::dataplane::hooks;

use crate::{
    drift::is_whole,
    kernel::bpftool,
    machine::{HOST, LIMIT, Machine, until},
    pins,
    traffic::Traffic,
};

/// An address that the policy does not allow, without the traffic that some tests send.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);

/// A tracing process; killed with this value.
struct Tracer {
    process: Child,
    lines: Receiver<String>,
}

impl Tracer {
    /// Starts it at the pod, and waits until the programs are exchanged.
    fn start(machine: &Machine, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_policy-agent"));
        command.args(["trace", "--pod", "default/pod", "--address", "127.0.0.1:9100"]);
        command.arg("--pin-dir").arg(machine.pins()).args(options);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = machine.inside(move || Ok(command.spawn()?))?;
        let (sender, lines) = channel();
        let output = process.stdout.take().context("no output")?;
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        let mut started = String::new();
        BufReader::new(process.stderr.take().context("no errors")?).read_line(&mut started)?;
        ensure!(started.starts_with("tracing pod default/pod at interface veth0"), "{started}");
        Ok(Self { process, lines })
    }

    /// The lines up to the next verdict.
    fn decision(&self) -> Result<Vec<String>> {
        let mut decision = Vec::new();
        loop {
            decision.push(self.lines.recv_timeout(LIMIT).context("no verdict")?);
            if decision.last().is_some_and(|line| line.starts_with("verdict: ")) {
                return Ok(decision);
            }
        }
    }

    /// Waits until it ends by itself, with success.
    fn ended(mut self) -> Result<()> {
        let status = self.process.wait()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Tries to connect from the pod to a port of an address; nobody answers.
fn try_port(machine: &Machine, address: Ipv4Addr, port: u16) -> Result<()> {
    machine.pod.run(async || {
        let to = SocketAddr::from((address, port));
        let _ = TcpStream::connect_timeout(&to, Duration::from_millis(200));
        Ok(())
    })
}

/// The kernel ids of the programs on the pod's interface, by links or filters.
fn programs(machine: &Machine) -> Result<Vec<u64>> {
    let hooks = machine.inside(|| Ok(hooks("veth0")?))?;
    let linked = hooks.from_pod.iter().chain(&hooks.to_pod).map(|program| program.id.into());
    // bpftool of Debian 12 does not list links.
    let filters = machine.inside(bpftool::filters)?;
    let ids: Vec<_> = linked.chain(filters.into_iter().map(|(_, _, id)| id)).collect();
    ensure!(ids.len() == 2, "{ids:?}");
    Ok(ids)
}

#[test]
fn a_denied_syn_shows_each_step_and_the_exchange_loses_and_opens_nothing() -> Result<()> {
    for mechanism in [&[][..], &["--clsact"]] {
        let options = [&["--verify-interval", "1", "--listen", "127.0.0.1:9100"], mechanism];
        let (machine, agent) = pins::enforced(&options.concat())?;
        let before = programs(&machine)?;
        let traffic = Traffic::start(&machine)?;
        let tracer = Tracer::start(&machine, &["--seconds", "6", "--peer", "10.1.0.3"])?;
        try_port(&machine, OTHER, 81)?;
        let decision = tracer.decision()?;
        let steps = [
            "packet: from the pod, protocol TCP, epoch ",
            "packet: from 10.0.0.2 port ",
            "packet: to 10.1.0.3 port 81",
            "flow: not looked up: the packet opens a connection",
            "endpoint: slot 1, flags 0",
            "endpoint: allow map ",
            "frontend: 10.1.0.3 port 81 is not a Service",
            "identity: 10.1.0.3 has identity 0",
            "allow map: 2 has no entry for identity 0",
            "allow map: 2 has no entry for all others",
            "port set: does not allow port 81 of protocol TCP",
            "verdict: dropped, reason no-rule",
        ];
        assert_eq!(decision.len(), steps.len(), "{decision:#?}");
        for (line, step) in decision.iter().zip(steps) {
            assert!(line.starts_with(step), "{step}: {decision:#?}");
        }
        // The agent verifies meanwhile, and leaves the programs alone.
        thread::sleep(Duration::from_secs(3));
        try_port(&machine, OTHER, 81)?;
        tracer.decision().context("the agent has ended the trace")?;
        tracer.ended()?;
        assert_eq!(programs(&machine)?, before, "the normal programs are back");
        traffic.finish()?;
        ensure!(is_whole(&machine)?, "the policy is in force");
        assert!(!machine.pins().join("traces/10").exists());
        assert!(agent.terminate()?.success());
    }
    Ok(())
}

#[test]
fn only_packets_of_the_peer_have_lines() -> Result<()> {
    let (machine, _agent) = pins::enforced(&["--listen", "127.0.0.1:9100"])?;
    let tracer = Tracer::start(&machine, &["--seconds", "3", "--peer", "10.1.0.3"])?;
    try_port(&machine, HOST, 81)?;
    try_port(&machine, OTHER, 82)?;
    let decision = tracer.decision()?;
    assert!(decision.iter().any(|line| line == "packet: to 10.1.0.3 port 82"), "{decision:#?}");
    tracer.ended()
}

#[test]
fn s48_after_a_kill_the_agent_puts_the_normal_programs_back() -> Result<()> {
    for mechanism in [&[][..], &["--clsact"]] {
        let options = [&["--verify-interval", "1", "--listen", "127.0.0.1:9100"], mechanism];
        let options = options.concat();
        let (machine, agent) = pins::enforced(&options)?;
        let before = programs(&machine)?;
        let tracer = Tracer::start(&machine, &["--seconds", "600", "--peer", "10.1.0.3"])?;
        assert_ne!(programs(&machine)?, before);
        let traffic = Traffic::start(&machine)?;
        drop(tracer);
        until("the agent has put them back", LIMIT, || Ok(programs(&machine)? == before))?;
        thread::sleep(Duration::from_secs(2));
        traffic.finish()?;

        // Without an agent that runs, the next one does it.
        let tracer = Tracer::start(&machine, &["--seconds", "600", "--peer", "10.1.0.3"])?;
        let during = programs(&machine)?;
        agent.kill()?;
        drop(tracer);
        assert_eq!(programs(&machine)?, during, "they stay in force");
        ensure!(is_whole(&machine)?, "and so does the policy");
        let agent = machine.agent(&options)?;
        until("the next agent is ready", LIMIT, || Ok(machine.is_ready()))?;
        ensure!(programs(&machine)?.iter().all(|program| !during.contains(program)), "left");
        assert!(agent.terminate()?.success());
    }
    Ok(())
}

#[test]
fn a_pod_that_is_not_on_the_node_is_an_error() -> Result<()> {
    let (machine, _agent) = pins::enforced(&["--listen", "127.0.0.1:9100"])?;
    let output = machine.inside(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_policy-agent"));
        command.args(["trace", "--pod", "default/other", "--address", "127.0.0.1:9100"]);
        Ok(command.output()?)
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("node one has no pod default/other"), "{said}");
    Ok(())
}
