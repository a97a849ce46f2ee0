//! The change that is proposed is small, and does what it says.

use std::{fs, path::Path};

use policy_core::{
    compile::{Scope, compile},
    explain::{PolicyChange, Side, explain, sides},
    model::Direction,
};
use policy_manifest::{Source, read};
use policy_probe::{Selection, choose};

use crate::{CLUSTER, cluster, question, snapshot};

#[test]
fn the_smallest_change_opens_what_was_asked_for() {
    const RULE: &str = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: \"x\"}}, podSelector: {matchLabels: {app: \"client\"}}}";
    let whole = format!("{{from: [{RULE}], ports: [{{protocol: TCP, port: 80}}]}}");
    #[rustfmt::skip]
    let cases = [
        // claim                                      rules                                                            where                     what
        ("a port, where the peer is right",           "[{from: [{namespaceSelector: {matchLabels: {team: red}}}], ports: [{port: 81}]}]", "spec.ingress[0].ports", "{protocol: TCP, port: 80}"),
        ("the narrower of two such rules",            "[{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 81}]}, {from: [{namespaceSelector: {matchLabels: {team: red}}}], ports: [{port: 81}]}]", "spec.ingress[1].ports", "{protocol: TCP, port: 80}"),
        ("a rule, where the peer means others too",   "[{from: [{namespaceSelector: {}}], ports: [{port: 81}]}]",      "spec.ingress",           whole.as_str()),
        ("a rule, where there are more ports",        "[{from: [{podSelector: {}}], ports: [{port: 80, endPort: 81}]}]", "spec.ingress",         whole.as_str()),
        ("a peer, where the port is right",           "[{from: [{podSelector: {}}], ports: [{port: 80}]}]",            "spec.ingress[0].from",   RULE),
        ("a rule, where both are wrong",              "[{from: [{podSelector: {}}], ports: [{port: 81}]}]",            "spec.ingress",           whole.as_str()),
        ("a rule, where there is none",               "[]",                                                            "spec.ingress",           whole.as_str()),
        ("no peer where that would open every port",  "[{from: [{podSelector: {}}]}]",                                 "spec.ingress",           whole.as_str()),
        ("no port where that would let everyone in",  "[{ports: [{port: 81}]}]",                                       "spec.ingress",           whole.as_str()),
    ];
    for (claim, rules, field, yaml) in cases {
        let mut snapshot = cluster(&format!("{{podSelector: {{}}, ingress: {rules}}}"));
        let side = sides(&snapshot, &question(80)).remove(0);
        let change = PolicyChange::smallest(&snapshot, &side).expect("a denied connection");
        assert_eq!(
            (change.field().to_string(), change.yaml()),
            (field.to_owned(), yaml.to_owned()),
            "{claim}"
        );
        change.apply(&mut snapshot);
        let desired = compile(&snapshot, Scope::Cluster).0;
        let explanation = explain(&snapshot, &desired, &question(80)).expect("both ends exist");
        assert!(explanation.allowed(), "{claim}");
    }
}

#[test]
fn the_policy_of_fewer_pods_is_changed() {
    const OTHERS: &str = "\
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: srv}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.0.3}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: q, namespace: srv}
spec: {podSelector: {matchLabels: {app: server}}}
";
    let snapshot = snapshot(&(CLUSTER.replace("SPEC", "{podSelector: {}}") + OTHERS));
    let side = sides(&snapshot, &question(80)).remove(0);
    let change = PolicyChange::smallest(&snapshot, &side).expect("a denied connection");
    assert_eq!(change.policy.to_string(), "srv/q");
}

#[test]
fn s08_nothing_is_proposed_for_an_address_of_two_pods() {
    const TWIN: &str = "\
---
apiVersion: v1
kind: Pod
metadata: {name: twin, namespace: x}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.0.1}]}
";
    let snapshot = snapshot(&(CLUSTER.replace("SPEC", "{podSelector: {}}") + TWIN));
    let side = sides(&snapshot, &question(80)).remove(0);
    assert_eq!(PolicyChange::smallest(&snapshot, &side), None);
}

#[test]
fn s54_what_is_proposed_can_be_read_back() {
    const KEYS: &str = "{\"1\": b, \"1e3\": c, \"null\": d, \"on\": e, \"Y\": f, app.kubernetes.io/name: g, \"1.5/x\": h}";
    let text = CLUSTER.replace("{app: client, pod-template-hash: \"5\"}", KEYS);
    let denied = snapshot(&text.replace("SPEC", "{podSelector: {}}"));
    let side = sides(&denied, &question(80)).remove(0);
    let change = PolicyChange::smallest(&denied, &side).expect("a denied connection");
    let spec = format!("{{podSelector: {{}}, ingress: [{}]}}", change.yaml());
    let side = sides(&snapshot(&text.replace("SPEC", &spec)), &question(80)).remove(0);
    assert!(side.allowed(), "{spec}");
}

#[test]
fn nothing_is_proposed_for_what_passes() {
    let snapshot = cluster("{podSelector: {}, ingress: [{}]}");
    let side = sides(&snapshot, &question(80)).remove(0);
    assert_eq!(PolicyChange::smallest(&snapshot, &side), None);
}

/// Every manifest under `examples/`.
fn examples(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = path.display().to_string();
        if path.is_dir() {
            examples(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml")
            && !name.ends_with(".expect.yaml")
        {
            let text = fs::read_to_string(&path).expect("a file");
            found.push(Source { name, text });
        }
    }
}

#[test]
fn sides_agree_with_the_compiler_and_changes_open_each_denied_one() {
    let mut sources = Vec::new();
    examples(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"), &mut sources);
    let mut opened = 0;
    for source in sources {
        // Files that are a part of an example say nothing by themselves.
        let Ok(manifests) = read(std::slice::from_ref(&source)) else { continue };
        let snapshot = &manifests.snapshot;
        let Ok(probes) = choose(&manifests, &Selection::default(), None) else { continue };
        let desired = compile(snapshot, Scope::Cluster).0;
        for probe in probes {
            let question = probe.question();
            let Some(explanation) = explain(snapshot, &desired, &question) else { continue };
            let mut changed = snapshot.clone();
            let sides = sides(snapshot, &question);
            for direction in [Direction::Ingress, Direction::Egress] {
                let mut here = sides.iter().filter(|side| side.direction == direction);
                let half = match direction {
                    Direction::Ingress => &explanation.ingress,
                    Direction::Egress => &explanation.egress,
                };
                assert_eq!(here.all(Side::allowed), half.allowed, "{question:?}");
            }
            for side in &sides {
                if let Some(change) = PolicyChange::smallest(snapshot, side) {
                    change.apply(&mut changed);
                    opened += 1;
                }
            }
            let desired = compile(&changed, Scope::Cluster).0;
            let explanation = explain(&changed, &desired, &question).expect("both ends exist");
            assert!(explanation.allowed(), "{question:?}");
        }
    }
    assert!(opened > 10, "{opened}");
}
