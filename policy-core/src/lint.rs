//! Finds policies that are legal, and probably do not do what their author means.
//!
//! Input: a [`Snapshot`]. Output: [`Finding`]s, sorted by object and field. `policyctl lint` calls it
//! and adds the file and line of each finding; nothing here knows files.
//!
//! Each rule of the linter has a code (`NP001`, …), an entry in [`RULES`], and a `check` function
//! that reads a `Context` and adds to a `Report`. For example, where a policy of namespace `web`
//! selects `app=frontt`, and the pods there have `app=front`:
//!
//! ```text
//! NP001 warning  NetworkPolicy web/p  spec.podSelector
//!     app=frontt selects no pod of namespace web
//!     the pods there have app=front
//! ```
//!
//! Modules are named for the mistake that they find; `tiers` has the rules for
//! `ClusterNetworkPolicies`.

mod api_server;
mod balancers;
mod catalogue;
mod companions;
mod context;
mod covered_policies;
mod default_deny;
mod dns;
mod families;
mod finding;
mod ip_blocks;
mod mesh;
mod metadata;
mod named_ports;
mod never_matches;
mod node_addresses;
mod opened_excepts;
mod partial_services;
mod policy_types;
mod redundant;
mod rule_ports;
mod selectors;
mod service_ports;
mod split_selectors;
mod tiers;
mod well_known;

pub use catalogue::{LintRule, RULES};
pub use finding::{Finding, Fix, Level};

use std::collections::BTreeSet;

use crate::model::{PolicyRef, Snapshot};

use catalogue::UNRESOLVED_PORT;
use context::Context;
use finding::Report;

/// Runs every rule; findings are sorted by object and field, each once.
///
/// `undefined` are namespaces that objects name, and that the input does not define.
#[must_use]
pub fn lint(snapshot: &Snapshot, undefined: &[String]) -> Vec<Finding> {
    run(RULES.iter(), &Context::new(snapshot, undefined))
}

/// Named ports of some policies that no possible destination has, so that they allow nothing (S24).
///
/// The agent calls it for the policies that select pods of its node.
#[must_use]
pub fn unresolved_ports(snapshot: &Snapshot, policies: &BTreeSet<PolicyRef>) -> Vec<Finding> {
    let rule = RULES.iter().filter(|rule| rule.code == UNRESOLVED_PORT);
    run(rule, &Context::of_policies(snapshot, policies))
}

fn run<'a>(rules: impl Iterator<Item = &'a LintRule>, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in rules {
        let mut report = Report::of(rule.code);
        for check in rule.checks {
            check(context, &mut report);
        }
        findings.append(&mut report.findings);
    }
    findings.sort();
    findings.dedup();
    findings
}
