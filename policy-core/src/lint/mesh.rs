//! NP021: the port of a service mesh, over which its pods connect, is not allowed.
//!
//! Pods of a mesh do not connect to the port of the application. A rule for that port alone admits
//! nothing from the mesh:
//!
//! ```text
//! namespace shop, istio.io/dataplane-mode: ambient
//! ingress: from front at TCP 8080      the packets arrive at TCP 15008: denied
//! ingress: from front at TCP 15008     allowed
//! ```

use crate::model::{Direction, FieldPath, Labels, ObjectName, Peer, Protocol};

use super::{
    companions::{covers_peer, rules_around},
    context::{Context, LocatedRule, policy_field, rules_of},
    finding::{Level, Report},
    rule_ports::hold,
};

/// A service mesh.
struct Mesh {
    name: &'static str,
    /// The TCP port of a pod that receives the connections of other pods of the mesh.
    port: u16,
}

/// Istio without sidecars: the node's ztunnel encapsulates connections (HBONE).
const AMBIENT: Mesh = Mesh { name: "Istio's ambient mode", port: 15008 };

/// Linkerd: the proxy of the pod receives connections.
const LINKERD: Mesh = Mesh { name: "Linkerd", port: 4143 };

/// Rules for pods of a mesh that lack its port, and policies that deny it with all others.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for (name, policy) in &context.snapshot.policies {
        let Some(mesh) = mesh_of(context, &name.namespace) else { continue };
        let port = mesh.port;
        for direction in Direction::BOTH.into_iter().filter(|one| policy.applies(*one)) {
            let rules = rules_of(name, policy, direction);
            for located in rules.filter(|located| is_shut(context, mesh, located)) {
                report.add(
                    located.at(located.path()),
                    Level::Warning,
                    format!("pods of {} connect over port {port}, which no rule allows", mesh.name),
                    format!("add port {port} over TCP to its ports"),
                );
            }
        }
        if policy.applies(Direction::Ingress) && !has_rules(context, name) {
            report.add(
                policy_field(name, FieldPath::root()),
                Level::Note,
                format!("it denies port {port} too, over which pods of {} connect", mesh.name),
                format!("a rule for a port of a pod needs port {port} over TCP beside it"),
            );
        }
    }
}

/// The mesh of the pods of a namespace.
fn mesh_of(context: &Context<'_>, namespace: &str) -> Option<&'static Mesh> {
    let found = context.snapshot.namespaces.get(namespace)?;
    let is = |labels: &Labels, key: &str, value: &str| {
        labels.get(key).is_some_and(|found| found == value)
    };
    if is(&found.labels, "istio.io/dataplane-mode", "ambient") {
        return Some(&AMBIENT);
    }
    let in_linkerd = found.injects_linkerd || is(&found.labels, "linkerd.io/inject", "enabled");
    in_linkerd.then_some(&LINKERD)
}

/// Whether a rule is for pods of the mesh, and no rule allows them the port of the mesh.
fn is_shut(context: &Context<'_>, mesh: &Mesh, located: &LocatedRule<'_>) -> bool {
    let LocatedRule { name, policy, direction, rule, .. } = *located;
    // A mesh carries TCP alone.
    if rule.ports.is_empty() || !rule.ports.iter().any(|port| port.protocol == Protocol::Tcp) {
        return false;
    }
    let is_allowed = |peer: Option<&Peer>| {
        let mut rules = rules_around(context, name, policy, direction);
        rules.any(|wide| {
            hold(&wide.ports, Protocol::Tcp, mesh.port)
                && covers_peer(context, &name.namespace, wide, peer)
        })
    };
    if rule.peers.is_empty() {
        // Egress to everyone is mostly for what is outside of the mesh.
        return direction == Direction::Ingress && !is_allowed(None);
    }
    let mut peers = rule.peers.iter().filter(|peer| in_mesh(context, &name.namespace, peer));
    peers.any(|peer| !is_allowed(Some(peer)))
}

/// Whether pods that a peer matches are in a mesh.
fn in_mesh(context: &Context<'_>, own: &str, peer: &Peer) -> bool {
    let Peer::Pods { namespaces, .. } = peer else { return false };
    if context.has_pods {
        let pods = context.peer_pods(own, peer);
        return pods.iter().any(|(pod, _)| mesh_of(context, &pod.namespace).is_some());
    }
    let mut all = context.snapshot.namespaces.keys();
    all.any(|namespace| {
        context.in_namespaces(own, namespaces.as_ref(), namespace)
            && mesh_of(context, namespace).is_some()
    })
}

/// Whether a policy of the namespace has ingress rules: then their findings say what is missing.
fn has_rules(context: &Context<'_>, name: &ObjectName) -> bool {
    context.snapshot.policies_of(&name.namespace).any(|(_, policy)| !policy.ingress.is_empty())
}
