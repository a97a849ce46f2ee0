//! Objects of an API server.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use policy_core::{
    compile::Change,
    model::{Action, ClusterNetworkPolicy, ClusterPeer, Direction, Namespace, NetworkPolicy, Peer},
};
use policy_manifest::{Received, receive};
use serde_json::{Value, json};

fn policy(spec: &Value) -> (NetworkPolicy, usize) {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "shop"}, "spec": spec,
    });
    let Received { change, errors } = receive(&object, "the API server");
    let Some(Change::Policy(_, Some(policy))) = change else { panic!("no policy: {change:?}") };
    (policy, errors.len())
}

fn cluster_policy(spec: &Value) -> ClusterNetworkPolicy {
    let object = json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "p"}, "spec": spec,
    });
    let change = receive(&object, "the API server").change;
    let Some(Change::ClusterPolicy(_, Some(policy))) = change else { panic!("{change:?}") };
    policy
}

#[test]
fn s17_what_cannot_be_read_of_a_policy_is_closed_and_the_rest_is_in_force() {
    let good = json!({"ports": [{"port": 80}]});
    #[rustfmt::skip]
    let cases = [
        // claim, spec, subject is known, isolates ingress and egress, rules for ingress
        ("a good one", json!({"podSelector": {}, "ingress": [good]}), true, [true, false], 1),
        ("a rule with a field of a later version",
         json!({"podSelector": {}, "ingress": [good, {"icmp": []}]}), true, [true, false], 1),
        ("a peer with one",
         json!({"podSelector": {}, "ingress": [good, {"from": [{"fqdn": "x"}]}]}), true, [true, false], 1),
        ("rules that are no list", json!({"podSelector": {}, "ingress": {"from": []}}), true, [true, false], 0),
        ("a subject that cannot be read",
         json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}, "ingress": [good]}),
         false, [true, false], 1),
        ("types that are none", json!({"podSelector": {}, "policyTypes": ["Forward"]}), true, [true, true], 0),
        ("a field that may change what all rules mean",
         json!({"podSelector": {}, "ingress": [good], "inverted": true}), true, [true, false], 0),
    ];
    for (claim, spec, subject, isolates, rules) in cases {
        let (policy, errors) = policy(&spec);
        assert_eq!(errors == 0, claim == "a good one", "{claim}");
        assert_eq!(policy.subject.is_some(), subject, "{claim}");
        let types = [Direction::Ingress, Direction::Egress].map(|of| policy.applies(of));
        assert_eq!((types, policy.ingress.len()), (isolates, rules), "{claim}");
    }
}

#[test]
fn s15_a_rule_with_an_invalid_peer_allows_nothing_and_is_reported() {
    let good = json!({"from": [{"podSelector": {}}]});
    let block = json!({"cidr": "10.0.0.0/8"});
    for invalid in [json!({}), json!({"ipBlock": block, "podSelector": {}})] {
        for peers in [json!([invalid]), json!([{"podSelector": {}}, invalid])] {
            let (policy, errors) =
                policy(&json!({"podSelector": {}, "ingress": [{"from": peers}, good]}));
            assert_eq!(errors, 1, "{peers}");
            assert!(policy.applies(Direction::Ingress), "it still isolates: {peers}");
            let [rule] = &policy.ingress[..] else { panic!("the other rule is kept: {peers}") };
            assert!(matches!(rule.peers[..], [Peer::Pods { .. }]), "{peers}");
        }
    }
}

#[test]
fn s52_rules_of_the_cluster_that_cannot_be_read_accept_nothing_and_deny_everything() {
    let every = json!({"namespaces": {}});
    let rule = |action: &str, peer: &Value| json!({"action": action, "from": [peer]});
    let odd = json!({"galaxies": {}});
    let policy = cluster_policy(&json!({
        "tier": "Admin", "priority": 1, "subject": every,
        "ingress": [rule("Accept", &odd), rule("Deny", &odd), rule("Accept", &every), rule("Pass", &odd)],
    }));
    let unknown = |peer: &ClusterPeer| matches!(peer, ClusterPeer::Unknown(_));
    let rules = policy.ingress.iter().map(|rule| (rule.action, unknown(&rule.peers[0])));
    let want = [(Action::Deny, true), (Action::Accept, false), (Action::Pass, true)];
    assert_eq!(rules.collect::<Vec<_>>(), want);
    let policy = cluster_policy(&json!({"tier": "Admin", "priority": 1, "subject": odd}));
    assert_eq!(policy.subject, None, "any pod might be meant");
}

#[test]
fn objects_become_what_manifests_of_them_would() {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let Some(Change::Namespace(name, Some(Namespace { labels, .. }))) =
        receive(&namespace, "").change
    else {
        panic!("no namespace")
    };
    assert_eq!((name.as_str(), labels.get("kubernetes.io/metadata.name")), ("shop", Some(&name)));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}, "uid": "u"},
        "spec": {"nodeName": "one", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
    });
    let Some(Change::Pod(_, Some(pod))) = receive(&pod, "").change else { panic!("no pod") };
    assert_eq!((pod.addresses.len(), pod.ports.len(), pod.node.as_deref()), (2, 1, Some("one")));
    let headless = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
    });
    let change = receive(&headless, "").change.expect("a name is all that a deletion needs");
    assert!(matches!(change, Change::Service(_, None)), "kube-proxy leaves it alone: {change:?}");
}
