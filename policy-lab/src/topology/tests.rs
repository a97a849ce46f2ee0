//! Tests of links, addresses and routes.

use policy_core::model::ObjectName;

use super::{layout::BRIDGE, *};
use crate::blueprint::PodPlan;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a literal of a test")
}

fn net(text: &str) -> IpNetwork {
    text.parse().expect("a literal of a test")
}

fn blueprint(pods: &[(&str, &str, &str)]) -> Blueprint {
    let mut plan = Blueprint::default();
    for (name, node, address) in pods {
        let number = plan.nodes.len() + 1;
        plan.nodes
            .entry((*node).to_owned())
            .or_insert_with(|| vec![ip(&format!("192.168.1.{number}"))]);
        let name = ObjectName::new("ns", *name);
        plan.owners.insert(ip(address), Machine::Pod(name.clone()));
        plan.pods.push(PodPlan { name, node: (*node).to_owned(), addresses: vec![ip(address)] });
    }
    plan.hosts.insert("out".to_owned(), vec![ip("203.0.113.1")]);
    plan
}

fn pieces<'a>(layout: &'a Layout, machine: &str) -> &'a [Piece] {
    let found = layout.machines.iter().find(|(name, _)| name.to_string() == machine);
    found.map(|(_, pieces)| pieces.as_slice()).expect("the machine is there")
}

fn route(to: &str, via: Option<&str>, index: u32) -> Piece {
    Piece::Route { to: net(to), via: via.map(ip), index }
}

fn address(at: &str, prefix: u8, index: u32) -> Piece {
    Piece::Address { index, address: ip(at), prefix }
}

const TWO: &[(&str, &str, &str)] = &[("x", "a", "10.244.0.5"), ("y", "b", "10.244.1.5")];

#[test]
fn machines_on_the_fabric_reach_one_another_and_pods_by_their_node() {
    for topology in [Topology::Ptp, Topology::Bridge] {
        let layout = lay_out(&blueprint(TWO), topology);
        let node = pieces(&layout, "node/a");
        assert!(node.contains(&route("192.168.1.2/32", None, UPLINK)));
        assert!(node.contains(&route("203.0.113.1/32", None, UPLINK)));
        assert!(node.contains(&route("10.244.1.5/32", Some("192.168.1.2"), UPLINK)));
        assert!(node.contains(&route("0.0.0.0/0", None, UPLINK)));
        let host = pieces(&layout, "host/out");
        assert!(host.contains(&route("10.244.0.5/32", Some("192.168.1.1"), UPLINK)));
    }
}

#[test]
fn ptp_has_the_gateway_at_each_veth_and_nothing_else_on_the_link() {
    let layout = lay_out(&blueprint(TWO), Topology::Ptp);
    let node = pieces(&layout, "node/a");
    assert!(node.contains(&address("10.244.0.1", 32, FIRST + 1)));
    assert!(node.contains(&route("10.244.0.5/32", None, FIRST + 1)));
    let pod = pieces(&layout, "ns/x");
    assert!(pod.contains(&address("10.244.0.5", 32, UPLINK)));
    assert!(pod.contains(&route("10.244.0.1/32", None, UPLINK)));
    assert!(pod.contains(&route("0.0.0.0/0", Some("10.244.0.1"), UPLINK)));
}

#[test]
fn a_bridge_has_the_gateway_and_pods_have_their_subnet_on_the_link() {
    let layout = lay_out(&blueprint(TWO), Topology::Bridge);
    assert!(pieces(&layout, "node/a").contains(&address("10.244.0.1", 24, BRIDGE)));
    let pod = pieces(&layout, "ns/x");
    assert!(pod.contains(&address("10.244.0.5", 24, UPLINK)));
    assert!(pod.contains(&route("0.0.0.0/0", Some("10.244.0.1"), UPLINK)));
}

#[test]
fn pods_of_two_nodes_in_one_subnet_are_routed_on_a_bridge() {
    let plan = blueprint(&[("x", "a", "10.244.0.5"), ("y", "b", "10.244.0.6")]);
    let layout = lay_out(&plan, Topology::Bridge);
    assert!(pieces(&layout, "node/a").contains(&address("10.244.0.1", 32, BRIDGE)));
    assert!(pieces(&layout, "node/a").contains(&route("10.244.0.5/32", None, BRIDGE)));
    assert!(pieces(&layout, "ns/x").contains(&address("10.244.0.5", 32, UPLINK)));
}

#[test]
fn a_gateway_takes_no_address_of_a_machine() {
    let plan = blueprint(&[("x", "a", "10.244.0.1"), ("y", "a", "10.244.0.2")]);
    let layout = lay_out(&plan, Topology::Bridge);
    assert!(pieces(&layout, "node/a").contains(&address("10.244.0.3", 24, BRIDGE)));
}

#[test]
fn a_probed_gateway_is_an_address_of_its_node_and_reached_from_everywhere() {
    let mut plan = blueprint(TWO);
    plan.owners.insert(ip("10.244.0.1"), Machine::Node("a".to_owned()));
    plan.gateways.insert(ip("10.244.0.1"), "a".to_owned());
    let layout = lay_out(&plan, Topology::Bridge);
    assert!(pieces(&layout, "node/a").contains(&address("10.244.0.1", 24, BRIDGE)));
    for machine in ["node/b", "host/out"] {
        let there = route("10.244.0.1/32", Some("192.168.1.1"), UPLINK);
        assert!(pieces(&layout, machine).contains(&there), "{machine}");
    }
}

#[test]
fn an_ipv6_pod_gets_ipv6_routes() {
    let mut plan = blueprint(&[("x", "a", "fd00:10:244::5")]);
    plan.nodes.insert("a".to_owned(), vec![ip("192.168.1.1"), ip("2001:2::1")]);
    let layout = lay_out(&plan, Topology::Ptp);
    let pod = pieces(&layout, "ns/x");
    assert!(pod.contains(&address("fd00:10:244::5", 128, UPLINK)));
    assert!(pod.contains(&route("::/0", Some("fd00:10:244::1"), UPLINK)));
    let host = pieces(&layout, "host/out");
    assert!(host.contains(&route("fd00:10:244::5/128", Some("2001:2::1"), UPLINK)));
}

#[test]
fn only_many_pods_on_a_bridge_have_static_neighbours() {
    let names: Vec<(String, String)> =
        (5..25).map(|last| (format!("p{last}"), format!("10.244.0.{last}"))).collect();
    let pods: Vec<(&str, &str, &str)> =
        names.iter().map(|(name, at)| (name.as_str(), "a", at.as_str())).collect();
    let known = |plan: &Blueprint, topology| {
        let layout = lay_out(plan, topology);
        let pod = pieces(&layout, "ns/p5");
        pod.iter().filter(|piece| matches!(piece, Piece::Neighbour { .. })).count()
    };
    assert_eq!(known(&blueprint(&pods), Topology::Bridge), 19);
    assert_eq!(known(&blueprint(&pods), Topology::Ptp), 0);
    assert_eq!(known(&blueprint(&pods[..10]), Topology::Bridge), 0);
}
