//! Why connections pass or do not, over manifests.

mod candidates;
mod changes;
mod tiers;

use policy_core::{
    explain::{ConnectionEnd, Question},
    model::{Family, ObjectName, Protocol, Snapshot},
};
use policy_manifest::{Source, read, render};

/// A client in `x`, a server in `srv`, and one policy for the server with the rule `RULE`.
pub(crate) const CLUSTER: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: x, labels: {team: red}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: x, labels: {app: client, pod-template-hash: \"5\"}}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: srv, labels: {app: server}}
spec: {containers: [{name: c, image: c, ports: [{name: web, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: srv}
spec: SPEC
";

/// The cluster with a specification for the policy.
pub(crate) fn cluster(spec: &str) -> Snapshot {
    snapshot(&CLUSTER.replace("SPEC", spec))
}

/// What manifests hold.
pub(crate) fn snapshot(text: &str) -> Snapshot {
    let source = Source { name: "test".to_owned(), text: text.to_owned() };
    let manifests = read(&[source]).unwrap_or_else(|errors| panic!("{}", render(&errors, false)));
    manifests.snapshot
}

/// From the client to the server, at a TCP port.
pub(crate) fn question(port: u16) -> Question {
    Question {
        from: ConnectionEnd::Pod(ObjectName::new("x", "client")),
        to: ConnectionEnd::Pod(ObjectName::new("srv", "server")),
        family: Family::Ipv4,
        protocol: Protocol::Tcp,
        port,
    }
}
