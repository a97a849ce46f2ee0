//! An explanation in the form that programs read.

use std::net::IpAddr;

use policy_core::{
    desired::Desired,
    explain::{self, Candidate, Change, Miss, RuleOutcome, Side, TierRule, WrongDirection},
    model::{Action, Direction, Snapshot, Tier},
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
    /// The rule of a tier that decides; `None` where network policies do, or nobody.
    pub(super) decided_by: Option<String>,
    /// Rules of `ClusterNetworkPolicies`, in the order in which they are asked.
    pub(super) tiers: Vec<TierAnswer>,
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

/// A rule of a tier, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct TierAnswer {
    /// `Admin` or `Baseline`.
    pub(super) tier: &'static str,
    pub(super) priority: u16,
    pub(super) policy: String,
    /// As `spec.ingress[0]`.
    pub(super) rule: String,
    /// `Accept`, `Deny` or `Pass`.
    pub(super) action: &'static str,
    /// `misses`, `decides`, `leaves`, `behind` or `not asked`.
    pub(super) part: &'static str,
    /// The rule that comes first, where it is `behind` one.
    pub(super) behind: Option<String>,
    /// Why it accepts nothing, or denies all, whatever else it says.
    pub(super) closed: Option<String>,
    /// What failed; as `from[0]: …`.
    pub(super) failed: Vec<String>,
}

/// An addition to a list of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChangeAnswer {
    pub(super) kind: &'static str,
    pub(super) policy: String,
    pub(super) add_to: String,
    /// Index of the entry before which it must stand, where that matters.
    pub(super) before: Option<usize>,
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
            direction: lists(side.direction).0,
            pod: side.pod.to_string(),
            remote: side.remote,
            remote_pod: side.remote_pod.as_ref().map(ToString::to_string),
            port: side.port,
            verdict: word(side.allowed()),
            decided_by: side.decider().map(title),
            tiers: side.tiers.iter().map(|rule| TierAnswer::of(side, rule)).collect(),
            isolated_by: names(&side.isolating),
            not_in_this_direction: names(&side.other_direction),
            rules: rules.map(RuleAnswer::of).collect(),
            change: Change::smallest(snapshot, side).as_ref().map(ChangeAnswer::of),
        }
    }
}

impl RuleAnswer {
    fn of(candidate: &Candidate) -> Self {
        let (rules, peers) = lists(candidate.direction);
        let mut failed = Vec::new();
        failed.extend(candidate.wrong_direction.map(|wrong| match wrong {
            WrongDirection::NotInPolicyTypes => {
                format!("direction: policyTypes leaves out {rules}, so the rule is not in force")
            }
            WrongDirection::OtherDirection => {
                format!("direction: it allows the same end as {rules} only")
            }
        }));
        failed.extend(failures((peers, &candidate.peer), ("ports", &candidate.port)));
        Self {
            policy: candidate.policy.to_string(),
            rule: format!("spec.{rules}[{}]", candidate.rule),
            allows: candidate.allows(),
            failed,
        }
    }
}

impl TierAnswer {
    fn of(side: &Side, rule: &TierRule) -> Self {
        let (_, peers) = lists(rule.direction);
        let (part, behind) = match rule.outcome {
            RuleOutcome::NoMatch => ("misses", None),
            RuleOutcome::Decides => ("decides", None),
            RuleOutcome::LeavesTier => ("leaves", None),
            RuleOutcome::Shadowed(first) => ("behind", side.tiers.get(first).map(title)),
            RuleOutcome::NotEvaluated => ("not asked", None),
        };
        Self {
            tier: tier(rule.tier),
            priority: rule.priority,
            policy: rule.policy.to_string(),
            rule: field(rule),
            action: match rule.action {
                Action::Accept => "Accept",
                Action::Deny => "Deny",
                Action::Pass => "Pass",
            },
            part,
            behind,
            closed: rule.closed.clone(),
            failed: failures((peers, &rule.peer), ("protocols", &rule.port)),
        }
    }
}

impl ChangeAnswer {
    fn of(change: &Change) -> Self {
        Self {
            kind: change.policy.kind().name(),
            policy: change.policy.to_string(),
            add_to: change.field(),
            before: change.before(),
            item: change.yaml(),
        }
    }
}

type Failed<T> = Result<Option<usize>, Vec<(usize, T)>>;

/// What failed, where all entries of a list did.
fn failures(
    (peers, peer): (&str, &Failed<Vec<Miss>>),
    (ports, port): (&str, &Failed<Miss>),
) -> Vec<String> {
    let of_peers = peer.as_ref().err().into_iter().flatten().map(|(index, misses)| {
        let told: Vec<String> = misses.iter().map(Miss::to_string).collect();
        format!("{peers}[{index}]: {}", told.join("; "))
    });
    let of_ports = port.as_ref().err().into_iter().flatten();
    of_peers.chain(of_ports.map(|(index, miss)| format!("{ports}[{index}]: {miss}"))).collect()
}

/// A rule of a tier, in words.
fn title(rule: &TierRule) -> String {
    format!("{} of ClusterNetworkPolicy {}", field(rule), rule.policy)
}

fn field(rule: &TierRule) -> String {
    format!("spec.{}[{}]", lists(rule.direction).0, rule.rule)
}

fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Admin => "Admin",
        Tier::Baseline => "Baseline",
    }
}

/// The lists of rules and of peers of a direction.
fn lists(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Ingress => ("ingress", "from"),
        Direction::Egress => ("egress", "to"),
    }
}

fn word(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}
