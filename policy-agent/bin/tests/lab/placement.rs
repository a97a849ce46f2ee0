//! Pods at unusual places: subnets that nodes share, host-network pods, hosts outside the cluster.

use std::io;

use crate::program::{TOPOLOGIES, all_output, assert_code, expect_on, lab};

/// Three nodes without Node objects and with pods of one subnet; two host-network pods with one
/// address and port; a dual-stack host.
const CLUSTER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: p0, namespace: ns, labels: {num: "0"}}
spec: {nodeName: a, containers: [{name: c, image: c, ports: [{containerPort: 80},{containerPort: 53, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.0.0.5}, {ip: "fd00::5"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p1, namespace: ns, labels: {num: "1"}}
spec: {nodeName: b, containers: [{name: c, image: c, ports: [{containerPort: 80},{containerPort: 53, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.0.0.6}, {ip: "fd00::6"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p2, namespace: ns, labels: {num: "2"}}
spec: {nodeName: c, containers: [{name: c, image: c, ports: [{containerPort: 80},{containerPort: 53, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.0.0.7}, {ip: "fd00::7"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p3, namespace: ns, labels: {num: "3"}}
spec: {nodeName: a, containers: [{name: c, image: c, ports: [{containerPort: 80},{containerPort: 53, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.0.0.8}, {ip: "fd00::8"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p4, namespace: ns, labels: {num: "4"}}
spec: {nodeName: a, containers: [{name: c, image: c, ports: [{containerPort: 80},{containerPort: 53, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.0.1.1}, {ip: "fd00:1::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: hn, namespace: ns}
spec: {nodeName: a, hostNetwork: true, containers: [{name: c, image: c, ports: [{containerPort: 8080}]}]}
status: {podIPs: [{ip: 192.168.7.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: hn2, namespace: ns}
spec: {nodeName: a, hostNetwork: true, containers: [{name: c, image: c, ports: [{containerPort: 8080}]}]}
status: {podIPs: [{ip: 192.168.7.1}]}
---
apiVersion: policy.lab/v1alpha1
kind: Host
metadata: {name: out}
spec: {addresses: [203.0.113.10, "2001:db8::10"], ports: [{port: 443, protocol: TCP}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: x, namespace: ns}
spec:
  podSelector: {matchLabels: {num: "0"}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {matchLabels: {num: "3"}}},{ipBlock: {cidr: 203.0.113.0/24}}]}]
  egress: [{to: [{podSelector: {matchLabels: {num: "1"}}}]}]
"#;

const EXPECTATIONS: &str = "\
expect:
- {from: host/out, to: ns/p0, port: 80/TCP, family: IPv4, verdict: allow}
- {from: host/out, to: ns/p0, port: 80/TCP, family: IPv6, verdict: deny}
- {from: ns/p0, to: host/out, port: 443/TCP, verdict: deny}
- {from: ns/p1, to: host/out, port: 443/TCP, verdict: allow}
- {from: ns/hn, to: ns/p0, port: 80/TCP, verdict: allow}
- {from: ns/p0, to: ns/hn, port: 8080/TCP, verdict: deny}
";

#[test]
fn pods_are_reached_wherever_they_are() -> io::Result<()> {
    expect_on(CLUSTER, EXPECTATIONS).map(drop)
}

/// S38: no manifest has the gateway address of a node's pods, yet it is an address of the node.
#[test]
fn the_gateway_address_of_pods_is_their_nodes() -> io::Result<()> {
    for topology in TOPOLOGIES {
        let ends = ["--from", "kube-system/kubelet", "--from", "shop/neighbour"];
        let gateway = ["--to", "10.244.1.1", "--port", "10250", "--topology", topology];
        let file = ["-f", "examples/gateway-address.yaml"];
        let output = lab(&[&file[..], &ends, &gateway].concat()).output()?;
        assert_code(&output, 0);
        let text = all_output(&output);
        assert!(
            text.contains("10.244.1.1 is the gateway address of the pods of node node-b"),
            "{text}"
        );
    }
    Ok(())
}
