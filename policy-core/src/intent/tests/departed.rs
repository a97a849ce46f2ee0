//! Tests of pods that left the API before they were enforced.

use super::*;
use crate::{
    model::{Operator, Requirement},
    plan::{Interface, InterfaceOwner},
};

/// Interfaces that lead to these addresses.
fn interfaces(found: &[(u32, u8)]) -> Interfaces {
    let interface = |(ifindex, last): &(u32, u8)| Interface {
        ifindex: *ifindex,
        name: format!("veth{ifindex}"),
        bridge: 0,
        addresses: vec![at(*last)],
        guarded: false,
        owner: InterfaceOwner::ByAddress,
    };
    found.iter().map(|one| (one.0, interface(one))).collect()
}

/// Policies by which a pod is isolated for ingress; `None` where it is not isolated or not there.
fn isolating(intent: &Intent, pod: &str) -> Option<Vec<String>> {
    let desired = intent.desired();
    let isolation = desired.endpoints.get(&name(pod))?.isolation.ingress.as_ref()?;
    Some(isolation.policies.iter().map(ToString::to_string).collect())
}

/// A cluster in which `shop/deny` isolates the pods with `app=web` for ingress.
fn cluster_with_web(pods: &[(&str, Pod)]) -> Intent {
    let mut intent = cluster(pods);
    let is_web = Requirement { key: "app".to_owned(), operator: Operator::Exists };
    let subject = Selector { requirements: [is_web].into_iter().collect() };
    let deny = NetworkPolicy { subject: Some(subject), ..policy(0) };
    intent.apply(Change::Policy(name("deny"), Some(deny)));
    intent
}

fn web(uid: &str, addresses: &[u8]) -> Pod {
    let labels = [("app".to_owned(), "web".to_owned())].into_iter().collect();
    Pod { labels, ..pod(uid, addresses) }
}

const DEPARTED: &str = "web (deleted, interface 7)";

#[test]
fn s47_a_pod_that_left_the_api_before_it_was_enforced_is_judged_by_its_last_object() {
    #[rustfmt::skip]
    let cases = [
        // claim                                         last object       cache
        ("its last object has the address",              web("u1", &[2]),  vec![]),
        ("the runtime's cache has the address",          web("u1", &[]),   vec![sandbox("web", Some("u1"), 2)]),
        ("a runtime that gives no UID",                  web("u1", &[]),   vec![sandbox("web", None, 2)]),
        ("the next pod of its name has another address", web("u1", &[]),   vec![sandbox("web", Some("u1"), 2), sandbox("web", Some("u2"), 3)]),
    ];
    for (claim, last, cache) in cases {
        let mut intent = cluster_with_web(&[("web", last)]);
        intent.apply(Change::Pod(name("web"), None));
        intent.replace_cached_hints(cache);
        assert!(intent.addresses().contains(&at(2)), "{claim}: discovery finds it");
        intent.match_departed(&interfaces(&[(7, 2)]), &BTreeMap::new());
        assert_eq!(isolating(&intent, DEPARTED), Some(vec!["shop/deny".to_owned()]), "{claim}");
        intent.match_departed(&interfaces(&[(7, 2)]), &BTreeMap::from([(7, endpoint(7, 2))]));
        assert!(isolating(&intent, DEPARTED).is_some(), "{claim}: it has an endpoint now");
        intent.apply(Change::Pod(name(DEPARTED), None));
        assert!(isolating(&intent, DEPARTED).is_some(), "{claim}: the API lists it no more");
        intent.match_departed(&interfaces(&[]), &BTreeMap::new());
        assert!(!intent.desired().endpoints.contains_key(&name(DEPARTED)), "{claim}: it has ended");
    }
}

#[test]
fn s47_only_a_pod_without_an_object_and_without_an_endpoint_is_a_departed_one() {
    let gone = |intent: &mut Intent| intent.apply(Change::Pod(name("web"), None));
    let is_departed = |intent: &mut Intent, endpoints: &BTreeMap<u32, Endpoint>| {
        intent.match_departed(&interfaces(&[(7, 2)]), endpoints);
        intent.desired().endpoints.contains_key(&name(DEPARTED))
    };
    let none = BTreeMap::new();

    let mut enforced = cluster_with_web(&[("web", web("u1", &[2]))]);
    enforced.record_success(&BTreeSet::new());
    gone(&mut enforced);
    assert!(!is_departed(&mut enforced, &none), "the orphan of an enforced pod is closed instead");

    let mut attached = cluster_with_web(&[("web", web("u1", &[2]))]);
    gone(&mut attached);
    assert!(!is_departed(&mut attached, &BTreeMap::from([(7, endpoint(7, 2))])));

    let mut reused = cluster_with_web(&[("web", web("u1", &[2]))]);
    gone(&mut reused);
    assert!(is_departed(&mut reused, &none));
    reused.apply(Change::Pod(name("next"), Some(pod("u2", &[2]))));
    assert!(!is_departed(&mut reused, &none), "another pod has the address now");

    let mut far = Pod { node: Some("two".to_owned()), ..web("u1", &[2]) };
    let mut elsewhere = cluster_with_web(&[("web", far.clone())]);
    gone(&mut elsewhere);
    assert!(!is_departed(&mut elsewhere, &none), "it was a pod of another node");
    far.node = Some(OWN.to_owned());
    far.host_network = true;
    let mut host = cluster_with_web(&[("web", far)]);
    gone(&mut host);
    assert!(!is_departed(&mut host, &none), "the address is the node's");

    let mut old = cluster_with_web(&[("web", web("u1", &[2]))]);
    gone(&mut old);
    old.release_due(Duration::from_mins(10));
    assert!(!is_departed(&mut old, &none), "it is forgotten");
}

#[test]
fn s47_a_pod_that_the_api_never_reported_is_closed_where_its_namespace_has_a_policy() {
    for (has_policy, want) in [(true, true), (false, false)] {
        let mut intent = if has_policy { cluster_with_web(&[]) } else { cluster(&[]) };
        intent.replace_cached_hints(vec![sandbox("web", Some("u1"), 2)]);
        intent.match_departed(&interfaces(&[(7, 2)]), &BTreeMap::new());
        let desired = intent.desired().into_owned();
        let isolation = &desired.endpoints[&name(DEPARTED)].isolation;
        assert_eq!(isolation.ingress.is_some(), want, "policies: {has_policy}");
        assert!(isolation.ingress.iter().all(|it| it.allow_map.ports.is_empty()));
        assert!(isolation.egress.is_none(), "no policy isolates for egress");
        // Its object comes.
        intent.apply(Change::Pod(name("web"), Some(pod("u1", &[]))));
        intent.match_departed(&interfaces(&[(7, 2)]), &BTreeMap::new());
        assert!(!intent.desired().endpoints.contains_key(&name(DEPARTED)));
        assert_eq!(addresses(&intent, "web"), [at(2)], "from the cache");
    }
}
