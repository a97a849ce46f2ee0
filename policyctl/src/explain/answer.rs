//! An explanation in the form that programs read.
//!
//! Input: the compiled cluster and a probe. Output: an [`Answer`], which `-o json` prints as it is
//! and `text` renders for people. Verdicts, directions, tiers and outcomes stay types until then;
//! `words` has the word for each.

use std::net::IpAddr;

use policy_core::{
    desired::Desired,
    explain::{self, Candidate, Miss, PolicyChange, RuleOutcome, Side, TierRule, WrongDirection},
    model::{Direction, FieldPath, PolicyRef, Snapshot, Tier, peers_field},
};
use policy_manifest::Verdict;
use policy_probe::Probe;
use serde::Serialize;

use super::{patch, words};

/// All that is printed.
#[derive(Debug, Serialize)]
pub(super) struct Answers<'a, T> {
    pub(super) answers: &'a [T],
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
    /// `None` where no policy applies.
    pub(super) verdict: Option<Verdict>,
    pub(super) egress: Option<Verdict>,
    pub(super) ingress: Option<Verdict>,
    /// Each pod that policies select, once for each place where the connection may end.
    pub(super) sides: Vec<SideAnswer>,
}

/// What the policies of one pod say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SideAnswer {
    #[serde(serialize_with = "words::serialize_direction")]
    pub(super) direction: Direction,
    pub(super) pod: String,
    /// The far end's address, and its pod.
    pub(super) remote: IpAddr,
    pub(super) remote_pod: Option<String>,
    pub(super) port: u16,
    pub(super) verdict: Verdict,
    /// The rule of a tier that decides; `None` where network policies decide, or nothing.
    pub(super) decided_by: Option<String>,
    /// Rules of `ClusterNetworkPolicies`, in the order of evaluation.
    pub(super) tiers: Vec<TierAnswer>,
    pub(super) isolated_by: Vec<String>,
    /// Policies that select the pod in the other direction only.
    pub(super) not_in_this_direction: Vec<String>,
    pub(super) rules: Vec<RuleAnswer>,
    /// What would allow the connection.
    pub(super) change: Option<ChangeAnswer>,
}

/// A rule of a network policy, and why it does not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RuleAnswer {
    pub(super) policy: String,
    /// As `spec.ingress[0]`.
    pub(super) rule: String,
    pub(super) allows: bool,
    /// What failed; as `from[0]: …`.
    pub(super) failed: Vec<String>,
}

/// A rule of a tier, and what it does to the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct TierAnswer {
    #[serde(serialize_with = "words::serialize_tier")]
    pub(super) tier: Tier,
    pub(super) priority: u16,
    /// `ClusterNetworkPolicy`, or the older kind that the policy has.
    pub(super) kind: String,
    pub(super) policy: String,
    /// As `spec.ingress[0]`.
    pub(super) rule: String,
    /// The word that the policy's API has for it.
    pub(super) action: &'static str,
    #[serde(serialize_with = "words::serialize_outcome")]
    pub(super) part: RuleOutcome,
    /// The earlier rule that a shadowed rule comes after.
    pub(super) behind: Option<String>,
    /// Why it accepts nothing, or denies everything, whatever else it says.
    pub(super) closed: Option<String>,
    /// What it does then, in words for people.
    #[serde(skip)]
    pub(super) effect: Option<&'static str>,
    /// What failed; as `from[0]: …`.
    pub(super) failed: Vec<String>,
}

/// An addition to a list of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChangeAnswer {
    pub(super) kind: String,
    pub(super) policy: String,
    pub(super) add_to: String,
    /// Index of the entry before which it must be, where that matters.
    pub(super) before: Option<usize>,
    pub(super) item: String,
    /// The same as a JSON Patch.
    pub(super) patch: serde_json::Value,
    /// The command that applies it to a cluster.
    pub(super) command: String,
}

impl Answer {
    /// Explains a probe.
    pub(super) fn of(snapshot: &Snapshot, desired: &Desired, probe: &Probe) -> Self {
        let question = probe.question();
        let explanation = explain::explain(snapshot, desired, &question);
        let explanation = explanation.as_ref();
        let sides = explain::sides(snapshot, &question);
        Self {
            from: probe.from.to_string(),
            to: probe.to.to_string(),
            port: probe.port,
            protocol: probe.protocol.name(),
            family: probe.family.name(),
            source: probe.source,
            destination: probe.destination,
            verdict: explanation.map(|said| verdict(said.allowed())),
            egress: explanation.map(|said| verdict(said.egress.allowed)),
            ingress: explanation.map(|said| verdict(said.ingress.allowed)),
            sides: sides.iter().map(|side| SideAnswer::of(snapshot, side)).collect(),
        }
    }
}

impl SideAnswer {
    fn of(snapshot: &Snapshot, side: &Side) -> Self {
        let names = |list: &[_]| list.iter().map(ToString::to_string).collect();
        // Policies that do not isolate the pod in this direction have no rules for it.
        let rules = side.candidates.iter().filter(|_| !side.isolating.is_empty());
        Self {
            direction: side.direction,
            pod: side.pod.to_string(),
            remote: side.remote,
            remote_pod: side.remote_pod.as_ref().map(ToString::to_string),
            port: side.port,
            verdict: verdict(side.allowed()),
            decided_by: side.decider().map(words::tier_rule),
            tiers: side.tiers.iter().map(|rule| TierAnswer::of(side, rule)).collect(),
            isolated_by: names(&side.isolating),
            not_in_this_direction: names(&side.other_direction),
            rules: rules.map(RuleAnswer::of).collect(),
            change: PolicyChange::smallest(snapshot, side)
                .map(|change| ChangeAnswer::of(snapshot, &change)),
        }
    }
}

impl RuleAnswer {
    fn of(candidate: &Candidate) -> Self {
        let direction = candidate.direction;
        let rules = direction.name();
        let mut failed = Vec::new();
        failed.extend(candidate.wrong_direction.map(|wrong| match wrong {
            WrongDirection::NotInPolicyTypes => {
                format!("direction: policyTypes leaves out {rules}, so the rule is not in force")
            }
            WrongDirection::OtherDirection => {
                format!("direction: it allows the same end as {rules} only")
            }
        }));
        failed.extend(failures(direction, &candidate.peer, ("ports", &candidate.port)));
        Self {
            policy: candidate.policy.to_string(),
            rule: FieldPath::rule(direction, candidate.rule).to_string(),
            allows: candidate.allows(),
            failed,
        }
    }
}

impl TierAnswer {
    fn of(side: &Side, rule: &TierRule) -> Self {
        let policy = PolicyRef::ClusterWide(rule.policy.clone());
        let is_converted = policy.older_kind().is_some();
        let (kind, policy) = (policy.kind_name().to_owned(), policy.to_string());
        let ports = if is_converted { "ports" } else { "protocols" };
        let effect = rule.closed.as_ref().map(|_| words::closed_effect(rule.action));
        Self {
            tier: rule.tier,
            priority: rule.priority,
            kind,
            policy,
            rule: words::tier_rule_path(rule).to_string(),
            action: words::action(rule.action, is_converted),
            effect,
            part: rule.outcome,
            behind: words::shadowing_rule(side, rule),
            closed: rule.closed.as_ref().map(ToString::to_string),
            failed: failures(rule.direction, &rule.peer, (ports, &rule.port)),
        }
    }
}

impl ChangeAnswer {
    fn of(snapshot: &Snapshot, change: &PolicyChange) -> Self {
        let policy = &change.policy;
        let (kind, policy) = (policy.kind_name().to_owned(), policy.to_string());
        Self {
            kind,
            policy,
            add_to: change.field().to_string(),
            before: change.before(),
            item: change.yaml(),
            patch: patch::of(change, snapshot),
            command: patch::command(change, snapshot),
        }
    }
}

type Failed<T> = Result<Option<usize>, Vec<(usize, T)>>;

/// What failed, where all entries of a list did: `from[0]: …`, `ports[1]: …`.
fn failures(
    direction: Direction,
    peer: &Failed<Vec<Miss>>,
    (ports, port): (&str, &Failed<Miss>),
) -> Vec<String> {
    let peers = peers_field(direction);
    let of_peers = peer.as_ref().err().into_iter().flatten().map(|(index, misses)| {
        let misses: Vec<String> = misses.iter().map(Miss::to_string).collect();
        format!("{peers}[{index}]: {}", misses.join("; "))
    });
    let of_ports = port.as_ref().err().into_iter().flatten();
    of_peers.chain(of_ports.map(|(index, miss)| format!("{ports}[{index}]: {miss}"))).collect()
}

fn verdict(allowed: bool) -> Verdict {
    if allowed { Verdict::Allow } else { Verdict::Deny }
}
