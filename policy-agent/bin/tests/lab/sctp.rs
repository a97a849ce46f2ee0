//! SCTP is probed and judged apart from TCP, even if the kernel has no SCTP sockets.

use std::io;

use crate::program::{all_output, assert_code, expect_on, lab_on};

/// Two nodes, a dual-stack server with SCTP and TCP at the same ports, its Service, two clients.
const CLUSTER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: ns, labels: {app: server}}
spec:
  nodeName: a
  containers:
  - name: c
    image: c
    ports:
    - {containerPort: 3868, protocol: SCTP}
    - {containerPort: 3868, protocol: TCP}
    - {containerPort: 36412, protocol: SCTP}
status: {podIPs: [{ip: 10.244.0.5}, {ip: "fd00:10:244::5"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: friend, namespace: ns, labels: {app: friend}}
spec: {nodeName: b, containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.244.1.5}, {ip: "fd00:10:244:1::5"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: ns, labels: {app: stranger}}
spec: {nodeName: a, containers: [{name: c, image: c, ports: [{containerPort: 3868, protocol: SCTP}]}]}
status: {podIPs: [{ip: 10.244.0.6}, {ip: "fd00:10:244::6"}]}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: ns}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00:96::10"]
  ipFamilies: [IPv4, IPv6]
  selector: {app: server}
  ports: [{name: diameter, port: 1234, targetPort: 3868, protocol: SCTP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: server-4, namespace: ns, labels: {kubernetes.io/service-name: server}}
addressType: IPv4
ports: [{name: diameter, port: 3868, protocol: SCTP}]
endpoints: [{addresses: [10.244.0.5], conditions: {ready: true}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: server-6, namespace: ns, labels: {kubernetes.io/service-name: server}}
addressType: IPv6
ports: [{name: diameter, port: 3868, protocol: SCTP}]
endpoints: [{addresses: ["fd00:10:244::5"], conditions: {ready: true}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server, namespace: ns}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: friend}}}]
    ports: [{port: 3868, protocol: SCTP}]
"#;

/// S25, S27.
#[test]
fn sctp_is_probed_and_distinct() -> io::Result<()> {
    let expectations = "\
default: deny
expect:
- {from: ns/friend, to: ns/server, port: 3868/SCTP, verdict: allow}
- {from: ns/friend, to: ns/server, port: 36412/SCTP, verdict: deny}
- {from: ns/friend, to: ns/server, port: 3868/TCP, verdict: deny}
- {from: ns/stranger, to: ns/server, port: 3868/SCTP, verdict: deny}
- {from: ns/server, to: ns/stranger, port: 3868/SCTP, verdict: allow}
- {from: ns/friend, to: ns/stranger, port: 3868/SCTP, verdict: allow}
- {from: ns/friend, to: service/ns/server, port: 1234/SCTP, verdict: allow}
- {from: ns/stranger, to: service/ns/server, port: 1234/SCTP, verdict: deny}
";
    for text in expect_on(CLUSTER, expectations)? {
        assert!(!text.contains("cannot be probed:"), "{text}");
    }
    Ok(())
}

/// A deny of SCTP needs a drop record.
#[test]
fn a_dataplane_without_ingress_is_noticed_by_sctp() -> io::Result<()> {
    let output = lab_on(CLUSTER, &["--port", "3868/SCTP", "--without", "ingress"])?;
    assert_code(&output, 1);
    assert!(all_output(&output).contains("Wire and compiler disagree"), "{}", all_output(&output));
    Ok(())
}
