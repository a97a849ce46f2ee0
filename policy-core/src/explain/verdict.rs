//! The verdict of one direction: what the compiled tables say, and which policies decide it.
//!
//! Whether a connection passes is looked up in the tables, as the programs do; of a Service, each of
//! the backends that the sender's node uses. Who decides is found by evaluating the policies, by the
//! code that attributes drops ([`attribute`](crate::attribute)):
//!
//! ```text
//! tables      10.0.0.5:8443 is allowed, 10.0.0.6:8443 is not: 10.96.0.1:443 leads to the first
//! policies    backend 10.0.0.5:8443 is allowed by x/web rule 0
//!             backend 10.0.0.6:8443 is denied, isolated by x/web
//! verdict     allowed by x/web rule 0, for only the first agrees with the tables
//! ```

use std::{borrow::Cow, cell::RefCell, iter, net::IpAddr};

use crate::{
    attribute::{DirectedSubject, DirectionVerdict, FarEnd},
    compile::AddressKey,
    desired::{Desired, Isolation},
    model::{Direction, ObjectName, Pod, Protocol, Snapshot},
};

use super::{
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
struct IsolatedEnd<'a> {
    name: &'a ObjectName,
    pod: &'a Pod,
    direction: Direction,
    isolation: &'a Isolation,
}

impl Judge<'_> {
    /// Egress of the source.
    pub(super) fn egress(&self, from: &ResolvedEnd<'_>, to: &Destination<'_>) -> DirectionVerdict {
        let Some(isolated) = self.isolated(from, Direction::Egress) else {
            return DirectionVerdict::not_isolated();
        };
        let direct = to.frontend.is_none();
        if direct && to.backends.iter().all(|(end, _)| end.is_same_pod(from)) {
            return DirectionVerdict::not_isolated();
        }
        let (at, port) = (to.address, to.port);
        let isolation = isolated.isolation;
        let allowed = self.allows_egress(isolation, from, to);
        let mut places = to.places();
        if to.frontend.as_ref().is_some_and(|target| target.checks_frontend) {
            places.insert((at, port));
        }
        let decisions = places.into_iter().map(|(at, port)| self.decision(&isolated, at, port));
        DirectionVerdict::join(allowed, decisions, &isolation.policies)
    }

    /// Whether the sender may reach the destination: of a frontend, some of its backends, and its own
    /// address where that counts. The tables of the whole cluster do not have what the node of the
    /// sender makes of a frontend, such as of topology hints.
    fn allows_egress(
        &self,
        isolation: &Isolation,
        from: &ResolvedEnd<'_>,
        to: &Destination<'_>,
    ) -> bool {
        let allows = |at, port| self.desired.allows(&isolation.allow_map, at, self.protocol, port);
        let Some(frontend) = &to.frontend else { return allows(to.address, to.port) };
        (!frontend.checks_frontend || allows(to.address, to.port))
            && !self.reached(isolation, from, to).is_empty()
    }

    /// The backends to which a connection may go: all of them, if the sender may reach each, itself
    /// included; otherwise those that it may reach, and not itself (S40).
    fn reached<'b>(
        &self,
        isolation: &Isolation,
        from: &ResolvedEnd<'_>,
        to: &'b Destination<'_>,
    ) -> Vec<&'b (ResolvedEnd<'b>, u16)> {
        let is_own = |end: &ResolvedEnd<'_>| end.is_certainly(from, self.snapshot);
        let is_allowed = |(end, port): &(ResolvedEnd<'_>, u16)| {
            self.desired.allows(&isolation.allow_map, end.address, self.protocol, *port)
        };
        let all: Vec<_> = to.backends.iter().collect();
        if all.iter().all(|backend| is_own(&backend.0) || is_allowed(backend)) {
            return all;
        }
        all.into_iter().filter(|backend| !is_own(&backend.0) && is_allowed(backend)).collect()
    }

    /// Ingress of the destination; of a Service that of all backends to which egress lets the
    /// connection go.
    pub(super) fn ingress(&self, from: &ResolvedEnd<'_>, to: &Destination<'_>) -> DirectionVerdict {
        let reached = match (self.isolated(from, Direction::Egress), &to.frontend) {
            (Some(isolated), Some(_)) => self.reached(isolated.isolation, from, to),
            (None, _) | (_, None) => Vec::new(),
        };
        let backends = if reached.is_empty() { to.backends.iter().collect() } else { reached };
        let verdicts = backends.into_iter().map(|(end, port)| {
            self.ingress_of(&ends::arriving(self.snapshot, from, to, end), end, *port)
        });
        let verdicts: Vec<_> = verdicts.collect();
        let allowed = verdicts.iter().all(|verdict| verdict.allowed);
        DirectionVerdict::join(allowed, verdicts, iter::empty())
    }

    fn ingress_of(
        &self,
        from: &ResolvedEnd<'_>,
        to: &ResolvedEnd<'_>,
        port: u16,
    ) -> DirectionVerdict {
        let Some(isolated) = self.isolated(to, Direction::Ingress) else {
            return DirectionVerdict::not_isolated();
        };
        // A pod always reaches itself (S39), and its own node always reaches it (S37).
        if from.is_same_pod(to) || from.is_node_of(isolated.pod) {
            return DirectionVerdict::not_isolated();
        }
        let (isolation, at) = (isolated.isolation, from.address);
        let verdict = self.desired.judge(isolation, Direction::Ingress, at, self.protocol, port);
        let decision = self.decision(&isolated, at, port);
        DirectionVerdict::join(verdict.is_ok(), [decision], &isolation.policies)
    }

    fn isolated<'b>(
        &'b self,
        end: &ResolvedEnd<'_>,
        direction: Direction,
    ) -> Option<IsolatedEnd<'b>> {
        let (name, pod) = self.snapshot.pods.get_key_value(end.pod()?.0)?;
        let endpoint = self.desired.endpoints.get(name)?;
        let isolation = endpoint.isolation.get(direction).as_ref()?;
        Some(IsolatedEnd { name, pod, direction, isolation })
    }

    /// Who decides about an address at a port.
    fn decision(&self, isolated: &IsolatedEnd<'_>, remote: IpAddr, port: u16) -> DirectionVerdict {
        let IsolatedEnd { name, pod, direction, isolation } = isolated;
        let number = self.cache.borrow_mut().number(*direction, (name, pod), isolation);
        let case = (number, remote, self.protocol, port);
        if let Some(verdict) = self.cache.borrow().get(&case) {
            return verdict.clone();
        }
        let verdict = self.decide(isolated, remote, port);
        self.cache.borrow_mut().insert(case, verdict.clone());
        verdict
    }

    fn decide(&self, isolated: &IsolatedEnd<'_>, remote: IpAddr, port: u16) -> DirectionVerdict {
        let find = |name| self.desired.policies.get(name).map(|policy| (name, &**policy));
        let subject = DirectedSubject {
            direction: isolated.direction,
            container_ports: &isolated.pod.ports,
            policies: isolated.isolation.policies.iter().filter_map(find).collect(),
        };
        let key = self.desired.address_key(remote);
        let key = key.map_or_else(|| Cow::Owned(AddressKey::default()), Cow::Borrowed);
        subject.decide(&FarEnd { address: Some(remote), key, port: Some((self.protocol, port)) })
    }
}
