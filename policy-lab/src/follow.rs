//! What of changed manifests a standing lab can follow. Pure.
//!
//! Policies, labels, namespaces, Services and endpoints change; machines stay as they were built.

use policy_core::model::{FieldPath, Kind, ObjectRef, Pod, Snapshot};
use policy_manifest::{Host, Manifests};

/// `changed` with the machines of `standing`, and a line for each that `changed` would have
/// otherwise.
pub(super) fn followed(standing: &Manifests, changed: Manifests) -> (Manifests, Vec<String>) {
    let mut notes = Vec::new();
    let mut note = |what: &str, how: &str| notes.push(format!("not followed: {what} {how}"));
    let Manifests { mut snapshot, mut hosts, ignored, places } = changed;
    keep_pods(&standing.snapshot, &mut snapshot, &mut note);
    keep_nodes(standing, &mut snapshot, &mut note);
    for name in hosts.keys().filter(|name| !standing.hosts.contains_key(*name)) {
        note(&format!("host/{name}"), "is new");
    }
    hosts.retain(|name, _| standing.hosts.contains_key(name));
    for (name, built) in &standing.hosts {
        let title = format!("host/{name}");
        let host = hosts.entry(name.clone()).or_insert_with(|| {
            note(&title, "is gone");
            built.clone()
        });
        if host.addresses != built.addresses {
            note(&title, "has other addresses");
        }
        *host = Host { addresses: built.addresses.clone(), ports: host.ports.clone() };
    }
    (Manifests { snapshot, hosts, ignored, places }, notes)
}

/// Pods as they were built, with the labels and ports that they have now.
fn keep_pods(standing: &Snapshot, changed: &mut Snapshot, note: &mut impl FnMut(&str, &str)) {
    for name in changed.pods.keys().filter(|name| !standing.pods.contains_key(*name)) {
        note(&name.to_string(), "is new");
    }
    changed.pods.retain(|name, _| standing.pods.contains_key(name));
    for (name, built) in &standing.pods {
        let title = name.to_string();
        let Some(pod) = changed.pods.get_mut(name) else {
            note(&title, "is gone");
            changed.pods.insert(name.clone(), built.clone());
            let namespace = standing.namespaces.get(&name.namespace).cloned();
            let namespaces = &mut changed.namespaces;
            namespaces.entry(name.namespace.clone()).or_insert(namespace.unwrap_or_default());
            continue;
        };
        // A node that no manifest names was chosen for it.
        if pod.node.is_some() && pod.node != built.node {
            note(&title, "is on another node");
        }
        if pod.addresses != built.addresses {
            note(&title, "has other addresses");
        }
        if (pod.host_network, pod.phase) != (built.host_network, built.phase) {
            note(&title, "has another phase or hostNetwork");
        }
        let (labels, ports) = (pod.labels.clone(), pod.ports.clone());
        *pod = Pod { labels, ports, ..built.clone() };
    }
}

/// Nodes as they were built, with the labels that they have now; those have addresses that no
/// manifest names, and some are in none.
fn keep_nodes(standing: &Manifests, changed: &mut Snapshot, note: &mut impl FnMut(&str, &str)) {
    let mut nodes = standing.snapshot.nodes.clone();
    for (name, node) in &changed.nodes {
        let title = format!("node/{name}");
        let Some(built) = nodes.get_mut(name) else {
            note(&title, "is new");
            continue;
        };
        if node.addresses.iter().any(|address| !built.addresses.contains(address)) {
            note(&title, "has other addresses");
        }
        built.labels.clone_from(&node.labels);
    }
    for name in nodes.keys().filter(|name| !changed.nodes.contains_key(*name)) {
        // One that was made up never was in a manifest.
        let object = ObjectRef::cluster_wide(Kind::Node, name.as_str());
        if standing.places.find(&object, &FieldPath::root()).is_some() {
            note(&format!("node/{name}"), "is gone");
        }
    }
    changed.nodes = nodes;
}

#[cfg(test)]
mod tests {
    use policy_manifest::{Source, read};

    use super::*;

    const CLUSTER: &str = "\
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ns, labels: {app: a}}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: other}, status: {podIPs: [{ip: 10.0.0.2}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: node}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}
---
{apiVersion: policy.lab/v1alpha1, kind: Host, metadata: {name: out}, spec: {address: 203.0.113.1}}
";

    fn manifests(text: &str) -> Manifests {
        let source = Source { name: "-".to_owned(), text: text.to_owned() };
        read(&[source]).expect("the text of a test")
    }

    #[test]
    fn labels_are_followed_and_nothing_is_noted() {
        let standing = manifests(CLUSTER);
        let (followed, notes) =
            followed(&standing, manifests(&CLUSTER.replace("app: a", "app: x")));
        assert!(notes.is_empty(), "{notes:?}");
        let labels: Vec<_> = followed.snapshot.pods.values().map(|pod| &pod.labels).collect();
        assert_eq!(labels[0].get("app").map(String::as_str), Some("x"));
    }

    #[test]
    fn labels_of_nodes_are_followed_and_a_node_that_was_made_up_is_not_missed() {
        let mut standing = manifests(CLUSTER);
        standing.snapshot.nodes.entry("made-up".to_owned()).or_default();
        let labelled = CLUSTER.replace("{name: node}", "{name: node, labels: {zone: a}}");
        let (followed, notes) = followed(&standing, manifests(&labelled));
        assert!(notes.is_empty(), "{notes:?}");
        let mut want = standing.snapshot.nodes;
        let node = want.get_mut("node").expect("it is in the text");
        node.labels.insert("zone".to_owned(), "a".to_owned());
        assert_eq!(followed.snapshot.nodes, want);
    }

    #[test]
    fn machines_are_not() {
        let standing = manifests(CLUSTER);
        #[rustfmt::skip]
        let cases = [
            ("10.0.0.1}",      "10.0.0.9}",    "ns/a has other addresses"),
            ("name: b,",       "name: c,",     "other/c is new"),
            ("name: b,",       "name: c,",     "other/b is gone"),
            ("192.168.0.1",    "192.168.0.2",  "node/node has other addresses"),
            ("name: node}",    "name: other}", "node/other is new"),
            ("name: node}",    "name: other}", "node/node is gone"),
            ("203.0.113.1",    "203.0.113.2",  "host/out has other addresses"),
            ("name: out",      "name: far",    "host/far is new"),
            ("name: out",      "name: far",    "host/out is gone"),
        ];
        for (from, to, line) in cases {
            let (followed, notes) = followed(&standing, manifests(&CLUSTER.replace(from, to)));
            let line = format!("not followed: {line}");
            assert!(notes.contains(&line), "{line:?} is not in {notes:?}");
            assert_eq!(followed.snapshot.pods, standing.snapshot.pods);
            assert_eq!(followed.snapshot.nodes, standing.snapshot.nodes);
            assert_eq!(followed.snapshot.namespaces, standing.snapshot.namespaces);
            assert_eq!(followed.hosts, standing.hosts);
        }
    }
}
