//! A compiler that stays says what one that begins anew says.

use policy_core::{
    compile::{Change, Compiler, Reused, Scope, compile},
    model::{ClusterNetworkPolicy, NetworkPolicy, Pod, Snapshot, Workload},
};
use proptest::{prelude::*, sample::Index, test_runner::TestCaseError};

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
) -> Result<(), TestCaseError> {
    let mut compiler = Compiler::new(from.clone(), scope);
    let mut left = changes(from, to);
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

proptest! {
    #![proptest_config(crate::config(200))]

    #[test]
    fn any_change_gives_what_compiling_anew_gives(
        from in generate::snapshot(), to in generate::snapshot(),
        order in proptest::collection::vec(any::<Index>(), 12),
    ) {
        for scope in [Scope::Node("n1"), Scope::Cluster] {
            follow(&from, &to, &order, scope)?;
        }
    }
}

/// How much is kept, of changes as they come here; everything collides, so that it is little.
#[test]
fn something_is_reused() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut kept, mut all) = (0, 0);
    for _ in 0..50 {
        let mut one = || generate::snapshot().new_tree(&mut runner).expect("a cluster").current();
        let (from, to) = (one(), one());
        let mut compiler = Compiler::new(from.clone(), Scope::Node("n1"));
        for change in changes(&from, &to) {
            all += 1;
            kept += usize::from(compiler.update(change) == Reused::Everything);
        }
    }
    println!("{kept} of {all} changes touched nothing");
    assert!(kept * 4 > all, "{kept} of {all}");
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
            assert_eq!(compiler.update(change), Reused::Everything);
        }
        for (name, policy) in &from.policies {
            let policy = NetworkPolicy { annotations: annotations(), ..policy.clone() };
            let change = Change::Policy(name.clone(), Some(policy));
            assert_eq!(compiler.update(change), Reused::Everything);
        }
        for (name, policy) in &from.cluster_policies {
            let policy = ClusterNetworkPolicy { annotations: annotations(), ..policy.clone() };
            let change = Change::ClusterPolicy(name.clone(), Some(policy));
            assert_eq!(compiler.update(change), Reused::Everything);
        }
        assert_eq!(compiler.compiled().0, &compile(compiler.snapshot(), Scope::Cluster).0);
    }
}
