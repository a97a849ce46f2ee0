//! Cluster-wide policies.

use policy_core::model::{
    Action, ClusterNetworkPolicy, ClusterPeer, Protocol, ProtocolMatch, Selector, Snapshot, Tier,
};
use policy_manifest::{Source, read, render};

fn source(text: &str) -> Source {
    Source { name: "m.yaml".to_owned(), text: text.to_owned() }
}

fn snapshot(text: &str) -> Snapshot {
    match read(&[source(text)]) {
        Ok(manifests) => manifests.snapshot,
        Err(errors) => panic!("{}", render(&errors, false)),
    }
}

fn policy(spec: &str) -> ClusterNetworkPolicy {
    let mut policies = snapshot(&object(spec)).cluster_policies;
    policies.remove(&"p".into()).expect("the policy")
}

fn object(spec: &str) -> String {
    format!(
        "{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, \
         metadata: {{name: p}}, spec: {spec}}}"
    )
}

/// With one egress rule.
fn with_egress(rule: &str) -> String {
    object(&format!(
        "{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, egress: [{rule}]}}"
    ))
}

#[test]
fn s55_both_versions_mean_the_same() {
    let old = object("{tier: Admin, priority: 1, subject: {namespaces: {}}}");
    let new = old.replace("v1alpha2", "v1beta1");
    assert_ne!(old, new);
    assert_eq!(snapshot(&old), snapshot(&new));
}

#[test]
fn s51_every_field_is_read() {
    let all = policy(
        "{tier: Baseline, priority: 1000, subject: {pods: {namespaceSelector: {matchLabels: {team: x}}, podSelector: {}}}, \
         ingress: [{name: one, action: Pass, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 80}}}, \
         {udp: {destinationPort: {range: {start: 1, end: 9}}}}, {destinationNamedPort: web}]}], \
         egress: [{action: Deny, to: [{nodes: {matchLabels: {role: edge}}}, {networks: [10.0.0.1/8, 'fd00::/8']}]}, \
         {action: Accept, to: [{domainNames: ['*.example.com']}]}]}",
    );
    assert_eq!((all.tier, all.priority), (Tier::Baseline, 1000));
    let subject = all.subject.expect("a subject");
    assert_eq!((subject.namespaces.requirements.len(), subject.pods), (1, Selector::default()));
    let rule = &all.ingress[0];
    let range = |protocol, first, last| ProtocolMatch::Range { protocol, first, last };
    assert_eq!(rule.action, Action::Pass);
    assert_eq!(
        rule.protocols,
        [
            range(Protocol::Tcp, 80, 80),
            range(Protocol::Udp, 1, 9),
            ProtocolMatch::Named("web".to_owned()),
        ]
    );
    let [ClusterPeer::Nodes(nodes), ClusterPeer::Networks(networks)] = &all.egress[0].peers[..]
    else {
        panic!("{:?}", all.egress)
    };
    assert_eq!(nodes.requirements.len(), 1);
    let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "fd00::/8"]);
    assert!(matches!(&all.egress[1].peers[..], [ClusterPeer::Unknown(_)]));
}

#[test]
fn s51_nodes_have_labels() {
    let labels = "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {role: edge}}}";
    assert_eq!(snapshot(labels).nodes["n1"].labels["role"], "edge");
}

#[test]
fn s54_what_the_crd_refuses_is_refused() {
    let subject = "subject: {namespaces: {}}";
    let peers = "[{namespaces: {}}]";
    #[rustfmt::skip]
    let cases = [
        ("no spec",               "{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: p}}".to_owned(), "spec is missing"),
        ("no tier",               object(&format!("{{priority: 1, {subject}}}")),                                 "spec: tier is missing"),
        ("another tier",          object(&format!("{{tier: admin, priority: 1, {subject}}}")),                    "spec.tier: \"admin\" is not one of Admin, Baseline"),
        ("no priority",           object(&format!("{{tier: Admin, {subject}}}")),                                 "spec: priority is missing"),
        ("a high priority",       object(&format!("{{tier: Admin, priority: 1001, {subject}}}")),                 "spec.priority: 1001 is not a whole number from 0 to 1000"),
        ("no subject",            object("{tier: Admin, priority: 1}"),                                           "spec: subject is missing"),
        ("two subjects",          object("{tier: Admin, priority: 1, subject: {namespaces: {}, pods: {podSelector: {}}}}"), "spec.subject: set exactly one of namespaces, pods"),
        ("pods without selector", object("{tier: Admin, priority: 1, subject: {pods: {}}}"),                      "spec.subject.pods: podSelector is missing"),
        ("a field too many",      object(&format!("{{tier: Admin, priority: 1, {subject}, policyTypes: []}}")),   "unknown field \"policyTypes\""),
        ("no action",             with_egress(&format!("{{to: {peers}}}")),                                       "spec.egress[0]: action is missing"),
        ("another action",        with_egress(&format!("{{action: Allow, to: {peers}}}")),                        "is not one of Accept, Deny, Pass"),
        ("no peers",              with_egress("{action: Deny}"),                                                  "spec.egress[0]: to is missing"),
        ("an empty list",         with_egress("{action: Deny, to: []}"),                                          "spec.egress[0].to: needs at least 1 entry"),
        ("an empty peer",         with_egress("{action: Deny, to: [{}]}"),                                        "spec.egress[0].to[0]: set exactly one of namespaces"),
        ("from for egress",       with_egress(&format!("{{action: Deny, from: {peers}, to: {peers}}}")),          "unknown field \"from\""),
        ("a bad network",         with_egress("{action: Deny, to: [{networks: [10.0.0.0]}]}"),                    "\"10.0.0.0\" is not a CIDR"),
        ("no network",            with_egress("{action: Deny, to: [{networks: []}]}"),                            "to[0].networks: needs at least 1 entry"),
        ("a bad domain",          with_egress("{action: Accept, to: [{domainNames: ['a.*']}]}"),                  "\"a.*\" is not a domain name"),
        ("no protocols",          with_egress(&format!("{{action: Deny, to: {peers}, protocols: []}}")),          "protocols: needs at least 1 entry"),
        ("a protocol alone",      with_egress(&format!("{{action: Deny, to: {peers}, protocols: [{{tcp: {{}}}}]}}")), "protocols[0].tcp: destinationPort is missing"),
        ("a port of 0",           with_egress(&format!("{{action: Deny, to: {peers}, protocols: [{{tcp: {{destinationPort: {{number: 0}}}}}}]}}")), "0 is not a port"),
        ("a range of one",        with_egress(&format!("{{action: Deny, to: {peers}, protocols: [{{tcp: {{destinationPort: {{range: {{start: 5, end: 5}}}}}}}}]}}")), "end 5 is not above start 5"),
        ("a name for networks",   with_egress("{action: Deny, to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: web}]}"), "only allowed in a rule"),
        ("26 rules",              object(&format!("{{tier: Admin, priority: 1, {subject}, egress: [{}]}}", vec![format!("{{action: Deny, to: {peers}}}"); 26].join(", "))), "may have at most 25 entries"),
        ("a long name",           with_egress(&format!("{{name: {}, action: Deny, to: {peers}}}", "x".repeat(101))), "may have at most 100 characters"),
    ];
    for (claim, text, want) in cases {
        let errors = read(&[source(&text)]).map(|_| ()).expect_err(claim);
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|one| one.contains(want)), "{claim}: {lines:?}");
    }
}

#[test]
fn s51_ingress_peers_are_pods_only() {
    let text = object(
        "{tier: Admin, priority: 1, subject: {namespaces: {}}, \
         ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]}",
    );
    let errors = read(&[source(&text)]).map(|_| ()).expect_err("an error");
    assert!(errors[0].to_string().contains("unknown field \"networks\""), "{}", errors[0]);
}
