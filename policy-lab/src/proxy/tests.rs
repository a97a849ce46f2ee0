//! Tests of the translation of Services.

use policy_core::model::{EndpointSlice, ObjectName, SliceEndpoint, SlicePort};

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a literal of a test")
}

fn endpoint(address: &str, ready: bool, terminating: bool) -> SliceEndpoint {
    let serving = ready || terminating;
    SliceEndpoint { ready, serving, terminating, ..SliceEndpoint::ready(ip(address)) }
}

fn cluster(cluster_ips: &[&str], endpoints: Vec<SliceEndpoint>) -> Snapshot {
    let name = ObjectName::new("ns", "web");
    let mut snapshot = Snapshot::default();
    let port =
        ServicePort { name: "http".to_owned(), protocol: Protocol::Tcp, port: 80, node_port: None };
    snapshot.services.insert(
        name.clone(),
        Service {
            cluster_ips: cluster_ips.iter().map(|at| ip(at)).collect(),
            ports: vec![port],
            ..Service::default()
        },
    );
    let port = SlicePort { name: "http".to_owned(), port: 8080, protocol: Protocol::Tcp };
    let slice = EndpointSlice { service: "web".to_owned(), ports: vec![port], endpoints };
    snapshot.endpoint_slices.insert(name, slice);
    snapshot
}

#[test]
fn ready_endpoints_are_translated_to() {
    let endpoints = vec![endpoint("10.0.0.1", true, false), endpoint("10.0.0.2", false, false)];
    let text = ruleset(&Proxy::new(&cluster(&["10.96.0.1"], endpoints)));
    assert!(text.contains("10.96.0.1 . tcp . 80 : goto service-0"), "{text}");
    assert!(text.contains("meta l4proto tcp dnat ip to 10.0.0.1:8080"), "{text}");
    assert!(!text.contains("10.0.0.2"), "{text}");
}

#[test]
fn terminating_endpoints_serve_only_where_none_is_ready() {
    let terminating = endpoint("10.0.0.2", false, true);
    let proxy = Proxy::new(&cluster(&["10.96.0.1"], vec![terminating.clone()]));
    assert_eq!(proxy.translations[0].backends.len(), 1);
    let ready = endpoint("10.0.0.1", true, false);
    let proxy = Proxy::new(&cluster(&["10.96.0.1"], vec![terminating, ready]));
    assert_eq!(proxy.translations[0].backends.first().map(SocketAddr::ip), Some(ip("10.0.0.1")));
    assert_eq!(proxy.translations[0].backends.len(), 1);
}

#[test]
fn a_service_without_endpoints_is_refused() {
    let text = ruleset(&Proxy::new(&cluster(&["10.96.0.1"], Vec::new())));
    assert!(text.contains("10.96.0.1 . tcp . 80 : goto refuse"), "{text}");
    assert!(!text.contains("goto service-0"), "{text}");
}

#[test]
fn each_family_goes_to_its_own_endpoints() {
    let endpoints = vec![endpoint("10.0.0.1", true, false), endpoint("fd00::1", true, false)];
    let text = ruleset(&Proxy::new(&cluster(&["10.96.0.1", "fd00:96::1"], endpoints)));
    assert!(text.contains("fd00:96::1 . tcp . 80 : goto service-1"), "{text}");
    assert!(text.contains("dnat ip6 to [fd00::1]:8080"), "{text}");
}

#[test]
fn a_pod_that_reaches_itself_is_masqueraded() {
    let endpoints = vec![endpoint("10.0.0.1", true, false)];
    let text = ruleset(&Proxy::new(&cluster(&["10.96.0.1"], endpoints)));
    assert!(text.contains("ip saddr 10.0.0.1 meta mark set meta mark | 0x4000"), "{text}");
}

#[test]
fn a_frontend_is_found_by_address_port_and_protocol() {
    let proxy = Proxy::new(&cluster(&["10.96.0.1"], vec![endpoint("10.0.0.1", true, false)]));
    let at = |port| SocketAddr::new(ip("10.96.0.1"), port);
    assert!(proxy.backends_of(at(80), Protocol::Tcp).is_some());
    assert!(proxy.backends_of(at(81), Protocol::Tcp).is_none());
    assert!(proxy.backends_of(at(80), Protocol::Udp).is_none());
}
