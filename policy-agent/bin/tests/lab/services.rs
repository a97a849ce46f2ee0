//! Services are translated as kube-proxy does, in both families and topologies.

use std::io;

use crate::program::{TOPOLOGIES, all_output, assert_code, expect_on, lab_on};

/// Two nodes, two dual-stack servers behind a Service, a client, a host.
const CLUSTER: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: a}
status: {addresses: [{type: InternalIP, address: 192.168.1.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: b}
status: {addresses: [{type: InternalIP, address: 192.168.1.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: ns, labels: {app: web}}
spec: {nodeName: a, containers: [{name: c, image: c, ports: [{containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.244.0.5}, {ip: "fd00:10:244::5"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: ns, labels: {app: web, number: "2"}}
spec: {nodeName: b, containers: [{name: c, image: c, ports: [{containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.244.1.5}, {ip: "fd00:10:244:1::5"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: ns, labels: {app: client}}
spec: {nodeName: a, containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.244.0.6}, {ip: "fd00:10:244::6"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: ns}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00:96::10"]
  ipFamilies: [IPv4, IPv6]
  ports:
  - {name: http, port: 80, targetPort: 8080, protocol: TCP, nodePort: 30080}
  - {name: dns, port: 53, targetPort: 8080, protocol: UDP}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-4, namespace: ns, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}, {name: dns, port: 8080, protocol: UDP}]
endpoints:
- {addresses: [10.244.0.5], conditions: {ready: true}}
- {addresses: [10.244.1.5], conditions: {ready: true}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-6, namespace: ns, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{name: http, port: 8080, protocol: TCP}, {name: dns, port: 8080, protocol: UDP}]
endpoints:
- {addresses: ["fd00:10:244::5"], conditions: {ready: true}}
- {addresses: ["fd00:10:244:1::5"], conditions: {ready: true}}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: ns}
spec: {clusterIP: 10.96.0.11, clusterIPs: [10.96.0.11], ports: [{port: 80, protocol: TCP}]}
---
apiVersion: policy.lab/v1alpha1
kind: Host
metadata: {name: outside}
spec: {addresses: [203.0.113.10, "2001:db8::10"], ports: [{port: 443, protocol: TCP}]}
"#;

fn run(policies: &str, expectations: &str) -> io::Result<()> {
    let text = format!("{CLUSTER}{policies}");
    // Backends are selected at random: a single run could pass by chance.
    for _ in 0..3 {
        expect_on(&text, expectations)?;
    }
    Ok(())
}

/// The server itself is among the clients: a backend that reaches itself (S39).
#[test]
fn services_are_reached_by_pods_by_their_own_backends_and_from_outside() -> io::Result<()> {
    run(
        "",
        "expect:
- {from: ns/client, to: service/ns/web, port: 80/TCP, verdict: allow}
- {from: ns/client, to: service/ns/web, port: 53/UDP, verdict: allow}
- {from: ns/one, to: service/ns/web, port: 80/TCP, verdict: allow}
- {from: ns/two, to: service/ns/web, port: 53/UDP, verdict: allow}
- {from: host/outside, to: service/ns/web, port: 80/TCP, verdict: allow}
",
    )
}

/// S40, S42.
#[test]
fn egress_to_a_service_is_judged_by_its_backends() -> io::Result<()> {
    let policy = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: client, namespace: ns}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}]
";
    run(
        policy,
        "expect:
- {from: ns/client, to: service/ns/web, port: 80/TCP, verdict: allow}
- {from: ns/client, to: service/ns/web, port: 53/UDP, verdict: deny}
- {from: ns/client, to: service/ns/empty, port: 80/TCP, verdict: deny}
- {from: ns/client, to: host/outside, port: 443/TCP, verdict: deny}
",
    )
}

/// One of two backends is denied: kube-proxy sends every second connection to it.
#[test]
fn a_denied_backend_is_found() -> io::Result<()> {
    let policy = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: two, namespace: ns}
spec:
  podSelector: {matchLabels: {number: \"2\"}}
  ingress: []
";
    run(
        policy,
        "expect:
- {from: ns/client, to: service/ns/web, port: 80/TCP, verdict: deny}
",
    )
}

/// Allows the client `one` of the two backends, and nodes; nobody may connect to `two`.
const SOME: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: client, namespace: ns}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress:
  - to: [{podSelector: {matchLabels: {app: web}, matchExpressions: [{key: number, operator: DoesNotExist}]}}]
    ports: [{port: 8080}, {port: 8080, protocol: UDP}]
  - to: [{ipBlock: {cidr: 192.168.1.0/24}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: two, namespace: ns}
spec:
  podSelector: {matchLabels: {number: \"2\"}}
  ingress: []
";

/// kube-proxy would send every second connection to `two`.
#[test]
fn s40_connections_go_to_the_allowed_backends_alone() -> io::Result<()> {
    run(
        SOME,
        "expect:
- {from: ns/client, to: service/ns/web, port: 80/TCP, verdict: allow}
- {from: ns/client, to: service/ns/web, port: 53/UDP, verdict: allow}
- {from: ns/client, to: ns/two, port: 8080/TCP, verdict: deny}
",
    )
}

#[test]
fn s40_node_ports_lead_to_the_allowed_backends_alone() -> io::Result<()> {
    let text = format!("{CLUSTER}{SOME}");
    for topology in TOPOLOGIES {
        let ends = ["--from", "ns/client", "--to", "192.168.1.2", "--to", "192.168.1.1"];
        let output =
            lab_on(&text, &[&ends[..], &["--topology", topology, "--port", "30080"]].concat())?;
        assert_code(&output, 0);
        assert!(all_output(&output).contains("2 allowed"), "{}", all_output(&output));
    }
    Ok(())
}

#[test]
fn node_ports_are_translated_for_pods_and_from_outside() -> io::Result<()> {
    for topology in TOPOLOGIES {
        let ends = ["--from", "ns/client", "--from", "host/outside", "--to", "192.168.1.2"];
        let node_port = ["--topology", topology, "--port", "30080"];
        let output = lab_on(CLUSTER, &[&ends[..], &node_port[..]].concat())?;
        assert_code(&output, 0);
        assert!(all_output(&output).contains("2 allowed"), "{}", all_output(&output));
    }
    Ok(())
}

#[test]
fn a_service_without_backends_is_no_deny() -> io::Result<()> {
    let output = lab_on(CLUSTER, &["--from", "ns/client", "--to", "service/ns/empty"])?;
    assert_code(&output, 0);
    assert!(all_output(&output).contains("no policy applies; refused"), "{}", all_output(&output));
    Ok(())
}
