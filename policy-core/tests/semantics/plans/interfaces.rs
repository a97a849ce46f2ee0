//! Plans around interfaces: pods that end, interfaces that outlive them, and new ones.

use super::*;

#[test]
fn s08_a_pod_that_goes_takes_its_endpoint_along() {
    let mut actual = Actual::default();
    go(&mut actual, &mk_cluster().policy("x/p", mk_ingress("app=b", Vec::new())));
    let mut without = mk_cluster();
    without.0.pods.remove(&ObjectName::new("x", "b"));
    let (desired, _) = compile(&without.0, Scope::Node("n1"));
    let left = interfaces_with(&[(11, &["10.0.0.1"]), (13, &["10.0.0.3"])]);
    let plan = plan(&mut actual, &desired, &left, PlanOptions::default());
    assert_eq!(words(&plan), ["no endpoint 12", "no allow map 1"]);
}

#[test]
fn s07_a_pod_whose_interface_outlives_it_is_closed_where_it_was_isolated() {
    let cluster = mk_cluster().policy("x/p", mk_ingress("app=b", vec![from("a", 80)]));
    let mut actual = Actual::default();
    go(&mut actual, &cluster);
    let before = actual.clone();
    // Nothing isolates `c`, which goes too.
    let mut without = cluster.clone();
    for gone in ["b", "c"] {
        without.0.pods.remove(&ObjectName::new("x", gone));
    }
    let closed =
        ["no endpoint 13", "endpoint 12 closed 0", "no 10.0.0.1", "bump 12", "no allow map 1"];
    assert_eq!(words(&go(&mut actual, &without)), closed);
    assert_eq!(words(&go(&mut actual, &without)), [""; 0], "it stays so");
    go(&mut actual, &cluster);
    let (again, once) = (actual.endpoints()[&12], before.endpoints()[&12]);
    assert_eq!((again.slot, again.ingress != CLOSED), (once.slot, true), "it is known again");
}

fn interfaces_with(addresses: &[(u32, &[&str])]) -> Interfaces {
    let interface = |&(ifindex, addresses): &(u32, &[&str])| {
        let addresses = addresses.iter().map(|address| ip(address)).collect();
        (
            ifindex,
            Interface {
                ifindex,
                name: format!("veth{ifindex}"),
                bridge: 0,
                addresses,
                guarded: false,
                owner: InterfaceOwner::ByAddress,
            },
        )
    };
    addresses.iter().map(interface).collect()
}

#[test]
fn s46_what_a_pod_does_to_its_addresses_changes_nothing() {
    let cluster = mk_cluster().policy("x/p", mk_ingress("app=b", Vec::new()));
    let (desired, _) = compile(&cluster.0, Scope::Node("n1"));
    for claimed in [&[][..], &["10.0.0.1"], &["10.0.0.9"]] {
        let mut actual = Actual::default();
        go(&mut actual, &cluster);
        let before = actual.endpoints().clone();
        let found = interfaces_with(&[(11, &["10.0.0.1"]), (12, claimed), (13, &["10.0.0.3"])]);
        let plan = plan(&mut actual, &desired, &found, PlanOptions::default());
        assert_eq!(plan.steps, [], "{claimed:?}");
        assert_eq!(actual.endpoints(), &before);
    }
}

#[test]
fn s08_a_new_interface_of_a_pod_is_enforced_beside_the_old_one() {
    let cluster = mk_cluster().policy("x/p", mk_ingress("app=b", Vec::new()));
    let (desired, _) = compile(&cluster.0, Scope::Node("n1"));
    let mut actual = Actual::default();
    go(&mut actual, &cluster);
    let addresses: [(u32, &[&str]); 2] = [(4, &["10.0.0.2"]), (12, &["10.0.0.2"])];
    let plan = plan(&mut actual, &desired, &interfaces_with(&addresses), PlanOptions::default());
    plan.steps.iter().for_each(|step| actual.apply(step));
    let isolation = |ifindex| actual.endpoints()[&ifindex].ingress;
    assert_ne!(isolation(4), 0);
    assert_eq!(isolation(4), isolation(12));
}

#[test]
fn s08_a_pod_at_the_interface_of_another_is_closed_until_its_policies_are_in_place() {
    let cluster = mk_cluster().policy("x/p", mk_ingress("app=b", vec![from("a", 80)]));
    let mut actual = Actual::default();
    go(&mut actual, &cluster);
    let mut other = cluster.pod("x/d", mk_pod("app=b", &["10.0.0.9"]));
    other.0.pods.remove(&ObjectName::new("x", "b"));
    let (desired, _) = compile(&other.0, Scope::Node("n1"));
    let found = [(11, &["10.0.0.1"][..]), (12, &["10.0.0.9"]), (13, &["10.0.0.3"])];
    let plan = plan(&mut actual, &desired, &interfaces_with(&found), PlanOptions::default());
    assert_eq!(words(&plan), ["another endpoint 12 closed 0", "endpoint 12 1 0"]);
}

#[test]
fn s26_where_a_plan_fails_new_pods_are_closed_and_the_others_stay_as_they_are() {
    let isolated = |app: &str| mk_ingress(&format!("app={app}"), vec![from("a", 80)]);
    let cluster = mk_cluster().policy("x/p", isolated("b"));
    let mut actual = Actual::default();
    let (desired, _) = compile(&cluster.0, Scope::Node("n1"));
    let few = interfaces_with(&[(12, &["10.0.0.2"])]);
    let before = plan(&mut actual, &desired, &few, PlanOptions::default());
    before.steps.iter().for_each(|step| actual.apply(step));
    let cluster = cluster.policy("x/q", isolated("c"));
    let (desired, _) = compile(&cluster.0, Scope::Node("n1"));
    let close = |actual: &Actual, interfaces: &Interfaces| {
        let steps = close_newcomers(actual, &desired, interfaces, PlanOptions::default());
        words(&Plan { steps, ..Plan::default() })
    };
    assert_eq!(close(&actual, &interfaces()), ["endpoint 13 closed 0"]);
    assert_eq!(close(&actual, &few), [""; 0], "no pod is new");
    let tracked = Endpoint {
        ifindex: 13,
        slot: 2,
        flags: flags::TRACKING,
        address4: [10, 0, 0, 3],
        ..Endpoint::default()
    };
    actual.apply(&Step::PutEndpoint(tracked));
    let left = interfaces_with(&[(12, &["10.0.0.2"]), (13, &["10.0.0.3"])]);
    assert_eq!(close(&actual, &left), ["endpoint 13 closed 0"], "it was left tracked");
}

#[test]
fn s29_a_plan_that_ends_before_its_bump_leaves_it_to_the_next() {
    let allowed = mk_cluster().policy("x/p", mk_ingress("app=a", vec![from("b", 80)]));
    let relabelled = allowed.clone().pod("x/b", mk_pod("app=none", &["10.0.0.2"]));
    let (nothing, both) = (mk_cluster(), [&allowed, &relabelled]);
    for (claim, first, second) in
        [("another label", both[0], both[1]), ("first isolation", &nothing, both[0])]
    {
        for dies in [false, true] {
            let mut actual = Actual::default();
            go(&mut actual, first);
            let (desired, _) = compile(&second.0, Scope::Node("n1"));
            let cut = plan(&mut actual, &desired, &interfaces(), PlanOptions::default());
            let before = |step: &&Step| !matches!(step, Step::BumpEpoch { .. });
            cut.steps.iter().take_while(before).for_each(|step| actual.apply(step));
            if dies {
                actual.require_bumps();
            }
            let next = go(&mut actual, second);
            assert!(words(&next).contains(&"bump 11".to_owned()), "{claim}: {:?}", words(&next));
            assert_eq!(words(&go(&mut actual, second)), [""; 0], "{claim}: once");
        }
    }
}

#[test]
fn s49_an_interface_that_was_cut_off_is_never_open_before_its_policies_are_in_place() {
    let cluster = mk_cluster().policy("x/p", mk_ingress("app=a", Vec::new()));
    let (desired, _) = compile(&cluster.0, Scope::Node("n1"));
    let mut found = interfaces();
    for interface in found.values_mut() {
        interface.guarded = true;
    }
    let plan = plan(&mut Actual::default(), &desired, &found, PlanOptions::default());
    let of_pod = words(&plan).into_iter().filter(|word| word.contains("11"));
    assert_eq!(of_pod.collect::<Vec<_>>(), ["endpoint 11 1 0"]);
}

#[test]
fn s26_a_new_pod_without_a_slot_is_closed_and_named_until_one_is_free() {
    // Slots 1 and 2, for three pods; nothing isolates them.
    let options = PlanOptions { slots: 3, ..PlanOptions::default() };
    let go = |actual: &mut Actual, cluster: &Cluster, left: &Interfaces| {
        let (desired, _) = compile(&cluster.0, Scope::Node("n1"));
        let plan = plan(actual, &desired, left, options);
        plan.steps.iter().for_each(|step| actual.apply(step));
        plan
    };
    let (cluster, mut actual) = (mk_cluster(), Actual::default());
    let slots = |actual: &Actual| -> Vec<_> {
        actual.endpoints().values().map(|it| (it.ifindex, it.slot, it.ingress, it.egress)).collect()
    };
    let first = go(&mut actual, &cluster, &interfaces());
    assert_eq!(first.pods_without_slot, [ObjectName::new("x", "c")]);
    assert_eq!(first.pods_without_interface, []);
    assert_eq!(slots(&actual), [(11, 1, 0, 0), (12, 2, 0, 0), (13, 0, CLOSED, CLOSED)]);
    let second = go(&mut actual, &cluster, &interfaces());
    assert_eq!(
        (second.steps, second.pods_without_slot),
        (Vec::new(), vec![ObjectName::new("x", "c")])
    );

    let mut without = cluster.clone();
    without.0.pods.remove(&ObjectName::new("x", "b"));
    let left = interfaces_with(&[(11, &["10.0.0.1"]), (13, &["10.0.0.3"])]);
    go(&mut actual, &without, &left);
    assert_eq!(slots(&actual), [(11, 1, 0, 0), (13, 0, CLOSED, CLOSED)], "flows still have slot 2");
    assert_eq!(go(&mut actual, &without, &left).pods_without_slot, []);
    assert_eq!(slots(&actual), [(11, 1, 0, 0), (13, 2, 0, 0)]);
}

#[test]
fn s46_nothing_passes_at_an_interface_with_the_address_of_a_pod_that_has_another() {
    let cluster = mk_cluster().policy("x/p", mk_ingress("app=b", vec![from("a", 80)]));
    let (desired, _) = compile(&cluster.0, Scope::Node("n1"));
    let mut actual = Actual::default();
    go(&mut actual, &cluster);
    let before = actual.endpoints().clone();
    let mut found = interfaces();
    let intruder = |owner| Interface { ifindex: 14, owner, ..interfaces()[&12].clone() };
    let conflict = || InterfaceOwner::Conflict(ObjectName::new("x", "b"));
    found.insert(14, intruder(conflict()));
    let first = plan(&mut actual, &desired, &found, PlanOptions::default());
    first.steps.iter().for_each(|step| actual.apply(step));
    assert_eq!(words(&first), ["endpoint 14 closed closed"]);
    assert_eq!(first.interfaces_without_pod, [14]);
    found.insert(14, Interface { addresses: Vec::new(), ..intruder(InterfaceOwner::ByAddress) });
    let later = plan(&mut actual, &desired, &found, PlanOptions::default());
    assert_eq!(
        (later.steps, later.interfaces_without_pod),
        (Vec::new(), vec![14]),
        "it stays closed"
    );

    // The interface of `b`, which is an orphan's now and has the address of another.
    let owned = Interface { owner: conflict(), ..interfaces()[&12].clone() };
    found.insert(12, owned);
    let closing = plan(&mut actual, &desired, &found, PlanOptions::default());
    closing.steps.iter().for_each(|step| actual.apply(step));
    let (old, new) = (before[&12], actual.endpoints()[&12]);
    assert_eq!((new.ingress, new.egress, new.slot), (CLOSED, CLOSED, old.slot));
    assert!(words(&closing).contains(&"bump 12".to_owned()), "{:?}", words(&closing));
}
