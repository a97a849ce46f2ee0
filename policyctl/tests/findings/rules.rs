//! NP003, NP004, NP007, NP012, NP016: rules by themselves and beside one another.

use crate::{assert_found, found, policy};

#[test]
fn np003_what_can_never_match() {
    const HERE: Option<&str> = Some("spec.ingress[0].from[0]");
    let peer = |peer: &str| format!("{{podSelector: {{}}, ingress: [{{from: [{peer}]}}]}}");
    #[rustfmt::skip]
    let cases = [
        ("two values of one label",    peer("{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: In, values: [c]}]}}"),            HERE),
        ("there and absent",           peer("{podSelector: {matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]}}"),        HERE),
        ("in and not in",              peer("{namespaceSelector: {matchExpressions: [{key: a, operator: In, values: [b]}, {key: a, operator: NotIn, values: [b, c]}]}}"), HERE),
        ("two halves excepted",        peer("{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.0/25, 192.0.2.128/25]}}"),                                 HERE),
        ("one value is left",          peer("{podSelector: {matchExpressions: [{key: a, operator: In, values: [b, c]}, {key: a, operator: NotIn, values: [b]}]}}"), None),
        ("absent and not in",          peer("{podSelector: {matchExpressions: [{key: a, operator: DoesNotExist}, {key: a, operator: NotIn, values: [b]}]}}"), None),
        ("a quarter is left",          peer("{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.0/25, 192.0.2.192/26]}}"),                                 None),
        ("the subject",                "{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: DoesNotExist}]}}".to_owned(),         Some("spec.podSelector")),
    ];
    for (claim, spec, field) in cases {
        assert_found(claim, "NP003", &spec, field);
    }
}

#[test]
fn np004_a_peer_that_adds_nothing() {
    const DB: &str = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: db}}}";
    let asks = |operator: &str| {
        format!(
            "{{from: [{{podSelector: {{matchExpressions: [{{key: app, operator: {operator}}}]}}}}]}}"
        )
    };
    let several = |one: &str, other: &str| format!("{}, {}", asks(one), asks(other));
    #[rustfmt::skip]
    let cases = [
        ("pods of a namespace that is allowed",   format!("{{from: [{DB}, {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: db}}}}, podSelector: {{matchLabels: {{app: sql}}}}}}]}}"), Some("spec.ingress[0].from[1]")),
        ("the wide one last",                     format!("{{from: [{DB}, {{namespaceSelector: {{}}}}]}}"),                                            Some("spec.ingress[0].from[0]")),
        ("equal ones: the second",                format!("{{from: [{DB}, {DB}]}}"),                                                                   Some("spec.ingress[0].from[1]")),
        ("own pods in all namespaces",            "{from: [{namespaceSelector: {}}, {podSelector: {}}]}".to_owned(),                                   Some("spec.ingress[0].from[1]")),
        ("a block in a block",                    "{from: [{ipBlock: {cidr: 192.0.2.0/24}}, {ipBlock: {cidr: 192.0.2.0/28}}]}".to_owned(),             Some("spec.ingress[0].from[1]")),
        ("a block in an except",                  "{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.0/28]}}, {ipBlock: {cidr: 192.0.2.0/28}}]}".to_owned(), None),
        ("another rule, with fewer ports",        format!("{{from: [{DB}], ports: [{{port: 80}}]}}, {{from: [{DB}]}}"),                                Some("spec.ingress[0].from[0]")),
        ("another rule, with other ports",        format!("{{from: [{DB}], ports: [{{port: 80}}]}}, {{from: [{DB}], ports: [{{port: 81}}]}}"),         None),
        ("a port in a range",                     format!("{{from: [{DB}], ports: [{{port: 80, endPort: 90}}]}}, {{from: [{DB}], ports: [{{port: 81}}]}}"), Some("spec.ingress[1].from[0]")),
        ("a value of several",                    several("In, values: [web, db]", "In, values: [web]"),                                              Some("spec.ingress[1].from[0]")),
        ("a value of a key that is there",        several("Exists", "In, values: [web]"),                                                             Some("spec.ingress[1].from[0]")),
        ("a value that is not another",           several("NotIn, values: [db]", "In, values: [web]"),                                                Some("spec.ingress[1].from[0]")),
        ("more values excluded",                  several("NotIn, values: [db]", "NotIn, values: [db, web]"),                                         Some("spec.ingress[1].from[0]")),
        ("absent, so no value",                   several("NotIn, values: [db]", "DoesNotExist"),                                                     Some("spec.ingress[1].from[0]")),
        ("values that overlap",                   several("In, values: [web, db]", "In, values: [web, dns]"),                                         None),
        ("a value that is excluded",              several("NotIn, values: [web]", "In, values: [web]"),                                               None),
        ("absent is not there",                   several("Exists", "NotIn, values: [web]"),                                                          None),
        ("a rule for everyone",                   format!("{{}}, {{from: [{DB}]}}"),                                                                   Some("spec.ingress[1].from[0]")),
    ];
    for (claim, rules, field) in cases {
        assert_found(claim, "NP004", &format!("{{podSelector: {{}}, ingress: [{rules}]}}"), field);
    }
}

#[test]
fn np007_a_name_that_resolves_nowhere() {
    #[rustfmt::skip]
    let cases = [
        ("no subject has it",         "ingress: [{ports: [{port: sql}]}]",                                    Some("spec.ingress[0].ports[0]")),
        ("another protocol",          "ingress: [{ports: [{port: http, protocol: UDP}]}]",                    Some("spec.ingress[0].ports[0]")),
        ("no peer has it",            "egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: db}}}], ports: [{port: http}]}]", Some("spec.egress[0].ports[0]")),
        ("a subject has it",          "ingress: [{ports: [{port: http}]}]",                                   None),
        ("a peer has it",             "egress: [{to: [{namespaceSelector: {}}], ports: [{port: sql}]}]",      None),
        ("a peer in a block has it",  "egress: [{to: [{ipBlock: {cidr: 10.0.1.0/24}}], ports: [{port: sql}]}]", None),
        ("a block without pods",      "egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: https}]}]", Some("spec.egress[0].ports[0]")),
        ("such a block beside pods",  "egress: [{to: [{namespaceSelector: {}}, {ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: sql}]}]", Some("spec.egress[0].ports[0]")),
        ("a number at such a block",  "egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 443}]}]", None),
        ("a selector without pods",   "egress: [{to: [{podSelector: {matchLabels: {app: none}}}], ports: [{port: https}]}]", None),
        ("such a block as a source",  "ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: http}]}]", None),
    ];
    for (claim, rules, field) in cases {
        assert_found(claim, "NP007", &format!("{{podSelector: {{}}, {rules}}}"), field);
    }
}

#[test]
fn np012_policy_types_that_contradict_the_rules() {
    #[rustfmt::skip]
    let cases = [
        ("egress rules not in force",   "{podSelector: {}, policyTypes: [Ingress], egress: [{}]}",          Some("spec.egress")),
        ("ingress rules not in force",  "{podSelector: {}, policyTypes: [Egress], ingress: [{}]}",          Some("spec.ingress")),
        ("ingress shut by the way",     "{podSelector: {}, egress: [{}]}",                                  Some("spec")),
        ("both in force",               "{podSelector: {}, policyTypes: [Ingress, Egress], egress: [{}]}",  None),
        ("nothing said",                "{podSelector: {}, ingress: [{}], egress: [{}]}",                   None),
    ];
    for (claim, spec, field) in cases {
        assert_found(claim, "NP012", spec, field);
    }
}

#[test]
fn np016_a_policy_equal_to_another() {
    const ONE: &str = "{podSelector: {}, ingress: [{ports: [{port: 1}]}, {ports: [{port: 2}]}]}";
    const TURNED: &str = "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 2}]}, {ports: [{port: 1}]}]}";
    const OTHER: &str = "{podSelector: {}, ingress: [{ports: [{port: 1}]}]}";
    let pair = |first: &str, second: &str| {
        let documents = format!("{}---\n{}", policy("a", first), policy("b", second));
        let findings = found(&documents);
        findings
            .iter()
            .filter(|finding| finding.code == "NP016")
            .map(|f| f.object.to_string())
            .collect::<Vec<_>>()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(pair(ONE, TURNED), ["web/b"]);
    assert_eq!(pair(ONE, OTHER), none);
}
