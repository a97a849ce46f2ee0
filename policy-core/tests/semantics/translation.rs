//! Which backends a connection to a Service or a host port can reach, and which of them policy allows.

use std::net::IpAddr;

use policy_common::drops::Reason;
use policy_core::{
    compile::{Change, Compiler, Scope, compile},
    desired::{Desired, Frontend, FrontendOutcome},
    model::{Direction, HostPort, ObjectName, Pod, Protocol, Rule, TopologyHints},
};

use crate::cluster::{
    Cluster, ip, labels, mk_block, mk_egress, mk_pod, mk_pods, mk_port, mk_rule, mk_service,
    mk_slice, named, tcp,
};

const SERVICE: &str = "service/x/web";

/// Clients `x/c1` on node `n1` and `x/c2` on `n2`; Service `x/web` at 10.96.0.1:80 with backend
/// `x/one` on `n1` and `x/two` on `n2`, both at 8080. Only `x/one` is allowed.
fn mk_cluster() -> Cluster {
    let on = |node: &str, pod: Pod| Pod { node: Some(node.to_owned()), ..pod };
    let mut slice = mk_slice("web", 8080, &["10.0.0.2", "10.0.0.3"]);
    for (endpoint, node) in slice.endpoints.iter_mut().zip(["n1", "n2"]) {
        endpoint.node = Some(node.to_owned());
    }
    let mut cluster = Cluster::default()
        .node("n1", &["192.168.0.1"])
        .node("n2", &["192.168.0.2"])
        .pod("x/c1", on("n1", mk_pod("app=client", &["10.0.0.1"])))
        .pod("x/c2", on("n2", mk_pod("app=client", &["10.0.0.4"])))
        .pod("x/one", on("n1", mk_pod("app=web,n=1", &["10.0.0.2"])))
        .pod("x/two", on("n2", mk_pod("app=web,n=2", &["10.0.0.3"])))
        .service("x/web", mk_service("10.96.0.1", 80), slice)
        .policy("x/p", mk_egress("app=client", vec![mk_rule(vec![mk_pods("n=1")], Vec::new())]));
    for (node, zone) in cluster.0.nodes.values_mut().zip(["one", "two"]) {
        node.labels = labels(&format!("topology.kubernetes.io/zone={zone}"));
    }
    cluster
}

/// The verdict of the tables of a node on a connection from one of its pods.
fn judged(cluster: &Cluster, node: &str, client: &str, to: (&str, u16)) -> Result<(), Reason> {
    let desired = compile(&cluster.0, Scope::Node(node)).0;
    let endpoint = &desired.endpoints[&ObjectName::new("x", client)];
    let isolation = endpoint.isolation.egress.as_ref().expect("it is isolated");
    desired.judge(isolation, Direction::Egress, ip(to.0), Protocol::Tcp, to.1)
}

/// Whether all backends are allowed there, and not only some.
fn is_whole(cluster: &Cluster, node: &str, client: &str, to: (&str, u16)) -> bool {
    let desired = compile(&cluster.0, Scope::Node(node)).0;
    let endpoint = &desired.endpoints[&ObjectName::new("x", client)];
    let isolation = endpoint.isolation.egress.as_ref().expect("it is isolated");
    let frontend = Frontend { address: ip(to.0), protocol: Protocol::Tcp, port: to.1 };
    desired.outcome(isolation, &frontend) == Some(FrontendOutcome::Pass)
}

/// The backends that a node may choose among for one of its pods.
fn allowed(desired: &Desired, client: &str, address: &str, port: u16) -> Vec<(IpAddr, u16)> {
    let frontend = Frontend { address: ip(address), protocol: Protocol::Tcp, port };
    desired.allowed_backends(&desired.endpoints[&ObjectName::new("x", client)], &frontend)
}

#[test]
fn s40_a_local_service_leads_to_the_backends_of_the_senders_node() {
    let mut cluster = mk_cluster();
    cluster.holds(&[("x/c1", SERVICE, 80, true), ("x/c2", SERVICE, 80, true)]);
    for service in cluster.0.services.values_mut() {
        service.internal_traffic_local = true;
    }
    let at = ("10.96.0.1", 80);
    cluster.holds(&[("x/c1", SERVICE, 80, true), ("x/c2", SERVICE, 80, false)]);
    assert_eq!(judged(&cluster, "n1", "c1", at), Ok(()));
    assert_eq!(judged(&cluster, "n2", "c2", at), Err(Reason::ServiceDenied));
    for slice in cluster.0.endpoint_slices.values_mut() {
        slice.endpoints.truncate(1);
    }
    let none = Err(Reason::ServiceNoBackend);
    assert_eq!(judged(&cluster, "n2", "c2", at), none, "S42: its node has no backend");
    cluster.holds(&[("x/c1", SERVICE, 80, true), ("x/c2", SERVICE, 80, false)]);
}

#[test]
fn s40_a_local_service_still_leads_to_all_from_outside() {
    let mut cluster = mk_cluster();
    for service in cluster.0.services.values_mut() {
        service.internal_traffic_local = true;
        service.external_ips = vec![ip("203.0.113.5")];
        service.ports[0].node_port = Some(30080);
    }
    let peers = ["203.0.113.5/32", "192.168.0.0/24"].map(|block| mk_block(block, &[]));
    let more = mk_egress("app=client", vec![mk_rule(peers.into(), Vec::new())]);
    let cluster = cluster.policy("x/q", more);
    for to in [("203.0.113.5", 80), ("192.168.0.1", 30080), ("192.168.0.2", 30080)] {
        let found = judged(&cluster, "n1", "c1", to);
        assert_eq!(found, Ok(()), "{to:?}");
        assert!(!is_whole(&cluster, "n1", "c1", to), "{to:?}");
    }
}

#[test]
fn s40_topology_hints_choose_backends_by_the_senders_node() {
    let hint = |zones: &[&str], nodes: &[&str]| {
        let names = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        TopologyHints { zones: names(zones), nodes: names(nodes) }
    };
    let none = || hint(&[], &[]);
    let by_zone = || [hint(&["one"], &[]), hint(&["two"], &[])];
    let crossed = || [hint(&["two"], &[]), hint(&["one"], &[])];
    let by_node = || [hint(&["two"], &["n1"]), hint(&["one"], &["n2"])];
    // Whether all backends may be reached, or only some.
    let (all, one, other) = (Ok(false), Ok(true), Err(Reason::ServiceDenied));
    let judged = |cluster: &Cluster, node, pod, at| {
        judged(cluster, node, pod, at).map(|()| is_whole(cluster, node, pod, at))
    };
    #[rustfmt::skip]
    let cases = [
        // claim                           hints                            from n1  from n2
        ("no hints",                       [none(), none()],                all,     all),
        ("each for its own zone",          by_zone(),                       one,     other),
        ("each for the other zone",        crossed(),                       other,   one),
        ("one has none",                   [hint(&["one"], &[]), none()],   all,     all),
        ("none for a zone of two",         [hint(&["one"], &[]), hint(&["one"], &[])], all, all),
        ("nodes go before zones",          by_node(),                       one,     other),
    ];
    for (claim, hints, from_one, from_two) in cases {
        let mut cluster = mk_cluster();
        for slice in cluster.0.endpoint_slices.values_mut() {
            for (endpoint, hints) in slice.endpoints.iter_mut().zip(hints.clone()) {
                endpoint.hints = hints;
            }
        }
        let at = ("10.96.0.1", 80);
        assert_eq!(judged(&cluster, "n1", "c1", at), from_one, "{claim}, from n1");
        assert_eq!(judged(&cluster, "n2", "c2", at), from_two, "{claim}, from n2");
        let passes = |from: &str| cluster.passes(from, SERVICE, 80);
        assert_eq!(
            (passes("x/c1"), passes("x/c2")),
            (from_one.is_ok(), from_two.is_ok()),
            "{claim}"
        );
    }
}

#[test]
fn s40_another_zone_of_the_node_is_another_choice() {
    let mut cluster = mk_cluster();
    for slice in cluster.0.endpoint_slices.values_mut() {
        for (endpoint, zone) in slice.endpoints.iter_mut().zip(["one", "two"]) {
            endpoint.hints.zones = vec![zone.to_owned()];
        }
    }
    let mut compiler = Compiler::new(cluster.0.clone(), Scope::Node("n1"));
    let mut node = cluster.0.nodes["n1"].clone();
    node.labels = labels("topology.kubernetes.io/zone=two");
    compiler.update(Change::Node("n1".to_owned(), Some(node)));
    let desired = compiler.compiled().0;
    assert_eq!(desired, &compile(compiler.snapshot(), Scope::Node("n1")).0);
    assert!(allowed(desired, "c1", "10.96.0.1", 80).is_empty(), "only the denied one is left");
}

#[test]
fn s40_the_allowed_backends_of_a_partly_allowed_service() {
    let cluster = mk_cluster();
    let desired = compile(&cluster.0, Scope::Node("n1")).0;
    assert_eq!(judged(&cluster, "n1", "c1", ("10.96.0.1", 80)), Ok(()));
    assert!(!is_whole(&cluster, "n1", "c1", ("10.96.0.1", 80)));
    assert_eq!(allowed(&desired, "c1", "10.96.0.1", 80), [(ip("10.0.0.2"), 8080)]);
    let both = [(ip("10.0.0.2"), 8080), (ip("10.0.0.3"), 8080)];
    assert_eq!(allowed(&desired, "one", "10.96.0.1", 80), both, "nothing isolates this pod");
    let closed = cluster.policy("x/q", mk_egress("n=1", Vec::new()));
    let desired = compile(&closed.0, Scope::Node("n1")).0;
    let itself = [(ip("10.0.0.2"), 8080)];
    assert_eq!(allowed(&desired, "one", "10.96.0.1", 80), itself, "S39");
}

#[test]
fn s40_a_backend_counts_at_its_own_number_of_a_named_target_port() {
    let web = |name, address, port| Pod {
        ports: vec![mk_port("http", port, Protocol::Tcp)],
        ..mk_pod(name, &[address])
    };
    let mut cluster = mk_cluster()
        .pod("x/one", web("app=web,n=1", "10.0.0.2", 8080))
        .pod("x/two", web("app=web,n=2", "10.0.0.3", 8081));
    let mut second = mk_slice("web", 8081, &["10.0.0.3"]);
    second.endpoints[0].node = Some("n2".to_owned());
    cluster.0.endpoint_slices.insert(ObjectName::new("x", "web-2"), second);
    for slice in cluster.0.endpoint_slices.values_mut() {
        slice.endpoints.truncate(1);
    }
    let to_web = |port| {
        let rule = mk_rule(vec![mk_pods("app=web")], vec![port]);
        cluster.clone().policy("x/p", mk_egress("app=client", vec![rule]))
    };
    let at = |cluster: &Cluster| {
        let desired = compile(&cluster.0, Scope::Node("n1")).0;
        allowed(&desired, "c1", "10.96.0.1", 80)
    };
    let (one, two) = ((ip("10.0.0.2"), 8080), (ip("10.0.0.3"), 8081));
    assert_eq!(at(&to_web(tcp(8080))), [one], "the one at that number");
    assert_eq!(at(&to_web(named(Protocol::Tcp, "http"))), [one, two], "each at its own number");
    assert_eq!(at(&to_web(tcp(80))), [], "the Service's port is no backend's");
}

#[test]
fn s40_a_host_port_is_judged_as_the_pod_behind_it() {
    let forward = |address: Option<&str>| HostPort {
        address: address.map(ip),
        port: 8443,
        protocol: Protocol::Tcp,
        container_port: 8080,
    };
    let with = |host_port| {
        let mut cluster = mk_cluster();
        let pod = cluster.0.pods.get_mut(&ObjectName::new("x", "one")).expect("the pod");
        pod.host_ports = vec![host_port];
        cluster
    };
    let to = |peer| mk_egress("app=client", vec![mk_rule(vec![peer], vec![tcp(8080)])]);
    let nodes = || mk_rule(vec![mk_block("192.168.0.0/24", &[])], Vec::new());
    #[rustfmt::skip]
    let cases = [
        // claim                           policy                                           passes
        ("the pod at its port",            to(mk_pods("n=1")),                              true),
        ("the node network",               mk_egress("app=client", vec![nodes()]),          false),
        ("another pod",                    to(mk_pods("n=2")),                              false),
        ("everything",                     mk_egress("app=client", vec![Rule::default()]),  true),
        ("nothing",                        mk_egress("app=client", Vec::new()),             false),
    ];
    for (claim, policy, want) in cases {
        let cluster = with(forward(None)).policy("x/p", policy);
        for (client, node) in [("c1", "n1"), ("c2", "n2")] {
            let found = judged(&cluster, node, client, ("192.168.0.1", 8443));
            assert_eq!(found.is_ok(), want, "{claim}: {client}");
            let passes = cluster.passes(&format!("x/{client}"), "192.168.0.1", 8443);
            assert_eq!(passes, want, "{claim}: {client}");
        }
    }
    let cluster = with(forward(None));
    let other = judged(&cluster, "n1", "c1", ("192.168.0.2", 8443));
    assert_eq!(other, Err(Reason::NoRule), "another node does not forward it");
    let bound = with(forward(Some("192.168.0.9")));
    assert_eq!(judged(&bound, "n1", "c1", ("192.168.0.9", 8443)), Ok(()));
    let own = judged(&bound, "n1", "c1", ("192.168.0.1", 8443));
    assert_eq!(own, Err(Reason::NoRule), "hostIP is the only address");
}

#[test]
fn s40_a_host_port_comes_and_goes_with_its_pod() {
    let mut compiler = Compiler::new(mk_cluster().0, Scope::Node("n1"));
    let name = ObjectName::new("x", "two");
    let plain = compiler.snapshot().pods[&name].clone();
    let port = HostPort { address: None, port: 8443, protocol: Protocol::Tcp, container_port: 80 };
    let forwarding = Pod { host_ports: vec![port], ..plain.clone() };
    let elsewhere = Pod { node: Some("n1".to_owned()), ..forwarding.clone() };
    let finished = Pod { phase: policy_core::model::Phase::Finished, ..forwarding.clone() };
    let cases = [
        (Some(forwarding.clone()), vec!["192.168.0.2"]),
        (Some(elsewhere), vec!["192.168.0.1"]),
        (Some(finished), vec![]),
        (Some(forwarding), vec!["192.168.0.2"]),
        (Some(plain), vec![]),
        (None, vec![]),
    ];
    for (pod, want) in cases {
        compiler.update(Change::Pod(name.clone(), pod));
        let desired = compiler.compiled().0;
        assert_eq!(desired, &compile(compiler.snapshot(), Scope::Node("n1")).0);
        let here = desired.frontends.keys().filter(|frontend| frontend.port == 8443);
        let here: Vec<String> = here.map(|frontend| frontend.address.to_string()).collect();
        assert_eq!(here, want);
    }
}

#[test]
fn s42_a_backend_that_is_not_ready_takes_no_new_connection_and_stays_allowed_itself() {
    let mut cluster = mk_cluster();
    #[rustfmt::skip]
    let cases = [
        // claim                            ready  serving  terminating  new connection
        ("ready",                           true,  true,    false,       Ok(())),
        ("not ready for a moment",          false, false,   false,       Err(Reason::ServiceNoBackend)),
        ("terminating, and still serving",  false, true,    true,        Ok(())),
        ("terminating, and draining",       false, false,   true,        Err(Reason::ServiceNoBackend)),
    ];
    for (claim, ready, serving, terminating, want) in cases {
        for slice in cluster.0.endpoint_slices.values_mut() {
            slice.endpoints.truncate(1);
            let endpoint = &mut slice.endpoints[0];
            (endpoint.ready, endpoint.serving, endpoint.terminating) =
                (ready, serving, terminating);
        }
        assert_eq!(judged(&cluster, "n1", "c1", ("10.96.0.1", 80)), want, "{claim}");
        let live = judged(&cluster, "n1", "c1", ("10.0.0.2", 8080));
        assert_eq!(live, Ok(()), "{claim}: what a live connection is judged by");
    }
}
