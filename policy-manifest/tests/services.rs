//! Services, their slices, and the backends that are derived where there is no slice.

use policy_core::model::{ObjectName, Protocol, Snapshot, TopologyHints};
use policy_manifest::{Source, read, render};

fn snapshot(text: &str) -> Snapshot {
    let source = Source { name: "test.yaml".into(), text: text.into() };
    read(&[source]).unwrap_or_else(|errors| panic!("{}", render(&errors, false))).snapshot
}

fn service(metadata: &str, spec: &str, status: &str) -> Snapshot {
    snapshot(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: s, {metadata}}}\nspec: {{{spec}}}\nstatus: {{{status}}}\n"
    ))
}

/// Each derived backend as `port name=address:port`, by slice.
fn backends(snapshot: &Snapshot) -> Vec<String> {
    let lines = snapshot.endpoint_slices.values().flat_map(|slice| {
        slice.endpoints.iter().map(move |endpoint| {
            let ports: Vec<String> = slice
                .ports
                .iter()
                .map(|port| format!("{}={}/{}", port.name, port.port, port.protocol))
                .collect();
            let ready = if endpoint.ready && endpoint.serving { "" } else { " not ready" };
            format!("{}: {} {}{ready}", slice.service, endpoint.address, ports.join(","))
        })
    });
    lines.collect()
}

#[test]
fn s40_only_what_kube_proxy_translates_is_a_service() {
    #[rustfmt::skip]
    let cases = [
        ("a plain one",           "",                                                              "clusterIP: 10.96.0.1",                         true),
        ("without an address",    "",                                                              "ports: [{port: 80}]",                          true),
        ("headless",              "",                                                              "clusterIP: None",                              false),
        ("headless, newer",       "",                                                              "clusterIPs: [None]",                           false),
        ("ExternalName",          "",                                                              "type: ExternalName, externalName: a.example",  false),
        ("another's proxy",       "labels: {service.kubernetes.io/service-proxy-name: other}",     "clusterIP: 10.96.0.1",                         false),
        ("the headless label",    "labels: {service.kubernetes.io/headless: ''}",                  "clusterIP: 10.96.0.1",                         false),
    ];
    for (claim, metadata, spec, want) in cases {
        assert_eq!(service(metadata, spec, "").services.len() == 1, want, "{claim}");
    }
}

#[test]
fn addresses_of_a_service() {
    let snapshot = service(
        "",
        "clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 'fd00::1'], externalIPs: [192.0.2.1], \
         ports: [{name: web, port: 80, nodePort: 30080}, {name: dns, port: 53, protocol: UDP}]",
        "loadBalancer: {ingress: [{ip: 198.51.100.1, ipMode: VIP}, {ip: 198.51.100.2, ipMode: Proxy}, \
         {ip: 198.51.100.3}, {hostname: lb.example}]}",
    );
    let service = &snapshot.services[&ObjectName::new("default", "s")];
    let text = |ips: &[std::net::IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(&service.cluster_ips), ["10.96.0.1", "fd00::1"]);
    assert_eq!(text(&service.external_ips), ["192.0.2.1", "198.51.100.1", "198.51.100.3"]);
    assert_eq!(service.ports[0].node_port, Some(30080));
    assert_eq!((service.ports[1].node_port, service.ports[1].protocol), (None, Protocol::Udp));
}

fn slice(rest: &str) -> Snapshot {
    snapshot(&format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: e, labels: {{kubernetes.io/service-name: s}}}}\n{rest}"
    ))
}

#[test]
fn conditions_of_a_slice_have_their_defaults() {
    #[rustfmt::skip]
    let cases = [
        ("",                                                           (true,  true,  false)),
        ("conditions: {}",                                             (true,  true,  false)),
        ("conditions: {ready: null}",                                  (true,  true,  false)),
        ("conditions: {ready: false}",                                 (false, false, false)),
        ("conditions: {ready: false, serving: true, terminating: true}", (false, true,  true)),
    ];
    for (conditions, want) in cases {
        let text = format!(
            "addressType: IPv4\nendpoints: [{{addresses: [10.0.0.1, 10.0.0.2], {conditions}}}]\n"
        );
        let snapshot = slice(&text);
        let slice = &snapshot.endpoint_slices[&ObjectName::new("default", "e")];
        let [endpoint] = &slice.endpoints[..] else { panic!("{slice:?}") };
        assert_eq!(endpoint.address.to_string(), "10.0.0.1");
        let found = (endpoint.ready, endpoint.serving, endpoint.terminating);
        assert_eq!(found, want, "{conditions}");
    }
}

#[test]
fn s40_an_endpoint_has_its_node_and_its_hints() {
    let snapshot = slice(
        "addressType: IPv4\nendpoints:\n\
         - {addresses: [10.0.0.1], nodeName: n1, hints: {forZones: [{name: a}, {name: b}], forNodes: [{name: n1}]}}\n\
         - {addresses: [10.0.0.2]}\n",
    );
    let slice = &snapshot.endpoint_slices[&ObjectName::new("default", "e")];
    let [one, two] = &slice.endpoints[..] else { panic!("{slice:?}") };
    assert_eq!(one.node.as_deref(), Some("n1"));
    assert_eq!(
        (&*one.hints.zones, &*one.hints.nodes),
        (&["a".to_owned(), "b".to_owned()][..], &["n1".to_owned()][..])
    );
    assert_eq!((&two.node, &two.hints), (&None, &TopologyHints::default()));
}

#[test]
fn s40_kube_proxy_leaves_slices_with_these_labels_alone() {
    for label in
        ["service.kubernetes.io/headless: ''", "service.kubernetes.io/service-proxy-name: other"]
    {
        let text = format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
             metadata: {{name: e, labels: {{kubernetes.io/service-name: s, {label}}}}}\n"
        );
        assert!(snapshot(&text).endpoint_slices.is_empty(), "{label}");
    }
}

#[test]
fn s40_an_internal_traffic_policy_is_read() {
    let local = |policy: &str| {
        let text = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{clusterIP: 10.96.0.1, {policy}}}}}"
        );
        snapshot(&text).services[&ObjectName::new("default", "s")].internal_traffic_local
    };
    assert!(local("internalTrafficPolicy: Local"));
    assert!(!local("internalTrafficPolicy: Cluster"));
    assert!(!local("externalTrafficPolicy: Local"));
}

#[test]
fn slices_of_names_and_of_no_service_are_left_out() {
    assert!(
        slice("addressType: FQDN\nendpoints: [{addresses: [a.example]}]")
            .endpoint_slices
            .is_empty()
    );
    let none = snapshot(
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e}, addressType: IPv4}",
    );
    assert!(none.endpoint_slices.is_empty());
}

const PODS: &str = "
{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: web, tier: x}}, spec: {containers: [{ports: [{name: http, containerPort: 8080}, {name: http, containerPort: 9, protocol: UDP}]}]}, status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, labels: {app: web}}, spec: {containers: [{ports: [{name: http, containerPort: 8081}]}]}, status: {podIPs: [{ip: 10.0.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done, labels: {app: web}}, status: {phase: Failed, podIPs: [{ip: 10.0.0.3}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: new, labels: {app: web}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: other, labels: {app: db}}, status: {podIPs: [{ip: 10.0.0.4}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: far, namespace: far, labels: {app: web}}, status: {podIPs: [{ip: 10.0.0.5}]}}
---
";

#[test]
fn backends_are_derived_from_pods_where_there_is_no_slice() {
    #[rustfmt::skip]
    let cases: [(&str, &str, &[&str]); 7] = [
        ("by number",            "clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80, targetPort: 7}]",
            &["s: 10.0.0.1 =7/TCP", "s: 10.0.0.2 =7/TCP"]),
        ("its own port",         "clusterIP: 10.96.0.1, selector: {app: web, tier: x}, ports: [{port: 80}]",
            &["s: 10.0.0.1 =80/TCP"]),
        ("by name",              "clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: w, port: 80, targetPort: http}]",
            &["s: 10.0.0.1 w=8080/TCP", "s: 10.0.0.2 w=8081/TCP"]),
        ("by name and protocol", "clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80, targetPort: http, protocol: UDP}]",
            &["s: 10.0.0.2 ", "s: 10.0.0.1 =9/UDP"]),
        ("both families",        "clusterIPs: [10.96.0.1, 'fd00:96::1'], selector: {tier: x}, ports: [{port: 80}]",
            &["s: 10.0.0.1 =80/TCP", "s: fd00::1 =80/TCP"]),
        ("no selector",          "clusterIP: 10.96.0.1, ports: [{port: 80}]", &[]),
        ("no such pod",          "clusterIP: 10.96.0.1, selector: {app: none}, ports: [{port: 80}]", &[]),
    ];
    for (claim, spec, want) in cases {
        let service =
            format!("{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{{spec}}}}}");
        assert_eq!(backends(&snapshot(&format!("{PODS}{service}"))), want, "{claim}");
    }
}

#[test]
fn where_there_is_a_slice_it_alone_counts() {
    let rest = "
{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e, labels: {kubernetes.io/service-name: s}}, addressType: IPv4, ports: [{name: '', port: 1}], endpoints: [{addresses: [10.0.0.9]}]}
";
    assert_eq!(backends(&snapshot(&format!("{PODS}{rest}"))), ["s: 10.0.0.9 =1/TCP"]);
}
