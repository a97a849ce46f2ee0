//! What the fates of probes mean.

use policy_common::drops::Reason;
use policy_core::{desired::Desired, explain::explain, model::Snapshot};
use policy_manifest::Expectations;
use policy_probe::{Mismatch, Outcome, Probe, Row, Table, check};

use super::{
    Error,
    anti_spoofing::{self, Lie},
    connection::Fate,
    probe_plan::Campaign,
};

/// The outcome of a lab.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The truth table that the wire gave, beside the compiler's.
    pub table: Table,
    /// Expectations that it does not meet.
    pub mismatches: Vec<Mismatch>,
    /// What is wrong with the enforcement, a line each.
    pub findings: Vec<String>,
    /// What the reader should know, a line each.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.mismatches.is_empty()
            && self.findings.is_empty()
            && self.table.probes.iter().all(Row::agrees)
    }
}

/// Requires that every probe got through.
///
/// # Errors
///
/// [`Error::Baseline`] with those that did not.
pub fn baseline(campaign: &Campaign, fates: &[Fate]) -> Result<(), Error> {
    let failed: Vec<String> = campaign
        .planned
        .iter()
        .zip(fates)
        .filter(|(planned, fate)| outcome(planned.refusing, fate) != Outcome::Allow)
        .map(|(planned, fate)| format!("{}: {}", named(&planned.probe), told(fate)))
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::Baseline { tried: fates.len(), failed }) }
}

/// Compares what the wire gave with the compiler and with expectations.
#[must_use]
pub fn report(
    campaign: &Campaign,
    fates: &[Fate],
    snapshot: &Snapshot,
    desired: &Desired,
    expectations: &Expectations,
) -> Report {
    let mut report = Report::default();
    for (planned, fate) in campaign.planned.iter().zip(fates) {
        let probe = &planned.probe;
        let outcome = outcome(planned.refusing, fate);
        let Some(explanation) = explain(snapshot, desired, &probe.question()) else {
            let line = format!("{}: no policy has a say; {}", named(probe), told(fate));
            if outcome == Outcome::Allow {
                report.notes.push(line);
            } else {
                report.findings.push(line);
            }
            continue;
        };
        let row = Row::new(probe, &explanation, Some(outcome));
        if outcome == Outcome::Lost {
            // The table tells of other disagreements; only how this one was lost is news.
            report.findings.push(format!("{}: {}", named(probe), told(fate)));
        }
        report.table.probes.push(row);
    }
    report.mismatches = check(&report.table.probes, expectations);
    report
}

/// The verdict of the wire.
///
/// Only a drop for a reason of policy is a deny; any other is a defect of the classifiers. A
/// refusal is kube-proxy's and no policy's, so what it refuses for want of backends (`refusing`)
/// has passed.
fn outcome(refusing: bool, fate: &Fate) -> Outcome {
    match fate {
        Fate::Answered => Outcome::Allow,
        Fate::Refused if refusing => Outcome::Allow,
        Fate::Dropped(reason) if is_policy(*reason) => Outcome::Deny,
        Fate::Dropped(_)
        | Fate::Refused
        | Fate::Mistaken { .. }
        | Fate::Vanished
        | Fate::Failed { .. } => Outcome::Lost,
    }
}

/// Whether a drop for this reason is what policies ask for.
#[must_use]
pub fn is_policy(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoRule
            | Reason::Revoked
            | Reason::ServiceNoBackend
            | Reason::ServiceDenied
            | Reason::ServicePartlyDenied
    )
}

/// A finding where the counters know of fewer drops than there were denied probes.
#[must_use]
pub fn uncounted(table: &Table, drops: u64) -> Option<String> {
    let denied = table.probes.iter().filter(|row| row.verdict == Outcome::Deny).count();
    let few = u64::try_from(denied).is_ok_and(|denied| drops < denied);
    few.then(|| format!("{denied} probes were denied, but the counters have {drops} drops"))
}

/// A finding where a lie was not dropped for being one.
#[must_use]
pub fn of_lie(lie: &Lie, fate: anti_spoofing::Fate) -> Option<String> {
    let what = match fate {
        anti_spoofing::Fate::Dropped(Reason::SpoofedSource) => return None,
        anti_spoofing::Fate::Dropped(other) => format!("was dropped, but as {}", other.name()),
        anti_spoofing::Fate::Believed => "got through".to_owned(),
        anti_spoofing::Fate::Vanished => "vanished without a counted drop".to_owned(),
    };
    Some(format!("a forged source address ({lie}) {what}"))
}

fn named(probe: &Probe) -> String {
    let Probe { from, to, port, protocol, family, .. } = probe;
    format!("{from} -> {to} {port}/{protocol} {}", family.name())
}

fn told(fate: &Fate) -> String {
    match fate {
        Fate::Answered => "answered".to_owned(),
        Fate::Dropped(reason) => format!("dropped as {}", reason.name()),
        Fate::Refused => "refused".to_owned(),
        Fate::Mistaken { answer } => format!("answered by another, {answer:?}"),
        Fate::Vanished => "vanished without a counted drop".to_owned(),
        Fate::Failed { error } => format!("could not be tried: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use policy_core::model::{Family, Protocol};
    use policy_probe::{By, End, Verdict};

    use super::*;
    use crate::blueprint::Machine;

    #[test]
    fn only_a_drop_by_policy_is_a_deny() {
        let mistaken = Fate::Mistaken { answer: String::new() };
        let failed = Fate::Failed { error: String::new() };
        #[rustfmt::skip]
        let cases = [
            // claim                                  no backend  fate                                   outcome
            ("an answer passes",                      false, Fate::Answered,                        Outcome::Allow),
            ("a drop for want of a rule is a deny",   false, Fate::Dropped(Reason::NoRule),         Outcome::Deny),
            ("so is one of a Service",                false, Fate::Dropped(Reason::ServiceDenied),  Outcome::Deny),
            ("silence is none",                       false, Fate::Vanished,                        Outcome::Lost),
            ("nor a refusal",                         false, Fate::Refused,                         Outcome::Lost),
            ("but a Service without backends refuses", true, Fate::Refused,                         Outcome::Allow),
            ("a dropped forgery is a defect",         false, Fate::Dropped(Reason::SpoofedSource),  Outcome::Lost),
            ("so is a packet that was not parsed",    false, Fate::Dropped(Reason::Malformed),      Outcome::Lost),
            ("the wrong server is no success",        false, mistaken,                              Outcome::Lost),
            ("nor is a local error",                  false, failed,                                Outcome::Lost),
        ];
        for (claim, refusing, fate, want) in cases {
            assert_eq!(outcome(refusing, &fate), want, "{claim}");
        }
    }

    #[test]
    fn a_lie_is_harmless_only_where_it_was_dropped_for_being_one() {
        let machine = || Machine::Host("x".to_owned());
        let address = [10, 0, 0, 1].into();
        let lie =
            Lie { liar: machine(), victim: address, receiver: machine(), destination: address };
        let found = |fate| of_lie(&lie, fate).is_some();
        assert!(!found(anti_spoofing::Fate::Dropped(Reason::SpoofedSource)));
        assert!(found(anti_spoofing::Fate::Dropped(Reason::NoRule)));
        assert!(found(anti_spoofing::Fate::Believed));
        assert!(found(anti_spoofing::Fate::Vanished));
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
            by: By::default(),
        };
        let table = Table { probes: vec![denied.clone(), denied] };
        assert_eq!(uncounted(&table, 2), None);
        assert!(uncounted(&table, 1).is_some());
    }

    #[test]
    fn a_finding_alone_makes_a_report_unclean() {
        assert!(Report::default().clean());
        let report = Report { findings: vec![String::new()], ..Report::default() };
        assert!(!report.clean());
    }
}
