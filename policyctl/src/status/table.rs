//! The state of all nodes as tables for people, with what is wrong below.

use policy_probe::{grid, terminal};
use policy_report::status::{Pod, PodState, Policy, PolicyState, Status};

use super::policies::MergedPolicy;

/// A row for each node.
pub(super) fn nodes(nodes: &[Status]) -> String {
    let row = |status: &Status| {
        let agent = match (&status.off, &status.not_ready) {
            (Some(_), _) => "enforcement is off",
            (None, Some(_)) => "not ready",
            (None, None) => "ready",
        };
        let pods = status.pods.iter().filter(|pod| pod.state == PodState::Enforced);
        let policies = status.policies.iter();
        let enforced = |policy: &&Policy| policy.state == PolicyState::Enforced;
        [
            status.node.clone(),
            agent.to_owned(),
            format!("{}/{}", pods.count(), status.pods.len()),
            format!("{}/{}", policies.filter(enforced).count(), status.policies.len()),
        ]
    };
    let table = grid(
        ["NODE", "AGENT", "PODS ENFORCED", "POLICIES ENFORCED"],
        nodes.iter().map(row),
        terminal::style(),
    );
    let remarks = nodes.iter().flat_map(|status| {
        let Status { node, off, not_ready, other_enforcers, .. } = status;
        let off = off
            .iter()
            .map(move |why| format!("{node}: ENFORCEMENT IS OFF, and every packet passes: {why}"));
        let not_ready =
            not_ready.iter().map(move |why| format!("{node}: the agent is not ready: {why}"));
        let others = other_enforcers
            .iter()
            .map(move |name| format!("{node}: another policy enforcer runs there: {name}"));
        let pods = status.pods.iter().filter_map(move |pod| remark(node, pod));
        off.chain(not_ready).chain(others).chain(pods)
    });
    with_remarks(table, &remarks.collect::<Vec<_>>())
}

/// A row for each policy.
pub(super) fn policies(policies: &[MergedPolicy]) -> String {
    let row = |policy: &MergedPolicy| {
        [
            policy.title.clone(),
            policy.kind.clone(),
            policy.state.to_string(),
            policy.pods.to_string(),
            format!("{}/{}", policy.enforcing, policy.nodes),
        ]
    };
    let table = grid(
        ["POLICY", "KIND", "STATE", "PODS", "NODES ENFORCING"],
        policies.iter().map(row),
        terminal::style(),
    );
    let remarks = policies.iter().flat_map(|policy| {
        let own = policy.remarks.iter();
        own.map(|remark| format!("{} {} on {remark}", policy.kind, policy.title))
    });
    with_remarks(table, &remarks.collect::<Vec<_>>())
}

/// A row for each pod.
pub(super) fn pods(nodes: &[Status]) -> String {
    let row = |node: &str, pod: &Pod| {
        let policies = |policies: &Option<Vec<String>>| {
            policies.as_ref().map_or_else(|| "-".to_owned(), |policies| policies.join(","))
        };
        [
            format!("{}/{}", pod.namespace, pod.name),
            node.to_owned(),
            pod.state.to_string(),
            policies(&pod.ingress),
            policies(&pod.egress),
        ]
    };
    let all = nodes.iter().flat_map(|status| {
        let pods = status.pods.iter();
        pods.map(|pod| row(&status.node, pod))
    });
    let mut rows: Vec<_> = all.collect();
    rows.sort();
    let remarks = nodes.iter().flat_map(|status| {
        let pods = status.pods.iter();
        pods.filter_map(|pod| remark(&status.node, pod))
    });
    with_remarks(
        grid(["POD", "NODE", "STATE", "INGRESS", "EGRESS"], rows, terminal::style()),
        &remarks.collect::<Vec<_>>(),
    )
}

fn remark(node: &str, pod: &Pod) -> Option<String> {
    let reason = pod.reason.as_ref()?;
    Some(format!("{node}: pod {}/{}: {reason}", pod.namespace, pod.name))
}

fn with_remarks(table: String, remarks: &[String]) -> String {
    if remarks.is_empty() { table + "\n" } else { format!("{table}\n\n{}\n", remarks.join("\n")) }
}
