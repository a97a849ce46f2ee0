//! Attribution of dropped packets: which policy and rule denied a packet (S58).
//!
//! The kernel reports numbers: the allow map that it looked into, and the identity that it found for
//! the far end. Input: such a [`PolicyDrop`], and every plan that the node carries out
//! ([`Attributor::plan`]). Output: a [`Denial`] with the deciding policies. The agent calls it for
//! each recorded drop, for the flow log and for Events; where nothing drops, nothing is computed.
//!
//! ```text
//! drop: interface 7, ingress, allow map 3, identity 12, TCP port 5432
//!   interface 7 with allow map 3      -> pod shop/db, selected by ClusterNetworkPolicy quarantine
//!                                        and NetworkPolicy shop/db
//!   identity 12                       -> addresses that match the peers of quarantine's rule 0
//!   quarantine: rule 0 matches, Deny  -> denied by spec.ingress[0] of ClusterNetworkPolicy quarantine
//! ```
//!
//! A record may be read after the next plan is in force, and numbers are given out again. The last
//! few plans are therefore remembered, each with the time at which it began: a drop is attributed by
//! what was in force when the packet was dropped.

mod decision;
mod denial;
mod in_force;
mod wording;

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use policy_common::drops::Reason;

pub use decision::{DecidingPolicy, DirectionVerdict};
pub(crate) use decision::{DirectedSubject, FarEnd};
pub use denial::{Decision, Denial, can_be_allowed};

use in_force::InForce;

use crate::{
    desired::{Desired, Frontend},
    model::{Direction, ObjectName, PolicyRef, Protocol, Snapshot},
    plan::{Actual, Step},
};

/// How long a plan is remembered once another has taken its place.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Plans that are remembered at most.
const PLANS: usize = 8;

/// Denials that are cached at most.
const CACHED: usize = 1024;

/// A dropped packet, as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyDrop {
    /// `CLOCK_MONOTONIC` when it was dropped.
    pub time: Duration,
    /// Host-side interface of the pod.
    pub ifindex: u32,
    /// The hook that dropped it; the policies of the other direction may have decided, where the
    /// kernel did not see who opened the connection.
    pub direction: Direction,
    /// Why.
    pub reason: Reason,
    /// Allow map that was looked into; 0 for none.
    pub allow_map: u32,
    /// Identity of the far end.
    pub identity: u32,
    /// Address of the far end.
    pub remote: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Port of the pod.
    pub local_port: u16,
    /// Port of the far end.
    pub remote_port: u16,
}

/// What the last plans put in force at the pods of a node.
#[derive(Debug, Default)]
pub struct Attributor {
    /// Oldest first.
    plans: VecDeque<InForce>,
    /// Number of the next plan; the cache names plans by it.
    next: u64,
    cache: BTreeMap<DenialKey, Option<Denial>>,
}

/// All that a denial depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DenialKey {
    plan: u64,
    ifindex: u32,
    direction: Direction,
    identity: u32,
    protocol: u8,
    port: u16,
}

impl Attributor {
    /// Remembers a plan that is about to be carried out; `now` is `CLOCK_MONOTONIC`, `actual` what
    /// the kernel has before the first of the steps.
    pub fn plan(
        &mut self,
        now: Duration,
        actual: &Actual,
        steps: &[Step],
        desired: &Desired,
        snapshot: &Snapshot,
    ) {
        let last = self.plans.back();
        let new = InForce::new(self.next, now, actual, steps, desired, snapshot, last);
        if last.is_some_and(|last| last.is_same(&new)) {
            return;
        }
        self.next += 1;
        self.plans.push_back(new);
        // A plan ends where the one after it begins.
        let is_old = |next: &InForce| next.since + REMEMBERED < now;
        // The oldest plan is needed for drops until the second one began, so that the age of the
        // second decides about the first.
        while self.plans.len() > PLANS || self.plans.get(1).is_some_and(is_old) {
            self.plans.pop_front();
        }
    }

    /// The pod at an interface, by the newest plan.
    #[must_use]
    pub fn pod(&self, ifindex: u32) -> Option<&ObjectName> {
        self.plans.back()?.pod(ifindex)
    }

    /// Policies that isolated the pod at an interface in a direction at a time.
    #[must_use]
    pub fn isolating(&self, time: Duration, ifindex: u32, direction: Direction) -> &[PolicyRef] {
        let plan = self.plans_until(time).next();
        plan.map(|(_, plan)| plan.isolating(ifindex, direction)).unwrap_or_default()
    }

    /// Who denied a packet; `None` where no policy did, or where the plan is forgotten.
    ///
    /// `actual` is what the kernel has now.
    pub fn attribute(&mut self, actual: &Actual, drop: &PolicyDrop) -> Option<Denial> {
        if !drop.reason.is_policy() {
            None
        } else if drop.reason == Reason::Revoked {
            self.by_address(actual, drop)
        } else {
            self.by_allow_map(drop)
        }
    }

    /// By the plan that gave the endpoint its allow map, in the direction of that map. The hook's own
    /// direction goes before the other: both may have the same allow map.
    ///
    /// While a plan is carried out the endpoint has allow maps that are neither plan's, or the allow
    /// map of one plan and identities of the other. Each packet gets the verdict of one of the two
    /// (S49), so that one that was denied is denied by the newer or else by the older. Where neither
    /// denies what it knows as that identity, it is a denial of all policies that isolate the pod:
    ///
    /// ```text
    /// plan 1: identity 1 stands for pod a      plan 2: no identity 1, egress allow map 3 of [p, q]
    /// a drop between two steps of plan 2, allow map 3, identity 1  -> denied by p and q
    /// ```
    fn by_allow_map(&mut self, drop: &PolicyDrop) -> Option<Denial> {
        let directions = [drop.direction, drop.direction.opposite()];
        let of_allow_map: Vec<(usize, Direction)> = directions
            .into_iter()
            .flat_map(|direction| {
                let gave = move |plan: &InForce| {
                    plan.allow_map(drop.ifindex, direction) == Some(drop.allow_map)
                };
                let plans = self.plans_until(drop.time).filter(move |(_, plan)| gave(plan));
                plans.map(move |(index, _)| (index, direction))
            })
            .collect();
        let of_direction = |direction| {
            let both = self.plans_until(drop.time).take(2);
            both.map(move |(index, _)| (index, direction)).collect::<Vec<_>>()
        };
        // In this order, until one denies:
        //   1. plans that gave the pod this allow map, the hook's direction first, newest first
        //   2. the two newest plans in the hook's direction: the allow map is one in transition
        //   3. all policies that isolate the pod in one of these: the identity is of another plan
        //   4. the two newest plans in the other direction: the kernel did not see who opened it
        let [own, other] = directions.map(of_direction);
        self.first_denial(of_allow_map.iter().chain(&own), drop)
            .or_else(|| {
                of_allow_map.iter().chain(&own).find_map(|&(plan, direction)| {
                    let policies = self.plans[plan].isolating(drop.ifindex, direction);
                    Denial::of_isolation(direction, policies)
                })
            })
            .or_else(|| self.first_denial(&other, drop))
    }

    /// The denial of the first plan, with a direction, that denies a packet.
    fn first_denial<'a>(
        &mut self,
        candidates: impl IntoIterator<Item = &'a (usize, Direction)>,
        drop: &PolicyDrop,
    ) -> Option<Denial> {
        let mut candidates = candidates.into_iter();
        candidates.find_map(|(plan, direction)| self.decide(*plan, *direction, drop.identity, drop))
    }

    /// A packet of a connection that is no longer allowed: the kernel looked into no allow map for
    /// it. Either end may have opened the connection, so that both directions are judged, that of the
    /// packet first.
    fn by_address(&mut self, actual: &Actual, drop: &PolicyDrop) -> Option<Denial> {
        let (plan, _) = self.plans_until(drop.time).next()?;
        [drop.direction, drop.direction.opposite()].into_iter().find_map(|direction| {
            let identity = identity(actual, drop, direction);
            self.decide(plan, direction, identity, drop)
        })
    }

    /// The denial of a plan in one direction; `None` where the plan allows the packet.
    fn decide(
        &mut self,
        plan: usize,
        direction: Direction,
        identity: u32,
        drop: &PolicyDrop,
    ) -> Option<Denial> {
        let &PolicyDrop { ifindex, protocol, .. } = drop;
        let plan = self.plans.get(plan)?;
        let port = destination_port(drop, direction);
        let case = DenialKey { plan: plan.number, ifindex, direction, identity, protocol, port };
        if let Some(known) = self.cache.get(&case) {
            return known.clone();
        }
        let number = Protocol::ALL.into_iter().find(|known| known.number() == protocol);
        let port = number.map(|protocol| (protocol, port));
        let denial = plan
            .decide(ifindex, direction, identity, port)
            .and_then(|verdict| Denial::of(direction, verdict));
        if self.cache.len() >= CACHED {
            self.cache.clear();
        }
        self.cache.insert(case, denial.clone());
        denial
    }

    /// Plans that had begun at a time, newest first.
    fn plans_until(&self, time: Duration) -> impl Iterator<Item = (usize, &InForce)> {
        let plans = self.plans.iter().enumerate().rev();
        plans.filter(move |(_, plan)| plan.since <= time)
    }
}

/// The identity that the programs find for the far end.
fn identity(actual: &Actual, drop: &PolicyDrop, direction: Direction) -> u32 {
    let protocol = Protocol::ALL.into_iter().find(|known| known.number() == drop.protocol);
    let own = protocol.map(|protocol| Frontend {
        address: drop.remote,
        protocol,
        port: drop.remote_port,
    });
    let candidates = own.into_iter().chain([Frontend::of_every_port(drop.remote)]);
    let mut candidates = candidates.filter(|_| direction == Direction::Egress);
    let frontend = candidates.find_map(|frontend| actual.frontend(&frontend));
    frontend.unwrap_or_else(|| actual.identity_of(drop.remote))
}

/// The port that a connection is opened to.
fn destination_port(drop: &PolicyDrop, direction: Direction) -> u16 {
    match direction {
        Direction::Ingress => drop.local_port,
        Direction::Egress => drop.remote_port,
    }
}
