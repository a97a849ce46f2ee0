//! Links that change all the time.

use std::{
    process::{Child, Command},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    machine::{LIMIT, Machine, arrives, until},
    manifests::{ALLOW_5000, DENY, POD},
    namespace::Namespace,
};

/// How long the link flaps.
const TIME: Duration = Duration::from_secs(4);

/// The most reconciliations in that time: one at once, those of the growing pauses, then two each second,
/// and those of changed policies.
const RECONCILIATIONS: u64 = 40;

/// A process that sets the link of a pod down and up, until this is dropped.
struct Flapping(Child);

impl Flapping {
    fn start(pod: &Namespace) -> Result<Self> {
        let script = "while :; do ip link set eth0 down; ip link set eth0 up; done";
        pod.run(async || Ok(Self(Command::new("sh").args(["-c", script]).spawn()?)))
    }
}

impl Drop for Flapping {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many reconciliations succeeded.
fn reconciliations(machine: &Machine) -> Result<u64> {
    let metrics = machine.ask("/metrics")?;
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix("policy_enforce_duration_seconds_count "));
    Ok(count.context("no such metric")?.parse()?)
}

#[test]
fn a_link_that_flaps_delays_no_policy_and_costs_few_reconciliations() -> Result<()> {
    let (machine, flapping) = (Machine::new()?, Namespace::new()?);
    let other = POD.replace("name: pod", "name: flapping").replace("10.0.0.2", "10.0.1.2");
    machine.write("pods.yaml", &[POD, &other].join("---"))?;
    machine.write("policy.yaml", DENY)?;
    machine.plug()?;
    machine.plug_another(&flapping, 1)?;
    let _agent = machine.agent(&["--listen", "127.0.0.1:9100"])?;
    until("it is ready", LIMIT, || Ok(machine.is_ready()))?;
    ensure!(!arrives(&machine, 5000)?);

    let process = Flapping::start(&flapping)?;
    let before = reconciliations(&machine)?;
    thread::sleep(TIME);
    let after = reconciliations(&machine)?;
    ensure!(after > before, "the flapping is not seen");
    ensure!(after - before <= RECONCILIATIONS, "{} reconciliations in {TIME:?}", after - before);
    machine.write("policy.yaml", ALLOW_5000)?;
    until("a policy is in force", Duration::from_secs(5), || arrives(&machine, 5000))?;
    ensure!(machine.ask("/healthz")?.contains("200 OK"));
    drop(process);
    Ok(())
}
