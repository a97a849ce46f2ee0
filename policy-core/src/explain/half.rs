//! The verdict of one direction, and who decides it.

use std::net::IpAddr;

use crate::{
    compile::{AddressMeaning, Resolved},
    desired::{Desired, Isolation},
    model::{Direction, ObjectName, Pod, Protocol, Snapshot},
};

use super::{
    Deciding, Half,
    party::{Destination, End},
};

/// Judges by compiled tables.
pub(super) struct Judge<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) desired: &'a Desired,
    pub(super) protocol: Protocol,
}

/// An isolated pod, seen in the isolated direction.
struct Isolated<'a> {
    pod: &'a Pod,
    direction: Direction,
    isolation: &'a Isolation,
}

impl Judge<'_> {
    /// Egress of the source.
    pub(super) fn egress(&self, from: &End<'_>, to: &Destination<'_>) -> Half {
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
        if verdict.is_err() {
            return denied(isolation);
        }
        let mut by = Vec::new();
        for (at, port) in to.places() {
            by.extend(self.rules(&isolated, at, port));
        }
        if to.frontend.as_ref().is_some_and(|target| target.literal) {
            by.extend(self.rules(&isolated, at, port));
        }
        allowed(by)
    }

    /// Ingress of the destination; of a Service that of all its backends.
    pub(super) fn ingress(&self, from: &End<'_>, to: &Destination<'_>) -> Half {
        let halves = to.backends.iter().map(|(end, port)| self.ingress_of(from, end, *port));
        let (allow, deny): (Vec<_>, Vec<_>) = halves.partition(|half| half.allowed);
        let decisive = if deny.is_empty() { allow } else { deny };
        let allowed_all = decisive.iter().all(|half| half.allowed);
        let mut by: Vec<_> = decisive.into_iter().flat_map(|half| half.by).collect();
        by.sort();
        by.dedup();
        Half { allowed: allowed_all, by }
    }

    fn ingress_of(&self, from: &End<'_>, to: &End<'_>, port: u16) -> Half {
        let Some(isolated) = self.isolated(to, Direction::Ingress) else {
            return open();
        };
        if from.is_same_pod(to) || from.is_node_of(isolated.pod) {
            return open();
        }
        let (isolation, at) = (isolated.isolation, from.address);
        match self.desired.judge(isolation, Direction::Ingress, at, self.protocol, port) {
            Ok(()) => allowed(self.rules(&isolated, at, port)),
            Err(_) => denied(isolation),
        }
    }

    fn isolated<'b>(&'b self, end: &End<'_>, direction: Direction) -> Option<Isolated<'b>> {
        let (name, _) = end.pod()?;
        let pod = self.snapshot.pods.get(name)?;
        let endpoint = self.desired.endpoints.get(name)?;
        let isolation = match direction {
            Direction::Ingress => endpoint.ingress.as_ref(),
            Direction::Egress => endpoint.egress.as_ref(),
        }?;
        Some(Isolated { pod, direction, isolation })
    }

    /// The rules that allow an address at a port.
    fn rules(&self, isolated: &Isolated<'_>, remote: IpAddr, port: u16) -> Vec<Deciding> {
        let meaning = self.desired.meaning_of(self.desired.identity_of(remote));
        let nothing = AddressMeaning::default();
        let meaning = meaning.unwrap_or(&nothing);
        let allows = |name: &&ObjectName| {
            let policy = self.desired.policies.get(*name)?;
            let rules = policy.rules(isolated.direction).iter().enumerate();
            let name = (*name).clone();
            Some(rules.filter_map(move |(index, rule)| {
                if !meaning.matches(rule.peers.as_ref()) {
                    return None;
                }
                let on_pod: Resolved;
                let resolved = match isolated.direction {
                    Direction::Egress => &meaning.named,
                    Direction::Ingress => {
                        on_pod = rule.ports.names_on(isolated.pod);
                        &on_pod
                    }
                };
                let ports = rule.ports.resolve(resolved);
                ports.contains(self.protocol, port).then(|| deciding(&name, Some(index)))
            }))
        };
        isolated.isolation.policies.iter().filter_map(|name| allows(&name)).flatten().collect()
    }
}

fn open() -> Half {
    Half { allowed: true, by: Vec::new() }
}

fn allowed(mut by: Vec<Deciding>) -> Half {
    by.sort();
    by.dedup();
    Half { allowed: true, by }
}

fn denied(isolation: &Isolation) -> Half {
    let by = isolation.policies.iter().map(|policy| deciding(policy, None)).collect();
    Half { allowed: false, by }
}

fn deciding(policy: &ObjectName, rule: Option<usize>) -> Deciding {
    Deciding { kind: "NetworkPolicy", policy: policy.clone(), rule }
}
