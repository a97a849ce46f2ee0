//! The verdict at every port between two ends, without a port in the question.
//!
//! ```text
//! frontend/web -> backend/api IPv4
//!   10.0.1.1 -> 10.0.2.1
//!   allow TCP 80: egress: frontend/frontend rule 0; ingress: backend/backend rule 0
//!   deny TCP 1-79, 81-65535; UDP; SCTP: egress: no rule of frontend/frontend
//!   deny other protocols, such as ICMP
//! ```
//!
//! Ports with the same verdict by the same rules are one entry.

use std::{fmt::Write, net::IpAddr};

use policy_core::{
    desired::{Desired, Ports},
    explain::{Explainer, Explanation},
    model::{Direction, Protocol, Snapshot},
};
use policy_manifest::{End, Verdict};
use policy_probe::{Probe, Row};
use serde::Serialize;

use super::text::painted;
use crate::{output::Paint, port_set::PortSet, segments};

/// The verdicts between two ends in one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct AllPorts {
    from: String,
    to: String,
    family: &'static str,
    source: IpAddr,
    destination: IpAddr,
    ports: Vec<PortsVerdict>,
    /// Of protocols without ports, such as ICMP; `None` for ends that are no pods.
    other_protocols: Option<Verdict>,
}

/// A verdict, and the ports that have it by the same rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PortsVerdict {
    ports: PortSet,
    /// `None` where no policy applies.
    verdict: Option<Verdict>,
    /// The policies that decide, in words.
    decided_by: String,
}

/// A verdict, the first probe that has it, and the ranges that have it.
type Judged = (Option<Explanation>, Probe, Vec<(Protocol, u16, u16)>);

impl AllPorts {
    /// The verdicts on a probe, at every port instead of its own.
    pub(super) fn of(
        snapshot: &Snapshot,
        desired: &Desired,
        explainer: &Explainer<'_>,
        probe: &Probe,
    ) -> Self {
        let mut groups: Vec<Judged> = Vec::new();
        for protocol in Protocol::ALL {
            for (first, last) in segments::of(snapshot, protocol) {
                let probe = Probe { port: first, protocol, ..probe.clone() };
                let explanation = explainer.explain(&probe.question());
                let range = (protocol, first, last);
                match groups.iter_mut().find(|(known, ..)| *known == explanation) {
                    Some((.., ranges)) => ranges.push(range),
                    None => groups.push((explanation, probe, vec![range])),
                }
            }
        }
        let mut ports: Vec<PortsVerdict> =
            groups.into_iter().map(|(found, probe, ranges)| entry(found, probe, ranges)).collect();
        // What is allowed first.
        ports.sort_by_key(|one| one.verdict != Some(Verdict::Allow));
        Self {
            from: probe.from.to_string(),
            to: probe.to.to_string(),
            family: probe.family.name(),
            source: probe.source,
            destination: probe.destination,
            ports,
            other_protocols: other_protocols(snapshot, desired, probe),
        }
    }

    /// For people.
    pub(super) fn text(&self, paint: Paint) -> String {
        let Self { from, to, family, source, destination, ports, other_protocols } = self;
        let mut out = String::new();
        let _ = writeln!(out, "{from} -> {to} {family}\n  {source} -> {destination}");
        for PortsVerdict { ports, verdict, decided_by } in ports {
            let _ = writeln!(out, "  {} {ports}: {decided_by}", painted(*verdict, paint));
        }
        if let Some(verdict) = other_protocols {
            let verdict = painted(Some(*verdict), paint);
            let _ = writeln!(out, "  {verdict} other protocols, such as ICMP");
        }
        out
    }
}

fn entry(
    explanation: Option<Explanation>,
    probe: Probe,
    ranges: Vec<(Protocol, u16, u16)>,
) -> PortsVerdict {
    let ports = PortSet::new(Ports::from_ranges(ranges));
    match explanation.map(|found| Row::of(probe, found, None)) {
        Some(row) => {
            PortsVerdict { ports, verdict: Some(row.expected()), decided_by: row.decided_by() }
        }
        None => PortsVerdict { ports, verdict: None, decided_by: "no policy".to_owned() },
    }
}

/// The verdict on protocols without ports, from the compiled sets of both pods.
fn other_protocols(snapshot: &Snapshot, desired: &Desired, probe: &Probe) -> Option<Verdict> {
    let is_pod = |end: &End| match end {
        End::Pod(name) => snapshot.pods.get(name).is_some_and(|pod| !pod.host_network),
        End::Host(_) | End::Service(_) | End::Address(_) => false,
    };
    if !is_pod(&probe.from) || !is_pod(&probe.to) {
        return None;
    }
    let allows = |end: &End, direction, far| {
        let End::Pod(name) = end else { return true };
        let endpoint = desired.endpoints.get(name);
        let isolation = endpoint.and_then(|one| one.isolation.get(direction).as_ref());
        isolation.is_none_or(|isolation| {
            let ports = isolation.allow_map.ports_of(desired.identity_of(far));
            ports.is_some_and(Ports::contains_other_protocols)
        })
    };
    let allowed = allows(&probe.from, Direction::Egress, probe.destination)
        && allows(&probe.to, Direction::Ingress, probe.source);
    Some(if allowed { Verdict::Allow } else { Verdict::Deny })
}
