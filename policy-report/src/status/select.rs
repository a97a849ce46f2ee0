//! Which pods and policies of a node's state a command prints.
//!
//! Input: the whole state, and what the command line names. Output: the state with these objects alone,
//! and those that belong to them: of a policy the pods that it selects, of a pod the policies that
//! isolate it.

use super::{Pod, Policy, Status};

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectedKind {
    /// Pods of the node.
    Pod,
    /// Policies that select a pod of the node.
    Policy,
}

/// The objects of a kind with a name, or all of the kind; `None` where there are none.
#[must_use]
pub fn select(mut status: Status, kind: SelectedKind, name: Option<&str>) -> Option<Status> {
    status.unknown_interfaces.clear();
    status.other_enforcers.clear();
    let is_named = |namespace: Option<&str>, own: &str| match name.map(|name| name.split_once('/'))
    {
        None => true,
        Some(None) => name == Some(own),
        Some(Some((wanted, name))) => namespace == Some(wanted) && name == own,
    };
    match kind {
        SelectedKind::Pod => {
            status.pods.retain(|pod| is_named(Some(&pod.namespace), &pod.name));
            let pods = &status.pods;
            status.policies.retain(|policy| pods.iter().any(|pod| isolates(policy, pod)));
            (name.is_none() || !status.pods.is_empty()).then_some(status)
        }
        SelectedKind::Policy => {
            status.policies.retain(|policy| is_named(policy.namespace.as_deref(), &policy.name));
            let policies = &status.policies;
            status.pods.retain(|pod| policies.iter().any(|policy| isolates(policy, pod)));
            (name.is_none() || !status.policies.is_empty()).then_some(status)
        }
    }
}

/// Whether a policy isolates a pod in some direction.
fn isolates(policy: &Policy, pod: &Pod) -> bool {
    let name = title(policy);
    [&pod.ingress, &pod.egress].into_iter().flatten().any(|policies| policies.contains(&name))
}

/// `NAMESPACE/NAME`, or `NAME` of a cluster-wide policy.
#[must_use]
pub fn title(policy: &Policy) -> String {
    match &policy.namespace {
        Some(namespace) => format!("{namespace}/{}", policy.name),
        None => policy.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use crate::status::{PodState, PolicyState};

    use super::*;

    fn pod(namespace: &str, name: &str, ingress: Option<&str>) -> Pod {
        Pod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            addresses: Vec::new(),
            interface: None,
            state: PodState::Enforced,
            reason: None,
            ingress: ingress.map(|policy| vec![policy.to_owned()]),
            egress: None,
        }
    }

    fn policy(namespace: Option<&str>, name: &str) -> Policy {
        Policy {
            kind: String::new(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            state: PolicyState::Enforced,
            pods: 1,
            reasons: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn status() -> Status {
        Status {
            node: "one".to_owned(),
            not_ready: None,
            off: None,
            off_by_command: false,
            pods: vec![
                pod("a", "web", Some("a/deny")),
                pod("b", "web", Some("tier")),
                pod("b", "db", None),
            ],
            policies: vec![policy(None, "tier"), policy(Some("a"), "deny")],
            unknown_interfaces: vec!["eth0".to_owned()],
            other_enforcers: vec!["another".to_owned()],
        }
    }

    #[test]
    fn an_object_is_shown_with_those_that_belong_to_it() {
        use SelectedKind::{Pod, Policy};
        #[rustfmt::skip]
        let cases = [
            // kind, name                 pods                       policies
            ((Pod, None),                 "a/web b/web b/db",        "tier a/deny"),
            ((Pod, Some("a/web")),        "a/web",                   "a/deny"),
            ((Pod, Some("web")),          "a/web b/web",             "tier a/deny"),
            ((Pod, Some("b/db")),         "b/db",                    ""),
            ((Policy, None),              "a/web b/web",             "tier a/deny"),
            ((Policy, Some("tier")),      "b/web",                   "tier"),
            ((Policy, Some("a/deny")),    "a/web",                   "a/deny"),
            ((Policy, Some("deny")),      "a/web",                   "a/deny"),
        ];
        for ((kind, name), pods, policies) in cases {
            let Some(selected) = select(status(), kind, name) else { panic!("{kind:?} {name:?}") };
            let of_pods = selected.pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name));
            assert_eq!(of_pods.collect::<Vec<_>>().join(" "), pods, "{kind:?} {name:?}");
            let titles = selected.policies.iter().map(title).collect::<Vec<_>>().join(" ");
            assert_eq!(titles, policies, "{kind:?} {name:?}");
            assert!(selected.unknown_interfaces.is_empty() && selected.other_enforcers.is_empty());
        }
        for (kind, name) in [(Pod, "c/web"), (Pod, "tier"), (Policy, "b/deny"), (Policy, "web")] {
            assert!(select(status(), kind, Some(name)).is_none(), "{kind:?} {name}");
        }
    }
}
