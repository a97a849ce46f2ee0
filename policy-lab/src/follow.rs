//! Which changes of the manifests a running lab applies. Pure.
//!
//! Input: the manifests in force and the changed ones. Output: what to put in force, and one note for
//! each change that is not applied. Policies, labels, ports, namespaces, Services and endpoints
//! change; machines (pods, nodes, hosts) keep the addresses and the places that they were built
//! with. For example, a new label of a pod is applied; a new pod gives the note
//! `not followed: ns/new is new`.

use policy_core::model::{FieldPath, Kind, ObjectRef, Pod, Snapshot};
use policy_manifest::{Host, Manifests};

/// Returns `changed` with the machines of `running`, and a note for each machine that differs.
pub(crate) fn with_machines_of(
    running: &Manifests,
    changed: Manifests,
) -> (Manifests, Vec<String>) {
    let mut notes = Vec::new();
    let mut note = |what: &str, how: &str| notes.push(format!("not followed: {what} {how}"));
    let Manifests { mut snapshot, mut hosts, ignored, left_out, made_up, places, routes } = changed;
    keep_pods(&running.snapshot, &mut snapshot, &mut note);
    keep_nodes(running, &mut snapshot, &mut note);
    for name in hosts.keys().filter(|name| !running.hosts.contains_key(*name)) {
        note(&format!("host/{name}"), "is new");
    }
    hosts.retain(|name, _| running.hosts.contains_key(name));
    for (name, built) in &running.hosts {
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
    (Manifests { snapshot, hosts, ignored, left_out, made_up, places, routes }, notes)
}

/// Keeps the pods as they were built, with their new labels and ports.
fn keep_pods(running: &Snapshot, changed: &mut Snapshot, note: &mut impl FnMut(&str, &str)) {
    for name in changed.pods.keys().filter(|name| !running.pods.contains_key(*name)) {
        note(&name.to_string(), "is new");
    }
    changed.pods.retain(|name, _| running.pods.contains_key(name));
    for (name, built) in &running.pods {
        let title = name.to_string();
        let Some(pod) = changed.pods.get_mut(name) else {
            note(&title, "is gone");
            changed.pods.insert(name.clone(), built.clone());
            let namespace = running.namespaces.get(&name.namespace).cloned();
            let namespaces = &mut changed.namespaces;
            namespaces.entry(name.namespace.clone()).or_insert(namespace.unwrap_or_default());
            continue;
        };
        // Where the manifest names no node, the lab has chosen one.
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

/// Keeps the nodes as they were built, with their new labels.
///
/// A node may have an address, or exist at all, only because the lab added it.
fn keep_nodes(running: &Manifests, changed: &mut Snapshot, note: &mut impl FnMut(&str, &str)) {
    let mut nodes = running.snapshot.nodes.clone();
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
        // A node that the lab has added was in no manifest.
        let object = ObjectRef::cluster_wide(Kind::Node, name.as_str());
        if running.places.find(&object, &FieldPath::root()).is_some() {
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
        let running = manifests(CLUSTER);
        let (followed, notes) =
            with_machines_of(&running, manifests(&CLUSTER.replace("app: a", "app: x")));
        assert!(notes.is_empty(), "{notes:?}");
        let labels: Vec<_> = followed.snapshot.pods.values().map(|pod| &pod.labels).collect();
        assert_eq!(labels[0].get("app").map(String::as_str), Some("x"));
    }

    #[test]
    fn labels_of_nodes_are_followed_and_an_added_node_is_not_reported_as_gone() {
        let mut running = manifests(CLUSTER);
        running.snapshot.nodes.entry("added".to_owned()).or_default();
        let labelled = CLUSTER.replace("{name: node}", "{name: node, labels: {zone: a}}");
        let (followed, notes) = with_machines_of(&running, manifests(&labelled));
        assert!(notes.is_empty(), "{notes:?}");
        let mut want = running.snapshot.nodes;
        let node = want.get_mut("node").expect("it is in the text");
        node.labels.insert("zone".to_owned(), "a".to_owned());
        assert_eq!(followed.snapshot.nodes, want);
    }

    #[test]
    fn machines_are_not_followed() {
        let running = manifests(CLUSTER);
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
            let (followed, notes) =
                with_machines_of(&running, manifests(&CLUSTER.replace(from, to)));
            let line = format!("not followed: {line}");
            assert!(notes.contains(&line), "{line:?} is not in {notes:?}");
            assert_eq!(followed.snapshot.pods, running.snapshot.pods);
            assert_eq!(followed.snapshot.nodes, running.snapshot.nodes);
            assert_eq!(followed.snapshot.namespaces, running.snapshot.namespaces);
            assert_eq!(followed.hosts, running.hosts);
        }
    }
}
