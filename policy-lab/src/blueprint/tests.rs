//! Tests of the machines of a lab.

use policy_core::model::{Labels, Pod};

use super::*;

fn pod(node: Option<&str>, addresses: &[&str]) -> Pod {
    Pod {
        uid: String::new(),
        labels: Labels::new(),
        node: node.map(str::to_owned),
        addresses: addresses.iter().map(|at| ip(at)).collect(),
        ..Pod::default()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a literal of a test")
}

fn cluster(pods: &[(&str, Pod)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (name, pod) in pods {
        snapshot.pods.insert(ObjectName::new("ns", *name), pod.clone());
    }
    snapshot.nodes.insert("a".to_owned(), vec![ip("192.168.1.1")].into());
    snapshot
}

fn planned(snapshot: &mut Snapshot) -> Result<Blueprint, BlueprintError> {
    plan(snapshot, &BTreeMap::new(), &BTreeSet::new())
}

#[test]
fn a_node_gets_an_address_in_each_family_in_use() -> Result<(), BlueprintError> {
    let mut snapshot = cluster(&[("x", pod(Some("a"), &["10.0.0.1", "fd00::1"]))]);
    let plan = planned(&mut snapshot)?;
    assert_eq!(plan.nodes["a"], [ip("192.168.1.1"), ip("2001:2::1")]);
    assert_eq!(snapshot.nodes["a"].addresses, plan.nodes["a"], "the compiler gets them too");
    Ok(())
}

#[test]
fn no_node_gets_an_address_of_a_family_that_is_not_in_use() -> Result<(), BlueprintError> {
    let plan = planned(&mut cluster(&[("x", pod(Some("a"), &["10.0.0.1"]))]))?;
    assert_eq!(plan.nodes["a"], [ip("192.168.1.1")]);
    Ok(())
}

#[test]
fn a_pod_without_node_is_put_on_the_default_one() -> Result<(), BlueprintError> {
    let mut snapshot = cluster(&[("x", pod(None, &["10.0.0.1"]))]);
    let plan = planned(&mut snapshot)?;
    assert_eq!(plan.pods[0].node, DEFAULT_NODE);
    assert_eq!(snapshot.pods[&plan.pods[0].name].node.as_deref(), Some(DEFAULT_NODE));
    assert_eq!(plan.nodes[DEFAULT_NODE], [ip("198.18.0.1")]);
    Ok(())
}

#[test]
fn an_undeclared_node_is_added_and_noted() -> Result<(), BlueprintError> {
    let plan = planned(&mut cluster(&[("x", pod(Some("b"), &["10.0.0.1"]))]))?;
    assert!(plan.nodes.contains_key("b"));
    assert!(plan.notes.iter().any(|note| note.contains("node b is not declared")));
    Ok(())
}

#[test]
fn host_network_pods_have_no_namespace_and_their_addresses_are_their_nodes()
-> Result<(), BlueprintError> {
    let mut kubelet = pod(Some("a"), &["192.168.1.9"]);
    kubelet.host_network = true;
    let plan = planned(&mut cluster(&[("kubelet", kubelet)]))?;
    assert!(plan.pods.is_empty());
    assert_eq!(plan.owners[&ip("192.168.1.9")], Machine::Node("a".to_owned()));
    Ok(())
}

#[test]
fn two_pods_at_one_address_are_refused() {
    let mut snapshot =
        cluster(&[("x", pod(Some("a"), &["10.0.0.1"])), ("y", pod(Some("a"), &["10.0.0.1"]))]);
    assert!(matches!(planned(&mut snapshot), Err(BlueprintError::SharedAddress { .. })));
}

#[test]
fn a_finished_pod_leaves_its_address_to_another() -> Result<(), BlueprintError> {
    let mut done = pod(Some("a"), &["10.0.0.1"]);
    done.phase = Phase::Finished;
    let plan = planned(&mut cluster(&[("done", done), ("live", pod(Some("a"), &["10.0.0.1"]))]))?;
    assert_eq!(plan.pods.len(), 1);
    Ok(())
}

#[test]
fn addresses_without_an_owner_become_hosts() -> Result<(), BlueprintError> {
    let mut snapshot = cluster(&[("x", pod(Some("a"), &["10.0.0.1"]))]);
    let probed = BTreeSet::from([ip("8.8.8.8"), ip("10.0.0.1")]);
    let plan = plan(&mut snapshot, &BTreeMap::new(), &probed)?;
    assert_eq!(plan.hosts, BTreeMap::from([("8.8.8.8".to_owned(), vec![ip("8.8.8.8")])]));
    Ok(())
}

#[test]
fn the_first_address_of_a_nodes_pods_is_its_gateway() -> Result<(), BlueprintError> {
    let pods = [("x", pod(Some("a"), &["10.0.0.5"])), ("y", pod(Some("b"), &["10.0.1.5"]))];
    let probed = BTreeSet::from([ip("10.0.0.1"), ip("10.0.2.1")]);
    let plan = plan(&mut cluster(&pods), &BTreeMap::new(), &probed)?;
    assert_eq!(plan.gateways, BTreeMap::from([(ip("10.0.0.1"), "a".to_owned())]));
    assert_eq!(plan.owners[&ip("10.0.0.1")], Machine::Node("a".to_owned()));
    assert_eq!(plan.owners[&ip("10.0.2.1")], Machine::Host("10.0.2.1".to_owned()));
    assert!(!plan.nodes["a"].contains(&ip("10.0.0.1")), "not an address of the Node object");
    Ok(())
}

#[test]
fn a_subnet_that_nodes_share_has_no_gateway_of_one_node() -> Result<(), BlueprintError> {
    let pods = [("x", pod(Some("a"), &["10.0.0.5"])), ("y", pod(Some("b"), &["10.0.0.6"]))];
    let probed = BTreeSet::from([ip("10.0.0.1")]);
    let plan = plan(&mut cluster(&pods), &BTreeMap::new(), &probed)?;
    assert!(plan.gateways.is_empty());
    Ok(())
}

#[test]
fn no_pod_with_an_address_is_an_error() {
    assert_eq!(planned(&mut Snapshot::default()), Err(BlueprintError::NoPod));
    assert_eq!(planned(&mut cluster(&[("x", pod(Some("a"), &[]))])), Err(BlueprintError::NoPod));
}
