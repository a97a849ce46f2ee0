//! What legal manifests mean.

use std::net::IpAddr;

use policy_core::model::{
    ContainerPort, DenyReply, Direction, HostPort, NetworkPolicy, ObjectName, Operator, Peer,
    Phase, PortSpec, Protocol, Selector,
};
use policy_manifest::{Manifests, Source, read, render};

fn manifests(text: &str) -> Manifests {
    let source = Source { name: "test.yaml".into(), text: text.into() };
    read(&[source]).unwrap_or_else(|errors| panic!("{}", render(&errors, false)))
}

fn pod(spec: &str, status: &str) -> policy_core::model::Pod {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{{spec}}}\nstatus: {{{status}}}\n"
    );
    manifests(&text).snapshot.pods[&ObjectName::new("default", "p")].clone()
}

fn policy(spec: &str) -> NetworkPolicy {
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: np}}\nspec: {{{spec}}}\n"
    );
    manifests(&text).snapshot.policies[&ObjectName::new("default", "np")].clone()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn a_namespace_that_is_only_used_exists_with_its_name_label() {
    for head in ["v1, kind: Pod", "networking.k8s.io/v1, kind: NetworkPolicy"] {
        let all =
            manifests(&format!("{{apiVersion: {head}, metadata: {{name: p, namespace: used}}}}"));
        let Some(used) = all.snapshot.namespaces.get("used") else { panic!("{head}") };
        let labels = &used.labels;
        assert_eq!(labels["kubernetes.io/metadata.name"], "used");
        assert_eq!(labels.len(), 1);
    }
}

#[test]
fn s9_the_name_label_is_always_there() {
    let all = manifests("{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {x: y1}}}");
    let labels = &all.snapshot.namespaces["a"].labels;
    assert_eq!(labels["kubernetes.io/metadata.name"], "a");
    assert_eq!(labels["x"], "y1");
}

#[test]
fn s46_only_the_value_disabled_of_the_annotation_disables_anti_spoofing() {
    let cases = [
        ("{policy-agent.io/anti-spoofing: disabled}", true),
        ("{policy-agent.io/anti-spoofing: enabled}", false),
        ("{policy-agent.io/anti-spoofing: Disabled}", false),
        ("{anti-spoofing: disabled}", false),
        ("{}", false),
    ];
    for (annotations, want) in cases {
        let metadata = format!("{{name: a, annotations: {annotations}}}");
        let all = manifests(&format!("{{apiVersion: v1, kind: Namespace, metadata: {metadata}}}"));
        assert_eq!(all.snapshot.namespaces["a"].may_spoof, want, "{annotations}");
    }
}

#[test]
fn s59_the_annotation_of_a_namespace_names_the_reply() {
    let cases = [
        ("{policy-agent.io/deny-reply: reject}", Some(DenyReply::Reject)),
        ("{policy-agent.io/deny-reply: none}", Some(DenyReply::Nothing)),
        ("{policy-agent.io/deny-reply: Reject}", None),
        ("{policy-agent.io/deny-reply: \"\"}", None),
        ("{deny-reply: reject}", None),
        ("{}", None),
    ];
    for (annotations, want) in cases {
        let metadata = format!("{{name: a, annotations: {annotations}}}");
        let all = manifests(&format!("{{apiVersion: v1, kind: Namespace, metadata: {metadata}}}"));
        assert_eq!(all.snapshot.namespaces["a"].deny_reply, want, "{annotations}");
    }
}

#[test]
fn s4_absent_and_empty_policy_types_are_none() {
    #[rustfmt::skip]
    let cases = [
        ("absent",          "",                               None),
        ("empty",           "policyTypes: []",                None),
        ("null",            "policyTypes: null",              None),
        ("only egress",     "policyTypes: [Egress]",          Some(vec![Direction::Egress])),
        ("both",            "policyTypes: [Ingress, Egress]", Some(vec![Direction::Ingress, Direction::Egress])),
    ];
    for (claim, spec, want) in cases {
        assert_eq!(policy(spec).policy_types, want, "{claim}");
    }
}

#[test]
fn an_absent_pod_selector_selects_every_pod() {
    assert_eq!(policy("").subject, Some(Selector::default()));
    assert_eq!(policy("podSelector: {}").subject, Some(Selector::default()));
}

#[test]
fn s12_to_s14_peers_keep_their_two_selectors_apart() {
    let spec = "ingress: [{from: [{podSelector: {}}, {namespaceSelector: {}}, \
                {namespaceSelector: {}, podSelector: {matchLabels: {a: ''}}}]}]";
    let peers = &policy(spec).ingress[0].peers;
    let every = Selector::default();
    assert_eq!(peers[0], Peer::Pods { namespaces: None, pods: every.clone() });
    assert_eq!(peers[1], Peer::Pods { namespaces: Some(every.clone()), pods: every.clone() });
    let Peer::Pods { namespaces: Some(namespaces), pods } = &peers[2] else { panic!("{peers:?}") };
    assert_eq!(*namespaces, every);
    let requirement = pods.requirements.first().expect("one requirement");
    assert_eq!(requirement.operator, Operator::In([String::new()].into()));
}

#[test]
fn s16_every_operator_is_read() {
    let spec = "podSelector: {matchExpressions: [{key: a, operator: In, values: [x, z]}, \
                {key: b, operator: NotIn, values: [x]}, {key: c, operator: Exists}, \
                {key: d.io/d, operator: DoesNotExist, values: []}]}";
    let subject = policy(spec).subject.expect("a selector");
    let operators: Vec<_> = subject.requirements.iter().map(|r| r.operator.clone()).collect();
    let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    assert_eq!(
        operators,
        [
            Operator::In(set(&["x", "z"])),
            Operator::NotIn(set(&["x"])),
            Operator::Exists,
            Operator::DoesNotExist
        ]
    );
}

#[test]
fn s18_host_bits_are_masked() {
    let spec = "egress: [{to: [{ipBlock: {cidr: 10.1.2.3/8, except: [10.1.2.3/16]}}, \
                {ipBlock: {cidr: 'fd00::1/64'}}]}]";
    let peers = &policy(spec).egress[0].peers;
    let Peer::Block(v4) = &peers[0] else { panic!("{peers:?}") };
    assert_eq!(v4.cidr.to_string(), "10.0.0.0/8");
    assert_eq!(v4.except[0].to_string(), "10.1.0.0/16");
    let Peer::Block(v6) = &peers[1] else { panic!("{peers:?}") };
    assert_eq!(v6.cidr.to_string(), "fd00::/64");
}

#[test]
fn s21_to_s23_ports() {
    #[rustfmt::skip]
    let cases = [
        ("protocol absent is TCP",       "{port: 80}",               Protocol::Tcp,  PortSpec::Range { first: 80, last: 80 }),
        ("port absent is every port",    "{protocol: UDP}",          Protocol::Udp,  PortSpec::Every),
        ("endPort may equal port",       "{port: 80, endPort: 80}",  Protocol::Tcp,  PortSpec::Range { first: 80, last: 80 }),
        ("endPort is the last",          "{port: 1, endPort: 65535}", Protocol::Tcp, PortSpec::Range { first: 1, last: 65535 }),
        ("a name",                       "{port: web, protocol: SCTP}", Protocol::Sctp, PortSpec::Named("web".into())),
    ];
    for (claim, port, protocol, want) in cases {
        let ports = policy(&format!("ingress: [{{ports: [{port}]}}]")).ingress[0].ports.clone();
        assert_eq!((ports[0].protocol, ports[0].port.clone()), (protocol, want), "{claim}");
    }
}

#[test]
fn s23_sidecars_count_and_other_init_containers_do_not() {
    let pod = pod(
        "containers: [{ports: [{containerPort: 80, name: web}]}], initContainers: \
         [{restartPolicy: Always, ports: [{containerPort: 90, protocol: UDP}]}, {ports: [{containerPort: 91}]}]",
        "",
    );
    let port = |name: Option<&str>, port, protocol| ContainerPort {
        name: name.map(str::to_owned),
        port,
        protocol,
    };
    assert_eq!(pod.ports, [port(Some("web"), 80, Protocol::Tcp), port(None, 90, Protocol::Udp)]);
}

#[test]
fn s40_host_ports_of_containers_and_sidecars_are_read() {
    let pod = pod(
        "containers: [{ports: [{containerPort: 80, hostPort: 8080}, {containerPort: 81, hostPort: 0}, \
         {containerPort: 82, hostPort: 8082, hostIP: 192.0.2.1, protocol: UDP}, \
         {containerPort: 83, hostPort: 8083, hostIP: 0.0.0.0}]}], initContainers: \
         [{restartPolicy: Always, ports: [{containerPort: 90, hostPort: 8090}]}, {ports: [{containerPort: 91, hostPort: 8091}]}]",
        "",
    );
    let forward = |at: Option<&str>, port, protocol, container_port| HostPort {
        address: at.map(address),
        port,
        protocol,
        container_port,
    };
    let want = [
        forward(None, 8080, Protocol::Tcp, 80),
        forward(Some("192.0.2.1"), 8082, Protocol::Udp, 82),
        forward(None, 8083, Protocol::Tcp, 83),
        forward(None, 8090, Protocol::Tcp, 90),
    ];
    assert_eq!(pod.host_ports, want);
}

#[test]
fn pods_carry_what_policy_depends_on() {
    let pod = pod(
        "nodeName: n1, hostNetwork: yes",
        "phase: Failed, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]",
    );
    assert_eq!(pod.node.as_deref(), Some("n1"));
    assert!(pod.host_network);
    assert_eq!(pod.phase, Phase::Finished);
    assert_eq!(pod.addresses, [address("10.0.0.1"), address("fd00::1")]);
}

#[test]
fn an_old_dump_has_only_pod_ip() {
    assert_eq!(pod("", "podIP: 10.0.0.1").addresses, [address("10.0.0.1")]);
    assert!(pod("", "podIP: ''").addresses.is_empty());
}

#[test]
fn lists_are_read_with_and_without_kinds_of_their_items() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n\
                apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: b}}]\n---\n\
                {\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"NodeList\", \"items\": null}]}\n";
    let names: Vec<String> =
        manifests(text).snapshot.pods.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["default/a", "default/b"]);
}

#[test]
fn other_kinds_are_ignored_and_reported() {
    let all = manifests("# nothing\n---\n\n---\napiVersion: apps/v1\nkind: Deployment\n");
    let [ignored] = &all.ignored[..] else { panic!("{:?}", all.ignored) };
    assert_eq!((ignored.api_version.as_str(), ignored.kind.as_str()), ("apps/v1", "Deployment"));
    assert_eq!(ignored.to_string(), "test.yaml:5:1: Deployment of apps/v1 is ignored");
}

#[test]
fn nodes_and_hosts() {
    let all = manifests(
        "{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: Hostname, address: n1}, \
         {type: InternalIP, address: 192.0.2.1}, {type: ExternalIP, address: 198.51.100.1}]}}\n---\n\
         {apiVersion: policy.lab/v1alpha1, kind: Host, metadata: {name: h}, spec: {addresses: [192.0.2.9, '2001:db8::9'], ports: [{port: 53, protocol: UDP}]}}",
    );
    assert_eq!(all.snapshot.nodes["n1"].addresses, [address("192.0.2.1"), address("198.51.100.1")]);
    let host = &all.hosts["h"];
    assert_eq!(host.addresses, [address("192.0.2.9"), address("2001:db8::9")]);
    assert_eq!((host.ports[0].port, host.ports[0].protocol), (53, Protocol::Udp));
}

#[test]
fn aliases_and_merge_keys_are_followed() {
    let all = manifests(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels: &l {a: b}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: q, labels: &m {c: d}, annotations: {<<: *m}}\n",
    );
    assert_eq!(all.snapshot.pods.len(), 2);
}

#[test]
fn a_source_with_a_byte_order_mark_and_crlf_is_read() {
    let all = manifests("\u{feff}apiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: p\r\n");
    assert_eq!(all.snapshot.pods.len(), 1);
}

#[test]
fn s54_a_dump_is_read_as_it_comes() {
    let all = manifests(include_str!("dump.yaml"));
    let names = |keys: Vec<String>| keys.join(" ");
    let snapshot = &all.snapshot;
    assert_eq!(names(snapshot.pods.keys().map(ToString::to_string).collect()), "shop/web-0");
    assert_eq!(names(snapshot.policies.keys().map(ToString::to_string).collect()), "shop/web");
    assert_eq!(names(snapshot.nodes.keys().cloned().collect()), "worker");
    assert_eq!(snapshot.namespaces["shop"].labels["team"], "true");
    assert!(all.ignored.is_empty());
}

#[test]
fn nodes_name_the_blocks_of_their_pods() {
    #[rustfmt::skip]
    let cases = [
        ("none",                "",                                                     vec![]),
        ("several",             "podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24, 'fd00:1::/64']", vec!["10.1.0.0/24", "fd00:1::/64"]),
        ("the older field",     "podCIDR: 10.1.0.0/24",                                 vec!["10.1.0.0/24"]),
        ("not given yet",       "podCIDR: ''",                                          vec![]),
    ];
    for (claim, spec, want) in cases {
        let text =
            format!("{{apiVersion: v1, kind: Node, metadata: {{name: n1}}, spec: {{{spec}}}}}");
        let blocks = &manifests(&text).snapshot.nodes["n1"].pod_cidrs;
        assert_eq!(blocks.iter().map(ToString::to_string).collect::<Vec<_>>(), want, "{claim}");
    }
}

#[test]
fn workloads_are_what_a_person_would_name() {
    let owner = |kind: &str, name: &str, controller: bool| {
        format!(
            "{{apiVersion: apps/v1, kind: {kind}, name: {name}, uid: u, controller: {controller}}}"
        )
    };
    #[rustfmt::skip]
    let cases = [
        ("no owner",                 vec![],                                                    None),
        ("no controller",            vec![owner("StatefulSet", "db", false)],                   None),
        ("the controller",           vec![owner("Node", "n", false), owner("StatefulSet", "db", true)], Some(("StatefulSet", "db"))),
        ("a Deployment's",           vec![owner("ReplicaSet", "web-app-5d8f", true)],           Some(("Deployment", "web-app"))),
        ("a ReplicaSet by itself",   vec![owner("ReplicaSet", "web-app", true)],                Some(("ReplicaSet", "web-app"))),
        ("nothing but the hash",     vec![owner("ReplicaSet", "5d8f", true)],                   Some(("ReplicaSet", "5d8f"))),
        ("another kind",             vec![owner("Rollout", "web-5d8f", true)],                  Some(("Rollout", "web-5d8f"))),
    ];
    for (claim, owners, want) in cases {
        let text = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p, labels: {{pod-template-hash: 5d8f}}, \
             ownerReferences: [{}]}}}}",
            owners.join(", ")
        );
        let pod = &manifests(&text).snapshot.pods[&ObjectName::new("default", "p")];
        let found = pod.workload.as_ref().map(|owner| (owner.kind.as_str(), owner.name.as_str()));
        assert_eq!(found, want, "{claim}");
    }
}

#[test]
fn annotations_of_policies_are_kept() {
    let text = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, annotations: \
         {owner: team-a, kubectl.kubernetes.io/last-applied-configuration: '{}'}}}\n---\n\
         {apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: c, annotations: {why: audit}}, \
         spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}}";
    let all = manifests(text).snapshot;
    let policy = &all.policies[&ObjectName::new("default", "p")];
    assert_eq!(policy.annotations, [("owner".to_owned(), "team-a".to_owned())].into());
    assert_eq!(all.cluster_policies[&"c".into()].annotations["why"], "audit");
}

#[test]
fn s07_a_terminating_pod_still_runs() {
    #[rustfmt::skip]
    let cases = [
        ("running",                "",                                       "Running",   true),
        ("terminating",            ", deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 30", "Running", true),
        ("pending",                "",                                       "Pending",   true),
        ("succeeded",              "",                                       "Succeeded", false),
        ("failed and terminating", ", deletionTimestamp: '2026-01-01T00:00:00Z'", "Failed",    false),
    ];
    for (claim, metadata, phase, want) in cases {
        let text = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p{metadata}}}, status: {{phase: {phase}, podIP: 10.0.0.1}}}}"
        );
        let pod = &manifests(&text).snapshot.pods[&ObjectName::new("default", "p")];
        assert_eq!(pod.is_subject(), want, "{claim}");
        assert_eq!(pod.addresses, [address("10.0.0.1")], "{claim}");
    }
}

#[test]
fn s11_absent_and_empty_lists_of_peers_are_the_same() {
    #[rustfmt::skip]
    let cases = [
        ("no rules",           "ingress: []",                     vec![]),
        ("rules are null",     "ingress: null",                   vec![]),
        ("an empty rule",      "ingress: [{}]",                   vec![0]),
        ("an empty list",      "ingress: [{from: []}]",           vec![0]),
        ("no list",            "ingress: [{from: null}]",         vec![0]),
        ("with ports alone",   "ingress: [{ports: []}]",          vec![0]),
        ("one peer",           "ingress: [{from: [{podSelector: {}}]}, {}]", vec![1, 0]),
    ];
    for (claim, spec, want) in cases {
        let peers: Vec<_> = policy(spec).ingress.iter().map(|rule| rule.peers.len()).collect();
        assert_eq!(peers, want, "{claim}");
    }
}
