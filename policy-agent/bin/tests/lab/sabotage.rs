//! A dataplane with a part left out is noticed: a broken lab never looks like a strict policy.

use std::{io, process::Output};

use crate::program::{TOPOLOGIES, assert_code, lab, lab_on, told};

/// Without expectations: the lab has to notice by itself.
fn without(part: &str, topology: &str) -> io::Result<Output> {
    let file = ["-f", "examples/three-tier.yaml"];
    lab(&file).args(["--without", part, "--topology", topology]).output()
}

fn is_noticed(part: &str, line: &str) -> io::Result<()> {
    for topology in TOPOLOGIES {
        let output = without(part, topology)?;
        assert_code(&output, 1);
        let text = told(&output);
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

/// The pod's egress drops the answers to what should not have reached it: that is no denial.
#[test]
fn ingress_left_out_is_noticed_at_a_pod_that_may_not_answer() -> io::Result<()> {
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

/// S46: the victim of the example may send anything to the receiver, so that nothing but the
/// check of sources is in the way.
#[test]
fn a_borrowed_address_gets_through_where_sources_are_not_checked() -> io::Result<()> {
    for topology in TOPOLOGIES {
        let file = ["-f", "examples/spoofed-source.yaml", "--without", "anti-spoofing"];
        let output = lab(&file).args(["--topology", topology]).output()?;
        assert_code(&output, 1);
        let text = told(&output);
        for line in ["sending as 10.244.0.11 to shop/vault (10.244.1.10)) got through", "fd00"] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }
    Ok(())
}

/// The last address of a subnet is the broadcast address of its bridge: nothing gets there.
#[test]
fn a_lab_that_does_not_work_without_policies_gives_no_verdict() -> io::Result<()> {
    let output = lab_on(UNREACHABLE, &["--topology", "bridge"])?;
    assert_code(&output, 3);
    let text = told(&output);
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
