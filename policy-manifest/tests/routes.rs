//! Routes from outside of the cluster: `Ingress`, and those of the Gateway API.

use std::collections::BTreeSet;

use policy_core::model::{ObjectName, Protocol};
use policy_manifest::{Manifests, ReadOptions, Source, read_with, render};

/// Two pods of a Service with a named port, one of a headless Service, and one that no route reaches.
const PODS: &str = "\
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: shop, labels: {app: web}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 8081}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: shop, labels: {app: api}}, spec: {containers: []}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{name: main, port: 80, targetPort: http}, {name: admin, port: 90, targetPort: 9090}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, spec: {clusterIP: None, selector: {app: api}, ports: [{port: 53, protocol: UDP}]}}
---
";

fn filled(text: &str) -> Manifests {
    let source = Source { name: "m.yaml".into(), text: text.into() };
    let options = ReadOptions { fill_in: true, ..ReadOptions::default() };
    read_with(&[source], &options).unwrap_or_else(|errors| panic!("{}", render(&errors, false)))
}

/// Controllers, and pods with their ports, of the one route.
fn route(text: &str) -> (Vec<String>, Vec<String>) {
    let read = filled(&format!("{PODS}{text}"));
    let [route] = read.routes.as_slice() else { panic!("{:#?}", read.routes) };
    let controllers = route.controllers.iter().map(ToString::to_string).collect();
    let targets = route.targets.iter().flat_map(|(pod, ports)| {
        ports.iter().map(move |(protocol, port)| format!("{pod} {protocol} {port}"))
    });
    let lost = route.without_pods.iter().map(|service| format!("no pod of {service}"));
    (controllers, targets.chain(lost).collect())
}

#[test]
fn a_route_leads_to_the_pods_of_its_services() {
    let ingress = |spec: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: r, namespace: shop}}, spec: {{{spec}}}}}"
        )
    };
    let path = |service: &str, port: &str| {
        ingress(&format!(
            "rules: [{{http: {{paths: [{{backend: {{service: {{name: {service}, port: {{{port}}}}}}}}}]}}}}]"
        ))
    };
    let gateway = |kind: &str, spec: &str| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: {kind}, metadata: {{name: r, namespace: shop}}, spec: {{{spec}}}}}"
        )
    };
    let named = ["shop/new TCP 8081", "shop/web TCP 8080"];
    #[rustfmt::skip]
    let cases: [(&str, String, &[&str], &[&str]); 10] = [
        ("by name",            path("web", "name: main"),   &["ingress controller"], &named),
        ("by number",          path("web", "number: 90"),   &["ingress controller"], &["shop/new TCP 9090", "shop/web TCP 9090"]),
        ("default backend",    ingress("defaultBackend: {service: {name: web, port: {number: 80}}}"), &["ingress controller"], &named),
        ("headless",           path("api", "number: 53"),   &["ingress controller"], &["shop/api UDP 53"]),
        ("no such port",       path("web", "number: 81"),   &["ingress controller"], &["no pod of shop/web"]),
        ("no such Service",    path("gone", "number: 80"),  &["ingress controller"], &["no pod of shop/gone"]),
        ("a Gateway",          gateway("HTTPRoute", "parentRefs: [{name: public, namespace: infra}, {name: own}], rules: [{backendRefs: [{name: web, port: 80}]}]"), &["Gateway infra/public", "Gateway shop/own"], &named),
        ("weight 0",           gateway("TCPRoute", "parentRefs: [{name: own}], rules: [{backendRefs: [{name: web, port: 80, weight: 0}, {name: web, port: 90}]}]"), &["Gateway shop/own"], &["shop/new TCP 9090", "shop/web TCP 9090"]),
        ("inside of a mesh",   gateway("GRPCRoute", "parentRefs: [{kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]"), &[], &named),
        ("no Service",         gateway("UDPRoute", "parentRefs: [{name: own}], rules: [{backendRefs: [{kind: Bucket, name: web, port: 80}]}]"), &["Gateway shop/own"], &[]),
    ];
    for (claim, text, controllers, targets) in cases {
        assert_eq!(route(&text), (owned(controllers), owned(targets)), "{claim}");
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_route_to_nothing_is_noted() {
    let read = filled(
        "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: r}, spec: {defaultBackend: {service: {name: gone, port: {number: 80}}}}}",
    );
    assert_eq!(read.routes[0].without_pods, BTreeSet::from([ObjectName::new("default", "gone")]));
    let want = "routes to no pod of the manifests: Ingress default/r to Service default/gone";
    assert_eq!(read.notes(), [want]);
}

#[test]
fn a_route_with_errors_is_an_object_of_no_use() {
    for text in [
        "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: 'A B'}}",
        "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {}}",
    ] {
        let read = filled(text);
        assert_eq!((read.routes.len(), read.ignored.len()), (0, 1), "{text}");
    }
    let odd = "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: r}, spec: {rules: [{http: 7}, 8], defaultBackend: {service: {name: s, port: {number: x}}}}}";
    assert_eq!(filled(odd).routes[0].targets.len(), 0);
}

#[test]
fn protocols_are_those_of_the_service() {
    let read = filled(&format!(
        "{PODS}{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: r, namespace: shop}}, spec: {{defaultBackend: {{service: {{name: api, port: {{number: 53}}}}}}}}}}"
    ));
    let ports = &read.routes[0].targets[&ObjectName::new("shop", "api")];
    assert_eq!(ports, &BTreeSet::from([(Protocol::Udp, 53)]));
}
