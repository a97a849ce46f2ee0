//! Which probes are chosen.

use policy_core::model::Protocol;
use policy_manifest::{End, Expectations, Manifests, Source, read, read_expectations, render};
use policy_probe::{CannotProbe, ChooseError, Probe, Selection, choose};

fn source(text: &str) -> Source {
    Source { name: "test.yaml".into(), text: text.into() }
}

fn manifests(text: &str) -> Manifests {
    read(&[source(text)]).unwrap_or_else(|errors| panic!("{}", render(&errors, false)))
}

fn expectations(text: &str) -> Expectations {
    read_expectations(&source(text)).unwrap_or_else(|errors| panic!("{}", render(&errors, false)))
}

fn end(text: &str) -> End {
    text.parse().expect("an end")
}

/// A selection of TCP ports, sources and destinations.
fn asked(ports: &[u16], from: &[&str], to: &[&str]) -> Selection {
    let ends = |texts: &[&str]| texts.iter().map(|text| end(text)).collect();
    let ports = ports.iter().map(|port| (*port, Protocol::Tcp)).collect();
    Selection { ports, from: ends(from), to: ends(to), ..Selection::default() }
}

/// The lines of the probes that must be chosen.
type Wanted = &'static [&'static str];

fn unfit(reason: CannotProbe) -> ChooseError {
    ChooseError { place: None, reason }
}

fn line(probe: &Probe) -> String {
    let (from, to, family) = (&probe.from, &probe.to, probe.family.name());
    format!("{from} -> {to} {}/{} {family}", probe.port, probe.protocol)
}

fn chosen(manifests: &Manifests, selection: &Selection, expect: Option<&str>) -> Vec<String> {
    let expect = expect.map(expectations);
    match choose(manifests, selection, expect.as_ref()) {
        Ok(probes) => probes.iter().map(line).collect(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// A dual-stack pod, an IPv4 pod, an IPv6 pod without ports, a finished pod, two pods of one
/// node's network, a host and a Service.
fn small() -> Manifests {
    manifests(
        "
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ns}, spec: {containers: [{ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}]}, status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: ns}, spec: {containers: [{ports: [{containerPort: 81}]}]}, status: {podIPs: [{ip: 10.0.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: ns}, spec: {containers: []}, status: {podIPs: [{ip: 'fd00::3'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done, namespace: ns}, spec: {containers: [{ports: [{containerPort: 82}]}]}, status: {phase: Succeeded, podIPs: [{ip: 10.0.0.4}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: pending, namespace: ns}, spec: {containers: [{ports: [{containerPort: 82}]}]}}
---
{apiVersion: policy.lab/v1alpha1, kind: Host, metadata: {name: out}, spec: {address: 192.0.2.1, ports: [{port: 443}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: svc, namespace: ns}, spec: {clusterIP: 10.96.0.1, ports: [{port: 8000, targetPort: 80}]}}
",
    )
}

#[test]
fn every_pod_to_every_other_at_its_declared_ports_in_each_common_family() {
    assert_eq!(
        chosen(&small(), &Selection::default(), None),
        [
            "ns/a -> ns/b 81/TCP IPv4",
            "ns/b -> ns/a 53/UDP IPv4",
            "ns/b -> ns/a 80/TCP IPv4",
            "ns/c -> ns/a 53/UDP IPv6",
            "ns/c -> ns/a 80/TCP IPv6",
        ]
    );
}

#[test]
fn options_narrow_and_extend() {
    #[rustfmt::skip]
    let cases: Vec<(&str, Selection, Wanted)> = vec![
        // claim, (ports, from, to), probes
        ("a port takes the place of declared ones", asked(&[9], &["ns/a"], &[]),
            &["ns/a -> ns/b 9/TCP IPv4", "ns/a -> ns/c 9/TCP IPv6"]),
        ("to a Service, at its own port", asked(&[], &[], &["service/ns/svc"]),
            &["ns/a -> service/ns/svc 8000/TCP IPv4", "ns/b -> service/ns/svc 8000/TCP IPv4"]),
        ("to a host", asked(&[], &["ns/a"], &["host/out"]),
            &["ns/a -> host/out 443/TCP IPv4"]),
        ("from a host", asked(&[], &["host/out"], &["ns/b"]),
            &["host/out -> ns/b 81/TCP IPv4"]),
        ("an address has its owner's ports", asked(&[], &["ns/b"], &["10.0.0.1"]),
            &["ns/b -> 10.0.0.1 53/UDP IPv4", "ns/b -> 10.0.0.1 80/TCP IPv4"]),
        ("an unknown address needs a port", asked(&[7], &["ns/b"], &["198.51.100.1"]),
            &["ns/b -> 198.51.100.1 7/TCP IPv4"]),
        ("a pod itself is left out", asked(&[7], &["ns/b"], &["ns/b", "ns/a"]),
            &["ns/b -> ns/a 7/TCP IPv4"]),
    ];
    for (claim, selection, want) in cases {
        assert_eq!(chosen(&small(), &selection, None), want, "{claim}");
    }
}

#[test]
fn further_ports_are_probed_at_pods_only() {
    let to = ["ns/b", "ns/c", "service/ns/svc"].map(end).to_vec();
    let further_ports = vec![(9, Protocol::Udp)];
    let selection =
        Selection { from: vec![end("ns/a")], to, further_ports, ..Selection::default() };
    let want = [
        "ns/a -> ns/b 9/UDP IPv4",
        "ns/a -> ns/b 81/TCP IPv4",
        "ns/a -> ns/c 9/UDP IPv6",
        "ns/a -> service/ns/svc 8000/TCP IPv4",
    ];
    assert_eq!(chosen(&small(), &selection, None), want);
    let asked = Selection { ports: vec![(7, Protocol::Tcp)], ..selection };
    let lines = chosen(&small(), &asked, None);
    assert!(lines.iter().all(|line| line.contains(" 7/TCP ")), "{lines:?}");
}

#[test]
fn what_is_expected_is_probed_in_any_case() {
    let selection = Selection { to: vec![end("ns/b")], ..Selection::default() };
    let expect = "expect:
- {from: ns/a, to: host/out, port: 444/TCP, verdict: allow}
- {from: ns/a, to: ns/a, port: 80/TCP, family: IPv6, verdict: allow}
";
    assert_eq!(
        chosen(&small(), &selection, Some(expect)),
        ["ns/a -> ns/a 80/TCP IPv6", "ns/a -> ns/b 81/TCP IPv4", "ns/a -> host/out 444/TCP IPv4",]
    );
}

#[test]
fn what_cannot_be_probed_is_an_error() {
    #[rustfmt::skip]
    let cases = [
        ("host/outt",        "there is no host/outt; did you mean host/out?"),
        ("ns/zzzzzzzz",      "there is no ns/zzzzzzzz"),
        ("service/ns/scv",   "there is no service/ns/scv; did you mean service/ns/svc?"),
        ("ns/done",          "ns/done has finished: it neither opens nor takes connections"),
        ("ns/pending",       "ns/pending has no address"),
        ("ns/c",             "ns/c declares no port; name one as in --port 80/TCP"),
        ("198.51.100.1",     "198.51.100.1 declares no port; name one as in --port 80/TCP"),
    ];
    for (to, want) in cases {
        let selection = Selection { to: vec![end(to)], ..Selection::default() };
        assert_eq!(chosen(&small(), &selection, None), [want], "{to}");
    }
    let from = Selection { from: vec![end("service/ns/svc")], ..Selection::default() };
    let error = choose(&small(), &from, None).expect_err("no source");
    assert_eq!(error, [unfit(CannotProbe::ServiceAsSource { end: end("service/ns/svc") })]);
    let expect = "expect: [{from: ns/a, to: ns/nobody-here, port: 1/TCP, verdict: deny}]";
    let errors = chosen(&small(), &Selection::default(), Some(expect));
    assert_eq!(errors, ["test.yaml:1:10: there is no ns/nobody-here"]);
}

#[test]
fn without_any_probe_there_is_an_error() {
    let error = choose(&Manifests::default(), &Selection::default(), None);
    assert_eq!(error, Err(vec![unfit(CannotProbe::NoPods)]));
}

#[test]
fn pods_of_one_nodes_network_are_not_probed_from_one_another() {
    let text = include_str!("../../examples/deny-nodes.yaml").to_owned()
        + "
---
{apiVersion: v1, kind: Pod, metadata: {name: proxy, namespace: kube-system}, spec: {hostNetwork: true, containers: [{ports: [{containerPort: 10249}]}]}, status: {podIPs: [{ip: 192.168.111.11}]}}
";
    let lines = chosen(&manifests(&text), &Selection::default(), None);
    assert!(lines.iter().all(|line| !line.starts_with("kube-system/kubelet -> kube-system/proxy")));
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("kube-system/kubelet -> kube-system/kube-apiserver"))
    );
}

#[test]
fn the_examples_can_be_probed() {
    #[rustfmt::skip]
    let cases = [
        (include_str!("../../examples/three-tier.yaml"), include_str!("../../examples/three-tier.expect.yaml"), 38),
        (include_str!("../../examples/deny-nodes.yaml"), include_str!("../../examples/deny-nodes.expect.yaml"), 21),
        (include_str!("../../examples/deny-nodes-allow-api.yaml"), include_str!("../../examples/deny-nodes-allow-api.expect.yaml"), 20),
    ];
    for (text, expect, count) in cases {
        let expect = expectations(expect);
        let probes =
            choose(&manifests(text), &Selection::default(), Some(&expect)).expect("probes");
        assert_eq!(probes.len(), count, "{:#?}", probes.iter().map(line).collect::<Vec<_>>());
    }
}
