//! Egress to Services.

use policy_core::{
    compile::{Change, Compiler, Scope, compile},
    model::{Direction, NetworkPolicy, Protocol, Rule},
};

use crate::cluster::{
    Cluster, ip, mk_block, mk_egress, mk_ingress, mk_pod, mk_pods, mk_policy, mk_rule, mk_service,
    mk_slice, tcp,
};

const SERVICE: &str = "service/x/web";

/// Client `x/c`; Service `x/web` at 10.96.0.1:80 with the backends `x/one` and `x/two` at 8080.
fn mk_cluster() -> Cluster {
    Cluster::default()
        .node("n1", &["192.168.0.1"])
        .pod("x/c", mk_pod("app=client", &["10.0.0.1"]))
        .pod("x/one", mk_pod("app=web,n=1", &["10.0.0.2"]))
        .pod("x/two", mk_pod("app=web,n=2", &["10.0.0.3"]))
        .service(
            "x/web",
            mk_service("10.96.0.1", 80),
            mk_slice("web", 8080, &["10.0.0.2", "10.0.0.3"]),
        )
}

fn reaches(cluster: Cluster, rules: Vec<Rule>) -> Cluster {
    cluster.policy("x/p", mk_egress("app=client", rules))
}

#[test]
fn s40_a_service_is_judged_by_its_backends() {
    let to = |peer, port| vec![mk_rule(vec![peer], vec![tcp(port)])];
    #[rustfmt::skip]
    let cases = [
        ("all backends at their port",       to(mk_pods("app=web"), 8080),                 true),
        ("not at the Service's port",        to(mk_pods("app=web"), 80),                   false),
        ("not the cluster IP",               to(mk_block("10.96.0.1/32", &[]), 80),        false),
        ("some, which it then goes to",      to(mk_pods("n=1"), 8080),                     true),
        ("a block around all backends",      to(mk_block("10.0.0.0/24", &[]), 8080),       true),
        ("an except of one backend",         to(mk_block("10.0.0.0/24", &["10.0.0.3/32"]), 8080), true),
        ("everything",                       vec![Rule::default()],                        true),
        ("nothing",                          Vec::new(),                                   false),
    ];
    for (claim, rules, want) in cases {
        assert_eq!(reaches(mk_cluster(), rules).passes("x/c", SERVICE, 80), want, "{claim}");
    }
}

#[test]
fn s40_reasons() {
    use policy_common::drops::Reason::ServiceDenied;
    let reason = |rules| {
        let desired = compile(&reaches(mk_cluster(), rules).0, Scope::Node("n1")).0;
        let isolation =
            desired.endpoints.values().find_map(|e| e.isolation.egress.as_ref()).expect("isolated");
        desired.judge(isolation, Direction::Egress, ip("10.96.0.1"), Protocol::Tcp, 80)
    };
    assert_eq!(reason(Vec::new()), Err(ServiceDenied));
    let some = vec![mk_rule(vec![mk_pods("n=1")], Vec::new())];
    assert_eq!(reason(some), Ok(()), "connections go to the allowed one");
    assert_eq!(reason(vec![Rule::default()]), Ok(()));
}

#[test]
fn s40_literal_addresses_must_be_allowed_too() {
    let mut cluster = mk_cluster();
    for service in cluster.0.services.values_mut() {
        service.external_ips = vec![ip("203.0.113.5")];
        service.ports[0].node_port = Some(30080);
    }
    let web = || mk_rule(vec![mk_pods("app=web")], vec![tcp(8080)]);
    let at = |block: &str, port| mk_rule(vec![mk_block(block, &[])], vec![tcp(port)]);
    let places = [("203.0.113.5", 80), ("192.168.0.1", 30080)];
    for (address, port) in places {
        let block = format!("{address}/32");
        let literal = || at(&block, port);
        let passes = |rules| reaches(cluster.clone(), rules).passes("x/c", address, port);
        assert!(!passes(vec![web()]), "{address}: backends alone");
        assert!(!passes(vec![literal()]), "{address}: the literal address alone");
        assert!(passes(vec![web(), literal()]), "{address}: both");
    }
}

#[test]
fn s40_terminating_backends_count_only_where_none_is_ready() {
    let only_one = || vec![mk_rule(vec![mk_pods("n=1")], vec![tcp(8080)])];
    let mut cluster = mk_cluster();
    let slice = cluster.0.endpoint_slices.values_mut().next().expect("the slice");
    (slice.endpoints[1].ready, slice.endpoints[1].terminating) = (false, true);
    assert!(
        reaches(cluster.clone(), only_one()).passes("x/c", SERVICE, 80),
        "the ready one counts"
    );
    let slice = cluster.0.endpoint_slices.values_mut().next().expect("the slice");
    (slice.endpoints[0].ready, slice.endpoints[0].serving) = (false, false);
    assert!(
        !reaches(cluster.clone(), only_one()).passes("x/c", SERVICE, 80),
        "now the other one does"
    );
    let other = vec![mk_rule(vec![mk_pods("n=2")], vec![tcp(8080)])];
    assert!(reaches(cluster, other).passes("x/c", SERVICE, 80), "and alone");
}

#[test]
fn s40_ingress_of_a_service_is_that_of_its_backends() {
    let cluster = mk_cluster().policy("x/one", mk_ingress("n=1", Vec::new()));
    assert!(!cluster.passes("x/c", SERVICE, 80));
    let opened = mk_ingress("n=1", vec![mk_rule(vec![mk_pods("app=client")], vec![tcp(8080)])]);
    assert!(cluster.policy("x/more", opened).passes("x/c", SERVICE, 80));
}

#[test]
fn s41_the_api_server_behind_its_service() {
    let cluster = mk_cluster().service(
        "default/kubernetes",
        mk_service("10.96.0.2", 443),
        mk_slice("kubernetes", 6443, &["192.168.0.1"]),
    );
    let out = mk_rule(vec![mk_block("0.0.0.0/0", &["192.168.0.0/24"])], Vec::new());
    let cluster = reaches(cluster, vec![out]);
    let api = "service/default/kubernetes";
    cluster.holds(&[
        ("x/c", api, 443, false),
        ("x/c", "192.168.0.1", 6443, false),
        ("x/c", SERVICE, 80, true),
    ]);
    let open = mk_egress("", vec![mk_rule(vec![mk_block("192.168.0.0/24", &[])], vec![tcp(6443)])]);
    let cluster = cluster.policy("x/api", open);
    cluster.holds(&[
        ("x/c", api, 443, true),
        ("x/c", "192.168.0.1", 6443, true),
        ("x/c", "192.168.0.1", 10250, false),
    ]);
}

#[test]
fn s42_no_backends() {
    let mut cluster = mk_cluster();
    cluster.0.endpoint_slices.clear();
    assert!(cluster.ask("x/c", SERVICE, Protocol::Tcp, 80).is_none(), "no policy has a say");
    let open = reaches(cluster, vec![Rule::default()]);
    assert!(!open.passes("x/c", SERVICE, 80));
    assert!(open.passes("x/c", SERVICE, 81), "a port that the Service lacks is its address's");
}

#[test]
fn s39_a_pod_reaches_itself_through_its_service() {
    let policy = NetworkPolicy {
        policy_types: Some(vec![Direction::Ingress, Direction::Egress]),
        ..mk_policy("")
    };
    let cluster = mk_cluster().policy("x/p", policy);
    let alone = cluster.clone().service(
        "x/web",
        mk_service("10.96.0.1", 80),
        mk_slice("web", 8080, &["10.0.0.2"]),
    );
    alone.holds(&[
        ("x/one", SERVICE, 80, true),
        ("x/two", SERVICE, 80, false),
        ("x/c", SERVICE, 80, false),
    ]);
    cluster.holds(&[("x/one", SERVICE, 80, false)]);
}

#[test]
fn frontends_with_the_same_backends_share_an_identity() {
    let cluster = reaches(mk_cluster(), vec![mk_rule(vec![mk_pods("app=web")], Vec::new())]);
    let cluster = cluster.service(
        "x/again",
        mk_service("10.96.0.7", 80),
        mk_slice("again", 8080, &["10.0.0.3"]),
    );
    let desired = compile(&cluster.0, Scope::Cluster).0;
    let identities: Vec<_> = desired.frontends.values().collect();
    assert_eq!((identities.len(), identities[0]), (2, identities[1]));
}

#[test]
fn s39_an_address_of_two_pods_leads_back_to_neither() {
    let out = mk_egress("n=1", vec![mk_rule(vec![mk_pods("n=2")], Vec::new())]);
    let cluster = mk_cluster().policy("x/p", out).policy("x/q", mk_egress("n=3", Vec::new()));
    assert!(cluster.passes("x/one", SERVICE, 80), "itself and an allowed one");
    let shared = cluster.pod("x/again", mk_pod("app=web,n=3", &["10.0.0.2"]));
    // The one goes to the other backend, which it may reach; the second may reach none.
    shared.holds(&[("x/one", SERVICE, 80, true), ("x/again", SERVICE, 80, false)]);
}

/// Where the Service's node port is a frontend, as node `n1` sees it.
fn node_port_addresses(cluster: &Cluster) -> Vec<String> {
    let desired = compile(&cluster.0, Scope::Node("n1")).0;
    let at = desired.frontends.keys().filter(|frontend| frontend.port == 30080);
    at.map(|frontend| frontend.address.to_string()).collect()
}

#[test]
fn s40_node_ports_answer_at_the_bridges_and_tunnels_of_other_nodes() {
    let mut cluster = reaches(mk_cluster().node("n2", &["192.168.0.2"]), vec![Rule::default()]);
    for service in cluster.0.services.values_mut() {
        service.ports[0].node_port = Some(30080);
    }
    let nodes = ["192.168.0.1", "192.168.0.2"];
    assert_eq!(node_port_addresses(&cluster), nodes);
    let block = |block: &str| block.parse().expect("a block");
    let mut give = |node: &str, blocks: &[&str]| {
        let node = cluster.0.nodes.get_mut(node).expect("the node");
        node.pod_cidrs = blocks.iter().map(|text| block(text)).collect();
        cluster.clone()
    };
    let own = give("n1", &["10.244.1.0/24"]);
    assert_eq!(node_port_addresses(&own), nodes, "the own node's are found, not guessed");
    let other = give("n2", &["10.244.2.0/24", "fd00:2::/64", "10.244.9.9/32"]);
    let guessed = ["10.244.2.0", "10.244.2.1", "10.244.9.9"];
    let (four, six) = ([&guessed[..], &nodes[..]].concat(), ["fd00:2::", "fd00:2::1"]);
    assert_eq!(node_port_addresses(&other), [&four[..], &six[..]].concat());
    let taken = other.pod("x/first", mk_pod("", &["10.244.2.1", "10.244.9.9"]));
    assert_eq!(
        node_port_addresses(&taken),
        [&["10.244.2.0"], &nodes[..], &six[..]].concat(),
        "a pod's address is the pod's"
    );
}

#[test]
fn s46_tunnels_end_at_the_bridges_and_tunnels_of_other_nodes_too() {
    use policy_core::desired::NodeKind::{Other, Own};
    let mut cluster = Cluster::default().node("n1", &["192.0.2.1"]).node("n2", &["192.0.2.2"]);
    for (name, block) in [("n1", "10.244.1.0/24"), ("n2", "10.244.2.0/24")] {
        let node = cluster.0.nodes.get_mut(name).expect("the node");
        node.pod_cidrs = vec![block.parse().expect("a block")];
    }
    let cluster = cluster.pod("x/first", mk_pod("", &["10.244.2.1"]));
    let desired = compile(&cluster.0, Scope::Node("n1")).0;
    let want = [("10.244.2.0", Other), ("192.0.2.1", Own), ("192.0.2.2", Other)];
    let found: Vec<_> =
        desired.node_addresses.iter().map(|(at, kind)| (at.to_string(), *kind)).collect();
    assert_eq!(found, want.map(|(at, kind)| (at.to_owned(), kind)), "S37: nothing more is own");
}

#[test]
fn s39_a_backend_that_comes_later_leads_back_to_its_pod() {
    let closed = mk_egress("n=1", Vec::new());
    let mut without = mk_cluster().policy("x/p", closed);
    let slices = without.0.endpoint_slices.clone();
    for slice in without.0.endpoint_slices.values_mut() {
        slice.endpoints.remove(0);
    }
    let mut compiler = Compiler::new(without.0, Scope::Node("n1"));
    for (name, mut slice) in slices {
        slice.endpoints.truncate(1);
        compiler.update(Change::EndpointSlice(name, Some(slice)));
    }
    let desired = compiler.compiled().0;
    assert_eq!(desired, &compile(compiler.snapshot(), Scope::Node("n1")).0);
    let isolation = desired.endpoints.values().find_map(|one| one.isolation.egress.as_ref());
    let isolation = isolation.expect("it is isolated");
    let at = |port| {
        desired.judge(isolation, Direction::Egress, ip("10.96.0.1"), Protocol::Tcp, port).is_ok()
    };
    assert!(at(80) && !at(81));
}
