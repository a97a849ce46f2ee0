//! Ports and protocols.

use policy_core::{
    compile::{Scope, compile},
    model::{Peer, Pod, Port, PortSpec, Protocol, Rule},
};

use Protocol::{Sctp, Tcp, Udp};

use crate::cluster::{
    Cluster, mk_block, mk_egress, mk_ingress, mk_pod, mk_pods, mk_pods_in, mk_port, mk_rule, named,
    range, tcp,
};

fn mk_cluster() -> Cluster {
    let pod = |address: &str, ports: Vec<_>| Pod { ports, ..mk_pod("app=a", &[address]) };
    Cluster::default()
        .pod("x/a", pod("10.0.0.1", vec![mk_port("http", 80, Tcp), mk_port("dns", 53, Udp)]))
        .pod("x/b", pod("10.0.0.2", vec![mk_port("http", 8080, Tcp), mk_port("dns", 53, Tcp)]))
        .pod("x/c", pod("10.0.0.3", vec![]))
}

/// Everybody isolated for ingress, one rule for all peers.
fn admits(ports: Vec<Port>) -> Cluster {
    mk_cluster().policy("x/p", mk_ingress("", vec![mk_rule(Vec::new(), ports)]))
}

/// Everybody isolated for egress, with one rule.
fn reaches(peers: Vec<Peer>, ports: Vec<Port>) -> Cluster {
    mk_cluster().policy("x/p", mk_egress("", vec![mk_rule(peers, ports)]))
}

fn hold(cluster: &Cluster, cases: &[(&str, &str, Protocol, u16, bool)]) {
    for &(from, to, protocol, port, want) in cases {
        let answer = cluster.ask(from, to, protocol, port).expect("a verdict");
        assert_eq!(answer.allowed(), want, "{from} to {to} at {port}/{protocol}");
    }
}

#[test]
fn s21_a_protocol_without_port_is_all_its_ports() {
    let every = Port { protocol: Tcp, port: PortSpec::Every };
    let cluster = admits(vec![every]);
    let at = |protocol, port, want| ("x/b", "x/a", protocol, port, want);
    hold(
        &cluster,
        &[at(Tcp, 0, true), at(Tcp, 65535, true), at(Udp, 80, false), at(Sctp, 80, false)],
    );
    let desired = compile(&cluster.0, Scope::Cluster).0;
    assert_eq!(
        desired.allow_maps().first().expect("an allow map").ports[&None].ranges,
        [(Tcp, 0, 65535)]
    );
}

#[test]
fn s21_no_ports_is_every_protocol() {
    let cluster = admits(Vec::new());
    let desired = compile(&cluster.0, Scope::Cluster).0;
    assert!(desired.allow_maps().first().expect("an allow map").ports[&None].every_protocol);
    hold(&cluster, &[("x/b", "x/a", Sctp, 1, true), ("x/b", "x/a", Udp, 1, true)]);
}

#[test]
fn s22_ranges() {
    let cluster = admits(vec![range(Tcp, 8000, 8999), range(Udp, 7, 7)]);
    let at = |protocol, port, want| ("x/b", "x/a", protocol, port, want);
    hold(
        &cluster,
        &[
            at(Tcp, 7999, false),
            at(Tcp, 8000, true),
            at(Tcp, 8999, true),
            at(Tcp, 9000, false),
            at(Udp, 7, true),
            at(Udp, 8, false),
        ],
    );
}

#[test]
fn s22_invalid_ports_allow_nothing() {
    let cluster = admits(vec![range(Tcp, 81, 80)]);
    hold(&cluster, &[("x/b", "x/a", Tcp, 80, false), ("x/b", "x/a", Tcp, 81, false)]);
    assert_eq!(cluster.faults()[0].field.to_string(), "spec.ingress[0].ports[0]");
}

#[test]
fn s23_named_ports_on_ingress_resolve_on_the_subject() {
    hold(
        &admits(vec![named(Tcp, "http")]),
        &[
            ("x/c", "x/a", Tcp, 80, true),
            ("x/c", "x/a", Tcp, 8080, false),
            ("x/c", "x/b", Tcp, 8080, true),
            ("x/c", "x/b", Tcp, 80, false),
        ],
    );
    hold(
        &admits(vec![named(Udp, "dns")]),
        &[
            ("x/c", "x/a", Udp, 53, true),
            ("x/c", "x/b", Tcp, 53, false),
            ("x/c", "x/b", Udp, 53, false),
        ],
    );
}

#[test]
fn s23_named_ports_on_egress_resolve_on_each_destination() {
    let all: fn() -> Vec<Peer> = Vec::new;
    for peers in
        [all(), vec![mk_pods("")], vec![mk_pods_in("", "app=a")], vec![mk_block("10.0.0.0/8", &[])]]
    {
        hold(
            &reaches(peers, vec![named(Tcp, "http")]),
            &[
                ("x/c", "x/a", Tcp, 80, true),
                ("x/c", "x/a", Tcp, 8080, false),
                ("x/c", "x/b", Tcp, 8080, true),
                ("x/c", "x/b", Tcp, 80, false),
                ("x/c", "203.0.113.1", Tcp, 80, false),
                ("x/c", "10.0.0.99", Tcp, 80, false),
            ],
        );
    }
}

#[test]
fn s23_named_ports_count_only_where_a_rule_asks_for_them() {
    let policy = mk_egress("", vec![mk_rule(vec![mk_pods("")], vec![tcp(80)])]);
    let desired = compile(&mk_cluster().policy("x/p", policy).0, Scope::Cluster).0;
    assert_eq!(desired.identities().len(), 1);
}

#[test]
fn s24_named_ports_that_do_not_resolve_allow_nothing() {
    let cluster = admits(vec![named(Tcp, "nothing")]);
    hold(&cluster, &[("x/b", "x/a", Tcp, 80, false), ("x/a", "x/c", Tcp, 80, false)]);
    hold(&reaches(Vec::new(), vec![named(Tcp, "http")]), &[("x/a", "x/c", Tcp, 80, false)]);
}

#[test]
fn s25_sctp_alone_still_isolates_the_others() {
    let cluster = admits(vec![range(Sctp, 80, 80)]);
    hold(
        &cluster,
        &[
            ("x/b", "x/a", Sctp, 80, true),
            ("x/b", "x/a", Tcp, 80, false),
            ("x/b", "x/a", Udp, 80, false),
        ],
    );
}

#[test]
fn s26_no_limit_on_ports_and_peers() {
    let ports = (0..2000).map(|n| tcp(n * 3)).collect();
    let blocks =
        (0..5000_u32).map(|n| mk_block(&format!("10.{}.{}.0/24", n / 256, n % 256), &[])).collect();
    let cluster = mk_cluster().policy("x/p", mk_ingress("", vec![mk_rule(blocks, ports)]));
    hold(
        &cluster,
        &[("10.19.0.1", "x/a", Tcp, 5997, true), ("10.19.0.1", "x/a", Tcp, 5998, false)],
    );
    let desired = compile(&cluster.0, Scope::Cluster).0;
    assert_eq!((desired.identities().len(), desired.blocks.len()), (1, 5000));
}

#[test]
fn deciding_rules_are_named() {
    let rules = vec![
        mk_rule(vec![mk_pods("app=a")], vec![tcp(1)]),
        mk_rule(vec![mk_pods("")], vec![named(Tcp, "http")]),
        mk_rule(vec![mk_block("10.0.0.0/24", &[])], vec![tcp(80)]),
        mk_rule(vec![mk_pods("app=other")], vec![tcp(80)]),
    ];
    let cluster = mk_cluster()
        .policy("x/p", mk_ingress("", rules))
        .policy("x/q", mk_ingress("", vec![Rule::default()]))
        .policy("x/r", mk_ingress("", Vec::new()));
    let by = cluster.ask("x/b", "x/a", Tcp, 80).expect("a verdict").ingress.by;
    let by: Vec<_> = by.iter().map(|by| (by.policy.name(), by.rule)).collect();
    assert_eq!(by, [("p", Some(1)), ("p", Some(2)), ("q", Some(0))]);
    let denied = mk_cluster().policy("x/r", mk_ingress("", Vec::new()));
    let half = denied.ask("x/b", "x/a", Tcp, 80).expect("a verdict").ingress;
    assert_eq!((half.allowed, half.by.len(), half.by[0].rule), (false, 1, None));
}
