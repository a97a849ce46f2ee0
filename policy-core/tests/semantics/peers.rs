//! Rules and peers.

use policy_core::{
    compile::{Scope, compile},
    model::{Peer, Protocol, Rule},
};

use crate::cluster::{
    Cluster, mk_block, mk_egress, mk_ingress, mk_pod, mk_pods, mk_pods_in, mk_rule, tcp,
};

/// Subject `x/a`; peers in `x` and in `y`; nodes.
fn mk_cluster() -> Cluster {
    Cluster::default()
        .namespace("x", "team=x")
        .namespace("y", "team=y")
        .node("n1", &["192.168.0.1"])
        .pod("x/a", mk_pod("app=a", &["10.0.0.1", "fd00::1"]))
        .pod("x/web", mk_pod("app=web", &["10.0.0.2", "fd00::2"]))
        .pod("y/web", mk_pod("app=web", &["10.0.1.2", "fd00::1:2"]))
        .pod("y/db", mk_pod("app=db", &["10.0.1.3", "fd00::1:3"]))
}

/// `x/a` isolated for ingress, with one rule.
fn admits(peers: Vec<Peer>) -> Cluster {
    mk_cluster().policy("x/p", mk_ingress("app=a", vec![mk_rule(peers, Vec::new())]))
}

/// Who of x/web, y/web, y/db, the node and the outside gets in.
fn admitted(cluster: &Cluster) -> [bool; 5] {
    ["x/web", "y/web", "y/db", "192.168.0.1", "203.0.113.1"]
        .map(|from| cluster.passes(from, "x/a", 80))
}

#[test]
fn s11_absent_and_empty_lists() {
    let policy = |rules| mk_cluster().policy("x/p", mk_ingress("app=a", rules));
    assert_eq!(admitted(&policy(Vec::new())), [false; 5], "no rule admits nobody");
    assert_eq!(admitted(&policy(vec![Rule::default()])), [true; 5], "an empty rule admits all");
}

#[test]
fn s12_pod_selector_means_the_own_namespace() {
    assert_eq!(admitted(&admits(vec![mk_pods("app=web")])), [true, false, false, false, false]);
    assert_eq!(admitted(&admits(vec![mk_pods("")])), [true, false, false, false, false]);
}

#[test]
fn s13_namespace_selector_means_pods_only() {
    assert_eq!(
        admitted(&admits(vec![mk_pods_in("team=y", "")])),
        [false, true, true, false, false]
    );
    assert_eq!(admitted(&admits(vec![mk_pods_in("", "")])), [true, true, true, false, false]);
}

#[test]
fn s14_one_item_is_and_two_are_or() {
    let and = admits(vec![mk_pods_in("team=y", "app=web")]);
    assert_eq!(admitted(&and), [false, true, false, false, false]);
    let or = admits(vec![mk_pods_in("team=y", ""), mk_pods("app=web")]);
    assert_eq!(admitted(&or), [true, true, true, false, false]);
}

#[test]
fn s16_operators() {
    #[rustfmt::skip]
    let cases = [
        ("In",                           "app=web|db", [true, true, true]),
        ("NotIn",                        "app!=web",   [false, false, true]),
        ("NotIn where absent",           "tier!=web",  [true, true, true]),
        ("Exists",                       "app",        [true, true, true]),
        ("Exists where absent",          "tier",       [false, false, false]),
        ("DoesNotExist",                 "!app",       [false, false, false]),
        ("DoesNotExist where absent",    "!tier",      [true, true, true]),
        ("an empty value needs the key", "tier=",      [false, false, false]),
    ];
    for (claim, selector, want) in cases {
        let cluster = admits(vec![mk_pods_in("", selector)]);
        assert_eq!(admitted(&cluster)[..3], want, "{claim}");
    }
    let empty = admits(vec![mk_pods("tier=")]).pod("x/web", mk_pod("tier=", &["10.0.0.2"]));
    assert!(empty.passes("x/web", "x/a", 80), "an empty value is matched");
}

#[test]
fn s17_unreadable_subject_isolates_the_namespace() {
    let mut policy = mk_ingress("", vec![Rule::default()]);
    policy.subject = None;
    let cluster = mk_cluster().policy("x/p", policy);
    assert_eq!(admitted(&cluster), [false; 5]);
    cluster.holds(&[("y/db", "x/web", 80, false), ("x/a", "y/db", 80, true)]);
    assert_eq!(cluster.faults()[0].field.to_string(), "spec.podSelector");
}

#[test]
fn s18_blocks_match_pods_nodes_and_strangers() {
    let cluster = admits(vec![mk_block("10.0.1.0/24", &[]), mk_block("192.168.0.1/32", &[])]);
    assert_eq!(admitted(&cluster), [false, true, true, true, false]);
    let host_bits = admits(vec![mk_block("10.0.1.77/24", &["10.0.1.2/32"])]);
    assert_eq!(admitted(&host_bits), [false, false, true, false, false]);
    assert_eq!(admitted(&admits(vec![mk_block("0.0.0.0/0", &[])])), [true; 5]);
}

#[test]
fn s19_except_subtracts_from_its_own_block_only() {
    let block = || mk_block("10.0.0.0/8", &["10.0.1.0/24"]);
    assert_eq!(admitted(&admits(vec![block()])), [true, false, false, false, false]);
    let beside = admits(vec![block(), mk_block("10.0.1.3/32", &[])]);
    assert_eq!(admitted(&beside), [true, false, true, false, false]);
    let pods = admits(vec![block(), mk_pods_in("", "app=db")]);
    assert_eq!(admitted(&pods), [true, false, true, false, false]);
    let nested = admits(vec![
        mk_block("0.0.0.0/0", &["10.0.0.0/8"]),
        mk_block("10.0.1.0/24", &["10.0.1.2/32"]),
    ]);
    assert_eq!(admitted(&nested), [false, false, true, true, true]);
    let around = admits(vec![mk_block("0.0.0.0/0", &[]), block()]);
    assert_eq!(admitted(&around), [true; 5]);
}

#[test]
fn s19_excepts_outside_and_around_their_block() {
    let outside = admits(vec![mk_block("10.0.0.0/24", &["10.0.1.0/24"]), mk_pods_in("team=y", "")]);
    assert_eq!(admitted(&outside), [true, true, true, false, false]);
    assert_eq!(outside.faults().len(), 1);
    let around = admits(vec![mk_block("10.0.0.0/24", &["10.0.0.0/8"])]);
    assert_eq!(admitted(&around), [false; 5]);
}

#[test]
fn s20_families_never_match_one_another() {
    let four = admits(vec![mk_block("0.0.0.0/0", &[])]);
    let six = admits(vec![mk_block("::/0", &[])]);
    #[rustfmt::skip]
    let cases = [
        (&four, "203.0.113.1", true), (&four, "2001:db8::1", false), (&four, "fd00::2", false),
        (&six,  "203.0.113.1", false), (&six,  "2001:db8::1", true), (&six,  "10.0.0.2", false),
    ];
    for (cluster, from, want) in cases {
        assert_eq!(cluster.passes(from, "x/a", 80), want, "{from}");
    }
}

#[test]
fn s20_ipv4_keeps_a_prefix_of_its_own_beside_ipv6_blocks() {
    let desired = compile(&admits(vec![mk_block("::/0", &[])]).0, Scope::Cluster).0;
    let every = "0.0.0.0/0".parse().expect("a block");
    assert_eq!(desired.blocks.get(&every), Some(&None));
    let mapped = admits(vec![mk_block("::ffff:10.0.0.0/104", &[])]);
    assert_eq!(admitted(&mapped), [false; 5]);
    assert_eq!(mapped.faults().len(), 1);
}

#[test]
fn s41_everything_but_the_node_network() {
    let out = mk_rule(vec![mk_block("0.0.0.0/0", &["192.168.0.0/24"])], Vec::new());
    let cluster = mk_cluster().policy("x/p", mk_egress("app=a", vec![out]));
    cluster.holds(&[
        ("x/a", "192.168.0.1", 6443, false),
        ("x/a", "203.0.113.1", 443, true),
        ("x/a", "y/db", 1, true),
    ]);
    let api = mk_rule(vec![mk_block("192.168.0.0/24", &[])], vec![tcp(6443)]);
    let cluster = cluster.policy("x/q", mk_egress("", vec![api]));
    cluster.holds(&[("x/a", "192.168.0.1", 6443, true), ("x/a", "192.168.0.1", 10250, false)]);
}

#[test]
fn s43_the_metadata_address_can_be_blocked() {
    let out = mk_rule(vec![mk_block("0.0.0.0/0", &["169.254.169.254/32"])], Vec::new());
    let cluster = mk_cluster().policy("x/p", mk_egress("", vec![out]));
    cluster.holds(&[("x/a", "169.254.169.254", 80, false), ("x/a", "169.254.169.253", 80, true)]);
}

#[test]
fn addresses_that_no_rule_distinguishes_take_no_entry() {
    let cluster = admits(vec![
        mk_block("10.0.1.0/24", &[]),
        mk_block("10.0.0.0/24", &[]),
        mk_pods_in("team=y", ""),
    ]);
    let desired = compile(&cluster.0, Scope::Cluster).0;
    assert_eq!(desired.identities().len(), 1, "one rule, one identity");
    let four = desired.addresses.keys().filter(|address| address.is_ipv4());
    assert_eq!(four.count(), 0, "the blocks hold them already");
    assert!(cluster.ask("y/db", "x/a", Protocol::Udp, 1).expect("a verdict").allowed());
}

#[test]
fn identities_without_more_than_everybody_take_no_entry() {
    let rules = vec![mk_rule(Vec::new(), vec![tcp(80)]), mk_rule(vec![mk_pods("")], vec![tcp(80)])];
    let cluster = mk_cluster().policy("x/p", mk_ingress("app=a", rules));
    let desired = compile(&cluster.0, Scope::Cluster).0;
    assert_eq!(
        desired.allow_maps().first().expect("an allow map").ports.keys().collect::<Vec<_>>(),
        [&None]
    );
}
