//! Selection and isolation.

use policy_core::{
    compile::{Scope, compile},
    model::{Direction, NetworkPolicy, Phase, Protocol},
};

use crate::cluster::{
    Cluster, ip, mk_block, mk_egress, mk_ingress, mk_pod, mk_pods, mk_pods_in, mk_policy, mk_rule,
    tcp,
};

/// Pods `a` and `b` in namespace `x`, `c` in `y`, and the pods' nodes.
fn mk_cluster() -> Cluster {
    Cluster::default()
        .namespace("x", "team=x")
        .namespace("y", "team=y")
        .node("n1", &["192.168.0.1", "fd00:a::1"])
        .node("n2", &["192.168.0.2"])
        .pod("x/a", mk_pod("app=a", &["10.0.0.1", "fd00::1"]))
        .pod("x/b", mk_pod("app=b", &["10.0.0.2", "fd00::2"]))
        .pod("y/c", mk_pod("app=a", &["10.0.0.3", "fd00::3"]))
}

#[test]
fn s01_unselected_pod_is_open() {
    let cluster = mk_cluster().policy("x/p", mk_policy("app=b"));
    cluster.holds(&[
        ("x/b", "x/a", 80, true),
        ("203.0.113.1", "x/a", 80, true),
        ("x/a", "y/c", 80, true),
    ]);
    let answer = cluster.ask("x/b", "x/a", Protocol::Tcp, 80).expect("a verdict");
    assert!(answer.ingress.by.is_empty());
}

#[test]
fn s02_isolated_pod_gets_only_the_union() {
    let web = mk_ingress("app=a", vec![mk_rule(vec![mk_pods("app=b")], vec![tcp(80)])]);
    let dns = mk_ingress("", vec![mk_rule(vec![mk_pods("app=b")], vec![tcp(53)])]);
    let cluster = mk_cluster().policy("x/web", web).policy("x/dns", dns);
    cluster.holds(&[
        ("x/b", "x/a", 80, true),
        ("x/b", "x/a", 53, true),
        ("x/b", "x/a", 81, false),
        ("y/c", "x/a", 80, false),
        ("203.0.113.1", "x/a", 80, false),
    ]);
}

#[test]
fn s02_names_and_order_do_not_matter() {
    let web = mk_ingress("app=a", vec![mk_rule(vec![mk_pods("app=b")], vec![tcp(80)])]);
    let deny = mk_ingress("", Vec::new());
    let one = mk_cluster().policy("x/1", web.clone()).policy("x/2", deny.clone());
    let two = mk_cluster().policy("x/1", deny).policy("x/2", web);
    let [one, two] = [one, two].map(|cluster| compile(&cluster.0, Scope::Cluster).0);
    assert_eq!((one.allow_maps(), &one.addresses), (two.allow_maps(), &two.addresses));
}

#[test]
fn s03_both_directions_must_allow() {
    let out = mk_egress("app=a", vec![mk_rule(vec![mk_pods("app=b")], vec![tcp(80), tcp(81)])]);
    let into = mk_ingress("app=b", vec![mk_rule(vec![mk_pods("app=a")], vec![tcp(80), tcp(82)])]);
    let cluster = mk_cluster().policy("x/out", out).policy("x/in", into);
    cluster.holds(&[
        ("x/a", "x/b", 80, true),
        ("x/a", "x/b", 81, false),
        ("x/a", "x/b", 82, false),
        ("x/b", "x/a", 82, true),
    ]);
    let answer = cluster.ask("x/a", "x/b", Protocol::Tcp, 81).expect("a verdict");
    assert_eq!((answer.egress.allowed, answer.ingress.allowed), (true, false));
}

#[test]
fn s04_policy_types() {
    use Direction::{Egress, Ingress};
    let rule = || vec![mk_rule(vec![mk_pods("app=b")], Vec::new())];
    #[rustfmt::skip]
    let cases = [
        // claim                                 types                          egress      isolates
        ("absent without egress is ingress",     None,                          Vec::new(), (true, false)),
        ("absent with an egress rule is both",   None,                          rule(),     (true, true)),
        ("egress alone leaves ingress alone",    Some(vec![Egress]),            Vec::new(), (false, true)),
        ("ingress alone leaves egress alone",    Some(vec![Ingress]),           rule(),     (true, false)),
        ("both",                                 Some(vec![Ingress, Egress]),   Vec::new(), (true, true)),
    ];
    for (claim, policy_types, egress, want) in cases {
        let policy = NetworkPolicy { policy_types, egress, ..mk_policy("app=a") };
        let desired = compile(&mk_cluster().policy("x/p", policy).0, Scope::Cluster).0;
        let endpoint = desired.endpoints.values().next().expect("pod a");
        let isolated = endpoint.isolation.as_ref().map(Option::is_some);
        assert_eq!((isolated.ingress, isolated.egress), want, "{claim}");
    }
}

#[test]
fn s05_empty_selector_selects_the_namespace() {
    let cluster = mk_cluster().policy("x/p", mk_ingress("", Vec::new()));
    cluster.holds(&[
        ("y/c", "x/a", 80, false),
        ("y/c", "x/b", 80, false),
        ("x/a", "y/c", 80, true),
    ]);
}

#[test]
fn s06_host_network_pods_are_neither_subjects_nor_peers() {
    let mut host = mk_pod("app=b", &["192.168.0.2"]);
    host.host_network = true;
    host.node = Some("n2".to_owned());
    let into = mk_ingress("", vec![mk_rule(vec![mk_pods("app=b")], Vec::new())]);
    let cluster = mk_cluster().pod("x/host", host).policy("x/p", into);
    cluster.holds(&[
        ("x/host", "x/a", 80, false),
        ("192.168.0.2", "x/a", 80, false),
        ("x/b", "x/a", 80, true),
        ("y/c", "x/host", 80, true),
    ]);
    let desired = compile(&cluster.0, Scope::Cluster).0;
    assert!(desired.endpoints.keys().all(|pod| pod.name != "host"), "no endpoint either");
    let by_address =
        mk_ingress("", vec![mk_rule(vec![mk_block("192.168.0.2/32", &[])], Vec::new())]);
    assert!(cluster.policy("x/q", by_address).passes("x/host", "x/a", 80));
}

#[test]
fn s07_finished_pods_are_neither_subjects_nor_peers() {
    let mut done = mk_pod("app=b", &["10.0.0.9"]);
    done.phase = Phase::Finished;
    let into = mk_ingress("app=a", vec![mk_rule(vec![mk_pods("app=b")], Vec::new())]);
    let cluster = mk_cluster().pod("x/done", done).policy("x/p", into);
    cluster.holds(&[("10.0.0.9", "x/a", 80, false), ("x/b", "x/a", 80, true)]);
    assert!(cluster.ask("x/done", "x/a", Protocol::Tcp, 80).is_none());
    let desired = compile(&cluster.0, Scope::Cluster).0;
    assert!(desired.endpoints.keys().all(|pod| pod.name != "done"), "no endpoint either");
}

#[test]
fn s08_an_address_of_two_pods_matches_only_what_both_match() {
    let into = mk_ingress("app=a", vec![mk_rule(vec![mk_pods("app=b")], Vec::new())]);
    let same = mk_pod("app=b", &["10.0.0.2"]);
    let cluster = mk_cluster().policy("x/p", into);
    let reused = cluster.clone().pod("x/new", same);
    assert!(reused.passes("10.0.0.2", "x/a", 80));
    let other = cluster.pod("y/new", mk_pod("app=other", &["10.0.0.2"]));
    assert!(!other.passes("10.0.0.2", "x/a", 80));
    assert_eq!(other.faults().len(), 1);
}

#[test]
fn s09_every_namespace_has_its_name_as_a_label() {
    let by_name = |name: &str| {
        let peer = mk_pods_in(&format!("kubernetes.io/metadata.name={name}"), "");
        mk_cluster().policy("x/p", mk_ingress("app=a", vec![mk_rule(vec![peer], Vec::new())]))
    };
    by_name("y").holds(&[("y/c", "x/a", 80, true), ("x/b", "x/a", 80, false)]);
    by_name("x").holds(&[("y/c", "x/a", 80, false), ("x/b", "x/a", 80, true)]);
}

#[test]
fn without_policies_no_table_is_left() {
    let desired = compile(&mk_cluster().0, Scope::Node("n1")).0;
    assert!(desired.allow_maps().is_empty() && desired.addresses.is_empty());
    assert!(desired.endpoints.values().all(|e| e.isolation.values().all(Option::is_none)));
}

#[test]
fn s37_the_pods_own_node_reaches_it() {
    let mut host = mk_pod("", &["192.168.0.1"]);
    host.host_network = true;
    let mut far = host.clone();
    (far.node, far.addresses) = (Some("n2".to_owned()), vec![ip("192.168.0.2")]);
    let cluster = mk_cluster().pod("x/near", host).pod("x/far", far);
    let cluster = cluster.policy("x/p", mk_ingress("", Vec::new()));
    cluster.holds(&[
        ("x/near", "x/a", 80, true),
        ("x/far", "x/a", 80, false),
        ("192.168.0.1", "x/a", 80, false),
    ]);
}

#[test]
fn s38_egress_to_the_own_node_is_judged() {
    let cluster = mk_cluster().policy("x/p", mk_egress("app=a", Vec::new()));
    cluster.holds(&[("x/a", "192.168.0.1", 10250, false), ("x/b", "192.168.0.1", 10250, true)]);
    let open =
        mk_egress("app=a", vec![mk_rule(vec![mk_block("192.168.0.1/32", &[])], vec![tcp(80)])]);
    let cluster = cluster.policy("x/q", open);
    cluster.holds(&[("x/a", "192.168.0.1", 80, true), ("x/a", "192.168.0.1", 10250, false)]);
}

#[test]
fn s39_a_pod_reaches_itself() {
    let policy = NetworkPolicy {
        policy_types: Some(vec![Direction::Ingress, Direction::Egress]),
        ..mk_policy("")
    };
    let cluster = mk_cluster().policy("x/p", policy);
    cluster.holds(&[
        ("x/a", "x/a", 80, true),
        ("x/a", "10.0.0.1", 80, true),
        ("x/a", "x/b", 80, false),
    ]);
}

#[test]
fn s45_both_families_are_enforced() {
    let into = mk_ingress("app=a", vec![mk_rule(vec![mk_pods("app=b")], Vec::new())]);
    let cluster = mk_cluster().policy("x/p", into);
    for (from, want) in
        [("fd00::2", true), ("fd00::3", false), ("10.0.0.2", true), ("10.0.0.3", false)]
    {
        assert_eq!(cluster.passes(from, "x/a", 80), want, "{from}");
    }
}

#[test]
fn only_policies_in_force_on_the_node_count() {
    let mut far = mk_pod("app=far", &["10.0.1.1"]);
    far.node = Some("n2".to_owned());
    let into = mk_ingress("app=far", vec![mk_rule(vec![mk_pods("app=b")], Vec::new())]);
    let cluster = mk_cluster().pod("x/far", far).policy("x/p", into);
    let near = compile(&cluster.0, Scope::Node("n1")).0;
    assert!(near.identities().is_empty() && near.allow_maps().is_empty());
    assert_eq!(near.endpoints.len(), 3);
    let there = compile(&cluster.0, Scope::Node("n2")).0;
    assert_eq!(
        (there.identities().len(), there.allow_maps().len(), there.endpoints.len()),
        (1, 1, 1)
    );
}
