//! What a repository lacks is no finding: namespaces and pods that only the cluster has.

use policy_core::lint::{Finding, Level, lint};
use policy_manifest::{ReadOptions, Source, read_with, render};

use crate::{CLUSTER, found, policy};

/// A workload of the namespace `web`, as a repository has it.
const WORKLOAD: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: web}
spec: {template: {metadata: {labels: {app: front}}, spec: {containers: []}}}
";

const NAMESPACE: &str = "---\n{apiVersion: v1, kind: Namespace, metadata: {name: web}}\n";

/// The findings in a repository.
fn findings(text: &str) -> Vec<Finding> {
    let source = Source { name: "test".to_owned(), text: text.to_owned() };
    let options = ReadOptions { fill_in: true, ..ReadOptions::default() };
    let manifests = read_with(&[source], &options)
        .unwrap_or_else(|errors| panic!("{}", render(&errors, false)));
    lint(&manifests.snapshot, &manifests.left_out.undefined_namespaces)
}

fn codes(findings: &[Finding], code: &str) -> usize {
    findings.iter().filter(|finding| finding.code == code).count()
}

#[test]
fn np001_a_template_counts_as_its_pods() {
    #[rustfmt::skip]
    let cases = [
        ("its label",      "{podSelector: {matchLabels: {app: front}}}",  0),
        ("another label",  "{podSelector: {matchLabels: {app: frontt}}}", 1),
    ];
    for (claim, spec, want) in cases {
        let found = findings(&format!("{WORKLOAD}---\n{}", policy("p", spec)));
        assert_eq!(codes(&found, "NP001"), want, "{claim}: {found:#?}");
    }
}

#[test]
fn np002_namespaces_are_doubted_only_where_the_input_defines_some() {
    let by_name = |name: &str| {
        format!("{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}}}")
    };
    let dns = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}";
    let other = "{namespaceSelector: {matchLabels: {team: blue}}}";
    #[rustfmt::skip]
    let cases = [
        ("none is defined",                    by_name("monitoring"),   "",         0),
        ("none is defined, by a label",        other.to_owned(),        "",         0),
        ("some are, and not this one",         by_name("monitoring"),   NAMESPACE,  1),
        ("some are, and none has the label",   other.to_owned(),        NAMESPACE,  1),
        ("one that every cluster has",         by_name("kube-system"),  NAMESPACE,  0),
        ("its pods",                           dns.to_owned(),          NAMESPACE,  0),
        ("the namespace default",              by_name("default"),      NAMESPACE,  0),
        ("one of these by another label",      "{namespaceSelector: {matchLabels: {name: kube-system}}}".to_owned(), NAMESPACE, 0),
    ];
    for (claim, peer, defined, want) in cases {
        let spec = format!("{{podSelector: {{}}, ingress: [{{from: [{peer}]}}]}}");
        let found = findings(&format!("{WORKLOAD}---\n{}{defined}", policy("p", &spec)));
        assert_eq!(codes(&found, "NP002"), want, "{claim}: {found:#?}");
    }
}

#[test]
fn np001_np002_pods_that_only_the_cluster_has_are_not_doubted() {
    const DNS: &str = "{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}";
    const OTHER: &str = "{namespaceSelector: {}, podSelector: {matchLabels: {app: other}}}";
    const WEB: &str = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}, podSelector: {matchLabels: {app: other}}}";
    let system = |spec: &str| policy("p", spec).replace("namespace: web", "namespace: kube-system");
    let peer =
        |peer: &str| policy("p", &format!("{{podSelector: {{}}, ingress: [{{from: [{peer}]}}]}}"));
    let none = "{podSelector: {matchLabels: {app: none}}}";
    #[rustfmt::skip]
    let cases = [
        ("DNS, in any namespace",             "NP002", peer(DNS),     NAMESPACE,  0),
        ("DNS, where none is defined",        "NP002", peer(DNS),     "",         0),
        ("others, where none is defined",     "NP002", peer(OTHER),   "",         0),
        ("others, where some are",            "NP002", peer(OTHER),   NAMESPACE,  1),
        ("others, by a name with pods",       "NP002", peer(WEB),     "",         1),
        ("subjects in the cluster's own",     "NP001", system(none),  NAMESPACE,  0),
        ("subjects in another",               "NP001", policy("p", none), NAMESPACE, 1),
    ];
    for (claim, code, policy, defined, want) in cases {
        let found = findings(&format!("{WORKLOAD}---\n{policy}{defined}"));
        assert_eq!(codes(&found, code), want, "{claim}: {found:#?}");
    }
}

#[test]
fn np002_the_same_for_peers_of_tiers() {
    let tier = |name: &str| {
        format!(
            "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: t}}\n\
             spec: {{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, ingress: [{{action: Accept, from: [\
             {{namespaces: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}}}]}}]}}\n"
        )
    };
    #[rustfmt::skip]
    let cases = [
        ("none is defined",              "monitoring",   "",         0),
        ("some are, and not this one",   "monitoring",   NAMESPACE,  1),
        ("one that every cluster has",   "kube-system",  NAMESPACE,  0),
    ];
    for (claim, name, defined, want) in cases {
        let found = findings(&format!("{WORKLOAD}{}{defined}", tier(name)));
        assert_eq!(codes(&found, "NP002"), want, "{claim}: {found:#?}");
    }
}

#[test]
fn np005_policies_of_the_same_pods_are_taken_together() {
    let of = |name: &str, app: &str, rule: &str| {
        policy(
            name,
            &format!(
                "{{podSelector: {{matchLabels: {{app: {app}}}}}, policyTypes: [Egress], egress: [{rule}]}}"
            ),
        )
    };
    let sql = "{to: [{podSelector: {matchLabels: {app: sql}}}], ports: [{port: 5432}]}";
    let dns = "{ports: [{port: 53, protocol: UDP}]}";
    #[rustfmt::skip]
    let cases = [
        ("alone",                     of("p", "front", sql),                                                  1),
        ("beside one with DNS",       format!("{}---\n{}", of("p", "front", sql), of("q", "front", dns)),     0),
        ("beside OpenShift's port",   format!("{}---\n{}", of("p", "front", sql), of("q", "front", &dns.replace("53", "5353"))), 0),
        ("beside one of other pods",  format!("{}---\n{}", of("p", "front", sql), of("q", "back", dns)),      1),
    ];
    for (claim, policies, want) in cases {
        // Without any pod, too.
        for pods in ["", &format!("---\n{WORKLOAD}")] {
            let found = findings(&format!("{policies}{pods}"));
            assert_eq!(codes(&found, "NP005"), want, "{claim}: {found:#?}");
        }
    }
}

#[test]
fn np013_two_items_are_doubted_only_where_there_are_pods() {
    let spec = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}, {podSelector: {matchLabels: {app: none}}}]}]}";
    for (claim, pods, want) in [("without", "", 0), ("with", WORKLOAD, 1)] {
        let found = findings(&format!("{}---\n{pods}", policy("p", spec)));
        assert_eq!(codes(&found, "NP013"), want, "{claim}: {found:#?}");
    }
}

#[test]
fn np015_is_a_note_that_names_the_open_pods_too() {
    let spec =
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}";
    let found = found(&policy("p", spec));
    let finding = found.iter().find(|one| one.code == "NP015");
    let finding = finding.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(finding.level, Level::Note);
    assert!(CLUSTER.contains("name: sql"));
    let want =
        "reachable, and from db/sql, kube-system/dns too, which no policy isolates for egress";
    assert!(finding.message.ends_with(want), "{}", finding.message);
}

#[test]
fn np015_and_np005_agree_where_the_address_serves_names() {
    let world = "{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8EXCEPT]}}]}";
    let dns = "{to: [{ipBlock: {cidr: 169.254.169.254/32}}], ports: [{port: 53, protocol: UDP}]}";
    let spec = |rules: &str| {
        policy("p", &format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{rules}]}}"))
    };
    let open = spec(&format!("{}, {dns}", world.replace("EXCEPT", "")));
    let first = found(&open);
    let advice = first.iter().find(|one| one.code == "NP015").map(|one| one.suggestion.as_str());
    let want =
        "add 169.254.169.254/32 to except; the rule for DNS at this address keeps port 53 open";
    assert_eq!(advice, Some(want), "{first:#?}");
    // Who follows the advice gets neither finding.
    let shut = spec(&format!("{}, {dns}", world.replace("EXCEPT", ", 169.254.169.254/32")));
    let then = found(&shut);
    assert_eq!((codes(&then, "NP015"), codes(&then, "NP005")), (0, 0), "{then:#?}");
}
