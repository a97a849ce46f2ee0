//! Many policies at one pod: what they allow together, and that it stays small.

use policy_core::{
    compile::{Scope, compile},
    model::{Protocol, Rule},
};

use crate::cluster::{Cluster, mk_block, mk_egress, mk_pod, mk_pods_in, mk_rule, tcp};

const MANY: u8 = 100;

/// Pod `x/a` under policies that each mean every address but one, and pod `x/b` under none.
fn mk_cluster(rule: impl Fn(u8) -> Rule) -> Cluster {
    let cluster = Cluster::default()
        .namespace("x", "")
        .pod("x/a", mk_pod("app=a", &["10.0.0.1"]))
        .pod("x/b", mk_pod("app=b", &["192.0.2.7"]));
    (0..MANY).fold(cluster, |cluster, n| {
        cluster.policy(&format!("x/p{n}"), mk_egress("app=a", vec![rule(n)]))
    })
}

fn all_but(n: u8) -> Vec<policy_core::model::Peer> {
    vec![mk_block("0.0.0.0/0", &[&format!("192.0.2.{n}/32")])]
}

#[test]
fn s26_many_blocks_with_the_same_ports_are_one_list() {
    let cluster = mk_cluster(|n| mk_rule(all_but(n), vec![tcp(80)]));
    cluster.holds(&[
        ("x/a", "192.0.2.7", 80, true),
        ("x/a", "203.0.113.1", 80, true),
        ("x/a", "203.0.113.1", 81, false),
    ]);
    let desired = compile(&cluster.0, Scope::Cluster).0;
    assert_eq!(desired.identities().len(), 1);
    let by = cluster.ask("x/a", "192.0.2.7", Protocol::Tcp, 80).expect("a verdict").egress.by;
    assert_eq!(by.len(), usize::from(MANY) - 1, "each policy but the one that excepts it");
    assert!(by.iter().all(|by| by.policy.name() != "p7"));
}

#[test]
fn s19_what_every_one_of_many_excepts_is_denied() {
    let both = |n: u8| {
        let own = format!("192.0.2.{n}/32");
        mk_rule(vec![mk_block("0.0.0.0/0", &[&own, "198.51.100.0/24"])], vec![tcp(80)])
    };
    mk_cluster(both).holds(&[
        ("x/a", "198.51.100.9", 80, false),
        ("x/a", "192.0.2.9", 80, true),
        ("x/b", "198.51.100.9", 80, true),
    ]);
}

#[test]
fn s02_many_blocks_with_other_ports_stay_apart() {
    let cluster = mk_cluster(|n| mk_rule(all_but(n), vec![tcp(1000 + u16::from(n))]));
    cluster.holds(&[
        ("x/a", "192.0.2.7", 1006, true),
        ("x/a", "192.0.2.7", 1007, false),
        ("x/a", "192.0.2.8", 1007, true),
    ]);
}

#[test]
fn s02_many_blocks_of_other_subjects_stay_apart() {
    let only = |n: u8| vec![mk_block(&format!("192.0.2.{n}/32"), &[])];
    let mut cluster = mk_cluster(|n| mk_rule(only(n), vec![tcp(80)]));
    for n in 0..MANY {
        let rule = mk_rule(vec![mk_block(&format!("198.51.100.{n}/32"), &[])], vec![tcp(80)]);
        cluster = cluster.policy(&format!("x/q{n}"), mk_egress("app=b", vec![rule]));
    }
    cluster.holds(&[
        ("x/a", "192.0.2.9", 80, true),
        ("x/a", "198.51.100.9", 80, false),
        ("x/b", "192.0.2.9", 80, false),
        ("x/b", "198.51.100.9", 80, true),
    ]);
}

#[test]
fn s12_selectors_among_many_blocks_still_count() {
    let mixed = |n: u8| {
        let peers = if n == 5 {
            vec![mk_pods_in("", "app=b")]
        } else {
            vec![mk_block("203.0.113.0/24", &[&format!("203.0.113.{n}/32")])]
        };
        mk_rule(peers, vec![tcp(80)])
    };
    mk_cluster(mixed).holds(&[("x/a", "x/b", 80, true), ("x/a", "192.0.2.8", 80, false)]);
}
