//! NP001, NP002, NP013: what selectors match.

use crate::{assert_found, found, policy};

#[test]
fn np001_a_subject_that_selects_no_pod() {
    #[rustfmt::skip]
    let cases = [
        ("a label that nobody has",  "{podSelector: {matchLabels: {app: frontt}}}", Some("spec.podSelector")),
        ("a pod of another space",   "{podSelector: {matchLabels: {app: sql}}}",   Some("spec.podSelector")),
        ("a pod",                    "{podSelector: {matchLabels: {app: front}}}", None),
        ("every pod",                "{podSelector: {}}",                          None),
    ];
    for (claim, spec, field) in cases {
        assert_found(claim, "NP001", spec, field);
    }
}

#[test]
fn np001_np002_pods_of_the_hosts_network_are_not_selected() {
    const HOST: &str = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: agent, namespace: web, labels: {app: agent}}\nspec: {nodeName: n1, hostNetwork: true, containers: [{name: c, image: c}]}\nstatus: {podIPs: [{ip: 192.168.0.1}]}\n";
    #[rustfmt::skip]
    let cases = [
        ("a subject",             "NP001", "{podSelector: {matchLabels: {app: agent}}}",                                        true),
        ("a peer",                "NP002", "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: agent}}}]}]}", true),
        ("a misspelt subject",    "NP001", "{podSelector: {matchLabels: {app: agentt}}}",                                       false),
        ("a misspelt peer",       "NP002", "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: agentt}}}]}]}", false),
    ];
    for (claim, code, spec, want) in cases {
        let findings = found(&format!("{}{HOST}", policy("p", spec)));
        let finding =
            findings.iter().find(|one| one.code == code && one.object.to_string() == "web/p");
        let finding = finding.unwrap_or_else(|| panic!("{claim}: {findings:#?}"));
        assert_eq!(finding.message.contains("hostNetwork"), want, "{claim}: {finding:#?}");
        assert_eq!(finding.message.contains("web/agent"), want, "{claim}: {finding:#?}");
        assert!(!finding.suggestion.contains("app=agent"), "{claim}: {finding:#?}");
    }
}

#[test]
fn np002_a_peer_that_matches_nothing() {
    #[rustfmt::skip]
    let cases = [
        ("no such namespace",           "{namespaceSelector: {matchLabels: {team: blue}}}",                                        Some("spec.ingress[0].from[0].namespaceSelector")),
        ("a pod of another namespace",  "{podSelector: {matchLabels: {app: sql}}}",                                                Some("spec.ingress[0].from[0].podSelector")),
        ("no such pod there",           "{namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchLabels: {app: sql}}}", Some("spec.ingress[0].from[0].podSelector")),
        ("a namespace by its name",     "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: db}}}",                   None),
        ("a pod",                       "{namespaceSelector: {}, podSelector: {matchLabels: {app: sql}}}",                         None),
    ];
    for (claim, peer, field) in cases {
        assert_found(
            claim,
            "NP002",
            &format!("{{podSelector: {{}}, ingress: [{{from: [{peer}]}}]}}"),
            field,
        );
    }
}

#[test]
fn np013_two_items_where_one_was_meant() {
    const DB: &str = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: db}}}";
    const BOTH: &str = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: db}}, podSelector: {matchLabels: {app: sql}}}";
    const SQL: &str = "{podSelector: {matchLabels: {app: sql}}}";
    const FRONT: &str = "{podSelector: {matchLabels: {app: front}}}";
    #[rustfmt::skip]
    let cases = [
        ("a pod of that namespace",      format!("{DB}, {SQL}"),    Some("spec.ingress[0].from[1]")),
        ("in the other order",           format!("{SQL}, {DB}"),    Some("spec.ingress[0].from[1]")),
        ("a pod of its own namespace",   format!("{DB}, {FRONT}"),  None),
        ("a block between them",         format!("{DB}, {{ipBlock: {{cidr: 192.0.2.0/24}}}}, {SQL}"), Some("spec.ingress[0].from[2]")),
        ("several namespaces",           format!("{DB}, {DB}, {SQL}"),  Some("spec.ingress[0].from[2]")),
        ("its own, behind a block",      format!("{DB}, {{ipBlock: {{cidr: 192.0.2.0/24}}}}, {FRONT}"), None),
        ("one item",                     BOTH.to_owned(),           None),
        ("every pod of its own",         format!("{DB}, {{podSelector: {{}}}}"), None),
    ];
    for (claim, peers, field) in cases {
        assert_found(
            claim,
            "NP013",
            &format!("{{podSelector: {{}}, ingress: [{{from: [{peers}]}}]}}"),
            field,
        );
    }
}
