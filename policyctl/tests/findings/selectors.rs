//! NP001, NP002, NP013: what selectors match.

use crate::assert_found;

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
