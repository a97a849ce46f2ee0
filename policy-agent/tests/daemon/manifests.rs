//! What the agent is told.

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
