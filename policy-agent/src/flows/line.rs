//! A line of the flow log.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use policy_common::{
    drops::Reason,
    protocol::{ICMP, ICMPV6},
};
use policy_core::{
    attribute::{Decision, Denial},
    model::{Annotations, AnyPolicy, Direction, PolicyRef},
};
use serde::Serialize;

use super::packet::{self, DroppedPacket, PacketEnd};

/// A dropped packet; `docs/flow-log.md` describes each field. What is not known is left out.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    /// RFC 3339.
    time: String,
    node: &'a str,
    verdict: &'static str,
    /// The kernel's reason, or `denied-by-rule`.
    reason: &'static str,
    /// How policies decided; left out where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    direction: &'static str,
    source: JsonEnd<'a>,
    destination: JsonEnd<'a>,
    /// The API's word, `ICMP`, `ICMPv6`, or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    ether_type: String,
    /// Bytes of the frame.
    length: u32,
    interface: u32,
    /// The policy with the rule that denies, or the policies that isolate the pod.
    policies: Vec<JsonPolicy<'a>>,
    /// Dropped packets of this pod since its last line that have none.
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u32,
    /// Whether labels, annotations or policies are missing, because the line would be too long.
    #[serde(skip_serializing_if = "is_false")]
    shortened: bool,
}

/// The most policies in a line that would be too long.
const POLICIES: usize = 16;

#[derive(Debug, Default, Serialize)]
struct JsonEnd<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<Workload<'a>>,
}

/// What runs a pod.
#[derive(Debug, Serialize)]
struct Workload<'a> {
    kind: &'a str,
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct JsonPolicy<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    /// Index of the rule that denies; `null` for a policy that isolates the pod.
    rule: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a Annotations>,
}

impl<'a> Line<'a> {
    /// The line of a packet.
    pub(super) fn of(packet: &'a DroppedPacket<'a>) -> Self {
        let DroppedPacket { record, node, snapshot, direction, local, remote, denial, .. } = packet;
        let (source, destination) = match direction {
            Direction::Ingress => (remote, local),
            Direction::Egress => (local, remote),
        };
        let decision = denial.as_ref().map(Denial::decision);
        let annotations = |name| snapshot.policy(name).map(AnyPolicy::annotations);
        let policies = packet.policies().into_iter();
        Self {
            time: wall_clock(record.time).to_string(),
            node,
            verdict: "drop",
            reason: reason(record.reason, decision),
            decision: decision.map(Decision::name),
            direction: direction.name(),
            source: JsonEnd::of(source),
            destination: JsonEnd::of(destination),
            protocol: packet::is_ip(record).then(|| protocol(record.protocol)),
            ether_type: format!("0x{:04x}", record.ether_type),
            length: record.length,
            interface: record.ifindex,
            policies: policies
                .map(|(name, rule)| JsonPolicy::of(name, rule, annotations(name)))
                .collect(),
            left_out: record.withheld,
            shortened: false,
        }
    }

    /// The same line without labels and annotations, and with few policies: names have at most a few
    /// hundred bytes.
    pub(super) fn shorten(mut self) -> Self {
        self.shortened = true;
        (self.source.labels, self.destination.labels) = (None, None);
        self.policies.truncate(POLICIES);
        self.policies.iter_mut().for_each(|policy| policy.annotations = None);
        self
    }
}

impl<'a> JsonEnd<'a> {
    fn of(end: &PacketEnd<'a>) -> Self {
        let &PacketEnd { address, port, pod } = end;
        let Some((name, pod)) = pod else { return Self { address, port, ..Self::default() } };
        let workload = pod.workload.as_deref();
        Self {
            address,
            port,
            namespace: Some(&name.namespace),
            pod: Some(pod.deleted.as_ref().unwrap_or(&name.name)),
            labels: Some(&pod.labels),
            workload: workload.map(|found| Workload { kind: &found.kind, name: &found.name }),
        }
    }
}

impl<'a> JsonPolicy<'a> {
    fn of(
        policy: &'a PolicyRef,
        rule: Option<usize>,
        annotations: Option<&'a Annotations>,
    ) -> Self {
        Self {
            kind: policy.kind().name(),
            namespace: policy.namespace(),
            name: policy.name(),
            rule,
            annotations: annotations.filter(|annotations| !annotations.is_empty()),
        }
    }
}

/// The kernel does not know whether a rule denies or none allows; the decision does.
pub(super) fn reason(number: u8, decision: Option<Decision>) -> &'static str {
    match (Reason::from_number(number), decision) {
        (Some(Reason::NoRule), Some(Decision::DeniedByRule)) => Decision::DeniedByRule.name(),
        (Some(reason), _) => reason.name(),
        (None, _) => "unknown",
    }
}

pub(super) fn protocol(number: u8) -> String {
    match (packet::known_protocol(number), number) {
        (Some(protocol), _) => protocol.name().to_owned(),
        (None, ICMP) => "ICMP".to_owned(),
        (None, ICMPV6) => "ICMPv6".to_owned(),
        (None, number) => number.to_string(),
    }
}

/// The time of a reading of the monotonic clock, in nanoseconds.
pub(super) fn wall_clock(then: u64) -> Timestamp {
    let now = Timestamp::now();
    let Ok(clock) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return now };
    let age = Duration::from(clock).saturating_sub(Duration::from_nanos(then));
    let age = SignedDuration::try_from(age).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(is_so: &bool) -> bool {
    !is_so
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_denial_by_a_rule_has_a_reason_of_its_own() {
        use Decision::{DeniedByRule, NoRuleAllows};
        #[rustfmt::skip]
        let cases = [
            // claim                                   kernel's reason         decision             reason
            ("no rule allows",                         Reason::NoRule,         Some(NoRuleAllows),  "no-rule"),
            ("a rule denies",                          Reason::NoRule,         Some(DeniedByRule),  "denied-by-rule"),
            ("a Service is denied at its backends",    Reason::ServiceDenied,  Some(DeniedByRule),  "service-denied"),
            ("the plan is forgotten",                  Reason::NoRule,         None,                "no-rule"),
            ("no policy decides",                      Reason::SpoofedSource,  None,                "spoofed-source"),
        ];
        for (claim, number, decision, want) in cases {
            assert_eq!(reason(number as u8, decision), want, "{claim}");
        }
        assert_eq!(reason(u8::MAX, None), "unknown");
    }
}
