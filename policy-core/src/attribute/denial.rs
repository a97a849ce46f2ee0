//! Why policies deny a packet.

use std::{fmt, sync::Arc};

use policy_common::drops::Reason;

use crate::model::{Direction, PolicyRef};

use super::{DecidingPolicy, DirectionVerdict};

/// The policies that deny a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// Direction of the rules that were evaluated.
    pub direction: Direction,
    by: Arc<[DecidingPolicy]>,
}

/// How policies deny a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// A rule with the action `Deny` matches it; of a Service, one of a backend.
    DeniedByRule,
    /// Policies isolate the pod, and none of their rules allows it.
    NoRuleAllows,
}

/// Whether a reason of the flow log is of a drop that policies decide, so that a policy can allow the
/// connection.
#[must_use]
pub fn can_be_allowed(reason: &str) -> bool {
    let mut of_kernel = Reason::ALL.iter().filter(|one| one.is_policy());
    // A Service without backends answers no connection, whatever policies allow.
    reason == Decision::DeniedByRule.name()
        || of_kernel.any(|one| *one != Reason::ServiceNoBackend && one.name() == reason)
}

impl Decision {
    /// The value of `decision` in the flow log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeniedByRule => "denied-by-rule",
            Self::NoRuleAllows => "no-rule-allows",
        }
    }
}

impl Denial {
    /// The denial of a verdict; `None` for one that allows, and where no policy isolates.
    #[must_use]
    pub fn of(direction: Direction, verdict: DirectionVerdict) -> Option<Self> {
        let DirectionVerdict { allowed, by } = verdict;
        (!allowed && !by.is_empty()).then_some(Self { direction, by })
    }

    /// A denial of all policies that isolate a pod; `None` where there is none.
    pub(super) fn of_isolation(direction: Direction, policies: &[PolicyRef]) -> Option<Self> {
        let by =
            policies.iter().map(|policy| DecidingPolicy { policy: policy.clone(), rule: None });
        let by: Arc<[_]> = by.collect();
        (!by.is_empty()).then_some(Self { direction, by })
    }

    /// How it is denied.
    #[must_use]
    pub fn decision(&self) -> Decision {
        if self.by.iter().any(|by| by.rule.is_some()) {
            Decision::DeniedByRule
        } else {
            Decision::NoRuleAllows
        }
    }

    /// The rule that denies, with its policy; the policies that isolate, with no rule. Of a Service
    /// there may be both, for different backends.
    #[must_use]
    pub fn by(&self) -> &[DecidingPolicy] {
        &self.by
    }
}

/// One sentence without its subject: `denied by spec.ingress[1] of ClusterNetworkPolicy vault`.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = self.direction;
        let (denying, isolating): (Vec<_>, Vec<_>) =
            self.by.iter().partition(|by| by.rule.is_some());
        let denying = denying.into_iter().map(|by| by.describe(direction));
        let mut parts: Vec<String> = denying.map(|rule| format!("denied by {rule}")).collect();
        if !isolating.is_empty() {
            let names: Vec<String> =
                isolating.into_iter().map(|by| by.describe(direction)).collect();
            parts.push(format!("isolated by {}, and no rule allows it", names.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}
