//! Reading what people keep in a repository: workloads, policies of other kinds, other files.

use policy_core::model::{Action, ClusterPolicyName, Family, ObjectName, OlderKind, Tier};
use policy_manifest::{ManifestError, Manifests, ReadOptions, Source, read, read_with};

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

fn try_filled(text: &str) -> Result<Manifests, Vec<ManifestError>> {
    let options = ReadOptions { fill_in: true, ..ReadOptions::default() };
    read_with(&[source("m.yaml", text)], &options)
}

fn filled(text: &str) -> Manifests {
    try_filled(text).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// The one error of a text.
fn error(text: &str) -> String {
    let errors = try_filled(text).expect_err("an error");
    let [error] = &errors[..] else { panic!("{errors:#?}") };
    error.to_string()
}

fn names(manifests: &Manifests) -> Vec<String> {
    manifests.snapshot.pods.keys().map(ToString::to_string).collect()
}

const TEMPLATE: &str = "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}}";

fn workload(version: &str, kind: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: {version}, kind: {kind}, metadata: {{name: web, namespace: shop}}, spec: {{{spec}}}}}\n"
    )
}

#[test]
fn the_pods_of_a_template_are_made_up() {
    let of = |spec: &str| format!("{spec}{TEMPLATE}");
    let cron = format!("jobTemplate: {{spec: {{{TEMPLATE}}}}}");
    #[rustfmt::skip]
    let cases: [(&str, &str, String, &[&str]); 11] = [
        ("apps/v1",            "Deployment",            of(""),                &["shop/web"]),
        ("apps/v1",            "Deployment",            of("replicas: 1, "),   &["shop/web"]),
        ("apps/v1",            "Deployment",            of("replicas: 30, "),  &["shop/web", "shop/web-2"]),
        ("extensions/v1beta1", "DaemonSet",             of(""),                &["shop/web", "shop/web-2"]),
        ("apps/v1",            "StatefulSet",           of("replicas: 0, "),   &["shop/web"]),
        ("v1",                 "ReplicationController", of(""),                &["shop/web"]),
        ("batch/v1",           "Job",                   of("parallelism: 2, "), &["shop/web", "shop/web-2"]),
        ("batch/v1",           "CronJob",               cron,                  &["shop/web"]),
        ("argoproj.io/v1",     "Rollout",               of(""),                &[]),
        ("jobset.x-k8s.io/v1", "JobSet",                format!("replicatedJobs: [{{template: {{spec: {{{TEMPLATE}}}}}}}]"), &[]),
        ("apps/v1",            "ControllerRevision",    of(""),                &[]),
    ];
    for (version, kind, spec, want) in cases {
        let read = filled(&workload(version, kind, &spec));
        assert_eq!(names(&read), want, "{kind}");
        for (name, pod) in &read.snapshot.pods {
            assert_eq!(pod.labels["app"], "web", "{kind}");
            assert_eq!(pod.ports[0].port, 80, "{kind}");
            let families: Vec<Family> = pod.addresses.iter().copied().map(Family::of).collect();
            assert_eq!(families, [Family::Ipv4, Family::Ipv6], "{kind}");
            let owner = pod.workload.as_ref().expect("an owner");
            assert_eq!((owner.kind.as_str(), owner.name.as_str()), (kind, "web"));
            assert!(read.made_up.pods.contains(name));
        }
        assert_eq!(read.made_up.copies.len(), want.len().saturating_sub(1), "{kind}");
        let is_other = usize::from(matches!(kind, "Rollout" | "JobSet"));
        assert_eq!(read.left_out.templates.len(), is_other, "{kind}");
    }
}

#[test]
fn the_agent_and_the_lab_make_nothing_up() {
    let text = workload("apps/v1", "Deployment", TEMPLATE);
    let read = read(&[source("m.yaml", &text)]).expect("one object");
    assert!(names(&read).is_empty());
    assert_eq!(read.ignored.len(), 1);
}

#[test]
fn a_dump_has_its_pods_already() {
    let stored = "metadata: {name: web, namespace: shop, uid: u1}";
    let deployment = workload("apps/v1", "Deployment", TEMPLATE)
        .replace("metadata: {name: web, namespace: shop}", stored);
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: POD, namespace: shop, uid: u2OWNER}, status: {podIP: 10.0.0.1}}\n";
    let owned = ", labels: {pod-template-hash: 5d8f}, ownerReferences: [{kind: ReplicaSet, name: web-5d8f, controller: true}]";
    let set = workload("apps/v1", "ReplicaSet", TEMPLATE).replace(
        "metadata: {name: web,",
        "metadata: {name: web-5d8f, ownerReferences: [{kind: Deployment, name: web, controller: true}],",
    );
    let hand = workload("apps/v1", "Deployment", TEMPLATE);
    let with = |owner: &str| pod.replace("POD", "web-5d8f-x").replace("OWNER", owner);
    #[rustfmt::skip]
    let cases = [
        ("a stored workload without pods",     deployment.clone(),                                 vec!["shop/web"]),
        ("stored pods of another workload",    format!("{deployment}---\n{}", with("")),           vec!["shop/web-5d8f-x"]),
        ("a pod of the workload",              format!("{hand}---\n{}", with(owned)),              vec!["shop/web-5d8f-x"]),
        ("a set that a Deployment controls",   format!("{hand}---\n{set}"),                        vec!["shop/web"]),
    ];
    for (claim, text, want) in cases {
        assert_eq!(names(&filled(&text)), want, "{claim}");
    }
}

#[test]
fn names_of_made_up_pods_are_free() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}}\n---\n";
    let job = workload("batch/v1", "Job", TEMPLATE);
    let text = format!("{pod}{}---\n{job}", workload("apps/v1", "Deployment", TEMPLATE));
    assert_eq!(names(&filled(&text)), ["shop/web", "shop/web-deployment", "shop/web-job"]);
}

#[test]
fn a_service_without_an_address_has_its_pods_behind_it() {
    let service = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 8080, targetPort: http}]}}\n";
    let text = format!("{service}---\n{}", workload("apps/v1", "Deployment", TEMPLATE));
    let read = filled(&text);
    let name = ObjectName::new("shop", "web");
    assert_eq!(read.snapshot.services[&name].cluster_ips.len(), 2);
    let slices: Vec<_> = read.snapshot.endpoint_slices.values().collect();
    assert_eq!(slices.len(), 2, "one for each family");
    assert!(slices.iter().all(|slice| slice.ports[0].port == 80));
    let headless = text.replace("selector: {app: web}", "clusterIP: None, selector: {app: web}");
    assert!(filled(&headless).snapshot.services.is_empty());
}

#[test]
fn a_made_up_address_is_in_no_block_by_accident() {
    let policy = |block: &str| {
        format!(
            "{}---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p, namespace: shop}}, \
             spec: {{podSelector: {{}}, egress: [{{to: [{{ipBlock: {block}}}]}}]}}}}\n",
            workload("apps/v1", "Deployment", TEMPLATE)
        )
    };
    let node = "---\n{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 240.0.0.9}]}}";
    #[rustfmt::skip]
    let cases = [
        ("no block",                   policy("{cidr: 192.0.2.0/24}"),                              "240.0.0.1"),
        ("every address",              policy("{cidr: 0.0.0.0/0}"),                                 "240.0.0.1"),
        ("all but private ones",       policy("{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}"),           "10.240.0.1"),
        ("a part of the range",        policy("{cidr: 240.0.0.0/24}"),                              "198.18.0.1"),
        ("a node in the range",        policy("{cidr: 192.0.2.0/24}") + node,                       "198.18.0.1"),
    ];
    for (claim, text, want) in cases {
        let read = filled(&text);
        let address = read.snapshot.pods.values().next().expect("a pod").addresses[0];
        assert_eq!(address.to_string(), want, "{claim}");
    }
}

#[test]
fn a_pod_that_waits_or_has_its_nodes_network_gets_no_address() {
    #[rustfmt::skip]
    let cases = [
        ("by hand",              "metadata: {name: p}",          2),
        ("stored",               "metadata: {name: p, uid: u}",  0),
        ("hostNetwork",          "metadata: {name: p}, spec: {hostNetwork: true}", 0),
        ("finished",             "metadata: {name: p}, status: {phase: Failed}",   0),
    ];
    for (claim, pod, want) in cases {
        let read = filled(&format!("{{apiVersion: v1, kind: Pod, {pod}}}"));
        let found = &read.snapshot.pods[&ObjectName::new("default", "p")];
        assert_eq!(found.addresses.len(), want, "{claim}");
    }
}

#[test]
fn two_workloads_of_one_name_are_an_error() {
    let one = workload("apps/v1", "Deployment", TEMPLATE);
    let other = one.replace("app: web", "app: other");
    assert_ne!(one, other);
    let found = error(&format!("{one}---\n{other}"));
    assert!(
        found.contains("Deployment shop/web: this object is already defined at m.yaml:1:1"),
        "{found}"
    );
}

const ADMIN: &str = "\
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: a}
spec:
  priority: 7
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}
  ingress:
  - {name: one, action: Allow, from: [{namespaces: {}}], ports: [{portNumber: {protocol: UDP, port: 53}}, {portRange: {start: 1, end: 9}}, {namedPort: http}]}
  egress:
  - {action: Pass, to: [{networks: [10.0.0.0/8]}, {nodes: {}}]}
";

const BASELINE: &str = "\
apiVersion: policy.networking.k8s.io/v1alpha1
kind: BaselineAdminNetworkPolicy
metadata: {name: default}
spec: {subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}
";

fn older(kind: OlderKind, name: &str) -> ClusterPolicyName {
    ClusterPolicyName { older: Some(kind), name: name.to_owned() }
}

#[test]
fn s51_the_older_kinds_become_tiers() {
    let read = filled(&format!("{ADMIN}---\n{BASELINE}"));
    let admin = &read.snapshot.cluster_policies[&older(OlderKind::AdminNetworkPolicy, "a")];
    assert_eq!((admin.tier, admin.priority), (Tier::Admin, 7));
    assert_eq!(admin.ingress[0].action, Action::Accept);
    assert_eq!(admin.ingress[0].protocols.len(), 3);
    assert_eq!(admin.egress[0].action, Action::Pass);
    assert_eq!(admin.egress[0].peers.len(), 2);
    let baseline =
        &read.snapshot.cluster_policies[&older(OlderKind::BaselineAdminNetworkPolicy, "default")];
    assert_eq!((baseline.tier, baseline.ingress[0].action), (Tier::Baseline, Action::Deny));
    // The agent enforces none of them, and says so.
    assert!(policy_manifest::read(&[source("m.yaml", ADMIN)]).is_err());
}

#[test]
fn s54_the_older_kinds_are_read_strictly() {
    #[rustfmt::skip]
    let cases = [
        ("another action",   ADMIN.replace("Allow", "Accept"),                     "\"Accept\" is not one of"),
        ("no priority",      ADMIN.replace("  priority: 7\n", ""),                 "AdminNetworkPolicy a: spec: priority is missing"),
        ("a field",          ADMIN.replace("namedPort", "namedport"),              "unknown field"),
        ("another name",     BASELINE.replace("name: default", "name: other"),     "\"other\" is not one of default"),
        ("pass at the end",  BASELINE.replace("Deny", "Pass"),                     "\"Pass\" is not one of"),
        ("priority",         BASELINE.replace("spec: {", "spec: {priority: 1, "),  "unknown field \"priority\""),
        ("another version",  ADMIN.replace("v1alpha1", "v1beta9"),                 "is not supported"),
    ];
    for (claim, text, want) in cases {
        let errors = try_filled(&text).expect_err(claim);
        let first = errors[0].to_string();
        assert!(first.contains(want), "{claim}: {first}");
    }
}

#[test]
fn s54_an_error_of_an_older_kind_lists_what_its_place_takes() {
    let peer = "from: [{namespaces: {}}]";
    #[rustfmt::skip]
    let cases = [
        (BASELINE.replace("Deny", "Pass"),           "\"Pass\" is not one of Allow, Deny"),
        (ADMIN.replace("Allow", "Accept"),           "\"Accept\" is not one of Allow, Deny, Pass"),
        (BASELINE.replace(peer, "from: [{}]"),       "from[0]: set exactly one of namespaces, pods"),
        (BASELINE.replace("ingress", "egress").replace(peer, "to: [{}]"),
         "to[0]: set exactly one of namespaces, pods, nodes, networks, domainNames"),
    ];
    for (text, want) in cases {
        let errors = try_filled(&text).expect_err(want);
        assert!(errors[0].to_string().ends_with(want), "{want}: {}", errors[0]);
    }
}

#[test]
fn a_foreign_policy_is_refused_or_counted() {
    let cilium = "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: p}}\n";
    assert!(error(cilium).contains("is not supported"));
    let options = ReadOptions { fill_in: true, ignore_foreign: true, ..ReadOptions::default() };
    let read = read_with(&[source("m.yaml", cilium)], &options).expect("it is passed over");
    assert_eq!(read.left_out_counts().foreign_policies, 1);
    assert_eq!(
        read.warnings(),
        ["the answer does not cover these policies: CiliumNetworkPolicy (m.yaml:1:1)"]
    );
}

#[test]
fn files_of_a_folder_are_passed_over_unless_they_name_a_policy() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: NAME}}";
    let read_file = |text: &str| {
        let options = ReadOptions {
            fill_in: true,
            optional: ["x.yaml".to_owned()].into(),
            ..ReadOptions::default()
        };
        let sources = [source("x.yaml", text), source("m.yaml", &pod.replace("NAME", "p"))];
        read_with(&sources, &options)
    };
    #[rustfmt::skip]
    let cases = [
        ("values of a chart",     "replicas: 3\n".to_owned(),                                     Some((1, 0, 1))),
        ("text",                  "just text".to_owned(),                                         Some((1, 0, 1))),
        ("no YAML",               "a: [\n".to_owned(),                                            Some((0, 1, 1))),
        ("a good pod and a bad one", pod.replace("NAME", "q") + "\n---\n" + &pod.replace("NAME", "Q"), Some((0, 1, 1))),
        ("a pod",                 pod.replace("NAME", "q"),                                       Some((0, 0, 2))),
        ("a broken policy",       "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nspec: [".to_owned(), None),
    ];
    for (claim, text, want) in cases {
        let found = read_file(&text).ok().map(|read| {
            let left_out = &read.left_out;
            (left_out.other_files.len(), left_out.broken_files.len(), read.snapshot.pods.len())
        });
        assert_eq!(found, want, "{claim}");
    }
}

#[test]
fn what_is_left_out_is_counted_and_noted() {
    let text = "{apiVersion: v1, kind: ConfigMap}\n---\n{apiVersion: v1, kind: ConfigMap}\n---\n\
                {apiVersion: v1, kind: Secret}\n---\n\
                {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop, uid: u}}\n";
    let read = filled(text);
    let counts = read.left_out_counts();
    assert_eq!(
        (counts.other_kinds, counts.pods_without_address, counts.undefined_namespaces),
        (3, 1, 1)
    );
    let notes = read.notes();
    assert_eq!(notes.len(), 3, "{notes:#?}");
    assert_eq!(notes[0], "not used: 2 ConfigMap, 1 Secret");
    assert!(notes[1].ends_with("left out: shop/p"), "{}", notes[1]);
    assert!(notes[2].ends_with("their name: shop"), "{}", notes[2]);
}

#[test]
fn s54_lost_indentation_is_named() {
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\nname: p\nnamespace: shop\nspec:\n  podSelector: {}\n";
    let found = error(policy);
    let want = "m.yaml:3:1: NetworkPolicy: metadata: metadata has nothing below it, and name, namespace \
                stand in lines 4 to 5 at its own indentation; they were probably meant inside metadata: indent these lines";
    assert_eq!(found, want);
    let spec = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\npodSelector: {}\n";
    assert!(error(spec).contains("spec has nothing below it, and podSelector stands in line 5"));
    let twice = "apiVersion: v1\nkind: Pod\nmetadata:\nname: p\nspec:\ncontainers:\n- name: c\n  image: c\n";
    let errors = try_filled(twice).expect_err("two fields");
    assert_eq!(errors.len(), 2, "{errors:#?}");
}

#[test]
fn json_documents_need_no_separator() {
    let pod = |name: &str| {
        format!(
            "{{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {{\"name\": \"{name}\"}}}}"
        )
    };
    for between in ["", "\n", "\n\n  "] {
        let read = filled(&[pod("a"), pod("b"), pod("c")].join(between));
        assert_eq!(names(&read), ["default/a", "default/b", "default/c"]);
    }
    let text = format!("{}\n{}", pod("a"), pod("B"));
    assert!(error(&text).starts_with("m.yaml:2:58: Pod: metadata.name: \"B\""), "{}", error(&text));
}
