//! The verdict of one direction, and who decides it.

use std::{borrow::Cow, cell::RefCell, net::IpAddr, sync::Arc};

use crate::{
    compile::{AddressKey, CompiledPolicy, ResolvedPorts, Stage},
    desired::{Desired, Isolation},
    model::{Action, Direction, ObjectName, Pod, PolicyRef, Protocol, Snapshot},
};

use super::{
    DecidingPolicy, DirectionVerdict,
    cache::DecisionCache,
    ends::{self, Destination, ResolvedEnd},
};

/// Judges by compiled tables.
pub(super) struct Judge<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) desired: &'a Desired,
    pub(super) cache: &'a RefCell<DecisionCache>,
    pub(super) protocol: Protocol,
}

/// An isolated pod, seen in the isolated direction.
struct Isolated<'a> {
    name: &'a ObjectName,
    pod: &'a Pod,
    direction: Direction,
    isolation: &'a Isolation,
}

impl Judge<'_> {
    /// Egress of the source.
    pub(super) fn egress(&self, from: &ResolvedEnd<'_>, to: &Destination<'_>) -> DirectionVerdict {
        let Some(isolated) = self.isolated(from, Direction::Egress) else {
            return open();
        };
        let direct = to.frontend.is_none();
        if direct && to.backends.iter().all(|(end, _)| end.is_same_pod(from)) {
            return open();
        }
        let (at, port) = (to.address, to.port);
        let isolation = isolated.isolation;
        let verdict = self.desired.judge(isolation, Direction::Egress, at, self.protocol, port);
        let mut places = to.places();
        if to.frontend.as_ref().is_some_and(|target| target.checks_frontend) {
            places.insert((at, port));
        }
        let decisions = places.into_iter().map(|(at, port)| self.decision(&isolated, at, port));
        verdict_of(verdict.is_ok(), decisions, isolation)
    }

    /// Ingress of the destination; of a Service that of all its backends.
    pub(super) fn ingress(&self, from: &ResolvedEnd<'_>, to: &Destination<'_>) -> DirectionVerdict {
        let verdicts = to.backends.iter().map(|(end, port)| {
            self.ingress_of(&ends::arriving(self.snapshot, from, to, end), end, *port)
        });
        let (allow, deny): (Vec<_>, Vec<_>) = verdicts.partition(|verdict| verdict.allowed);
        let allowed = deny.is_empty();
        DirectionVerdict { allowed, by: together(if allowed { allow } else { deny }) }
    }

    fn ingress_of(
        &self,
        from: &ResolvedEnd<'_>,
        to: &ResolvedEnd<'_>,
        port: u16,
    ) -> DirectionVerdict {
        let Some(isolated) = self.isolated(to, Direction::Ingress) else {
            return open();
        };
        if from.is_same_pod(to) || from.is_node_of(isolated.pod) {
            return open();
        }
        let (isolation, at) = (isolated.isolation, from.address);
        let verdict = self.desired.judge(isolation, Direction::Ingress, at, self.protocol, port);
        verdict_of(verdict.is_ok(), [self.decision(&isolated, at, port)], isolation)
    }

    fn isolated<'b>(&'b self, end: &ResolvedEnd<'_>, direction: Direction) -> Option<Isolated<'b>> {
        let (name, pod) = self.snapshot.pods.get_key_value(end.pod()?.0)?;
        let endpoint = self.desired.endpoints.get(name)?;
        let isolation = endpoint.isolation.get(direction).as_ref()?;
        Some(Isolated { name, pod, direction, isolation })
    }

    /// Who decides about an address at a port, sorted.
    fn decision(&self, isolated: &Isolated<'_>, remote: IpAddr, port: u16) -> DirectionVerdict {
        let Isolated { name, pod, direction, isolation } = isolated;
        let number = self.cache.borrow_mut().number(*direction, (name, pod), isolation);
        let case = (number, remote, self.protocol, port);
        if let Some(verdict) = self.cache.borrow().get(&case) {
            return verdict.clone();
        }
        let verdict = self.decide(isolated, remote, port);
        self.cache.borrow_mut().keep(case, verdict.clone());
        verdict
    }

    /// The first tier decides that does not pass it on (S51).
    fn decide(&self, isolated: &Isolated<'_>, remote: IpAddr, port: u16) -> DirectionVerdict {
        let place = Place::new(self.desired, remote, port);
        let all = self.policies(isolated);
        let (admin, rest) =
            all.split_at(all.partition_point(|(_, policy)| policy.stage == Stage::Admin));
        if let Some(verdict) = self.tier(isolated, admin, &place) {
            return verdict;
        }
        let (policies, baseline) =
            rest.split_at(rest.partition_point(|(_, policy)| policy.stage == Stage::NetworkPolicy));
        if policies.is_empty() {
            return self.tier(isolated, baseline, &place).unwrap_or_else(open);
        }
        let mut by: Vec<_> = policies
            .iter()
            .flat_map(|(name, policy)| {
                let rules = self.matching(isolated, policy, &place);
                rules.map(move |(rule, _)| deciding(name, Some(rule)))
            })
            .collect();
        let allowed = !by.is_empty();
        if !allowed {
            by.extend(policies.iter().map(|(name, _)| deciding(name, None)));
        }
        by.sort();
        DirectionVerdict { allowed, by: by.into() }
    }

    /// The decision of a tier; `None` where it leaves it to the next.
    fn tier<'b>(
        &'b self,
        isolated: &'b Isolated<'_>,
        policies: &[(&'b PolicyRef, &'b CompiledPolicy)],
        place: &'b Place<'b>,
    ) -> Option<DirectionVerdict> {
        let mut matching = policies.iter().flat_map(|(name, policy)| {
            let rules = self.matching(isolated, policy, place);
            rules.map(move |(rule, action)| (action, deciding(name, Some(rule))))
        });
        let (action, by) = matching.next()?;
        let allowed = match action {
            Action::Accept => true,
            Action::Deny => false,
            Action::Pass => return None,
        };
        Some(DirectionVerdict { allowed, by: [by].into() })
    }

    /// Policies that isolate the pod, in the order of their stages and of the tiers.
    fn policies<'b>(&'b self, isolated: &Isolated<'b>) -> Vec<(&'b PolicyRef, &'b CompiledPolicy)> {
        let names = isolated.isolation.policies.iter();
        let find = |name| self.desired.policies.get(name).map(|policy| (name, &**policy));
        names.filter_map(find).collect()
    }

    /// The rules of a policy that mean an address at a port, and what they do.
    fn matching<'b>(
        &'b self,
        isolated: &'b Isolated<'_>,
        policy: &'b CompiledPolicy,
        place: &'b Place<'_>,
    ) -> impl Iterator<Item = (usize, Action)> + 'b {
        let rules = policy.rules(isolated.direction).iter().enumerate();
        rules.filter_map(move |(index, rule)| {
            let key = &place.key;
            if !key.matches(place.remote, rule.peers.as_ref()) {
                return None;
            }
            let on_pod: ResolvedPorts;
            let resolved = match isolated.direction {
                Direction::Egress => &key.named,
                Direction::Ingress => {
                    on_pod = rule.ports.names_on(isolated.pod);
                    &on_pod
                }
            };
            let meant = rule.ports.hold(resolved, self.protocol, place.port);
            meant.then_some((index, rule.action))
        })
    }
}

/// A far end and a port.
struct Place<'a> {
    remote: IpAddr,
    port: u16,
    /// What policies see of the address.
    key: Cow<'a, AddressKey>,
}

impl<'a> Place<'a> {
    fn new(desired: &'a Desired, remote: IpAddr, port: u16) -> Self {
        let key = desired.address_key(remote);
        let key = key.map_or_else(|| Cow::Owned(AddressKey::default()), Cow::Borrowed);
        Self { remote, port, key }
    }
}

/// The verdict of the tables, and those of the deciding that say the same.
fn verdict_of(
    allowed: bool,
    decisions: impl IntoIterator<Item = DirectionVerdict>,
    isolation: &Isolation,
) -> DirectionVerdict {
    let same = decisions.into_iter().filter(|verdict| verdict.allowed == allowed);
    let mut by = together(same.collect());
    // A Service without backends is denied by whatever isolates the pod.
    if by.is_empty() && !allowed {
        by = isolation.policies.iter().map(|policy| deciding(policy, None)).collect();
    }
    DirectionVerdict { allowed, by }
}

/// All that decide in several decisions, each once, sorted.
fn together(mut verdicts: Vec<DirectionVerdict>) -> Arc<[DecidingPolicy]> {
    if verdicts.len() == 1 {
        return verdicts.remove(0).by;
    }
    let mut all: Vec<DecidingPolicy> =
        verdicts.iter().flat_map(|verdict| verdict.by.iter().cloned()).collect();
    all.sort();
    all.dedup();
    all.into()
}

fn open() -> DirectionVerdict {
    DirectionVerdict { allowed: true, by: Arc::default() }
}

fn deciding(policy: &PolicyRef, rule: Option<usize>) -> DecidingPolicy {
    DecidingPolicy { policy: policy.clone(), rule }
}
