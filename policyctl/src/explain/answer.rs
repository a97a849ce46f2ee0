//! An explanation in the form that programs read.

use std::net::IpAddr;

use policy_core::{
    desired::Desired,
    explain::{self, Candidate, Change, Miss, Side, WrongDirection},
    model::{Direction, Snapshot},
};
use policy_probe::Probe;
use serde::Serialize;

/// All that is printed.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    pub(super) answers: &'a [Answer],
}

/// The verdict in one family, and its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Answer {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) port: u16,
    pub(super) protocol: &'static str,
    pub(super) family: &'static str,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// `allow` or `deny`; `None` where no policy has a say.
    pub(super) verdict: Option<&'static str>,
    pub(super) egress: Option<&'static str>,
    pub(super) ingress: Option<&'static str>,
    /// Each pod that policies select, at each place where the connection may end.
    pub(super) sides: Vec<SideAnswer>,
}

/// What the policies of one pod say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SideAnswer {
    /// `ingress` or `egress`.
    pub(super) direction: &'static str,
    pub(super) pod: String,
    /// The far end's address, and its pod.
    pub(super) remote: IpAddr,
    pub(super) remote_pod: Option<String>,
    pub(super) port: u16,
    pub(super) verdict: &'static str,
    pub(super) isolated_by: Vec<String>,
    /// Policies that select the pod in the other direction only.
    pub(super) not_in_this_direction: Vec<String>,
    pub(super) rules: Vec<RuleAnswer>,
    /// What would let it pass.
    pub(super) change: Option<ChangeAnswer>,
}

/// A rule, and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RuleAnswer {
    pub(super) policy: String,
    /// As `spec.ingress[0]`.
    pub(super) rule: String,
    pub(super) allows: bool,
    /// What failed; as `from[0]: …`.
    pub(super) failed: Vec<String>,
}

/// An addition to a list of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChangeAnswer {
    pub(super) policy: String,
    pub(super) add_to: String,
    pub(super) item: String,
}

impl Answer {
    /// Explains a probe.
    pub(super) fn of(snapshot: &Snapshot, desired: &Desired, probe: &Probe) -> Self {
        let question = probe.question();
        let explanation = explain::explain(snapshot, desired, &question);
        let said = explanation.as_ref();
        let sides = explain::sides(snapshot, &question);
        Self {
            from: probe.from.to_string(),
            to: probe.to.to_string(),
            port: probe.port,
            protocol: probe.protocol.name(),
            family: probe.family.name(),
            source: probe.source,
            destination: probe.destination,
            verdict: said.map(|said| word(said.allowed())),
            egress: said.map(|said| word(said.egress.allowed)),
            ingress: said.map(|said| word(said.ingress.allowed)),
            sides: sides.iter().map(|side| SideAnswer::of(snapshot, side)).collect(),
        }
    }
}

impl SideAnswer {
    fn of(snapshot: &Snapshot, side: &Side) -> Self {
        let names = |list: &[_]| list.iter().map(ToString::to_string).collect();
        // What does not isolate the pod has no rules of interest.
        let rules = side.candidates.iter().filter(|_| !side.isolating.is_empty());
        Self {
            direction: name(side.direction),
            pod: side.pod.to_string(),
            remote: side.remote,
            remote_pod: side.remote_pod.as_ref().map(ToString::to_string),
            port: side.port,
            verdict: word(side.allowed()),
            isolated_by: names(&side.isolating),
            not_in_this_direction: names(&side.elsewhere),
            rules: rules.map(RuleAnswer::of).collect(),
            change: Change::smallest(snapshot, side).as_ref().map(ChangeAnswer::of),
        }
    }
}

impl RuleAnswer {
    fn of(candidate: &Candidate) -> Self {
        let (rules, peers) = match candidate.direction {
            Direction::Ingress => ("ingress", "from"),
            Direction::Egress => ("egress", "to"),
        };
        let mut failed = Vec::new();
        failed.extend(candidate.wrong_direction.map(|wrong| match wrong {
            WrongDirection::NotInPolicyTypes => {
                format!("direction: policyTypes leaves out {rules}, so the rule is not in force")
            }
            WrongDirection::Turned => format!("direction: it allows the same end as {rules} only"),
        }));
        for (index, misses) in candidate.peer.iter_err() {
            let told: Vec<String> = misses.iter().map(Miss::to_string).collect();
            failed.push(format!("{peers}[{index}]: {}", told.join("; ")));
        }
        for (index, miss) in candidate.port.iter_err() {
            failed.push(format!("ports[{index}]: {miss}"));
        }
        Self {
            policy: candidate.policy.to_string(),
            rule: format!("spec.{rules}[{}]", candidate.rule),
            allows: candidate.allows(),
            failed,
        }
    }
}

impl ChangeAnswer {
    fn of(change: &Change) -> Self {
        Self { policy: change.policy.to_string(), add_to: change.field(), item: change.yaml() }
    }
}

/// The entries that failed, if all did.
trait Failed {
    type Entry;
    fn iter_err(&self) -> &[Self::Entry];
}

impl<T, E> Failed for Result<T, Vec<E>> {
    type Entry = E;

    fn iter_err(&self) -> &[E] {
        self.as_ref().err().map(Vec::as_slice).unwrap_or_default()
    }
}

fn word(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}
