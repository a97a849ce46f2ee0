//! Which pod has an address.

use std::net::IpAddr;

use policy_core::{model::ObjectName, owner::Owners};

use crate::cluster::{Cluster, ip, mk_pod};

fn pod(uid: &str, addresses: &[&str]) -> policy_core::model::Pod {
    policy_core::model::Pod { uid: uid.into(), ..mk_pod("app=a", addresses) }
}

#[test]
fn s08_an_address_changes_its_owner_by_uid_and_not_by_labels() {
    let start = Cluster::default().pod("x/a", pod("1", &["10.0.0.1", "fd00::1"]));
    let without = |cluster: &Cluster, name: &str| {
        let mut cluster = cluster.clone();
        cluster.0.pods.remove(&ObjectName::new("x", name));
        cluster
    };
    let both = start.clone().pod("x/b", pod("2", &["10.0.0.1"]));
    #[rustfmt::skip]
    let cases = [
        ("the same pod, another label", start.clone().pod("x/a", policy_core::model::Pod {
            labels: policy_core::model::Labels::new(), ..pod("1", &["10.0.0.1", "fd00::1"]) }), vec![]),
        ("another pod of the same name", start.clone().pod("x/a", pod("2", &["10.0.0.1", "fd00::1"])),
            vec!["10.0.0.1", "fd00::1"]),
        ("another pod beside it", both.clone(), vec!["10.0.0.1"]),
        ("it is gone", without(&start, "a"), vec!["10.0.0.1", "fd00::1"]),
        ("another pod elsewhere", start.clone().pod("x/b", pod("2", &["10.0.0.2"])), vec![]),
    ];
    for (claim, next, want) in cases {
        let mut owners = Owners::default();
        assert!(owners.update(&start.0).is_empty(), "no pod had them");
        let want = want.into_iter().map(ip).collect();
        assert_eq!(owners.update(&next.0), want, "{claim}");
        assert!(owners.update(&next.0).is_empty(), "{claim}, once");
    }
    let mut owners = Owners::default();
    owners.update(&start.0);
    owners.update(&both.0);
    let late = owners.update(&without(&both, "a").0);
    assert_eq!(
        late,
        [ip("fd00::1")].into(),
        "the late delete of the old pod leaves the new one alone"
    );
}

#[test]
fn s46_a_change_of_addresses_is_another_version_and_a_change_of_labels_is_none() {
    let name = ObjectName::new("x", "a");
    let other = ObjectName::new("x", "b");
    let (one, two) = (pod("1", &["10.0.0.1"]), pod("1", &["10.0.0.1", "fd00::1"]));
    let relabelled =
        policy_core::model::Pod { labels: policy_core::model::Labels::new(), ..one.clone() };
    #[rustfmt::skip]
    let steps = [
        ("a pod starts",                     &name,  None,              Some(&one),        true),
        ("its labels change",                &name,  Some(&one),        Some(&relabelled), false),
        ("it gets another address",          &name,  Some(&relabelled), Some(&two),        true),
        ("another pod has one of them too",  &other, None,              Some(&one),        false),
        ("the first pod goes",               &name,  Some(&two),        None,              true),
        ("the other one goes",               &other, Some(&one),        None,              true),
    ];
    let mut owners = Owners::default();
    for (claim, name, old, new, is_other) in steps {
        let (version, addresses) = (owners.version(), owners.addresses().collect::<Vec<IpAddr>>());
        owners.change(name, old, new);
        assert_eq!(owners.version() != version, is_other, "{claim}");
        assert_eq!(owners.addresses().collect::<Vec<_>>() != addresses, is_other, "{claim}");
    }
    let version = owners.version();
    owners.update(&Cluster::default().pod("x/a", one).0);
    assert_ne!(owners.version(), version, "a whole cluster may have others");
}
