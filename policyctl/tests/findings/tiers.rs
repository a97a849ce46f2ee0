//! What is found in cluster-wide policies: NP001, NP002, NP003, NP007, NP008, NP014, NP015 and, for
//! them alone, NP017 to NP020.

use policy_core::model::Kind;

use crate::{found, policy};

/// A cluster-wide policy.
fn tier(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

/// One of the tier Admin that selects everything, with these fields beside.
fn admin(fields: &str) -> String {
    tier("t", &format!("{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, {fields}}}"))
}

/// Places at which a code is found, as `policy: field`.
fn places(code: &str, documents: &str) -> Vec<String> {
    let findings = found(documents.trim_start_matches("---\n")).into_iter();
    let of_tiers = findings.filter(|finding| {
        finding.code == code && finding.object.kind() == Kind::ClusterNetworkPolicy
    });
    of_tiers.map(|finding| format!("{}: {}", finding.object, finding.field)).collect()
}

#[track_caller]
fn assert_places(claim: &str, code: &str, documents: &str, want: &[&str]) {
    assert_eq!(
        places(code, documents),
        want,
        "{claim}: {:#?}",
        found(documents.trim_start_matches("---\n"))
    );
}

#[test]
fn np001_a_subject_that_selects_nothing() {
    let of =
        |subject: &str| tier("t", &format!("{{tier: Admin, priority: 1, subject: {subject}}}"));
    #[rustfmt::skip]
    let cases: [(&str, &str, &[&str]); 5] = [
        ("no such namespace",   "{namespaces: {matchLabels: {team: blue}}}",                                   &["t: spec.subject"]),
        ("no such pod",         "{pods: {podSelector: {matchLabels: {app: none}}}}",                           &["t: spec.subject"]),
        ("a pod elsewhere",     "{pods: {namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchLabels: {app: sql}}}}", &["t: spec.subject"]),
        ("some namespace",      "{namespaces: {matchLabels: {team: red}}}",                                    &[]),
        ("some pod",            "{pods: {podSelector: {matchLabels: {app: sql}}}}",                            &[]),
    ];
    for (claim, subject, want) in cases {
        assert_places(claim, "NP001", &of(subject), want);
    }
}

#[test]
fn np002_np003_np007_entries_that_mean_nothing() {
    const AT: &str = "t: spec.egress[0].to[0]";
    let peer = |peer: &str| admin(&format!("egress: [{{action: Deny, to: [{peer}]}}]"));
    #[rustfmt::skip]
    let cases: [(&str, &str, &str, &[&str]); 10] = [
        ("no such namespace",   "NP002", "{namespaces: {matchLabels: {team: blue}}}",                                        &[AT]),
        ("no such pod",         "NP002", "{pods: {podSelector: {matchLabels: {app: none}}}}",                                &[AT]),
        ("no such node",        "NP002", "{nodes: {matchLabels: {role: edge}}}",                                             &[AT]),
        ("some pod",            "NP002", "{pods: {podSelector: {matchLabels: {app: sql}}}}",                                 &[]),
        ("every node",          "NP002", "{nodes: {}}",                                                                      &[]),
        ("networks",            "NP002", "{networks: [192.0.2.0/24]}",                                                       &[]),
        ("a contradiction",     "NP003", "{namespaces: {matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]}}", &[AT]),
        ("one among nodes",     "NP003", "{nodes: {matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]}}", &[AT]),
        ("it is found once",    "NP002", "{namespaces: {matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]}}", &[]),
        ("none",                "NP003", "{namespaces: {matchExpressions: [{key: a, operator: DoesNotExist}]}}",             &[]),
    ];
    for (claim, code, entry, want) in cases {
        assert_places(claim, code, &peer(entry), want);
    }
    let never = "{tier: Admin, priority: 1, subject: {namespaces: {matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]}}}";
    assert_places("a subject", "NP003", &tier("t", never), &["t: spec.subject"]);
    let named = |list: &str, port: &str| {
        let (rules, peers) = list.split_once(' ').expect("two words");
        admin(&format!(
            "{rules}: [{{action: Deny, {peers}: [{{pods: {{podSelector: {{matchLabels: {{app: front}}}}}}}}], protocols: [{{destinationNamedPort: {port}}}]}}]"
        ))
    };
    assert_places(
        "a port of nobody",
        "NP007",
        &named("egress to", "none"),
        &["t: spec.egress[0].protocols[0]"],
    );
    assert_places(
        "a port of others",
        "NP007",
        &named("egress to", "sql"),
        &["t: spec.egress[0].protocols[0]"],
    );
    assert_places("a port of theirs", "NP007", &named("egress to", "http"), &[]);
    assert_places("a port of subjects", "NP007", &named("ingress from", "sql"), &[]);
}

#[test]
fn np008_np015_networks() {
    const POD: &str = "{action: Pass, to: [{namespaces: {}}]}, ";
    const AT: [&str; 1] = ["t: spec.egress[0].to[0]"];
    let rule = |first: &str, rule: &str| admin(&format!("egress: [{first}{rule}]"));
    #[rustfmt::skip]
    let cases: [(&str, &str, &str, &str, &[&str]); 8] = [
        ("networks of pods",           "NP008", "",   "{action: Deny, to: [{networks: [10.0.0.0/8]}]}",                                   &AT),
        ("after pods were passed on",  "NP008", POD,  "{action: Deny, to: [{networks: [10.0.0.0/8]}]}",                                   &[]),
        ("Pass of everything",         "NP008", "",   "{action: Pass, to: [{networks: [10.0.0.0/8]}]}",                                   &[]),
        ("networks elsewhere",         "NP008", "",   "{action: Deny, to: [{networks: [192.0.2.0/24]}]}",                                 &[]),
        ("metadata",                   "NP015", "",   "{action: Accept, to: [{networks: [169.254.0.0/16]}]}",                             &AT),
        ("at another port",            "NP015", "",   "{action: Accept, to: [{networks: [169.254.0.0/16]}], protocols: [{tcp: {destinationPort: {number: 53}}}]}", &[]),
        ("denied before",              "NP015", "{action: Deny, to: [{networks: [169.254.169.254/32]}]}, ", "{action: Accept, to: [{networks: [169.254.0.0/16]}]}", &[]),
        ("denied",                     "NP015", "",   "{action: Deny, to: [{networks: [169.254.0.0/16]}]}",                               &[]),
    ];
    for (claim, code, before, after, want) in cases {
        assert_places(claim, code, &rule(before, after), want);
    }
}

/// Objects of which a code is found.
fn objects(code: &str, documents: &str) -> Vec<String> {
    let findings = found(documents).into_iter().filter(|finding| finding.code == code);
    findings.map(|finding| finding.object.to_string()).collect()
}

#[test]
fn np014_np015_know_what_tiers_shut() {
    let open = policy(
        "p",
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}",
    );
    let shut = admin("egress: [{action: Deny, to: [{networks: [169.254.169.254/32]}]}]");
    assert_eq!(objects("NP015", &open), ["web/p"]);
    assert!(objects("NP015", &format!("{open}{shut}")).is_empty());
    let both = "{tier: Baseline, priority: 0, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}], egress: [{action: Deny, to: [{networks: [0.0.0.0/0, '::/0']}]}]}";
    let some = both
        .replace("subject: {namespaces: {}}", "subject: {namespaces: {matchLabels: {team: red}}}");
    let accepts = both.replace("Deny", "Accept");
    #[rustfmt::skip]
    let cases = [
        ("nobody closes it",    "",                  true,  true),
        ("Baseline closes all", both,                false, false),
        ("and only some",       some.as_str(),       false, true),
        ("or opens them",       accepts.as_str(),    true,  true),
    ];
    for (claim, spec, web, db) in cases {
        let baseline = if spec.is_empty() { String::new() } else { tier("b", spec) };
        let open = objects(
            "NP014",
            &format!("{}{baseline}", policy("p", "{podSelector: {matchLabels: {app: front}}}")),
        );
        assert_eq!(
            (open.contains(&"web".to_owned()), open.contains(&"db".to_owned())),
            (web, db),
            "{claim}"
        );
    }
}

#[test]
fn np017_rules_that_are_closed() {
    const NAMES: &str = "{domainNames: [example.com]}";
    #[rustfmt::skip]
    let cases: [(&str, String, &[&str]); 3] = [
        ("Accept",       format!("{{action: Accept, to: [{NAMES}]}}"),                     &["t: spec.egress[0].to[0]"]),
        ("beside a pod", format!("{{action: Deny, to: [{{namespaces: {{}}}}, {NAMES}]}}"), &["t: spec.egress[0].to[1]"]),
        ("none",         "{action: Deny, to: [{namespaces: {}}]}".to_owned(),              &[]),
    ];
    for (claim, rule, want) in cases {
        assert_places(claim, "NP017", &admin(&format!("egress: [{rule}]")), want);
    }
    let messages: Vec<_> = found(
        admin(&format!("egress: [{{action: Pass, to: [{NAMES}]}}]")).trim_start_matches("---\n"),
    )
    .into_iter()
    .filter(|finding| finding.code == "NP017")
    .map(|finding| finding.message)
    .collect();
    assert_eq!(messages, ["domainNames cannot be enforced, so the whole rule denies everything"]);
}

/// Ingress of the policies `one` and `two`, each with its tier, priority and rules.
fn two(one: (&str, u16, &str), two: (&str, u16, &str)) -> String {
    let of = |name, (level, priority, rules): (&str, u16, &str)| {
        tier(
            name,
            &format!(
                "{{tier: {level}, priority: {priority}, subject: {{namespaces: {{}}}}, ingress: [{rules}]}}"
            ),
        )
    };
    of("one", one) + &of("two", two)
}

#[test]
fn np018_rules_that_never_have_their_turn() {
    const ALL: &str = "{action: Deny, from: [{namespaces: {}}]}";
    const RED: &str = "{action: Accept, from: [{namespaces: {matchLabels: {team: red}}}]}";
    const WEB: &str = "{action: Accept, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {range: {start: 80, end: 90}}}}]}";
    const PORT: &str = "{action: Deny, from: [{namespaces: {matchLabels: {team: red}}}], protocols: [{tcp: {destinationPort: {number: 81}}}]}";
    const PASS: &str = "{action: Pass, from: [{namespaces: {}}]}";
    #[rustfmt::skip]
    let cases: [(&str, String, &[&str]); 12] = [
        ("wider peers before",            admin(&format!("ingress: [{ALL}, {RED}]")),          &["t: spec.ingress[1]"]),
        ("narrower ones before",          admin(&format!("ingress: [{RED}, {ALL}]")),          &[]),
        ("ports within others",           admin(&format!("ingress: [{WEB}, {PORT}]")),         &["t: spec.ingress[1]"]),
        ("ports around others",           admin(&format!("ingress: [{PORT}, {WEB}]")),         &[]),
        ("ports beyond others",           admin(&format!("ingress: [{WEB}, {}]", PORT.replace("{number: 81}", "{range: {start: 85, end: 95}}"))), &[]),
        ("every port behind some",        admin(&format!("ingress: [{WEB}, {RED}]")),          &[]),
        ("a policy of lower number",      two(("Admin", 1, ALL), ("Admin", 2, RED)),           &["two: spec.ingress[0]"]),
        ("of higher number",              two(("Admin", 2, ALL), ("Admin", 1, RED)),           &[]),
        ("of the same, whose order is open", two(("Admin", 1, ALL), ("Admin", 1, RED)),        &[]),
        ("Baseline behind Deny",          two(("Baseline", 0, RED), ("Admin", 9, ALL)),        &["one: spec.ingress[0]"]),
        ("Baseline behind Pass",          two(("Baseline", 0, RED), ("Admin", 9, PASS)),       &[]),
        ("Admin behind Pass",             two(("Admin", 1, PASS), ("Admin", 2, RED)),          &["two: spec.ingress[0]"]),
    ];
    for (claim, documents, want) in cases {
        assert_places(claim, "NP018", &documents, want);
    }
    let narrow = tier(
        "a",
        "{tier: Admin, priority: 0, subject: {namespaces: {matchLabels: {team: red}}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
    );
    assert_places("other subjects", "NP018", &(narrow + &admin(&format!("ingress: [{RED}]"))), &[]);
    let networks = |first: &str, then: &str| {
        admin(&format!(
            "egress: [{{action: Deny, to: [{first}]}}, {{action: Accept, to: [{then}]}}]"
        ))
    };
    #[rustfmt::skip]
    let cases: [(&str, &str, &str, &[&str]); 4] = [
        ("a network within another",  "{networks: [192.0.2.0/24]}",          "{networks: [192.0.2.7/32]}",     &["t: spec.egress[1]"]),
        ("one beside",                "{networks: [192.0.2.0/24]}",          "{networks: [192.0.3.7/32]}",     &[]),
        ("pods within all networks",  "{networks: [0.0.0.0/0, '::/0']}",     "{namespaces: {}}",               &["t: spec.egress[1]"]),
        ("in one family only",        "{networks: [0.0.0.0/0]}",             "{namespaces: {}}",               &[]),
    ];
    for (claim, first, then, want) in cases {
        assert_places(claim, "NP018", &networks(first, then), want);
    }
}

#[test]
fn np019_equal_priorities() {
    const AT: [&str; 1] = ["two: spec.priority"];
    const SQL: &str = "{action: Accept, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 5432}}}]}";
    const ALL: &str = "{action: Deny, from: [{namespaces: {}}]}";
    const RED: &str = "{action: Accept, from: [{namespaces: {matchLabels: {team: red}}}]}";
    const NONE: &str = "{action: Accept, from: [{namespaces: {matchLabels: {team: none}}}]}";
    let same = format!("{SQL}, {ALL}");
    let range = |start: u16| {
        let range = format!("range: {{start: {start}, end: 90}}");
        format!("{}, {ALL}", SQL.replace("number: 5432", &range))
    };
    let first = format!("{ALL}, {RED}");
    #[rustfmt::skip]
    let cases: [(&str, String, &[&str]); 10] = [
        ("at one port",                 two(("Admin", 1, SQL), ("Admin", 1, ALL)),                 &AT),
        ("for some peers",              two(("Admin", 1, ALL), ("Admin", 1, RED)),                 &AT),
        ("at the edge of ranges",       two(("Admin", 1, &range(80)), ("Admin", 1, &range(81))),   &AT),
        ("in Baseline",                 two(("Baseline", 1, ALL), ("Baseline", 1, RED)),           &AT),
        ("other priorities",            two(("Admin", 1, SQL), ("Admin", 2, ALL)),                 &[]),
        ("other tiers",                 two(("Admin", 1, SQL), ("Baseline", 1, ALL)),              &[]),
        ("the same words",              two(("Admin", 1, SQL), ("Admin", 1, RED)),                 &[]),
        ("the same rules",              two(("Admin", 1, &same), ("Admin", 1, &same)),             &[]),
        ("peers of nobody",             two(("Admin", 1, NONE), ("Admin", 1, ALL)),                &[]),
        ("behind a rule that agrees",   two(("Admin", 1, ALL), ("Admin", 1, &first)),              &[]),
    ];
    for (claim, documents, want) in cases {
        assert_places(claim, "NP019", &documents, want);
    }
    let before = tier(
        "z",
        &format!("{{tier: Admin, priority: 0, subject: {{namespaces: {{}}}}, ingress: [{ALL}]}}"),
    );
    let decided = two(("Admin", 1, ALL), ("Admin", 1, RED)) + &before;
    assert_places("decided before both", "NP019", &decided, &[]);
    let apart = two(("Admin", 1, ALL), ("Admin", 1, RED)).replacen(
        "subject: {namespaces: {}}",
        "subject: {pods: {podSelector: {matchLabels: {app: sql}}}}",
        1,
    );
    let apart = apart.replacen(
        "subject: {namespaces: {}}",
        "subject: {pods: {podSelector: {matchLabels: {app: front}}}}",
        1,
    );
    assert_places("no pod in both", "NP019", &apart, &[]);
    let networks = "{tier: Admin, priority: 5, subject: {namespaces: {}}, egress: [{action: ACTION, to: [{networks: [203.0.113.0/24]}]}]}";
    let egress = tier("a", &networks.replace("ACTION", "Deny"))
        + &tier("b", &networks.replace("ACTION", "Accept"));
    assert_places("to networks", "NP019", &egress, &["b: spec.priority"]);
}

#[test]
fn np020_baseline_that_network_policies_override() {
    let baseline = tier(
        "b",
        "{tier: Baseline, priority: 0, subject: {namespaces: {matchLabels: {team: red}}}, ingress: [{action: Deny, from: [{namespaces: {}}]}], egress: [{action: Deny, to: [{namespaces: {}}]}]}",
    );
    #[rustfmt::skip]
    let cases: [(&str, &str, &[&str]); 4] = [
        ("in both directions",    "{podSelector: {}, policyTypes: [Ingress, Egress]}",               &["b: spec.egress", "b: spec.ingress"]),
        ("in one",                "{podSelector: {}, policyTypes: [Ingress]}",                       &["b: spec.ingress"]),
        ("of no pod",             "{podSelector: {matchLabels: {app: none}}}",                       &[]),
        ("of the pod",            "{podSelector: {matchLabels: {app: front}}}",                      &["b: spec.ingress"]),
    ];
    for (claim, spec, want) in cases {
        assert_places(claim, "NP020", &format!("{}{baseline}", policy("p", spec)), want);
    }
    let admin = baseline.replace("Baseline", "Admin");
    let documents = format!("{}{admin}", policy("p", "{podSelector: {}}"));
    assert_places("Admin is asked first", "NP020", &documents, &[]);
}
