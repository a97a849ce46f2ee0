//! Tests of what the operator decides.

use super::*;
use crate::desired::NodeKind;

#[test]
fn s37_probe_sources_are_addresses_of_the_own_node_without_node_ports() {
    let options = IntentOptions { probe_sources: vec![at(9)], ..IntentOptions::default() };
    let mut intent = Intent::new(OWN, options);
    intent.set_node_addresses([at(1)].into());
    let own: Vec<_> = intent.desired().node_addresses.clone().into_iter().collect();
    assert_eq!(own, [(at(1), NodeKind::Own), (at(9), NodeKind::Own)]);
}

#[test]
fn s38_the_own_node_is_open_for_egress_where_the_operator_wants_it() {
    for open in [false, true] {
        let options = IntentOptions { own_node_egress: open, ..IntentOptions::default() };
        let mut intent = Intent::new(OWN, options);
        intent.replace(Snapshot {
            pods: [(name("web"), pod("u1", &[2]))].into(),
            policies: [(name("deny"), deny_egress())].into(),
            nodes: [("two".to_owned(), vec![at(8)].into())].into(),
            ..Snapshot::default()
        });
        for addresses in [&[at(1)][..], &[at(1), at(3)], &[at(3)]] {
            intent.set_node_addresses(addresses.iter().copied().collect());
            let desired = intent.desired().into_owned();
            let egress = desired.endpoints[&name("web")].isolation.egress.as_ref();
            let map = &egress.expect("it is isolated").allow_map.ports;
            let reached =
                |at: IpAddr| desired.blocks.get(&at.into()).is_some_and(|it| map.contains_key(it));
            for address in [at(1), at(3), at(8)] {
                assert_eq!(reached(address), open && addresses.contains(&address), "{address}");
            }
        }
    }
}

fn deny_egress() -> NetworkPolicy {
    NetworkPolicy {
        subject: Some(Selector::default()),
        policy_types: Some(vec![Direction::Egress]),
        ..NetworkPolicy::default()
    }
}

#[test]
fn s57_the_annotation_of_a_namespace_counts_only_where_the_operator_enables_it() {
    for enabled in [false, true] {
        let options = IntentOptions { spoofing_annotation: enabled, ..IntentOptions::default() };
        let mut intent = Intent::new(OWN, options);
        let free = Namespace { may_spoof: true, ..Namespace::default() };
        intent.replace(Snapshot {
            namespaces: [("shop".to_owned(), free.clone())].into(),
            pods: [(name("web"), pod("u1", &[2]))].into(),
            ..Snapshot::default()
        });
        let may_spoof = |intent: &Intent| intent.desired().endpoints[&name("web")].may_spoof;
        assert_eq!(may_spoof(&intent), enabled);
        intent.apply(Change::Namespace("shop".to_owned(), Some(Namespace::default())));
        assert!(!may_spoof(&intent), "the annotation is gone");
        intent.apply(Change::Namespace("shop".to_owned(), Some(free)));
        assert_eq!(may_spoof(&intent), enabled);
    }
}

#[test]
fn s57_s59_a_namespace_chooses_the_reply_only_where_the_operator_enables_it() {
    for deny_reply_annotation in [false, true] {
        let options = IntentOptions { deny_reply_annotation, ..IntentOptions::default() };
        let mut intent = Intent::new(OWN, options);
        let chooses = Namespace { deny_reply: Some(DenyReply::Reject), ..Namespace::default() };
        intent.replace(Snapshot {
            namespaces: [("shop".to_owned(), chooses.clone())].into(),
            pods: [(name("web"), pod("u1", &[2]))].into(),
            ..Snapshot::default()
        });
        let reply = |intent: &Intent| intent.desired().endpoints[&name("web")].deny_reply;
        let want = deny_reply_annotation.then_some(DenyReply::Reject);
        assert_eq!(reply(&intent), want);
        intent.apply(Change::Namespace("shop".to_owned(), Some(Namespace::default())));
        assert_eq!(reply(&intent), None, "the annotation is gone");
        intent.apply(Change::Namespace("shop".to_owned(), Some(chooses)));
        assert_eq!(reply(&intent), want);
    }
}

#[test]
fn a_node_that_is_switched_off_passes_everything_and_records_what_policies_isolate() {
    // The namespace of the other pod has no policy.
    let mut intent = cluster(&[("web", pod("u1", &[2]))]);
    let open = ObjectName::new("open", "open");
    intent.apply(Change::Pod(open.clone(), Some(pod("u2", &[3]))));
    intent.apply(Change::Policy(name("deny"), Some(deny_egress())));
    let before = intent.desired().into_owned();
    assert!(before.endpoints[&name("web")].isolation.egress.is_some());

    assert!(intent.set_off_by_command(true) && !intent.set_off_by_command(true));
    assert_eq!(intent.off_cause(), Some(OffCause::Command));
    let off = intent.desired().into_owned();
    for (name, endpoint) in &off.endpoints {
        assert!(endpoint.may_spoof && endpoint.isolation.values().all(Option::is_none), "{name}");
    }
    assert!(off.endpoints[&name("web")].is_tracked && !off.endpoints[&open].is_tracked);
    let tracked = Endpoint { flags: flags::TRACKING, ..endpoint(7, 2) };
    let at_interface = BTreeMap::from([(7, tracked)]);
    let starting = sandbox("web", Some("u1"), 2);
    let ready = |intent: &Intent| intent.readiness(&starting, &BTreeSet::new(), &at_interface);
    assert_eq!(ready(&intent), Readiness::Enforced, "no pod waits for what is switched off");

    assert!(intent.set_off_by_command(false));
    assert_eq!(intent.desired().into_owned(), before);
    assert_eq!(ready(&intent), Readiness::Waiting(Obstacle::NoInterface));
}

#[test]
fn s57_the_annotation_of_a_node_counts_only_where_the_operator_enables_it() {
    for enabled in [false, true] {
        let options = IntentOptions { enforcement_annotation: enabled, ..IntentOptions::default() };
        let mut intent = Intent::new(OWN, options);
        let annotated = Node { asks_for_no_enforcement: true, ..Node::default() };
        intent.apply(Change::Node("two".to_owned(), Some(annotated.clone())));
        assert_eq!(intent.off_cause(), None, "another node's");
        intent.apply(Change::Node(OWN.to_owned(), Some(annotated)));
        assert_eq!(intent.off_cause(), enabled.then_some(OffCause::Annotation));
        intent.apply(Change::Node(OWN.to_owned(), Some(Node::default())));
        assert_eq!(intent.off_cause(), None);
    }
}
