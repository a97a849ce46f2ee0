//! Plans: every step leaves every packet the old verdict or the new one (S49).

use std::{collections::BTreeMap, net::IpAddr};

use policy_core::{
    compile::{Scope, compile},
    desired::{Desired, DesiredEndpoint},
    model::{Direction, Protocol, Snapshot},
    plan::{Actual, Interface, InterfaceOwner, Interfaces, Plan, PlanOptions, Step, plan},
};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{
    generate::{self, OUTSIDE, PODS, ip},
    kernel::{Probe, judge},
};

/// One interface for each address that a pod may have.
pub(crate) fn interfaces() -> Interfaces {
    let interface = |index: usize| {
        let last = index + 1;
        let ifindex = 100 + u32::try_from(index).expect("few pods");
        let addresses = vec![ip(&format!("10.0.0.{last}")), ip(&format!("fd00::{last}"))];
        (
            ifindex,
            Interface {
                ifindex,
                name: format!("veth{index}"),
                bridge: 0,
                addresses,
                guarded: false,
                owner: InterfaceOwner::ByAddress,
            },
        )
    };
    (0..PODS).map(interface).collect()
}

const PLACES: [(Protocol, u16); 7] = [
    (Protocol::Tcp, 53),
    (Protocol::Tcp, 80),
    (Protocol::Tcp, 443),
    (Protocol::Tcp, 8080),
    (Protocol::Udp, 53),
    (Protocol::Udp, 80),
    (Protocol::Sctp, 80),
];

pub(crate) fn probes() -> Vec<Probe> {
    let mut probes = Vec::new();
    let pods = (1..=PODS).flat_map(|n| [format!("10.0.0.{n}"), format!("fd00::{n}")]);
    let services = (0..3).map(|n| format!("10.96.0.{n}"));
    let remotes = OUTSIDE.map(str::to_owned).into_iter().chain(pods).chain(services);
    for remote in remotes.map(|address| ip(&address)) {
        for &ifindex in interfaces().keys() {
            for direction in [Direction::Ingress, Direction::Egress] {
                for (protocol, port) in PLACES {
                    probes.push(Probe { ifindex, direction, remote, protocol, port });
                }
            }
        }
    }
    probes
}

fn judge_all(actual: &Actual, probes: &[Probe]) -> Vec<Option<bool>> {
    probes.iter().map(|probe| judge(actual, probe)).collect()
}

/// The verdict of the compiled tables on a probe, without the planner; `None` where it is unknown
/// which pod is at the interface.
fn expected(desired: &Desired, probe: &Probe, at: &Actual) -> Option<bool> {
    let endpoint = at.endpoints().get(&probe.ifindex)?;
    let own = [IpAddr::from(endpoint.address4), IpAddr::from(endpoint.address6)];
    let has = |pod: &&DesiredEndpoint| pod.addresses.iter().any(|address| own.contains(address));
    let owners: Vec<_> = desired.endpoints.values().filter(has).collect();
    let [owner] = owners.as_slice() else { return None };
    let Some(isolation) = owner.isolation.get(probe.direction) else { return Some(true) };
    let Probe { direction, remote, protocol, port, .. } = *probe;
    Some(desired.judge(isolation, direction, remote, protocol, port).is_ok())
}

/// Slot of the endpoint that a probe is at.
fn slot(actual: &Actual, probe: &Probe) -> Option<u32> {
    actual.endpoints().get(&probe.ifindex).map(|endpoint| endpoint.slot)
}

/// The last verdict on a flow of each probe: a new epoch makes all flows be judged again.
type Flows = Vec<Option<bool>>;

/// Carries out a plan up to `stop`, holding each state against the first and the last.
fn walk(
    actual: &mut Actual,
    flows: &mut Flows,
    plan: &Plan,
    stop: usize,
) -> Result<(), TestCaseError> {
    let probes = probes();
    flows.resize(probes.len(), None);
    let start = actual.clone();
    let old = judge_all(actual, &probes);
    let mut end = actual.clone();
    plan.steps.iter().for_each(|step| end.apply(step));
    let new = judge_all(&end, &probes);
    for (number, step) in plan.steps.iter().enumerate().take(stop) {
        let before = actual.clone();
        actual.apply(step);
        let now = judge_all(actual, &probes);
        for ((probe, flow), now) in probes.iter().zip(&mut *flows).zip(&now) {
            let bumped = matches!(step, Step::BumpEpoch { ifindex } if *ifindex == probe.ifindex);
            if bumped || slot(&before, probe) != slot(actual, probe) {
                *flow = *now;
            }
        }
        for (((probe, now), old), new) in probes.iter().zip(now).zip(&old).zip(&new) {
            // A pod that is new is closed until its policies are known where it takes another's
            // interface, and open elsewhere, as it was without an endpoint.
            let is_new = slot(actual, probe) != slot(&start, probe);
            let passing =
                is_new && if old.is_some() { now == Some(false) } else { now == Some(true) };
            prop_assert!(
                now == *old || now == *new || passing,
                "step {number}, {step:?}, of {:#?}: {probe:?} gives {now:?}, not {old:?} or {new:?}",
                plan.steps
            );
        }
    }
    check_bumps(plan, &probes, &old, &new)
}

/// One bump for each endpoint that stays and gets some other verdict, after its last write.
fn check_bumps(
    plan: &Plan,
    probes: &[Probe],
    old: &[Option<bool>],
    new: &[Option<bool>],
) -> Result<(), TestCaseError> {
    let mut bumps: BTreeMap<u32, usize> = BTreeMap::new();
    for step in &plan.steps {
        if let Step::BumpEpoch { ifindex } = step {
            *bumps.entry(*ifindex).or_default() += 1;
        }
        if let Step::PutEndpoint(endpoint) = step {
            prop_assert!(!bumps.contains_key(&endpoint.ifindex), "a write after the bump");
        }
        let table = matches!(
            step,
            Step::PutIdentity { .. }
                | Step::PutBlock { .. }
                | Step::PutFrontend { .. }
                | Step::DeleteIdentity(_)
                | Step::DeleteBlock(_)
                | Step::DeleteFrontend(_)
        );
        prop_assert!(!table || bumps.is_empty(), "a table changes after a bump");
    }
    prop_assert!(bumps.values().all(|count| *count == 1));
    for ((probe, old), new) in probes.iter().zip(old).zip(new) {
        if old.is_some() && new.is_some() && old != new {
            let replaced = plan.steps.iter().any(
                |step| matches!(step, Step::ReplaceEndpoint { endpoint, .. } if endpoint.ifindex == probe.ifindex),
            );
            prop_assert!(replaced || bumps.contains_key(&probe.ifindex), "no bump for {probe:?}");
        }
    }
    Ok(())
}

fn reach(
    actual: &mut Actual,
    flows: &mut Flows,
    snapshot: &Snapshot,
    stop: Option<usize>,
) -> Result<(), TestCaseError> {
    let (desired, _) = compile(snapshot, Scope::Cluster);
    let planned = plan(actual, &desired, &interfaces(), PlanOptions::default());
    let Some(stop) = stop else {
        walk(actual, flows, &planned, usize::MAX)?;
        for (probe, flow) in probes().iter().zip(&*flows) {
            let now = judge(actual, probe);
            prop_assert!(now == *flow, "{probe:?} gives {now:?}, and its flow has {flow:?}");
        }
        for probe in probes() {
            if let Some(want) = expected(&desired, &probe, actual) {
                prop_assert_eq!(judge(actual, &probe), Some(want), "{:?}", probe);
            }
        }
        let again = plan(actual, &desired, &interfaces(), PlanOptions::default());
        prop_assert_eq!(again.steps, Vec::new(), "nothing is left to do");
        return Ok(());
    };
    walk(actual, flows, &planned, stop % (planned.steps.len() + 1))
}

proptest! {
    #![proptest_config(crate::config(128))]

    #[test]
    fn s49_every_step_gives_the_old_verdict_or_the_new(
        first in generate::snapshot(), second in generate::snapshot(), third in generate::snapshot(),
    ) {
        let (mut actual, mut flows) = <(Actual, Flows)>::default();
        for snapshot in [&first, &second, &third] {
            reach(&mut actual, &mut flows, snapshot, None)?;
        }
    }

    #[test]
    fn s49_small_changes(
        first in generate::snapshot(), other in generate::snapshot(), what in 0..4_usize,
    ) {
        let mut second = first.clone();
        match what {
            0 => second.pods = other.pods,
            1 => second.policies = other.policies,
            2 => { second.services = other.services; second.endpoint_slices = other.endpoint_slices; }
            _ => second.policies.extend(other.policies.into_iter().take(1)),
        }
        let (mut actual, mut flows) = <(Actual, Flows)>::default();
        for snapshot in [&first, &second, &first] {
            reach(&mut actual, &mut flows, snapshot, None)?;
        }
    }

    #[test]
    fn s49_a_plan_that_stops_anywhere_can_be_followed_by_another(
        first in generate::snapshot(), second in generate::snapshot(), third in generate::snapshot(),
        stop in any::<usize>(), dies in any::<bool>(),
    ) {
        let (mut actual, mut flows) = <(Actual, Flows)>::default();
        reach(&mut actual, &mut flows, &first, None)?;
        reach(&mut actual, &mut flows, &second, Some(stop))?;
        if dies {
            // The next agent reads back what the kernel has, and not what is still to be written.
            actual.require_bumps();
        }
        reach(&mut actual, &mut flows, &third, None)?;
    }
}
