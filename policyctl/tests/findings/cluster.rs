//! NP005, NP006, NP011, NP014: what follows for pods, Services and namespaces.

use crate::{assert_found, found, policy};

const DNS: &str = "{to: [{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}]}";
const WORLD: &str = "{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}";
const SQL: &str = "{to: [{namespaceSelector: {}, podSelector: {matchLabels: {app: sql}}}]}";
const LOCAL: &str = "{to: [{ipBlock: {cidr: 169.254.20.10/32}}]}";
/// A pod of the cache on the node.
const CACHE: &str = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: cache, namespace: kube-system, labels: {k8s-app: node-local-dns}}\nspec: {nodeName: n1, hostNetwork: true, containers: [{name: c, image: c}]}\nstatus: {podIPs: [{ip: 192.168.0.1}]}\n";

fn egress(rules: &str) -> String {
    format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{rules}]}}")
}

/// Objects of which a code is found.
fn objects(code: &str, documents: &str) -> Vec<String> {
    let findings = found(documents).into_iter().filter(|finding| finding.code == code);
    findings.map(|finding| finding.object.to_string()).collect()
}

#[test]
fn np005_egress_without_dns() {
    #[rustfmt::skip]
    let cases = [
        ("no rule for it",       egress(SQL),                            Some("spec.egress")),
        ("by TCP alone",         egress(&DNS.replace("UDP", "TCP")),     Some("spec.egress")),
        ("a rule for it",        egress(&format!("{SQL}, {DNS}")),       None),
        ("the world outside",    egress(WORLD),                          Some("spec.egress")),
        ("everything",           egress("{}"),                           None),
        ("nothing, on purpose",  egress(""),                             None),
        ("nobody is isolated",   "{podSelector: {}}".to_owned(),         None),
    ];
    for (claim, spec, field) in cases {
        assert_found(claim, "NP005", &spec, field);
    }
    let both = format!("{}---\n{}", policy("p", &egress(SQL)), policy("q", &egress(DNS)));
    assert!(objects("NP005", &both).is_empty(), "another policy may allow it");
    for (claim, spec) in
        [("the cache is in the world", egress(WORLD)), ("the cache", egress(LOCAL))]
    {
        let documents = format!("{}{CACHE}", policy("p", &spec));
        assert!(objects("NP005", &documents).is_empty(), "{claim}");
    }
}

#[test]
fn np006_the_cache_on_the_node() {
    let local = format!("{DNS}, {LOCAL}");
    #[rustfmt::skip]
    let cases = [
        ("the pods alone",         egress(DNS),     CACHE, 1),
        ("the cache, too",         egress(&local),  CACHE, 0),
        ("there is no cache",      egress(DNS),     "",    0),
        ("no DNS is allowed",      egress(SQL),     CACHE, 0),
    ];
    for (claim, spec, cache, want) in cases {
        let documents = format!("{}{cache}", policy("p", &spec));
        assert_eq!(objects("NP006", &documents).len(), want, "{claim}");
    }
}

#[test]
fn np011_a_service_allowed_in_part() {
    const OUTSIDE: &str = "{to: [{ipBlock: {cidr: 203.0.113.7/32}}]}";
    const SERVICE: &str = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: second, namespace: db, labels: {app: sql, copy: \"2\"}}\nspec: {nodeName: n1, containers: [{name: c, image: c}]}\nstatus: {podIPs: [{ip: 10.0.1.2}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: sql, namespace: db}\nspec: {clusterIP: 10.96.0.20, selector: {app: sql}, ports: [{port: 5432}]}\n";
    let second = SQL.replace("app: sql", "copy: \"2\"");
    #[rustfmt::skip]
    let cases = [
        ("one of two",   second.as_str(), vec!["db/sql"]),
        ("both",         SQL,             vec![]),
        ("none",         DNS,             vec![]),
    ];
    for (claim, rules, want) in cases {
        let documents = format!("{}{SERVICE}", policy("p", &egress(rules)));
        assert_eq!(objects("NP011", &documents), want, "{claim}");
    }
    // Manifests in a repository have no cluster IP, and may have an address of their own.
    let external = SERVICE.replace("clusterIP: 10.96.0.20", "externalIPs: [203.0.113.7]");
    #[rustfmt::skip]
    let cases = [
        ("one of two",          format!("{second}, {OUTSIDE}"),  vec!["db/sql"]),
        ("both",                format!("{SQL}, {OUTSIDE}"),     vec![]),
        ("not the address",     second.clone(),                  vec![]),
    ];
    for (claim, rules, want) in cases {
        let documents = format!("{}{external}", policy("p", &egress(&rules)));
        assert_eq!(objects("NP011", &documents), want, "at an external IP: {claim}");
    }
}

#[test]
fn np014_a_namespace_without_default_deny() {
    #[rustfmt::skip]
    let cases = [
        ("both directions",      "{podSelector: {}, policyTypes: [Ingress, Egress]}",            false),
        ("one direction",        "{podSelector: {}, policyTypes: [Ingress]}",                    true),
        ("some pods",            "{podSelector: {matchLabels: {app: front}}, policyTypes: [Ingress, Egress]}", true),
    ];
    for (claim, spec, want) in cases {
        let objects = objects("NP014", &policy("p", spec));
        assert_eq!(objects.contains(&"web".to_owned()), want, "{claim}: {objects:?}");
    }
}
