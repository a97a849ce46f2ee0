//! Draws conclusions from the results of probes.
//!
//! Input: the results of all connections, the snapshot and what the compiler made of it.
//! Output: a [`Report`]: the truth table, expectations that are not met, and findings.
//! For example, `Dropped(NoRule)` is a deny, and `Dropped(Malformed)` or `Lost` is a finding,
//! whatever the compiler expects.

use policy_common::drops::Reason;
use policy_core::{
    attribute::{Decision, Denial, DirectionVerdict},
    desired::Desired,
    explain::{Explanation, explain},
    model::{Direction, Snapshot},
};
use policy_manifest::Expectations;
use policy_probe::{End, Mismatch, Outcome, Probe, Row, Table, check};

use crate::{
    Error,
    anti_spoofing::{ForgedPacket, ForgedPacketResult},
    connection::ConnectionResult,
    probe_plan::ProbePlan,
};

/// The results of a lab.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The truth table of the wire, beside the compiler's.
    pub table: Table,
    /// Expectations that the table does not meet.
    pub mismatches: Vec<Mismatch>,
    /// One line for each defect of the enforcement.
    pub findings: Vec<String>,
    /// One line for each fact that the reader needs to judge the table.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether there is no finding and no mismatch, and wire and compiler agree.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.mismatches.is_empty()
            && self.findings.is_empty()
            && self.table.probes.iter().all(Row::agrees)
    }
}

/// The cluster, and what the compiler made of it.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedCluster<'a> {
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// The result of compiling it as a whole.
    pub desired: &'a Desired,
    /// Whether egress to the own node needs no rule (S38), which the result does not contain: it
    /// differs from node to node.
    pub is_own_node_open: bool,
    /// Whether the agents may answer what they drop (S59).
    pub rejects: bool,
}

impl ExpectedCluster<'_> {
    fn explain(&self, probe: &Probe) -> Option<Explanation> {
        let mut explanation = explain(self.snapshot, self.desired, &probe.question())?;
        let denial = Denial::of(Direction::Egress, explanation.egress.clone());
        let is_without_rule = denial.is_some_and(|it| it.decision() == Decision::NoRuleAllows);
        if self.is_own_node_open && is_without_rule && self.is_to_own_node(probe) {
            explanation.egress = DirectionVerdict { allowed: true, by: [].into() };
        }
        Some(explanation)
    }

    /// Whether a probe goes from a pod to an address of its node.
    fn is_to_own_node(&self, probe: &Probe) -> bool {
        let End::Pod(name) = &probe.from else { return false };
        let node = self.snapshot.pods.get(name).and_then(|pod| pod.node.as_ref());
        let node = node.and_then(|node| self.snapshot.nodes.get(node));
        node.is_some_and(|node| node.own_addresses().any(|own| own == probe.destination))
    }
}

/// Requires that every probe was allowed.
///
/// # Errors
///
/// [`Error::Baseline`] with the probes that were not.
pub fn require_all_allowed(plan: &ProbePlan, results: &[ConnectionResult]) -> Result<(), Error> {
    let failed: Vec<String> = plan
        .planned
        .iter()
        .zip(results)
        .filter(|(planned, result)| outcome(planned.refusing, false, result) != Outcome::Allow)
        .map(|(planned, result)| format!("{}: {}", planned.probe, text(result)))
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::Baseline { tried: results.len(), failed }) }
}

/// Compares the results with the compiler and with the expectations.
#[must_use]
pub fn compare(
    plan: &ProbePlan,
    results: &[ConnectionResult],
    cluster: &ExpectedCluster<'_>,
    expectations: &Expectations,
) -> Report {
    let mut report = Report::default();
    for (planned, result) in plan.planned.iter().zip(results) {
        let probe = &planned.probe;
        let outcome = outcome(planned.refusing, cluster.rejects, result);
        let Some(explanation) = cluster.explain(probe) else {
            let line = format!("{probe}: no policy applies; {}", text(result));
            if outcome == Outcome::Allow {
                report.notes.push(line);
            } else {
                report.findings.push(line);
            }
            continue;
        };
        let row = Row::new(probe, &explanation, Some(outcome));
        if outcome == Outcome::Lost {
            // The table shows other disagreements, but not how a probe was lost.
            report.findings.push(format!("{probe}: {}", text(result)));
        }
        report.table.probes.push(row);
    }
    report.mismatches = check(&report.table.probes, expectations);
    report
}

/// The verdict of the wire.
///
/// A drop for any other reason than policy is a defect of the programs. Where a Service has no
/// backends (`refusing`), kube-proxy refuses the connections that policies allow. Where the agent
/// `rejects`, it refuses those that it drops (S59).
fn outcome(refusing: bool, rejects: bool, result: &ConnectionResult) -> Outcome {
    use ConnectionResult::{Answered, Dropped, Failed, Lost, Refused, WrongServer};
    match result {
        Answered => Outcome::Allow,
        Refused { dropped: Some(reason) } if rejects && reason.is_policy() => Outcome::Deny,
        Refused { .. } if refusing => Outcome::Allow,
        Dropped(reason) if reason.is_policy() => Outcome::Deny,
        Dropped(_) | Refused { .. } | WrongServer { .. } | Lost | Failed { .. } => Outcome::Lost,
    }
}

/// A finding where the drop counters show fewer drops than there are denied probes.
#[must_use]
pub fn too_few_drops(table: &Table, drops: u64) -> Option<String> {
    let denied = table.probes.iter().filter(|row| row.verdict == Outcome::Deny).count();
    let few = u64::try_from(denied).is_ok_and(|denied| drops < denied);
    few.then(|| format!("{denied} probes were denied, but only {drops} drops were counted"))
}

/// A finding where a forged packet was not dropped as `spoofed-source`; where its sender may spoof,
/// policies alone may drop it.
#[must_use]
pub fn forged_packet_finding(
    packet: &ForgedPacket,
    result: ForgedPacketResult,
    may_spoof: bool,
) -> Option<String> {
    let what = match result {
        ForgedPacketResult::Dropped(Reason::SpoofedSource) if !may_spoof => return None,
        ForgedPacketResult::Received if may_spoof => return None,
        ForgedPacketResult::Dropped(reason) if may_spoof && reason.is_policy() => return None,
        ForgedPacketResult::Dropped(other) => format!("was dropped as {}", other.name()),
        ForgedPacketResult::Received => "was received".to_owned(),
        ForgedPacketResult::Lost => "was lost without a drop record".to_owned(),
    };
    let free = if may_spoof { " of a pod without anti-spoofing" } else { "" };
    Some(format!("a packet with a forged source address{free} ({packet}) {what}"))
}

fn text(result: &ConnectionResult) -> String {
    match result {
        ConnectionResult::Answered => "answered".to_owned(),
        ConnectionResult::Dropped(reason) => format!("dropped as {}", reason.name()),
        ConnectionResult::Refused { .. } => "refused".to_owned(),
        ConnectionResult::WrongServer { name } => format!("answered by another server, {name:?}"),
        ConnectionResult::Lost => "lost without a drop record".to_owned(),
        ConnectionResult::Failed { error } => format!("could not be sent: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use policy_core::model::{Family, Protocol};
    use policy_probe::{DecidersByDirection, Verdict};

    use super::*;
    use crate::blueprint::Machine;

    #[test]
    fn only_a_drop_by_policy_is_a_deny() {
        use ConnectionResult::{Answered, Dropped, Lost, Refused};
        let wrong_server = ConnectionResult::WrongServer { name: String::new() };
        let failed = ConnectionResult::Failed { error: String::new() };
        let drop = Some(Reason::NoRule);
        #[rustfmt::skip]
        let cases = [
            // claim                                    no backends  result                      outcome
            ("a response is an allow",                         false, Answered,                       Outcome::Allow),
            ("a drop for want of a rule is a deny",            false, Dropped(Reason::NoRule),        Outcome::Deny),
            ("a drop of a Service's packet is a deny",         false, Dropped(Reason::ServiceDenied), Outcome::Deny),
            ("silence is no deny",                             false, Lost,                           Outcome::Lost),
            ("a refusal is no deny",                           false, Refused { dropped: None },      Outcome::Lost),
            ("a refusal after a drop is no deny",              false, Refused { dropped: drop },      Outcome::Lost),
            ("a Service without backends refuses",             true,  Refused { dropped: None },      Outcome::Allow),
            ("a drop as spoofed is a defect",                  false, Dropped(Reason::SpoofedSource), Outcome::Lost),
            ("a drop of a packet that is malformed is a defect", false, Dropped(Reason::Malformed),   Outcome::Lost),
            ("a response of the wrong server is no allow",     false, wrong_server,                   Outcome::Lost),
            ("a local error is no deny",                       false, failed,                         Outcome::Lost),
        ];
        for (claim, refusing, result, want) in cases {
            assert_eq!(outcome(refusing, false, &result), want, "{claim}");
        }
    }

    #[test]
    fn s59_a_refusal_is_a_deny_only_of_an_agent_that_rejects_what_it_drops_by_policy() {
        let refused = |dropped| ConnectionResult::Refused { dropped };
        #[rustfmt::skip]
        let cases = [
            (true,  Some(Reason::NoRule),    Outcome::Deny),
            (true,  Some(Reason::Malformed), Outcome::Lost),
            (true,  None,                    Outcome::Lost),
            (false, Some(Reason::NoRule),    Outcome::Lost),
        ];
        for (rejects, dropped, want) in cases {
            assert_eq!(outcome(false, rejects, &refused(dropped)), want, "{rejects} {dropped:?}");
        }
        assert_eq!(outcome(true, true, &refused(Some(Reason::NoRule))), Outcome::Deny);
    }

    #[test]
    fn only_a_drop_as_spoofed_is_no_finding() {
        let machine = || Machine::Host("x".to_owned());
        let address = [10, 0, 0, 1].into();
        let packet = ForgedPacket {
            sender: machine(),
            source: address,
            receiver: machine(),
            destination: address,
        };
        let found = |result| forged_packet_finding(&packet, result, false).is_some();
        let free = |result| forged_packet_finding(&packet, result, true).is_some();
        assert!(!free(ForgedPacketResult::Received));
        assert!(!free(ForgedPacketResult::Dropped(Reason::NoRule)));
        assert!(free(ForgedPacketResult::Dropped(Reason::SpoofedSource)));
        assert!(!found(ForgedPacketResult::Dropped(Reason::SpoofedSource)));
        assert!(found(ForgedPacketResult::Dropped(Reason::NoRule)));
        assert!(found(ForgedPacketResult::Received));
        assert!(found(ForgedPacketResult::Lost));
    }

    #[test]
    fn a_deny_that_no_counter_has_is_a_finding() {
        let denied = Row {
            from: End::Host("a".to_owned()),
            to: End::Host("b".to_owned()),
            family: Family::Ipv4,
            protocol: Protocol::Tcp,
            port: 80,
            ingress: Verdict::Deny,
            egress: Verdict::Allow,
            verdict: Outcome::Deny,
            by: DecidersByDirection::default(),
        };
        let table = Table { probes: vec![denied.clone(), denied] };
        assert_eq!(too_few_drops(&table, 2), None);
        assert!(too_few_drops(&table, 1).is_some());
    }

    #[test]
    fn a_finding_alone_makes_a_report_unclean() {
        assert!(Report::default().is_clean());
        let report = Report { findings: vec![String::new()], ..Report::default() };
        assert!(!report.is_clean());
    }
}
