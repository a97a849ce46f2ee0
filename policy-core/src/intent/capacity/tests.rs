//! Tests of which namespace is held back when a map is full.

use std::net::IpAddr;

use super::*;
use crate::{
    compile::Scope,
    desired::AllowMap,
    model::{Direction, IpBlock, Labels, Operator, Pod, Requirement, Rule, Selector},
};

const NO_POD: BTreeSet<&ObjectName> = BTreeSet::new();

/// A policy that isolates the pods of its namespace for ingress, but for this many blocks.
fn policy(blocks: u8) -> NetworkPolicy {
    let peers = (0..blocks).map(|block| {
        let cidr = format!("10.9.{block}.0/24").parse().expect("a block");
        Peer::Block(IpBlock { cidr, except: Vec::new() })
    });
    let ingress = match blocks {
        0 => Vec::new(),
        _ => vec![Rule { peers: peers.collect(), ports: Vec::new() }],
    };
    let policy_types = Some(vec![Direction::Ingress]);
    NetworkPolicy {
        subject: Some(Selector::default()),
        policy_types,
        ingress,
        ..Default::default()
    }
}

fn name(namespace: &str) -> ObjectName {
    ObjectName::new(namespace, "policy")
}

/// A guard and a compiler with one policy in each of these namespaces, all in force.
fn in_force(namespaces: &[(&str, u8)]) -> (CapacityGuard, Compiler) {
    let policies = namespaces.iter().map(|(of, blocks)| (name(of), policy(*blocks)));
    let snapshot = Snapshot { policies: policies.collect(), ..Snapshot::default() };
    let compiler = Compiler::new(snapshot, Scope::Node("one"));
    let mut guard = CapacityGuard::default();
    guard.record_success(compiler.compiled().0, &NO_POD);
    (guard, compiler)
}

fn change(guard: &mut CapacityGuard, compiler: &mut Compiler, of: &str, to: Option<NetworkPolicy>) {
    guard.record(&name(of), compiler.snapshot());
    compiler.update(Change::Policy(name(of), to));
}

/// How many blocks the policy of a namespace names in the compiler; `None` without a policy.
fn blocks(compiler: &Compiler, of: &str) -> Option<usize> {
    let policy = compiler.snapshot().policies.get(&name(of))?;
    Some(policy.ingress.iter().map(|rule| rule.peers.len()).sum())
}

#[test]
fn s26_the_namespace_that_grew_most_is_held_back() {
    #[rustfmt::skip]
    let cases = [
        // claim                                      in force                changed to                         held back
        ("the only one that changed",                 [("a", 1), ("b", 1)],   vec![("a", Some(9))],              Some("a")),
        ("the one that grew most",                    [("a", 1), ("b", 1)],   vec![("a", Some(3)), ("b", Some(9))], Some("b")),
        ("growth counts, not size",                   [("a", 8), ("b", 1)],   vec![("a", Some(9)), ("b", Some(4))], Some("b")),
        ("a new policy grows from nothing",           [("a", 5), ("b", 1)],   vec![("a", Some(6)), ("c", Some(2))], Some("c")),
        ("of two that grew alike, the last by name",  [("a", 1), ("b", 1)],   vec![("a", Some(3)), ("b", Some(3))], Some("b")),
        ("one that shrank frees entries",             [("a", 9), ("b", 1)],   vec![("a", Some(1)), ("b", Some(2))], Some("b")),
        ("a deleted policy frees entries",            [("a", 9), ("b", 1)],   vec![("a", None)],                 None),
        ("nothing changed",                           [("a", 1), ("b", 1)],   vec![],                            None),
    ];
    for (claim, before, changes, want) in cases {
        let (mut guard, mut compiler) = in_force(&before);
        for (of, to) in changes {
            change(&mut guard, &mut compiler, of, to.map(policy));
        }
        let rolled_back = guard.roll_back(&mut compiler);
        assert_eq!(rolled_back.map(|it| it.namespace).as_deref(), want, "{claim}");
    }
}

#[test]
fn s26_nothing_is_held_back_before_anything_was_in_force() {
    let mut compiler = Compiler::new(Snapshot::default(), Scope::Node("one"));
    let mut guard = CapacityGuard::default();
    change(&mut guard, &mut compiler, "a", Some(policy(9)));
    assert!(guard.roll_back(&mut compiler).is_none(), "no version is known to be good");
    assert_eq!(blocks(&compiler, "a"), Some(9), "it stays requested");
}

#[test]
fn s26_the_held_namespace_keeps_its_last_good_policies_and_others_get_their_new_ones() {
    let (mut guard, mut compiler) = in_force(&[("shop", 1), ("tenant", 1)]);
    change(&mut guard, &mut compiler, "shop", Some(policy(2)));
    change(&mut guard, &mut compiler, "tenant", Some(policy(9)));
    let rolled_back = guard.roll_back(&mut compiler).expect("one grew");
    assert_eq!((blocks(&compiler, "shop"), blocks(&compiler, "tenant")), (Some(1), Some(1)));
    guard.hold_back(rolled_back, "full".to_owned(), Duration::ZERO, &mut compiler);
    assert_eq!((blocks(&compiler, "shop"), blocks(&compiler, "tenant")), (Some(2), Some(1)));
    let held = HeldBack { namespace: "tenant".to_owned(), reason: "full".to_owned() };
    assert_eq!(guard.held_back(), [held]);

    // The other namespace may be the one that does not fit now.
    let rolled_back = guard.roll_back(&mut compiler).expect("the other grew too");
    assert_eq!(rolled_back.namespace, "shop");
    guard.hold_back(rolled_back, "full".to_owned(), Duration::ZERO, &mut compiler);
    assert_eq!(blocks(&compiler, "shop"), Some(1));
    assert_eq!(guard.held_back().len(), 2);
}

/// A guard that holds `tenant` back since `since`: 1 block is in force, 9 are requested.
fn holding(since: Duration) -> (CapacityGuard, Compiler) {
    let (mut guard, mut compiler) = in_force(&[("shop", 1), ("tenant", 1)]);
    change(&mut guard, &mut compiler, "tenant", Some(policy(9)));
    let rolled_back = guard.roll_back(&mut compiler).expect("it grew");
    guard.hold_back(rolled_back, "full".to_owned(), since, &mut compiler);
    (guard, compiler)
}

#[test]
fn s26_a_held_namespace_is_tried_again_after_the_interval() {
    let since = Duration::from_secs(100);
    let (before, nearly) = (Duration::from_secs(99), Duration::from_secs(159));
    #[rustfmt::skip]
    let cases = [
        // claim                               now                               blocks requested
        ("at once it would fail once more",    since,                            Some(1)),
        ("before the interval is over",        nearly,                           Some(1)),
        ("when it is over",                    since + RETRY_INTERVAL,           Some(9)),
        ("a clock that went back is no retry", before,                           Some(1)),
    ];
    for (claim, now, want) in cases {
        let (mut guard, mut compiler) = holding(since);
        guard.release_due(now, &mut compiler);
        assert_eq!(blocks(&compiler, "tenant"), want, "{claim}");
        assert_eq!(guard.held_back().is_empty(), want == Some(9), "{claim}");
        if want == Some(9) {
            let rolled_back = guard.roll_back(&mut compiler).expect(claim);
            assert_eq!(rolled_back.namespace, "tenant", "it can be held back once more");
            assert_eq!(blocks(&compiler, "tenant"), Some(1), "{claim}");
        }
    }
}

#[test]
fn a_new_snapshot_ends_every_hold_back() {
    let (mut guard, mut compiler) = holding(Duration::ZERO);
    let policies = [(name("shop"), policy(1)), (name("tenant"), policy(5))];
    let after = Snapshot { policies: policies.into(), ..Snapshot::default() };
    guard.record_snapshot(compiler.snapshot(), &after);
    compiler = Compiler::new(after, Scope::Node("one"));
    assert_eq!(guard.held_back(), []);
    let rolled_back = guard.roll_back(&mut compiler).expect("it differs from what is in force");
    assert_eq!(rolled_back.namespace, "tenant");
    assert_eq!((blocks(&compiler, "tenant"), blocks(&compiler, "shop")), (Some(1), Some(1)));
}

/// A pod of this node.
fn pod(uid: &str, labels: &[&str]) -> Pod {
    let labels = labels.iter().map(|key| ((*key).to_owned(), String::new()));
    let addresses: Vec<IpAddr> = vec![[10, 0, 0, 2].into()];
    let (uid, node) = (uid.to_owned(), Some("one".to_owned()));
    Pod { uid, node, labels: labels.collect::<Labels>(), addresses, ..Pod::default() }
}

#[test]
fn s26_a_new_pod_is_closed_where_a_held_back_policy_would_isolate_it() {
    // In force: nothing. Held back: a policy of `tenant` for the ingress of pods with the label `web`.
    let is_web = Requirement { key: "web".to_owned(), operator: Operator::Exists };
    let web = Selector { requirements: [is_web].into_iter().collect() };
    let requested = NetworkPolicy { subject: Some(web), ..policy(9) };
    let (web, other): (&[_], &[_]) = (&["web"], &["other"]);
    #[rustfmt::skip]
    let cases = [
        // claim                                        pod            uid before  uid now  labels     closed
        ("it has no last good state",                   ("tenant", "p"), None,       "1",     web,       true),
        ("its last good state is kept",                 ("tenant", "p"), Some("1"),  "1",     web,       false),
        ("it was recreated under the same name",        ("tenant", "p"), Some("1"),  "2",     web,       true),
        ("the held-back policy does not select it",     ("tenant", "p"), None,       "1",     other,     false),
        ("its namespace is not held back",              ("shop", "p"),   None,       "1",     web,       false),
        ("nor is one with a longer name",               ("tenant2", "p"), None,      "1",     web,       false),
    ];
    for (claim, (namespace, name_of_pod), before, now, labels, want) in cases {
        let name_of_pod = ObjectName::new(namespace, name_of_pod);
        let mut compiler = Compiler::new(Snapshot::default(), Scope::Node("one"));
        if let Some(uid) = before {
            compiler.update(Change::Pod(name_of_pod.clone(), Some(pod(uid, labels))));
        }
        let mut guard = CapacityGuard::default();
        guard.record_success(compiler.compiled().0, &NO_POD);
        change(&mut guard, &mut compiler, "tenant", Some(requested.clone()));
        let rolled_back = guard.roll_back(&mut compiler).expect(claim);
        guard.hold_back(rolled_back, "full".to_owned(), Duration::ZERO, &mut compiler);
        compiler.update(Change::Pod(name_of_pod.clone(), Some(pod(now, labels))));

        let closed = guard.close_newcomers(compiler.compiled().0, compiler.snapshot());
        assert_eq!(closed.is_some(), want, "{claim}");
        let Some(closed) = closed else { continue };
        let isolation = &closed.endpoints[&name_of_pod].isolation;
        let ingress = isolation.ingress.as_ref().expect("it is isolated for ingress");
        assert_eq!(*ingress.allow_map, AllowMap::default(), "{claim}: nothing passes");
        assert!(isolation.egress.is_none(), "{claim}: the policy is not about egress");
    }
}

#[test]
fn s26_a_pod_that_was_not_enforced_or_was_closed_has_no_last_good_state() {
    let new_pod = ObjectName::new("tenant", "p");
    let close = |guard: &CapacityGuard, compiler: &Compiler| {
        guard.close_newcomers(compiler.compiled().0, compiler.snapshot()).is_some()
    };
    let (mut guard, mut compiler) = holding(Duration::ZERO);
    compiler.update(Change::Pod(new_pod.clone(), Some(pod("1", &[]))));
    assert!(close(&guard, &compiler), "it is new");
    // The kernel has it closed, which is a success but no good state.
    guard.record_success(compiler.compiled().0, &NO_POD);
    guard.release_due(RETRY_INTERVAL, &mut compiler);
    let rolled_back = guard.roll_back(&mut compiler).expect("it still grew");
    guard.hold_back(rolled_back, "full".to_owned(), RETRY_INTERVAL, &mut compiler);
    assert!(close(&guard, &compiler), "it was closed when everything else was in force");

    let (mut guard, mut compiler) = in_force(&[("tenant", 1)]);
    compiler.update(Change::Pod(new_pod.clone(), Some(pod("1", &[]))));
    guard.record_success(compiler.compiled().0, &BTreeSet::from([&new_pod]));
    change(&mut guard, &mut compiler, "tenant", Some(policy(9)));
    let rolled_back = guard.roll_back(&mut compiler).expect("it grew");
    guard.hold_back(rolled_back, "full".to_owned(), Duration::ZERO, &mut compiler);
    assert!(close(&guard, &compiler), "it had no interface");
}

#[test]
fn s26_new_pods_are_closed_where_no_policy_grew_and_tried_again_later() {
    let (mut guard, mut compiler) = in_force(&[("a", 1)]);
    let pod = |uid: &str| Pod {
        uid: uid.to_owned(),
        addresses: vec![IpAddr::from([10, 0, 0, 2])],
        node: Some("one".to_owned()),
        ..Pod::default()
    };
    let (old, new) = (ObjectName::new("a", "old"), ObjectName::new("a", "new"));
    compiler.update(Change::Pod(old.clone(), Some(pod("1"))));
    guard.record_success(compiler.compiled().0, &NO_POD);
    compiler.update(Change::Pod(new.clone(), Some(pod("2"))));
    assert!(guard.roll_back(&mut compiler).is_none(), "no policy grew");

    let start = Duration::from_secs(7);
    assert!(guard.close_new_pods("`port_chunks` is full".to_owned(), start));
    assert!(!guard.close_new_pods("once more".to_owned(), start), "that did not help");
    let closed = |guard: &CapacityGuard, compiler: &Compiler| {
        let (desired, snapshot) = (compiler.compiled().0, compiler.snapshot());
        let closed = guard.close_newcomers(desired, snapshot);
        closed.map(|closed| {
            let of = |name| closed.endpoints[name].isolation.ingress.clone();
            let isolations = [of(&old), of(&new)];
            isolations.map(|it| it.is_some_and(|it| *it.allow_map == AllowMap::default()))
        })
    };
    assert_eq!(closed(&guard, &compiler), Some([false, true]));
    let named: Vec<_> = guard.closed_pods(compiler.compiled().0);
    assert_eq!(named, [ClosedPod { pod: new.clone(), reason: "`port_chunks` is full".to_owned() }]);
    guard.record_success(compiler.compiled().0, &NO_POD);
    assert_eq!(closed(&guard, &compiler), Some([false, true]), "a success in that state");
    guard.release_due(start + RETRY_INTERVAL, &mut compiler);
    assert_eq!(closed(&guard, &compiler), None, "it is tried again");
    assert!(guard.close_new_pods("it is full still".to_owned(), start + RETRY_INTERVAL));
}

#[test]
fn s26_before_anything_was_in_force_no_pod_counts_as_new() {
    let mut guard = CapacityGuard::default();
    assert!(!guard.close_new_pods("full".to_owned(), Duration::ZERO));
}
