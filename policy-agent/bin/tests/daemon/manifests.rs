//! Manifests that the agent reads.

use anyhow::{Result, anyhow};
use policy_core::model::Snapshot;
use policy_manifest::{Source, read, render};

/// Manifests as the agent reads them.
pub(crate) fn snapshot(text: &str) -> Result<Snapshot> {
    let source = Source { name: "cluster.yaml".to_owned(), text: text.to_owned() };
    let manifests = read(&[source]).map_err(|errors| anyhow!(render(&errors, false)))?;
    Ok(manifests.snapshot)
}

/// The pod at 10.0.0.2 of node `one`.
pub(crate) const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: pod, namespace: default, labels: {app: web}}
spec: {nodeName: one, containers: []}
status: {podIPs: [{ip: 10.0.0.2}]}
";

/// Isolates every pod for ingress and egress; nothing passes.
pub(crate) const DENY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: default}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
";

/// As `DENY`, but UDP port 5000 of the host outside may be reached.
pub(crate) const ALLOW_5000: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: default}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  egress: [{to: [{ipBlock: {cidr: 10.1.0.2/32}}], ports: [{protocol: UDP, port: 5000}]}]
";
