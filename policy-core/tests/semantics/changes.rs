//! What a change of one object does to verdicts.

use policy_core::{
    compile::{Change, Compiler, Scope, compile},
    model::{Direction, ObjectName, Protocol, Snapshot},
};

use crate::cluster::{Cluster, ip, labels, mk_ingress, mk_pod, mk_pods, mk_pods_in, mk_rule};

/// Subject `x/a`; `x/b` beside it, `y/c` elsewhere.
fn mk_cluster() -> Cluster {
    Cluster::default()
        .namespace("x", "team=x")
        .namespace("y", "team=y")
        .pod("x/a", mk_pod("app=a", &["10.0.0.1"]))
        .pod("x/b", mk_pod("app=b", &["10.0.0.2"]))
        .pod("y/c", mk_pod("app=c", &["10.0.0.3"]))
}

fn name(namespace: &str, name: &str) -> ObjectName {
    ObjectName::new(namespace, name)
}

/// Whether `x/b`, `y/c` and the outside reach `x/a`.
fn admitted(compiler: &Compiler) -> [bool; 3] {
    let desired = compiler.compiled().0;
    let isolation = desired.endpoints[&name("x", "a")].isolation.ingress.as_ref();
    ["10.0.0.2", "10.0.0.3", "203.0.113.1"].map(|from| {
        isolation.is_none_or(|isolation| {
            desired.judge(isolation, Direction::Ingress, ip(from), Protocol::Tcp, 80).is_ok()
        })
    })
}

/// The verdicts after a change, which equal those of compiling from scratch.
fn after(snapshot: &Snapshot, change: Change) -> [bool; 3] {
    let mut compiler = Compiler::new(snapshot.clone(), Scope::Node("n1"));
    compiler.update(change);
    assert_eq!(compiler.compiled().0, &compile(compiler.snapshot(), Scope::Node("n1")).0);
    admitted(&compiler)
}

#[test]
fn s09_a_change_of_labels_reaches_every_policy_that_refers_to_them() {
    let peers = vec![mk_pods("app=b"), mk_pods_in("team=y", "")];
    let policy = mk_ingress("app=a", vec![mk_rule(peers, Vec::new())]);
    let other = mk_ingress("app=d", Vec::new());
    let snapshot = mk_cluster().policy("x/p", policy).policy("x/q", other).0;
    let before = admitted(&Compiler::new(snapshot.clone(), Scope::Node("n1")));
    assert_eq!(before, [true, true, false]);
    let pod = |namespace: &str, pod: &str, text: &str| {
        let name = name(namespace, pod);
        let mut pod = snapshot.pods[&name].clone();
        pod.labels = labels(text);
        Change::Pod(name, Some(pod))
    };
    let namespace =
        |name: &str, text: &str| Change::Namespace(name.to_owned(), Some(labels(text).into()));
    #[rustfmt::skip]
    let cases = [
        ("a peer loses its label",              pod("x", "b", "app=z"),       [false, true, false]),
        ("a pod elsewhere gets one",            pod("y", "c", "app=b"),       [true, true, false]),
        ("another label comes along",           pod("x", "b", "app=b,t=1"),   [true, true, false]),
        ("a namespace loses its label",         namespace("y", "team=z"),     [true, false, false]),
        ("the own namespace gets it",           namespace("x", "team=y"),     [true, true, false]),
        ("the subject leaves its policy",       pod("x", "a", "app=z"),       [true, true, true]),
        ("the subject goes over to another",    pod("x", "a", "app=d"),       [false, false, false]),
    ];
    for (claim, change, want) in cases {
        assert_eq!(after(&snapshot, change), want, "{claim}");
    }
}

#[test]
fn s10_without_its_last_policy_everything_reaches_a_pod_again() {
    let deny = || mk_ingress("app=a", Vec::new());
    let one = mk_cluster().policy("x/p", deny());
    let two = one.clone().policy("x/q", deny());
    let gone = || Change::Policy(name("x", "p"), None);
    assert_eq!(after(&one.0, gone()), [true; 3], "the last one");
    assert_eq!(after(&two.0, gone()), [false; 3], "not the last one");
    let elsewhere = mk_ingress("app=b", Vec::new());
    let turned = Change::Policy(name("x", "p"), Some(elsewhere));
    assert_eq!(after(&one.0, turned), [true; 3], "it selects another pod now");
}

#[test]
fn s45_an_address_that_comes_later_is_enforced() {
    let policy = mk_ingress("app=a", vec![mk_rule(vec![mk_pods("app=b")], Vec::new())]);
    let snapshot = mk_cluster().policy("x/p", policy).0;
    let mut pod = snapshot.pods[&name("x", "b")].clone();
    pod.addresses.push(ip("10.0.0.3"));
    let own = Change::Pod(name("x", "b"), Some(pod.clone()));
    assert_eq!(after(&snapshot, own), [true, false, false], "two pods have it");
    let mut alone = snapshot.clone();
    alone.pods.remove(&name("y", "c"));
    let own = Change::Pod(name("x", "b"), Some(pod));
    assert_eq!(after(&alone, own), [true, true, false]);
}
