//! Tests of what a node holds back, closes and takes from the runtime.

mod departed;
mod options;

use policy_common::endpoint::flags;

use super::*;
use crate::model::{DenyReply, Direction, Namespace, NetworkPolicy, Pod, Rule, Selector};

const OWN: &str = "one";

fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

fn at(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

/// A pod of this node with these addresses in its status.
fn pod(uid: &str, addresses: &[u8]) -> Pod {
    let addresses = addresses.iter().map(|last| at(*last)).collect();
    Pod { uid: uid.to_owned(), node: Some(OWN.to_owned()), addresses, ..Pod::default() }
}

fn sandbox(pod: &str, uid: Option<&str>, address: u8) -> Sandbox {
    Sandbox {
        pod: name(pod),
        uid: uid.map(ToOwned::to_owned),
        addresses: vec![at(address)],
        host_interfaces: Vec::new(),
    }
}

fn endpoint(ifindex: u32, last: u8) -> Endpoint {
    Endpoint { ifindex, slot: ifindex, address4: [10, 0, 0, last], ..Endpoint::default() }
}

/// A cluster with the namespace `shop` and these pods in it.
fn cluster(pods: &[(&str, Pod)]) -> Intent {
    let mut intent = Intent::new(OWN, IntentOptions::default());
    intent.replace(Snapshot {
        namespaces: BTreeMap::from([("shop".to_owned(), Namespace::default())]),
        pods: pods.iter().map(|(of, pod)| (name(of), pod.clone())).collect(),
        ..Snapshot::default()
    });
    intent
}

/// A policy that isolates every pod of its namespace for ingress, with this many rules.
fn policy(rules: usize) -> NetworkPolicy {
    NetworkPolicy {
        subject: Some(Selector::default()),
        policy_types: Some(vec![Direction::Ingress]),
        ingress: vec![Rule::default(); rules],
        ..NetworkPolicy::default()
    }
}

fn addresses(intent: &Intent, of: &str) -> Vec<IpAddr> {
    intent.desired().endpoints[&name(of)].addresses.clone()
}

#[test]
fn s47_a_pod_is_ready_once_an_endpoint_has_its_addresses_and_the_cluster_knows_it() {
    use Obstacle::{NamespaceUnknown, NoInterface, OtherNode, OtherPod, PodUnknown};
    let here = endpoint(7, 2);
    let tracking = Endpoint { flags: flags::TRACKING, ..here };
    let dual = Endpoint { address6: [1; 16], ..here };
    let both = vec![at(2), IpAddr::from([1; 16])];
    let web = || sandbox("web", Some("u1"), 2);
    let named = || Sandbox { host_interfaces: vec!["veth7".to_owned()], ..web() };
    #[rustfmt::skip]
    let cases = [
        // claim                                        sandbox                            interfaces  endpoint    want
        ("its endpoint is there",                       web(),                             vec![],     here,       None),
        ("at the interface that the runtime named",     named(),                           vec![7],    here,       None),
        ("at one that it did not name",                 named(),                           vec![8],    here,       Some(NoInterface)),
        ("a runtime that gives no UID",                 sandbox("web", None, 2),           vec![],     here,       None),
        ("with another address",                        sandbox("web", None, 3),           vec![],     here,       Some(NoInterface)),
        ("both of its addresses",                       Sandbox { addresses: both.clone(), ..web() }, vec![], dual, None),
        ("one of its two addresses",                    Sandbox { addresses: both, ..web() }, vec![],  here,       Some(NoInterface)),
        ("its connections are still being recorded",    web(),                             vec![],     tracking,   Some(NoInterface)),
        ("no such pod",                                 sandbox("none", Some("u1"), 2),    vec![],     here,       Some(PodUnknown)),
        ("a former pod of this name",                   sandbox("web", Some("u0"), 2),     vec![],     here,       Some(OtherPod)),
        ("a pod that has ended",                        sandbox("ended", None, 2),         vec![],     here,       Some(OtherPod)),
        ("a pod of another node",                       sandbox("far", None, 2),           vec![],     here,       Some(OtherNode)),
    ];
    let far = Pod { node: Some("two".to_owned()), ..pod("u2", &[2]) };
    let ended = Pod { phase: crate::model::Phase::Finished, ..pod("u3", &[]) };
    let mut intent = cluster(&[("web", pod("u1", &[2])), ("far", far), ("ended", ended)]);
    for (claim, sandbox, interfaces, endpoint, want) in cases {
        let endpoints = BTreeMap::from([(endpoint.ifindex, endpoint)]);
        let found = intent.readiness(&sandbox, &interfaces.into_iter().collect(), &endpoints);
        assert_eq!(found, want.map_or(Readiness::Enforced, Readiness::Waiting), "{claim}");
    }
    let endpoints = BTreeMap::from([(7, here)]);
    intent.apply(Change::Namespace("shop".to_owned(), None));
    let found = intent.readiness(&web(), &BTreeSet::new(), &endpoints);
    assert_eq!(found, Readiness::Waiting(NamespaceUnknown), "its labels may select peers");
}

#[test]
fn nothing_counts_as_enforced_at_an_orphan() {
    let mut intent = cluster(&[("web", pod("u1", &[2]))]);
    let endpoints = BTreeMap::from([(7, endpoint(7, 2)), (8, endpoint(8, 3))]);
    assert_eq!(intent.endpoint_of(&[at(2)], &endpoints), Some(&endpoints[&7]));
    assert_eq!(intent.endpoint_of(&[at(4)], &endpoints), None);
    let unmatched = intent.sort_unmatched(&[7, 9], &endpoints);
    assert_eq!((unmatched.orphans, unmatched.unknown), ([7].into(), [9].into()));
    assert_eq!(intent.endpoint_of(&[at(2)], &endpoints), None);
    let web = sandbox("web", None, 2);
    let found = intent.readiness(&web, &BTreeSet::new(), &endpoints);
    assert_eq!(found, Readiness::Waiting(Obstacle::NoInterface));
    intent.sort_unmatched(&[], &endpoints);
    let found = intent.readiness(&web, &BTreeSet::new(), &endpoints);
    assert_eq!(found, Readiness::Enforced, "its interface has a pod once more");
}

#[test]
fn s8_a_hint_takes_an_address_from_other_pods_and_gives_it_back_when_it_is_withdrawn() {
    let mut intent = cluster(&[("old", pod("u1", &[2])), ("new", pod("u2", &[]))]);
    intent.add_hint(sandbox("new", Some("u2"), 2));
    assert_eq!(addresses(&intent, "new"), [at(2)]);
    assert!(addresses(&intent, "old").is_empty(), "the runtime gave its address away");
    assert!(intent.remove_hint(&name("new")), "two pods change");
    assert!(addresses(&intent, "new").is_empty());
    assert_eq!(addresses(&intent, "old"), [at(2)]);
    assert!(!intent.remove_hint(&name("new")), "there is no hint any more");

    intent.add_hint(sandbox("later", None, 5));
    intent.apply(Change::Pod(name("later"), Some(pod("u3", &[]))));
    assert_eq!(addresses(&intent, "later"), [at(5)], "a hint may come before its pod");
    intent.replace_cached_hints(vec![sandbox("new", None, 6)]);
    assert_eq!(addresses(&intent, "new"), [at(6)]);
    intent.replace_cached_hints(Vec::new());
    assert!(addresses(&intent, "new").is_empty());
}

#[test]
fn s8_an_address_is_reassigned_when_another_pod_has_it_until_its_flows_are_gone() {
    let mut intent = cluster(&[("old", pod("u1", &[2]))]);
    assert_eq!(*intent.reassigned(), [].into(), "nobody had it before");
    intent.apply(Change::Pod(name("old"), None));
    intent.apply(Change::Pod(name("new"), Some(pod("u2", &[2]))));
    assert_eq!(*intent.reassigned(), [at(2)].into());
    intent.clear_reassigned();
    intent.apply(Change::Pod(name("new"), Some(pod("u2", &[2]))));
    assert_eq!(*intent.reassigned(), [].into(), "it is the same pod's");
}

#[test]
fn s40_the_own_node_has_the_addresses_of_its_interfaces_and_its_objects_other_fields() {
    let mut intent = Intent::new(OWN, IntentOptions::default());
    let object = Node { addresses: vec![at(200)], ..Node::default() };
    intent.apply(Change::Node(OWN.to_owned(), Some(object.clone())));
    intent.set_node_addresses([at(1)].into());
    let own = &intent.snapshot().nodes[OWN];
    assert_eq!(*own, Node { interfaces: vec![at(1)], ..object.clone() });
    intent.apply(Change::Node(OWN.to_owned(), None));
    intent.set_node_addresses([at(1)].into());
    let own = &intent.snapshot().nodes[OWN];
    assert_eq!(*own, Node { interfaces: vec![at(1)], ..Node::default() }, "no Node object");
    intent.apply(Change::Node("two".to_owned(), Some(object.clone())));
    assert_eq!(intent.snapshot().nodes["two"], object, "other nodes are taken as they are");
}

#[test]
fn s26_a_policy_change_ends_the_hold_back_of_its_own_namespace_only() {
    let rules = |intent: &Intent| {
        intent.snapshot().policies.get(&name("policy")).map(|it| it.ingress.len())
    };
    let mut intent = cluster(&[("old", pod("u1", &[2]))]);
    intent.record_success(&BTreeSet::new());
    intent.apply(Change::Policy(name("policy"), Some(policy(9))));
    let rolled_back = intent.roll_back().expect("it grew");
    intent.hold_back(rolled_back, "full".to_owned(), Duration::ZERO);
    assert_eq!((rules(&intent), intent.held_back().len()), (None, 1));

    let desired = intent.desired();
    assert!(matches!(desired, Cow::Borrowed(_)), "the old pod keeps its last good state");
    intent.apply(Change::Pod(name("new"), Some(pod("u2", &[3]))));
    let desired = intent.desired();
    assert!(desired.endpoints[&name("new")].isolation.ingress.is_some(), "the new pod is closed");
    assert!(desired.endpoints[&name("old")].isolation.ingress.is_none());
    assert!(intent.desired_by_policies().endpoints[&name("new")].isolation.ingress.is_none());

    let other = ObjectName::new("other", "policy");
    intent.apply(Change::Policy(other, Some(policy(1))));
    assert_eq!(intent.held_back().len(), 1, "another namespace's change is no reason");
    intent.release_due(Duration::from_secs(59));
    assert_eq!(intent.held_back().len(), 1, "the interval is not over");
    intent.apply(Change::Policy(name("policy"), Some(policy(2))));
    assert_eq!((rules(&intent), intent.held_back().len()), (Some(2), 0));
}

#[test]
fn what_was_requested_can_be_seen_and_tried_at_once() {
    let mut intent = cluster(&[]);
    intent.record_success(&BTreeSet::new());
    intent.apply(Change::Policy(name("policy"), Some(policy(9))));
    let rolled_back = intent.roll_back().expect("it grew");
    intent.hold_back(rolled_back, "full".to_owned(), Duration::ZERO);
    assert!(intent.snapshot().policies.is_empty());
    intent.release_all();
    assert_eq!(intent.snapshot().policies.len(), 1);
    assert_eq!(intent.held_back(), []);
}
