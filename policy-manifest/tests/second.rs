//! Objects that are defined twice, as where a folder holds a base and its overlays.

use policy_manifest::{Manifests, ReadOptions, Source, read_with};

fn options() -> ReadOptions {
    ReadOptions { fill_in: true, ..ReadOptions::default() }
}

fn sources(files: &[(&str, &str)]) -> Vec<Source> {
    let source =
        |(name, text): &(&str, &str)| Source { name: (*name).into(), text: (*text).into() };
    files.iter().map(source).collect()
}

fn read(files: &[(&str, &str)]) -> Result<Manifests, Vec<String>> {
    let read = read_with(&sources(files), &options());
    read.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// An object of each kind that is read.
const EVERY_KIND: &str = "\
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {a: b}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: shop}, spec: {template: {metadata: {labels: {a: b}}, spec: {containers: []}}}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: np, namespace: shop}, spec: {podSelector: {}}}
---
{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: c}, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, spec: {selector: {a: b}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: h, namespace: shop}, spec: {clusterIP: None, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, namespace: shop, labels: {kubernetes.io/service-name: x}}, addressType: IPv4, endpoints: [{addresses: [10.0.0.9]}]}
---
{apiVersion: v1, kind: Node, metadata: {name: node}}
---
{apiVersion: policy.lab/v1alpha1, kind: Host, metadata: {name: out}, spec: {address: 192.0.2.1}}
";

#[test]
fn objects_that_are_the_same_twice_count_once() {
    let once = read(&[("base/m.yaml", EVERY_KIND)]).expect("one of each kind");
    let twice = read(&[("base/m.yaml", EVERY_KIND), ("overlay/m.yaml", EVERY_KIND)]);
    let twice = twice.expect("the same twice");
    assert_eq!(twice.snapshot, once.snapshot);
    assert_eq!(twice.hosts, once.hosts);
    assert_eq!(twice.left_out_counts().repeated, 10);
    let notes = twice.notes();
    let note =
        "objects that are defined twice alike count once: overlay/m.yaml:1:1 as base/m.yaml:1:1";
    assert!(notes.iter().any(|one| one.starts_with(note)), "{notes:#?}");
}

#[test]
fn s54_objects_that_differ_name_both_places_and_the_folders() {
    #[rustfmt::skip]
    let cases = [
        // first               second                        what to do
        ("a/m.yaml",           "a/n.yaml",                   "remove one of the two"),
        ("d/base/m.yaml",      "d/overlays/dev/m.yaml",      "give one of the folders d/base and d/overlays, or render an overlay (policyctl -k FOLDER)"),
        ("d/o/dev/x/m.yaml",   "d/o/prod/x/m.yaml",          "give one of the folders d/o/dev and d/o/prod, or"),
        ("m.yaml",             "prod/m.yaml",                "give one of the folders . and prod, or"),
    ];
    for object in EVERY_KIND.split("---\n") {
        // A field that every kind has, or whatever else is read of it.
        let other = [
            "shop, labels: {a: b}",
            "containerPort: 80",
            "labels: {a: b}}, spec",
            "podSelector: {}",
            "priority: 1",
            "ports: [{port: 80}]",
            "10.0.0.9",
            "name: node}",
            "192.0.2.1",
        ]
        .into_iter()
        .zip([
            "shop, labels: {a: c}",
            "containerPort: 81",
            "labels: {a: c}}, spec",
            "podSelector: {matchLabels: {a: b}}",
            "priority: 2",
            "ports: [{port: 81}]",
            "10.0.0.8",
            "name: node}, spec: {podCIDRs: [10.0.0.0/24]}",
            "192.0.2.2",
        ])
        .find(|(from, _)| object.contains(from))
        .map(|(from, to)| object.replacen(from, to, 1))
        .expect("a change of each kind");
        for (first, second, want) in cases {
            let errors = read(&[(first, object), (second, &other)]).expect_err("two that differ");
            let [error] = errors.as_slice() else { panic!("{errors:#?}") };
            assert!(error.starts_with(&format!("{second}:1:1: ")), "{error}");
            assert!(error.contains(&format!("already defined at {first}:1:1; ")), "{error}");
            assert!(error.contains(want), "{error}");
        }
    }
}

#[test]
fn s54_the_agent_takes_no_object_twice() {
    let files = sources(&[("m.yaml", EVERY_KIND), ("n.yaml", EVERY_KIND)]);
    assert!(read_with(&files, &ReadOptions::default()).is_err());
}
