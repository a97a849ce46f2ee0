//! A missing part of the dataplane is noticed: a broken lab never looks like a strict policy.

use std::{io, process::Output};

use crate::program::{TOPOLOGIES, all_output, assert_code, lab, lab_on};

/// Without expectations, so that only the comparison with the compiler can notice.
fn without(part: &str, topology: &str) -> io::Result<Output> {
    let file = ["-f", "examples/three-tier.yaml"];
    lab(&file).args(["--without", part, "--topology", topology]).output()
}

fn is_noticed(part: &str, line: &str) -> io::Result<()> {
    for topology in TOPOLOGIES {
        let output = without(part, topology)?;
        assert_code(&output, 1);
        let text = all_output(&output);
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    Ok(())
}

#[test]
fn ingress_left_out_is_noticed() -> io::Result<()> {
    is_noticed("ingress", "Wire and compiler disagree")
}

#[test]
fn egress_left_out_is_noticed() -> io::Result<()> {
    is_noticed("egress", "Wire and compiler disagree")
}

/// The egress program drops the responses to packets that should not have reached the pod: such
/// a drop does not count as a deny.
#[test]
fn ingress_left_out_is_noticed_at_a_pod_whose_responses_are_dropped() -> io::Result<()> {
    for topology in TOPOLOGIES {
        let options = ["--without", "ingress", "--topology", topology];
        let output = lab_on(CAGE, &options)?;
        assert_code(&output, 1);
        assert_code(&lab_on(CAGE, &options[2..])?, 0);
    }
    Ok(())
}

#[test]
fn ipv6_left_out_is_noticed() -> io::Result<()> {
    is_noticed("ipv6", "IPv6")
}

/// S46.
#[test]
fn anti_spoofing_left_out_is_noticed() -> io::Result<()> {
    is_noticed("anti-spoofing", "a forged source address")
}

/// S46: in the example the policies allow the forged source address, so only anti-spoofing can drop
/// the packet.
#[test]
fn a_forged_source_is_received_without_anti_spoofing() -> io::Result<()> {
    for topology in TOPOLOGIES {
        let file = ["-f", "examples/spoofed-source.yaml", "--without", "anti-spoofing"];
        let output = lab(&file).args(["--topology", topology]).output()?;
        assert_code(&output, 1);
        let text = all_output(&output);
        for line in ["sending as 10.244.0.11 to shop/vault (10.244.1.10)) was received", "fd00"] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }
    Ok(())
}

/// One pod has the broadcast address of its bridge, which no packet reaches.
#[test]
fn a_lab_that_fails_without_policies_gives_no_verdict() -> io::Result<()> {
    let output = lab_on(UNREACHABLE, &["--topology", "bridge"])?;
    assert_code(&output, 3);
    let text = all_output(&output);
    let line = "ns/a -> ns/b 80/TCP IPv4";
    assert!(text.contains(line), "{line:?} is not in\n{text}");
    assert!(output.stdout.is_empty(), "{text}");
    Ok(())
}

const CAGE: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: open, namespace: ns}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.1.0.5}, {ip: 'fd00:1::5'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: caged, namespace: ns, labels: {app: caged}}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.1.0.6}, {ip: 'fd00:1::6'}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cage, namespace: ns}
spec: {podSelector: {matchLabels: {app: caged}}, policyTypes: [Ingress, Egress]}
";

const UNREACHABLE: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: ns}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: ns}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.255}]}
";
