//! NP026, NP027: policies and excepts that other policies and rules make void.

use policy_core::lint::{Finding, Level};

use crate::{found, policy};

/// Findings of a code in policies `web/p` and `web/q`.
fn pair(code: &str, p: &str, q: &str) -> Vec<Finding> {
    let mut findings = found(&format!("{}---\n{}", policy("p", p), policy("q", q)));
    findings.retain(|one| one.code == code);
    findings
}

fn names(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|one| one.object.to_string()).collect()
}

#[test]
fn np026_a_policy_that_adds_nothing() {
    const DENY: &str = "{podSelector: {}, policyTypes: [Ingress]}";
    const DENY_BOTH: &str = "{podSelector: {}, policyTypes: [Ingress, Egress]}";
    let front = "{podSelector: {matchLabels: {app: front}}, RULES}";
    let with = |rules: &str| front.replace("RULES", rules);
    let all = |rules: &str| format!("{{podSelector: {{}}, {rules}}}");
    let db = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: db}}}";
    let wide = format!("ingress: [{{from: [{db}]}}]");
    let narrow = format!("ingress: [{{from: [{db}], ports: [{{port: 80}}]}}]");
    let two = format!("ingress: [{{from: [{db}, {{podSelector: {{}}}}], ports: [{{port: 80}}]}}]");
    #[rustfmt::skip]
    let cases: [(&str, String, String, &[&str]); 9] = [
        ("one direction of two",              DENY.to_owned(),       DENY_BOTH.to_owned(),  &["web/p"]),
        ("a direction more",                  DENY_BOTH.to_owned(),  DENY.to_owned(),       &["web/q"]),
        ("fewer pods, fewer ports",           with(&narrow),         all(&wide),            &["web/p"]),
        ("more pods",                         all(&narrow),          with(&wide),           &[]),
        ("more ports",                        with(&wide),           all(&narrow),          &[]),
        ("a peer more",                       with(&two),            all(&wide),            &[]),
        ("a rule, beside a default deny",     with(&narrow),         DENY.to_owned(),       &[]),
        ("a deny of its own, beside rules",   with("policyTypes: [Ingress]"), all(&wide),   &["web/p"]),
        ("equal ones: NP016",                 all(&wide),            all(&wide),            &[]),
    ];
    for (claim, p, q, want) in cases {
        let findings = pair("NP026", &p, &q);
        assert_eq!(names(&findings), want, "{claim}: {findings:#?}");
    }
    assert_eq!(pair("NP026", DENY, DENY_BOTH)[0].level, Level::Note);
    assert_eq!(pair("NP026", &with(&narrow), &all(&wide))[0].level, Level::Warning);
    // The same in other words: one of the two stays.
    let ports = |ports: &str| all(&format!("ingress: [{{from: [{db}], ports: [{ports}]}}]"));
    let findings =
        pair("NP026", &ports("{port: 80}"), &ports("{port: 80}, {port: 80, endPort: 80}"));
    assert!(findings.len() <= 1, "{findings:#?}");
}

#[test]
fn np027_s19_an_except_that_another_rule_opens() {
    const EXCEPT: &[&str] = &["spec.egress[0].to[0].ipBlock.except[0]"];
    let to = |block: &str, ports: &str| format!("{{to: [{{ipBlock: {{cidr: {block}}}}}]{ports}}}");
    let world = to("0.0.0.0/0, except: [10.0.0.0/8]", "");
    let https = ", ports: [{port: 443}]";
    let rules = |rules: &[String]| {
        format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{}]}}", rules.join(", "))
    };
    #[rustfmt::skip]
    let cases: [(&str, String, &[&str]); 9] = [
        ("alone",                             String::new(),                             &[]),
        ("the same block",                    to("10.0.0.0/8", ""),                      EXCEPT),
        ("a block around it",                 to("0.0.0.0/0", https),                    EXCEPT),
        ("one that excepts it, too",          to("0.0.0.0/0, except: [10.0.0.0/8]", https), &[]),
        ("S41: one port of the block",        to("10.0.0.0/8", ", ports: [{port: 6443}]"),  &[]),
        ("a part of the block",               to("10.1.0.0/16", ""),                     &[]),
        ("everyone",                          "{}".to_owned(),                           EXCEPT),
        ("everyone, at the port of DNS",      "{ports: [{port: 53, protocol: UDP}]}".to_owned(), &[]),
        ("another block",                     to("192.0.2.0/24", ""),                    &[]),
    ];
    for (claim, other, want) in cases {
        let own = rules(&[world.clone(), other.clone()]);
        let fields: Vec<String> = found(&policy("p", &own))
            .into_iter()
            .filter(|one| one.code == "NP027")
            .map(|one| one.field.to_string())
            .collect();
        assert_eq!(fields, want, "{claim}");
    }
    // Another policy for the same pods, and one for other pods.
    let world = rules(&[world]);
    let other = rules(&[to("0.0.0.0/0", https)]);
    let found = pair("NP027", &world, &other);
    assert_eq!(names(&found), ["web/p"]);
    assert!(found[0].message.contains("spec.egress[0].to[0] of web/q"), "{found:#?}");
    let elsewhere = other.replace("podSelector: {}", "podSelector: {matchLabels: {app: none}}");
    assert!(pair("NP027", &world, &elsewhere).is_empty());
}
