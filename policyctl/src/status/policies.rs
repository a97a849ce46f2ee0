//! Policies of all nodes.

use std::collections::BTreeMap;

use policy_report::status::{Policy, PolicyState, Status, title};

/// A policy, as all nodes that have a pod of it report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MergedPolicy {
    pub(super) title: String,
    pub(super) kind: String,
    /// The worst state of a node.
    pub(super) state: PolicyState,
    /// Pods that it selects.
    pub(super) pods: usize,
    /// Nodes with one of these pods, and those of them that enforce it as it is written.
    pub(super) nodes: usize,
    pub(super) enforcing: usize,
    /// Reasons and notes, each with its node; those that all nodes have once.
    pub(super) remarks: Vec<String>,
}

/// The policies of all nodes, by name.
pub(super) fn merged(nodes: &[Status]) -> Vec<MergedPolicy> {
    let mut of_name: BTreeMap<(String, String), Vec<(&str, &Policy)>> = BTreeMap::new();
    for status in nodes {
        for policy in &status.policies {
            let name = (title(policy), policy.kind.clone());
            of_name.entry(name).or_default().push((&status.node, policy));
        }
    }
    of_name.into_iter().map(|((title, kind), reports)| merge(title, kind, &reports)).collect()
}

fn merge(title: String, kind: String, reports: &[(&str, &Policy)]) -> MergedPolicy {
    let states = reports.iter().map(|(_, policy)| policy.state);
    let enforcing = states.clone().filter(|state| *state == PolicyState::Enforced).count();
    let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, policy) in reports {
        for remark in policy.reasons.iter().chain(&policy.notes) {
            said.entry(remark).or_default().push(node);
        }
    }
    let remarks = said.into_iter().map(|(remark, nodes)| {
        if nodes.len() == reports.len() && nodes.len() > 1 {
            format!("all nodes: {remark}")
        } else {
            format!("{}: {remark}", nodes.join(", "))
        }
    });
    MergedPolicy {
        title,
        kind,
        state: states.max().unwrap_or(PolicyState::Enforced),
        pods: reports.iter().map(|(_, policy)| policy.pods).sum(),
        nodes: reports.len(),
        enforcing,
        remarks: remarks.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(node: &str, state: PolicyState, reasons: &[&str]) -> Status {
        let policy = Policy {
            kind: "NetworkPolicy".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "db".to_owned(),
            state,
            pods: 2,
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            notes: vec!["a port has no pod".to_owned()],
        };
        Status { node: node.to_owned(), policies: vec![policy], ..Status::default() }
    }

    #[test]
    fn a_policy_has_the_worst_state_of_all_nodes_and_says_where() {
        let nodes = [
            status("one", PolicyState::Enforced, &[]),
            status("two", PolicyState::NotEnforced, &["no interface"]),
        ];
        let [policy] = &*merged(&nodes) else { panic!("one policy") };
        assert_eq!((&*policy.title, policy.state), ("shop/db", PolicyState::NotEnforced));
        assert_eq!((policy.pods, policy.nodes, policy.enforcing), (4, 2, 1));
        assert_eq!(policy.remarks, ["all nodes: a port has no pod", "two: no interface"]);
    }
}
