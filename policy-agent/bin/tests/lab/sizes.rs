//! Larger clusters, and how long the lab takes for them.

use std::{
    fmt::Write,
    io,
    time::{Duration, Instant},
};

use crate::program::{assert_code, lab_on};

/// Manifests of dual-stack pods on two nodes, each with three ports of TCP and UDP; a policy allows
/// ingress of one pod from one namespace only.
pub(crate) fn cluster(pods: usize) -> String {
    let mut text = String::from(POLICY);
    for number in 0..pods {
        let node = number % 2;
        let _ = write!(
            text,
            "---\n\
             apiVersion: v1\n\
             kind: Pod\n\
             metadata: {{name: pod-{number}, namespace: ns, labels: {{number: \"{number}\"}}}}\n\
             spec:\n  nodeName: node-{node}\n  containers:\n  - name: c\n    image: c\n    ports:\n"
        );
        for port in [80, 443, 5353] {
            for protocol in ["TCP", "UDP"] {
                let _ = writeln!(text, "    - {{containerPort: {port}, protocol: {protocol}}}");
            }
        }
        let _ = writeln!(
            text,
            "status: {{podIPs: [{{ip: 10.244.{node}.{address}}}, {{ip: \"fd00:10:244:{node}::{address:x}\"}}]}}",
            address = number + 10,
        );
    }
    text
}

const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: one, namespace: ns}
spec:
  podSelector: {matchLabels: {number: \"1\"}}
  ingress:
  - from: [{podSelector: {matchLabels: {number: \"2\"}}}]
    ports: [{port: 80}, {port: 5353, protocol: UDP}]
";

#[test]
fn ten_pods_three_ports_two_protocols_take_seconds() -> io::Result<()> {
    let start = Instant::now();
    let output = lab_on(&cluster(10), &["-o", "json"])?;
    let took = start.elapsed();
    assert_code(&output, 0);
    let table: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(table["probes"].as_array().map(Vec::len), Some(10 * 9 * 3 * 2 * 2));
    assert!(took < Duration::from_secs(20), "{took:?}");
    Ok(())
}

/// More pairs of pods than the kernel's neighbour table has entries.
#[test]
fn many_pods_on_bridges_reach_each_other() -> io::Result<()> {
    let output = lab_on(&cluster(50), &["--port", "80", "--topology", "bridge"])?;
    assert_code(&output, 0);
    Ok(())
}
