//! The incremental compiler gives the result of compiling from scratch.

use policy_core::{
    compile::{Change, Compiler, Reuse, Scope, compile},
    model::{ClusterNetworkPolicy, DenyReply, NetworkPolicy, Node, Pod, Snapshot, Workload},
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
    test_runner::TestCaseError,
};

use crate::generate::{self, pod_name};

/// Each single change that leads from one snapshot towards another.
fn changes(from: &Snapshot, to: &Snapshot) -> Vec<Change> {
    let mut all = Vec::new();
    for name in (0..generate::PODS).map(pod_name) {
        let pod = to.pods.get(&name).cloned();
        // New labels alone are the most frequent change.
        if let (Some(old), Some(new)) = (from.pods.get(&name), &pod) {
            let relabelled = Pod { labels: new.labels.clone(), ..old.clone() };
            all.push(Change::Pod(name.clone(), Some(relabelled)));
        }
        all.push(Change::Pod(name, pod));
    }
    for name in from.policies.keys().chain(to.policies.keys()) {
        all.push(Change::Policy(name.clone(), to.policies.get(name).cloned()));
    }
    for name in from.cluster_policies.keys().chain(to.cluster_policies.keys()) {
        all.push(Change::ClusterPolicy(name.clone(), to.cluster_policies.get(name).cloned()));
    }
    for name in from.services.keys().chain(to.services.keys()) {
        all.push(Change::Service(name.clone(), to.services.get(name).cloned()));
        let slice = to.endpoint_slices.get(name).cloned();
        all.push(Change::EndpointSlice(name.clone(), slice));
    }
    for name in ["n1", "n2", "n3"] {
        all.push(Change::Node(name.to_owned(), to.nodes.get(name).cloned()));
    }
    all.push(Change::Namespace("x".to_owned(), to.namespaces.get("y").cloned()));
    all.push(Change::Namespace("x".to_owned(), to.namespaces.get("x").cloned()));
    all.push(Change::Namespace("y".to_owned(), None));
    all
}

fn follow(
    from: &Snapshot,
    to: &Snapshot,
    order: &[Index],
    scope: Scope<'_>,
    which: fn(&Change) -> bool,
) -> Result<(), TestCaseError> {
    let mut compiler = Compiler::new(from.clone(), scope);
    let mut left = changes(from, to);
    left.retain(which);
    for index in order {
        if left.is_empty() {
            break;
        }
        let change = left.swap_remove(index.index(left.len()));
        let reused = compiler.update(change.clone());
        let (desired, faults) = compile(compiler.snapshot(), scope);
        let same = compiler.compiled() == (&desired, faults.as_slice());
        prop_assert!(same, "{reused:?} of the result was kept after {change:?}");
    }
    Ok(())
}

/// A cluster with node ports, external addresses, and nodes that differ.
fn cluster() -> impl Strategy<Value = Snapshot> {
    let blocks = vec(select(vec!["10.0.0.0/30", "10.0.0.4/31", "fd00::/64", "10.9.0.0/24"]), 0..2);
    let addresses = vec(select(vec!["192.168.0.2", "203.0.113.1", "10.0.0.9", "fd00::9"]), 0..3);
    let labels = (select(vec!["x", "y"]), select(vec!["one", "two"]));
    let own = option::of(select(vec!["10.0.0.1", "192.168.0.9", "fd00::1"]));
    let node = (blocks, addresses, labels, own, proptest::bool::weighted(0.1));
    let node = node.prop_map(|(blocks, addresses, labels, own, is_open_to_pods)| Node {
        labels: [
            ("team".to_owned(), labels.0.to_owned()),
            ("topology.kubernetes.io/zone".to_owned(), labels.1.to_owned()),
        ]
        .into(),
        addresses: addresses.into_iter().map(generate::ip).collect(),
        pod_cidrs: blocks.into_iter().map(|block| block.parse().expect("a block")).collect(),
        interfaces: own.into_iter().map(generate::ip).collect(),
        probe_sources: own.into_iter().filter(|_| is_open_to_pods).map(generate::ip).collect(),
        is_open_to_pods,
        asks_for_no_enforcement: false,
    });
    let port = option::of(select(vec![443_u16, 30080]));
    let external = option::of(select(vec!["10.96.0.1", "203.0.113.1", "10.0.0.2"]));
    let nodes = (option::of(node.clone()), option::of(node));
    let choices = (proptest::bool::weighted(0.1), option::weighted(0.1, Just(DenyReply::Reject)));
    let parts = (generate::snapshot(), nodes, port, external, choices);
    parts.prop_map(|(mut snapshot, (second, third), node_port, external, choices)| {
        for (name, node) in [("n2", second), ("n3", third)] {
            snapshot.nodes.extend(node.map(|node| (name.to_owned(), node)));
        }
        let namespace = snapshot.namespaces.entry("x".to_owned()).or_default();
        (namespace.may_spoof, namespace.deny_reply) = choices;
        for service in snapshot.services.values_mut() {
            service.external_ips.extend(external.map(generate::ip));
            service.ports.iter_mut().for_each(|port| port.node_port = node_port);
        }
        snapshot
    })
}

proptest! {
    #![proptest_config(crate::config(200))]

    #[test]
    fn any_change_gives_the_result_of_compiling_from_scratch(
        from in cluster(), to in cluster(),
        order in vec(any::<Index>(), 12),
    ) {
        for scope in [Scope::Node("n1"), Scope::Cluster] {
            follow(&from, &to, &order, scope, |_| true)?;
        }
    }
}

proptest! {
    #![proptest_config(crate::config(6))]

    #[test]
    fn any_change_gives_the_same_where_rules_are_joined(
        from in generate::crowded(), to in generate::crowded(),
        order in vec(any::<Index>(), 12),
    ) {
        follow(&from, &to, &order, Scope::Node("n1"), |_| true)?;
        // There are far more policies than pods.
        let of_pods = |change: &Change| matches!(change, Change::Pod(..));
        follow(&from, &to, &order, Scope::Cluster, of_pods)?;
    }
}

/// How much is kept. Names and addresses collide here, so that it is less than in a real cluster.
#[test]
fn something_is_reused() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut nothing, mut all) = (0, 0);
    let (mut kept, mut made) = ([0; 4], [0; 4]);
    for _ in 0..50 {
        let mut one = || cluster().new_tree(&mut runner).expect("a cluster").current();
        let (from, to) = (one(), one());
        let mut compiler = Compiler::new(from.clone(), Scope::Node("n1"));
        for change in changes(&from, &to) {
            let reused = compiler.update(change);
            all += 1;
            nothing += usize::from(reused.is_everything());
            let Reuse { policies, addresses, frontends, endpoints } = reused;
            for (at, one) in [policies, addresses, frontends, endpoints].into_iter().enumerate() {
                kept[at] += one.kept;
                made[at] += one.made;
            }
        }
    }
    println!("{nothing} of {all} changes touched nothing");
    for (what, at) in ["policies", "addresses", "frontends", "endpoints"].iter().zip(0..) {
        println!("{what}: {} kept, {} made", kept[at], made[at]);
        assert!(kept[at] > 2 * made[at], "{what}: {} kept, {} made", kept[at], made[at]);
    }
    assert!(nothing * 4 > all, "{nothing} of {all}");
}

#[test]
fn what_no_verdict_depends_on_touches_nothing() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    for _ in 0..20 {
        let from = generate::snapshot().new_tree(&mut runner).expect("a cluster").current();
        let mut compiler = Compiler::new(from.clone(), Scope::Cluster);
        let annotations = || [("owner".to_owned(), "a".to_owned())].into();
        for (name, pod) in &from.pods {
            let workload = Some(Workload { kind: "Job".to_owned(), name: "j".to_owned() }.into());
            let change = Change::Pod(name.clone(), Some(Pod { workload, ..pod.clone() }));
            assert!(compiler.update(change).is_everything());
        }
        for (name, policy) in &from.policies {
            let policy = NetworkPolicy { annotations: annotations(), ..policy.clone() };
            let change = Change::Policy(name.clone(), Some(policy));
            assert!(compiler.update(change).is_everything());
        }
        for (name, policy) in &from.cluster_policies {
            let policy = ClusterNetworkPolicy { annotations: annotations(), ..policy.clone() };
            let change = Change::ClusterPolicy(name.clone(), Some(policy));
            assert!(compiler.update(change).is_everything());
        }
        assert_eq!(compiler.compiled().0, &compile(compiler.snapshot(), Scope::Cluster).0);
    }
}
