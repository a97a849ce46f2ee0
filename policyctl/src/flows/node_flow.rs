//! A flow with the node that reported it, and names of its parts for people.

use jiff::Timestamp;
use policy_report::flows::{ReportedEnd, ReportedFlow, ReportedPolicy};
use serde::Serialize;

/// A flow of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NodeFlow {
    /// The node that dropped the packets.
    pub(crate) node: String,
    #[serde(flatten)]
    pub(crate) flow: ReportedFlow,
}

impl NodeFlow {
    /// What all reports of the same flow have in common: all but counts, times, pods and addresses.
    pub(super) fn key(&self) -> serde_json::Result<String> {
        let mut same = self.clone();
        let flow = &mut same.flow;
        (flow.packets, flow.bytes) = (0, 0);
        (flow.first, flow.last) = (Timestamp::MIN, Timestamp::MIN);
        for end in [&mut flow.source, &mut flow.destination] {
            (end.address, end.more_pods) = (None, false);
            end.pods.clear();
        }
        serde_json::to_string(&same)
    }
}

/// `Deployment shop/web`, `Node node1` or `203.0.113.0/24`.
pub(crate) fn end_name(end: &ReportedEnd) -> String {
    let ReportedEnd { kind, namespace, name, .. } = end;
    match (&**kind, namespace, name) {
        ("Block", None, Some(block)) => block.clone(),
        (kind, Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (kind, None, Some(name)) => format!("{kind} {name}"),
        _ => "unknown".to_owned(),
    }
}

/// `NetworkPolicy shop/db`, or with a rule `ClusterNetworkPolicy tier rule 1`.
pub(crate) fn policy_name(policy: &ReportedPolicy) -> String {
    let ReportedPolicy { kind, namespace, name, rule } = policy;
    let namespace = namespace.as_ref().map(|namespace| format!("{namespace}/"));
    let rule = rule.map(|rule| format!(" rule {rule}"));
    format!("{kind} {}{name}{}", namespace.unwrap_or_default(), rule.unwrap_or_default())
}
