//! Attribution of a drop names the policies that `explain` names, and that the naive evaluator finds,
//! also while a plan is carried out and when the record is read late.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use policy_common::drops::Reason;
use policy_core::{
    attribute::{Attributor, DecidingPolicy, Denial, PolicyDrop},
    compile::{Scope, compile},
    desired::{Desired, Frontend},
    explain::{ConnectionEnd, Explainer, Question},
    model::{Direction, Family, ObjectName, PolicyRef, Snapshot, TopologyHints},
    plan::{Actual, PlanOptions, plan},
};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{
    explained::without_shared_addresses,
    generate,
    kernel::{Probe, Refusal, verdict},
    oracle,
    planned::{interfaces, probes},
};

/// Between two steps, and between two plans.
const SECOND: Duration = Duration::from_secs(1);

type DecidingPolicies = Vec<DecidingPolicy>;

/// A cluster, and who denies each probe in it; probes that it allows have no entry.
struct Cluster<'a> {
    snapshot: &'a Snapshot,
    desired: Desired,
    denials: BTreeMap<Probe, DecidingPolicies>,
}

/// A node, with a clock that goes on with each step.
#[derive(Default)]
struct Node {
    actual: Actual,
    attributor: Attributor,
    now: Duration,
}

/// The pod at an interface.
fn pod_at<'a>(actual: &Actual, desired: &'a Desired, ifindex: u32) -> Option<&'a ObjectName> {
    let endpoint = actual.endpoints().get(&ifindex)?;
    let mut pods = desired.endpoints.iter();
    let found = pods.find(|(_, pod)| pod.addresses.iter().any(|own| endpoint.has(*own)));
    found.map(|(name, _)| name)
}

impl<'a> Cluster<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let desired = compile(snapshot, Scope::Cluster).0;
        Self { snapshot, desired, denials: BTreeMap::new() }
    }

    /// Asks `explain` about every probe, once the endpoints are known.
    fn explain(&mut self, actual: &Actual) {
        let explainer = Explainer::new(self.snapshot, &self.desired);
        for probe in probes() {
            let Some(pod) = pod_at(actual, &self.desired, probe.ifindex) else { continue };
            let (near, far) =
                (ConnectionEnd::Pod(pod.clone()), ConnectionEnd::Address(probe.remote));
            let (from, to) = match probe.direction {
                Direction::Ingress => (far, near),
                Direction::Egress => (near, far),
            };
            let Probe { protocol, port, remote, .. } = probe;
            let question = Question { from, to, family: Family::of(remote), protocol, port };
            let Some(explanation) = explainer.explain(&question) else { continue };
            let verdict = match probe.direction {
                Direction::Ingress => explanation.ingress,
                Direction::Egress => explanation.egress,
            };
            if !verdict.allowed {
                self.denials.insert(probe, verdict.by.to_vec());
            }
        }
    }

    /// Whether all policies of a denial isolate a pod in a direction.
    fn has_all(&self, pod: &ObjectName, direction: Direction, by: &[DecidingPolicy]) -> bool {
        let isolation = || self.desired.endpoints.get(pod)?.isolation.get(direction).as_ref();
        let has = |one: &DecidingPolicy, policies: &[PolicyRef]| policies.contains(&one.policy);
        isolation().is_some_and(|isolation| by.iter().all(|one| has(one, &isolation.policies)))
    }

    /// Holds `explain` against the naive evaluator, where no Service is in between.
    fn check_oracle(&self, actual: &Actual) -> Result<(), TestCaseError> {
        for (probe, by) in &self.denials {
            let &Probe { ifindex, direction, remote, protocol, port } = probe;
            if self.desired.frontends.contains_key(&Frontend { address: remote, protocol, port }) {
                continue;
            }
            let Some(name) = pod_at(actual, &self.desired, ifindex) else { continue };
            let (subject, far) =
                ((name, &self.snapshot.pods[name]), oracle::end(self.snapshot, remote));
            let want = oracle::denied_by(self.snapshot, direction, subject, &far, protocol, port);
            prop_assert_eq!(Some(by), want.as_ref(), "{:?}", probe);
        }
        Ok(())
    }
}

impl Node {
    /// What the kernel reports of a probe that it drops for a reason of policy.
    fn drop_of(&self, probe: &Probe) -> Option<PolicyDrop> {
        let Refusal { reason, allow_map, identity } = verdict(&self.actual, probe)?.err()?;
        // Nobody sends in a family that the pod has no address of, and a pod reaches itself (S39).
        let endpoint = &self.actual.endpoints()[&probe.ifindex];
        let has_family = match probe.remote {
            IpAddr::V4(_) => endpoint.address4 != [0; 4],
            IpAddr::V6(_) => endpoint.address6 != [0; 16],
        };
        if reason == Reason::MissingAllowMap || !has_family || endpoint.has(probe.remote) {
            return None;
        }
        let &Probe { ifindex, direction, remote, protocol, port } = probe;
        Some(PolicyDrop {
            time: self.now,
            ifindex,
            direction,
            reason,
            allow_map,
            identity,
            remote,
            protocol: protocol.number(),
            local_port: if direction == Direction::Ingress { port } else { 40000 },
            remote_port: if direction == Direction::Egress { port } else { 40000 },
        })
    }

    /// Carries out a plan, and checks after each step that every drop is attributed: to who denies it
    /// before or after, or to policies that select the pod before or after.
    fn reach(
        &mut self,
        old: Option<&Cluster<'_>>,
        new: &mut Cluster<'_>,
    ) -> Result<(), TestCaseError> {
        self.now += SECOND;
        let (interfaces, options) = (interfaces(), PlanOptions::default());
        let steps = plan(&mut self.actual, &new.desired, &interfaces, options).steps;
        self.attributor.plan(self.now, &self.actual, &steps, &new.desired, new.snapshot);
        let mut end = self.actual.clone();
        for step in &steps {
            end.apply(step);
        }
        new.explain(&end);
        new.check_oracle(&end)?;
        for step in &steps {
            self.actual.apply(step);
            self.now += SECOND / 1000;
            for probe in probes() {
                let Some(drop) = self.drop_of(&probe) else { continue };
                let found = self.attributor.attribute(&self.actual, &drop);
                let by = found.as_ref().map(|denial| denial.by().to_vec());
                let known = [old.and_then(|old| old.denials.get(&probe)), new.denials.get(&probe)];
                // Allow maps and identities do not change in one step: in between, the policies of one
                // state are named by what they say of an identity of the other.
                let clusters = old.into_iter().chain([&*new]);
                // The pods there in both states: where one takes the place of another, a packet of the
                // one that leaves may be denied by the policies of the one that comes.
                let own = &interfaces[&probe.ifindex].addresses;
                let pods = clusters.clone().flat_map(|cluster| {
                    let pods = cluster.desired.endpoints.iter();
                    let here =
                        pods.filter(|(_, pod)| pod.addresses.iter().any(|a| own.contains(a)));
                    here.map(|(name, _)| name)
                });
                let pods: Vec<&ObjectName> = pods.collect();
                let has_all = |cluster: &Cluster<'_>| {
                    let has = |denial: &Denial| {
                        let has = |pod| cluster.has_all(pod, denial.direction, denial.by());
                        pods.iter().copied().any(has)
                    };
                    found.as_ref().is_some_and(has)
                };
                let is_known = known.contains(&by.as_ref()) || clusters.into_iter().any(has_all);
                prop_assert!(
                    by.is_some() && is_known,
                    "{drop:?} after {step:?}: {by:?}, not one of {known:?}"
                );
            }
        }
        Ok(())
    }

    /// Every drop of now, with who denies it.
    fn check(&mut self, cluster: &Cluster<'_>) -> Result<Vec<PolicyDrop>, TestCaseError> {
        let drops: Vec<_> =
            probes().iter().filter_map(|probe| Some((*probe, self.drop_of(probe)?))).collect();
        for (probe, drop) in &drops {
            self.expect(cluster, probe, drop)?;
        }
        Ok(drops.into_iter().map(|(_, drop)| drop).collect())
    }

    fn expect(
        &mut self,
        cluster: &Cluster<'_>,
        probe: &Probe,
        drop: &PolicyDrop,
    ) -> Result<(), TestCaseError> {
        let found = self.attributor.attribute(&self.actual, drop);
        let by = found.as_ref().map(|denial| denial.by().to_vec());
        prop_assert_eq!(by.as_ref(), cluster.denials.get(probe), "{:?}", drop);
        Ok(())
    }
}

/// Takes away what makes backends depend on the sender's node: one kernel stands for all nodes here.
fn without_locality(mut snapshot: Snapshot) -> Snapshot {
    for service in snapshot.services.values_mut() {
        service.internal_traffic_local = false;
    }
    let slices = snapshot.endpoint_slices.values_mut();
    for endpoint in slices.flat_map(|slice| &mut slice.endpoints) {
        endpoint.hints = TopologyHints::default();
    }
    snapshot
}

/// The probe that a drop was made of.
fn probe_of(drop: &PolicyDrop) -> Probe {
    let &PolicyDrop { ifindex, direction, remote, local_port, remote_port, .. } = drop;
    let mut protocols = policy_core::model::Protocol::ALL.into_iter();
    let protocol = protocols.find(|known| known.number() == drop.protocol).expect("a protocol");
    let port = if direction == Direction::Ingress { local_port } else { remote_port };
    Probe { ifindex, direction, remote, protocol, port }
}

proptest! {
    #![proptest_config(crate::config(48))]

    #[test]
    fn s58_attribution_explanation_and_oracle_name_the_same_policies(
        first in generate::snapshot(), second in generate::snapshot(),
    ) {
        let (first, second) =
            (without_locality(without_shared_addresses(first)), without_locality(without_shared_addresses(second)));
        let (mut first, mut second) = (Cluster::new(&first), Cluster::new(&second));
        let mut node = Node::default();
        node.reach(None, &mut first)?;
        let drops = node.check(&first)?;
        node.reach(Some(&first), &mut second)?;
        node.check(&second)?;
        // Records that are read when another plan is in force.
        for drop in drops {
            node.expect(&first, &probe_of(&drop), &drop)?;
        }
    }
}
