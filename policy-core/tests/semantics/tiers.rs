//! Cluster-wide policies: tiers around the network policies.

use policy_core::{
    compile::{Scope, compile},
    explain::DecidingPolicy,
    fault::Effect,
    model::{
        Action, Annotations, ClusterNetworkPolicy, ClusterPeer, ClusterRule, Kind, ObjectName,
        PodSet, PolicyRef, Protocol, ProtocolMatch, Tier, UnknownPeer,
    },
};

use crate::cluster::{
    Cluster, labels, mk_egress, mk_ingress, mk_pod, mk_pods_in, mk_port, mk_rule, mk_selector,
    mk_service, mk_slice, tcp,
};

use Action::{Accept, Deny, Pass};
use Tier::{Admin, Baseline};

/// Pods `x/a`, `x/b`, `y/c` and two nodes.
fn mk_cluster() -> Cluster {
    let mut cluster = Cluster::default()
        .namespace("x", "team=x")
        .namespace("y", "team=y")
        .node("n1", &["192.168.0.1"])
        .node("n2", &["192.168.0.2"])
        .pod("x/a", mk_pod("app=a", &["10.0.0.1"]))
        .pod("x/b", mk_pod("app=b", &["10.0.0.2"]))
        .pod("y/c", mk_pod("app=c", &["10.0.0.3"]));
    cluster.0.nodes.get_mut("n2").expect("a node").labels = labels("role=edge");
    cluster
}

fn pods(namespaces: &str, pods: &str) -> ClusterPeer {
    ClusterPeer::Pods(mk_set(namespaces, pods))
}

fn mk_set(namespaces: &str, pods: &str) -> PodSet {
    PodSet { namespaces: mk_selector(namespaces), pods: mk_selector(pods) }
}

fn networks(blocks: &[&str]) -> ClusterPeer {
    ClusterPeer::Networks(blocks.iter().map(|block| block.parse().expect("a block")).collect())
}

fn unknown() -> ClusterPeer {
    ClusterPeer::Unknown(UnknownPeer::DomainNames)
}

fn rule(action: Action, peer: ClusterPeer, ports: &[u16]) -> ClusterRule {
    let port =
        |&port: &u16| ProtocolMatch::Range { protocol: Protocol::Tcp, first: port, last: port };
    ClusterRule { action, peers: vec![peer], protocols: ports.iter().map(port).collect() }
}

/// For the pods of namespace `x` with the label `app=a`.
fn mk_tier(tier: Tier, priority: u16) -> ClusterNetworkPolicy {
    let subject = Some(mk_set("team=x", "app=a"));
    let (ingress, egress, annotations) = (Vec::new(), Vec::new(), Annotations::new());
    ClusterNetworkPolicy { tier, priority, subject, ingress, egress, annotations }
}

fn into_a(tier: Tier, priority: u16, ingress: Vec<ClusterRule>) -> ClusterNetworkPolicy {
    ClusterNetworkPolicy { ingress, ..mk_tier(tier, priority) }
}

fn from_a(tier: Tier, priority: u16, egress: Vec<ClusterRule>) -> ClusterNetworkPolicy {
    ClusterNetworkPolicy { egress, ..mk_tier(tier, priority) }
}

impl Cluster {
    fn tier(mut self, name: &str, policy: ClusterNetworkPolicy) -> Self {
        self.0.cluster_policies.insert(name.into(), policy);
        self
    }
}

#[test]
fn s51_the_first_rule_that_means_the_connection_decides() {
    let everyone = || pods("", "");
    let only = |port| mk_ingress("app=a", vec![mk_rule(vec![mk_pods_in("", "")], vec![tcp(port)])]);
    #[rustfmt::skip]
    let cases = [
        // claim                                 policies of the tiers                                             network policy  port 80
        ("without a rule for it it passes",      vec![into_a(Admin, 1, vec![rule(Deny, everyone(), &[81])])],       None,           true),
        ("a deny is final",                      vec![into_a(Admin, 1, vec![rule(Deny, everyone(), &[])])],         Some(only(80)), false),
        ("an accept is final",                   vec![into_a(Admin, 1, vec![rule(Accept, everyone(), &[])])],       Some(only(81)), true),
        ("the first rule goes before the second",vec![into_a(Admin, 1, vec![rule(Accept, everyone(), &[80]),
                                                                            rule(Deny, everyone(), &[])])],         None,           true),
        ("the lower number goes first",          vec![into_a(Admin, 9, vec![rule(Accept, everyone(), &[])]),
                                                      into_a(Admin, 1, vec![rule(Deny, everyone(), &[])])],         None,           false),
        ("a pass leaves the tier",               vec![into_a(Admin, 1, vec![rule(Pass, everyone(), &[])]),
                                                      into_a(Admin, 2, vec![rule(Deny, everyone(), &[])])],         None,           true),
        ("after a pass network policies decide", vec![into_a(Admin, 1, vec![rule(Pass, everyone(), &[])])],         Some(only(81)), false),
        ("network policies are final",           vec![into_a(Baseline, 1, vec![rule(Deny, everyone(), &[])])],      Some(only(80)), true),
        ("baseline cannot open what they deny",  vec![into_a(Baseline, 1, vec![rule(Accept, everyone(), &[])])],    Some(only(81)), false),
        ("baseline decides where none selects",  vec![into_a(Baseline, 1, vec![rule(Deny, everyone(), &[])])],      None,           false),
        ("a pass of the last tier passes",       vec![into_a(Baseline, 1, vec![rule(Pass, everyone(), &[])]),
                                                      into_a(Baseline, 2, vec![rule(Deny, everyone(), &[])])],      None,           true),
        ("other peers do not match",            vec![into_a(Admin, 1, vec![rule(Deny, pods("team=y", ""), &[])])], None,           true),
        ("egress rules leave ingress alone",     vec![from_a(Admin, 1, vec![rule(Deny, everyone(), &[])])],         None,           true),
    ];
    for (claim, policies, namespaced, want) in cases {
        let mut cluster = mk_cluster();
        for (name, policy) in ["p", "q"].into_iter().zip(policies) {
            cluster = cluster.tier(name, policy);
        }
        if let Some(policy) = namespaced {
            cluster = cluster.policy("x/np", policy);
        }
        assert_eq!(cluster.passes("x/b", "x/a", 80), want, "{claim}");
    }
}

#[test]
fn s51_what_has_no_ports_follows_the_rules_without_protocols() {
    let allows_icmp = |rules| {
        let cluster = mk_cluster().tier("p", into_a(Admin, 1, rules));
        let desired = compile(&cluster.0, Scope::Cluster).0;
        let ports = desired
            .allow_maps()
            .first()
            .expect("an allow map")
            .ports_of(&None)
            .expect("a default entry")
            .clone();
        ports.every_protocol || ports.other_protocols
    };
    assert!(allows_icmp(vec![rule(Deny, pods("", ""), &[80])]));
    let desired = compile(
        &mk_cluster()
            .tier("p", from_a(Admin, 1, vec![rule(Deny, networks(&["0.0.0.0/0"]), &[])]))
            .0,
        Scope::Cluster,
    );
    let maps = desired.0.allow_maps();
    let map = maps.first().expect("an allow map");
    let outside = desired.0.identity_of("203.0.113.1".parse().expect("an address"));
    assert!(map.ports_of(outside).is_some_and(policy_core::ports::Ports::is_empty));
}

#[test]
fn s51_subjects_and_peers() {
    let cluster = mk_cluster().tier(
        "p",
        from_a(
            Admin,
            1,
            vec![
                rule(Accept, ClusterPeer::Nodes(mk_selector("role=edge")), &[443]),
                rule(Deny, ClusterPeer::Nodes(mk_selector("")), &[]),
                rule(Accept, networks(&["203.0.113.0/24", "10.0.0.0/24"]), &[]),
                rule(Deny, networks(&["0.0.0.0/0"]), &[]),
            ],
        ),
    );
    cluster.holds(&[
        ("x/a", "192.168.0.2", 443, true),
        ("x/a", "192.168.0.2", 80, false),
        ("x/a", "192.168.0.1", 443, false),
        ("x/a", "203.0.113.9", 80, true),
        ("x/a", "x/b", 80, true),
        ("x/a", "198.51.100.1", 80, false),
        ("x/b", "198.51.100.1", 80, true),
        ("y/c", "192.168.0.1", 443, true),
    ]);
}

#[test]
fn s51_a_port_by_name_is_that_of_the_destination() {
    let mut b = mk_pod("app=b", &["10.0.0.2"]);
    b.ports = vec![mk_port("web", 8080, Protocol::Tcp), mk_port("dns", 53, Protocol::Udp)];
    let by_name = ClusterRule {
        protocols: vec![ProtocolMatch::Named("web".into()), ProtocolMatch::Named("dns".into())],
        ..rule(Accept, pods("", ""), &[])
    };
    let rules = vec![by_name, rule(Deny, pods("", ""), &[])];
    let cluster = mk_cluster().pod("x/b", b).tier("p", from_a(Admin, 1, rules));
    cluster.holds(&[
        ("x/a", "x/b", 8080, true),
        ("x/a", "x/b", 80, false),
        ("x/a", "y/c", 8080, false),
    ]);
    let dns = |protocol| cluster.ask("x/a", "x/b", protocol, 53).expect("a verdict").allowed();
    assert!(dns(Protocol::Udp) && !dns(Protocol::Tcp), "the name has the port's own protocol");
}

#[test]
fn s51_the_deciding_policy_is_named() {
    let by = |name: &str, rule| DecidingPolicy {
        policy: PolicyRef::ClusterWide(name.into()),
        rule: Some(rule),
    };
    let admin = into_a(
        Admin,
        1,
        vec![
            rule(Pass, pods("", ""), &[82]),
            rule(Accept, pods("", ""), &[81]),
            rule(Deny, pods("", ""), &[80]),
        ],
    );
    let cluster = mk_cluster()
        .tier("z", admin)
        .tier("base", into_a(Baseline, 1, vec![rule(Deny, pods("", ""), &[82])]));
    let ask = |port| {
        cluster.ask("x/b", "x/a", Protocol::Tcp, port).expect("a verdict").ingress.by.to_vec()
    };
    assert_eq!(ask(80), [by("z", 2)]);
    assert_eq!(ask(81), [by("z", 1)]);
    assert_eq!(ask(82), [by("base", 0)]);
    assert_eq!(ask(83), [], "no policy has a word for it");
    let cluster = cluster.policy("x/np", mk_ingress("app=a", Vec::new()));
    let answer = cluster.ask("x/b", "x/a", Protocol::Tcp, 82).expect("a verdict").ingress;
    let np = DecidingPolicy { policy: ObjectName::new("x", "np").into(), rule: None };
    assert_eq!((answer.allowed, answer.by.to_vec()), (false, vec![np]));
}

#[test]
fn s51_a_service_is_judged_by_its_backends() {
    let denied = from_a(Admin, 1, vec![rule(Deny, pods("", "app=b"), &[8080])]);
    let cluster = mk_cluster()
        .service("x/s", mk_service("10.96.0.1", 80), mk_slice("s", 8080, &["10.0.0.2"]))
        .tier("p", denied);
    cluster.holds(&[("x/a", "service/x/s", 80, false), ("x/b", "service/x/s", 80, true)]);
    let by = cluster.ask("x/a", "service/x/s", Protocol::Tcp, 80).expect("a verdict").egress.by;
    assert_eq!(
        by.iter().map(|by| (by.policy.name(), by.rule)).collect::<Vec<_>>(),
        [("p", Some(0))]
    );
}

#[test]
fn s52_what_cannot_be_expressed_is_closed() {
    let passes = |rules: Vec<ClusterRule>| {
        let cluster = mk_cluster().tier("p", from_a(Admin, 1, rules));
        assert_eq!(cluster.faults().len(), 1);
        (cluster.passes("x/a", "x/b", 80), cluster.faults().remove(0))
    };
    let rest = || rule(Deny, networks(&["0.0.0.0/0"]), &[]);
    let (accepted, fault) = passes(vec![rule(Accept, unknown(), &[]), rest()]);
    assert!(!accepted);
    assert_eq!(
        (fault.object.kind(), fault.field.to_string().as_str()),
        (Kind::ClusterNetworkPolicy, "spec.egress[0].to[0]")
    );
    assert_eq!(
        (fault.object.to_string().as_str(), fault.effect),
        ("p", Effect::RuleMatchesNothing)
    );
    let mut beside = rule(Accept, pods("", ""), &[]);
    beside.peers.push(unknown());
    assert!(!passes(vec![beside, rest()]).0, "nor do the peers beside it");
    for action in [Deny, Pass] {
        let (allowed, fault) = passes(vec![rule(action, unknown(), &[81])]);
        assert!(!allowed, "{action:?} denies everything");
        assert_eq!(fault.effect, Effect::RuleDeniesEverything);
    }
    let mut unread = from_a(Admin, 1, vec![rule(Pass, pods("", ""), &[81])]);
    unread.subject = None;
    let cluster = mk_cluster().tier("p", unread);
    assert!(!cluster.passes("y/c", "x/b", 80), "every pod that the subject may select is closed");
    assert_eq!(cluster.faults().len(), 1);
}

#[test]
fn s53_a_pod_itself_and_its_node_are_exempt() {
    let mut host = mk_pod("", &["192.168.0.1"]);
    host.host_network = true;
    let all = |tier| ClusterNetworkPolicy {
        ingress: vec![rule(Deny, pods("", ""), &[]), rule(Deny, unknown(), &[])],
        egress: vec![rule(Deny, networks(&["0.0.0.0/0"]), &[])],
        ..mk_tier(tier, 1)
    };
    for tier in [Admin, Baseline] {
        let cluster = mk_cluster().pod("x/host", host.clone()).tier("p", all(tier));
        cluster.holds(&[
            ("x/a", "x/a", 80, true),
            ("x/host", "x/a", 80, true),
            ("x/b", "x/a", 80, false),
            ("x/a", "192.168.0.1", 80, false),
        ]);
    }
}

#[test]
fn s08_an_address_of_two_pods_is_denied_with_either() {
    let twin = mk_pod("app=other", &["10.0.0.2"]);
    let denied = into_a(Admin, 1, vec![rule(Deny, pods("", "app=b"), &[])]);
    let cluster = mk_cluster().pod("y/twin", twin).tier("p", denied);
    assert!(!cluster.passes("10.0.0.2", "x/a", 80));
    let accepted = into_a(Admin, 1, vec![rule(Accept, pods("", "app=b"), &[])]);
    let cluster = cluster.tier("p", accepted).policy("x/np", mk_egress("app=none", Vec::new()));
    assert!(!cluster.policy("x/deny", mk_ingress("", Vec::new())).passes("10.0.0.2", "x/a", 80));
}
