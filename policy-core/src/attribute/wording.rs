//! How a text names the policy and the rule that decided: in the flow log, in Events, in truth tables
//! and in `policyctl explain`.
//!
//! ```text
//! as a field    spec.ingress[0] of NetworkPolicy shop/web     NetworkPolicy shop/web
//! in a table    shop/web rule 0                               no rule of shop/web
//! ```

use crate::model::{Direction, FieldPath, PolicyRef};

use super::DecidingPolicy;

impl DecidingPolicy {
    /// The policy and its rule, as a field of the API object.
    #[must_use]
    pub fn describe(&self, direction: Direction) -> String {
        let policy = title(&self.policy);
        match self.rule {
            Some(rule) => format!("{} of {policy}", FieldPath::rule(direction, rule)),
            None => policy,
        }
    }

    /// The same in a few letters, for a cell of a table: the kind is left out where it is
    /// `NetworkPolicy`.
    #[must_use]
    pub fn describe_briefly(&self, allowed: bool) -> String {
        let policy = match &self.policy {
            PolicyRef::Namespaced(name) => name.to_string(),
            PolicyRef::ClusterWide(_) => title(&self.policy),
        };
        match (self.rule, allowed) {
            (Some(rule), _) => format!("{policy} rule {rule}"),
            (None, false) => format!("no rule of {policy}"),
            (None, true) => policy,
        }
    }
}

/// Kind and name of a policy, as its manifest has them.
fn title(policy: &PolicyRef) -> String {
    format!("{} {policy}", policy.kind_name())
}
