//! Which flows an answer has.

use clap::{Args, ValueEnum};
use policy_core::model::Protocol;
use policy_probe::{options::port, terminal};
use policy_report::flows::{FlowReport, FlowVerdict, ReportedEnd, ReportedPolicy};

use super::NodeFlow;
use crate::agents::AgentAnswers;

/// Options that choose flows; a flow must match all of them.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct FilterOptions {
    /// Only flows from or to this namespace
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// Only flows from or to this pod; the flow names at most eight pods of each workload
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pod: Option<String>,

    /// Only flows from or to the pods of this workload, of any kind
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    workload: Option<String>,

    /// Only flows with this verdict; agents record denied connections
    #[arg(long, value_name = "VERDICT", value_enum)]
    verdict: Option<VerdictChoice>,

    /// Only flows that this policy decided
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    policy: Option<String>,

    /// Only flows to this port
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = port)]
    port: Option<(u16, Protocol)>,
}

/// A verdict on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VerdictChoice {
    /// The packets were dropped
    Deny,
}

impl FilterOptions {
    /// The chosen flows of every node, the last one first. A note says where a pod may be missing.
    pub(crate) fn of(&self, answers: &AgentAnswers<FlowReport>) -> Vec<NodeFlow> {
        let nodes = answers.nodes.iter();
        let all = nodes.flat_map(|(agent, report)| {
            let flows = report.flows.iter().cloned();
            flows.map(|flow| NodeFlow { node: agent.node.clone(), flow })
        });
        let (mut flows, mut uncertain) = (Vec::new(), 0);
        for flow in all.filter(|flow| self.matches(flow)) {
            match self.has_pod(&flow) {
                Some(true) => flows.push(flow),
                Some(false) => {}
                None => uncertain += 1,
            }
        }
        if uncertain > 0 {
            terminal::notes(&[format!(
                "{uncertain} flows have more pods than they name, and may be of this pod too: \
                 --workload shows them"
            )]);
        }
        flows.sort_by_key(|NodeFlow { node, flow }| (std::cmp::Reverse(flow.last), node.clone()));
        flows
    }

    fn matches(&self, NodeFlow { flow, .. }: &NodeFlow) -> bool {
        let ends = [&flow.source, &flow.destination];
        let in_namespace = |end: &&ReportedEnd| end.namespace == self.namespace;
        let is_workload = |end: &&ReportedEnd| {
            is_named(self.workload.as_deref(), end.namespace.as_deref(), end.name.as_deref())
        };
        let is_policy = |policy: &ReportedPolicy| {
            is_named(self.policy.as_deref(), policy.namespace.as_deref(), Some(&policy.name))
        };
        (self.namespace.is_none() || ends.iter().any(in_namespace))
            && (self.workload.is_none() || ends.iter().any(is_workload))
            && (self.policy.is_none() || flow.policies.iter().any(is_policy))
            && self.verdict.is_none_or(|VerdictChoice::Deny| flow.verdict == FlowVerdict::Deny)
            && self.port.is_none_or(|(port, protocol)| {
                flow.port == Some(port) && flow.protocol.as_deref() == Some(protocol.name())
            })
    }

    /// Whether an end is the pod; `None` where an end names not all of its pods.
    fn has_pod(&self, NodeFlow { flow, .. }: &NodeFlow) -> Option<bool> {
        let Some(wanted) = self.pod.as_deref() else { return Some(true) };
        let ends = [&flow.source, &flow.destination];
        let is_pod = |end: &&ReportedEnd| {
            let mut pods = end.pods.iter();
            pods.any(|pod| is_named(Some(wanted), end.namespace.as_deref(), Some(pod)))
        };
        let namespace = wanted.split_once('/').map(|(namespace, _)| namespace);
        let may_be = |end: &&ReportedEnd| {
            end.more_pods && (namespace.is_none() || end.namespace.as_deref() == namespace)
        };
        if ends.iter().any(is_pod) {
            Some(true)
        } else {
            (!ends.iter().any(may_be)).then_some(false)
        }
    }
}

/// Whether an object is the one that `NAMESPACE/NAME` or `NAME` asks for.
pub(crate) fn is_named(wanted: Option<&str>, namespace: Option<&str>, name: Option<&str>) -> bool {
    match wanted.map(|wanted| wanted.split_once('/')) {
        None => true,
        Some(None) => name == wanted,
        Some(Some((wanted, own))) => namespace == Some(wanted) && name == Some(own),
    }
}

/// A flow of one packet from the Deployment `shop/NAME` to `shop/db`.
#[cfg(test)]
pub(crate) fn example(node: &str, name: &str, port: u16) -> NodeFlow {
    use policy_report::flows::ReportedFlow;

    let end = |kind: &str, name: &str, pod: &str| ReportedEnd {
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: Some(name.to_owned()),
        pods: vec![pod.to_owned()],
        ..ReportedEnd::default()
    };
    let policy = ReportedPolicy {
        kind: "NetworkPolicy".to_owned(),
        namespace: Some("shop".to_owned()),
        name: "db".to_owned(),
        rule: None,
    };
    let flow = ReportedFlow {
        verdict: FlowVerdict::Deny,
        reason: "no-rule".to_owned(),
        decision: Some("no-rule-allows".to_owned()),
        direction: "ingress".to_owned(),
        source: end("Deployment", name, "web-1"),
        destination: end("StatefulSet", "db", "db-0"),
        protocol: Some("TCP".to_owned()),
        port: Some(port),
        policies: vec![policy],
        packets: 1,
        bytes: 74,
        first: jiff::Timestamp::UNIX_EPOCH,
        last: jiff::Timestamp::UNIX_EPOCH,
    };
    NodeFlow { node: node.to_owned(), flow }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Setter = fn(&mut FilterOptions);

    #[test]
    fn a_flow_matches_all_options() {
        let flow = example("node1", "web", 5432);
        let with = |set: Setter| {
            let mut options = FilterOptions::default();
            set(&mut options);
            options.matches(&flow) && options.has_pod(&flow) != Some(false)
        };
        #[rustfmt::skip]
        let cases: [(&str, Setter, bool); 13] = [
            ("no option",           |_options| {},                                              true),
            ("its namespace",       |options| options.namespace = Some("shop".into()),          true),
            ("another namespace",   |options| options.namespace = Some("db".into()),            false),
            ("a workload",          |options| options.workload = Some("shop/web".into()),       true),
            ("in any namespace",    |options| options.workload = Some("db".into()),             true),
            ("in another one",      |options| options.workload = Some("x/web".into()),          false),
            ("the policy",          |options| options.policy = Some("shop/db".into()),          true),
            ("another policy",      |options| options.policy = Some("web".into()),              false),
            ("the port",            |options| options.port = Some((5432, Protocol::Tcp)),       true),
            ("another protocol",    |options| options.port = Some((5432, Protocol::Udp)),       false),
            ("a pod",               |options| options.pod = Some("shop/db-0".into()),           true),
            ("another pod",         |options| options.pod = Some("db-1".into()),                false),
            ("denied",              |options| options.verdict = Some(VerdictChoice::Deny),      true),
        ];
        for (claim, set, want) in cases {
            assert_eq!(with(set), want, "{claim}");
        }
    }

    #[test]
    fn a_pod_that_a_flow_may_not_name_is_uncertain() {
        let mut flow = example("node1", "web", 5432);
        flow.flow.source.more_pods = true;
        let pod = |name: &str| {
            let options = FilterOptions { pod: Some(name.to_owned()), ..FilterOptions::default() };
            options.has_pod(&flow)
        };
        assert_eq!(pod("web-1"), Some(true));
        assert_eq!(pod("web-9"), None);
        assert_eq!(pod("other/web-9"), Some(false));
    }
}
