//! `policyctl suggest`.

use std::{fs, io, process::Output};

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, printed};

/// Two workloads and the DNS of a cluster with real addresses, a node, and the API server.
const CLUSTER: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web-7d9f8-aaaaa, namespace: shop, uid: a, labels: {app: web, pod-template-hash: 7d9f8}, ownerReferences: [{kind: ReplicaSet, name: web-7d9f8, controller: true}]}
spec: {nodeName: one}
status: {podIP: 10.1.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, uid: b, labels: {app: store, role: db}, ownerReferences: [{kind: StatefulSet, name: db, controller: true}]}
status: {podIP: 10.1.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: cache-0, namespace: shop, uid: c, labels: {app: store, role: cache}, ownerReferences: [{kind: StatefulSet, name: cache, controller: true}]}
status: {podIP: 10.1.0.3}
---
apiVersion: v1
kind: Pod
metadata: {name: coredns-x, namespace: kube-system, uid: d, labels: {k8s-app: kube-dns}}
status: {podIP: 10.1.0.4}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: shop, uid: e}
status: {podIP: 10.1.0.5}
---
apiVersion: v1
kind: Node
metadata: {name: one}
status: {addresses: [{type: InternalIP, address: 192.0.2.10}]}
---
apiVersion: v1
kind: Service
metadata: {name: kubernetes, namespace: default}
spec: {clusterIP: 10.96.0.1, ports: [{name: https, port: 443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}
addressType: IPv4
ports: [{name: https, port: 6443}]
endpoints: [{addresses: [192.0.2.10]}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, selector: {k8s-app: kube-dns}, ports: [{name: dns, port: 53, protocol: UDP}]}
";

/// Runs the program on a cluster and a file of flows.
fn run(cluster: &str, flows: (&str, &str), arguments: &[&str]) -> io::Result<Output> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("cluster.yaml"), cluster)?;
    fs::write(folder.path().join(flows.0), flows.1)?;
    let mut command = policyctl(&["suggest", "-f", "cluster.yaml"]);
    command.current_dir(folder.path()).args(["-f", flows.0]).args(arguments).output()
}

const TABLE: &str = "\
from,to,port
shop/web-7d9f8-aaaaa,deploy/shop/web,80
shop/web-7d9f8-aaaaa,sts/shop/db,5432/TCP
shop/web-7d9f8-aaaaa,10.96.0.1,443
shop/web-7d9f8-aaaaa,10.96.0.10,53/UDP
shop/web-7d9f8-aaaaa,203.0.113.7,443
shop/web-7d9f8-aaaaa,203.0.113.7,443
";

/// The policies that allow the connections of the table, and no others.
const LEAST: &str = "\
# What was observed of kube-system/kube-dns.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: kube-dns-observed
  namespace: kube-system
spec:
  podSelector: {matchLabels: {k8s-app: kube-dns}}
  policyTypes: [Ingress]
  ingress:
  # DNS; long answers come over TCP
  - from:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}
      podSelector: {matchLabels: {app: web}}
    ports:
    - {port: 53}
    - {protocol: UDP, port: 53}
---
# What was observed of shop/db.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: db-observed
  namespace: shop
spec:
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Ingress]
  ingress:
  - from:
    - podSelector: {matchLabels: {app: web}}
    ports:
    - {port: 5432}
---
# What was observed of shop/web.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web-observed
  namespace: shop
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress:
  # DNS; long answers come over TCP
  - to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
    ports:
    - {port: 53}
    - {protocol: UDP, port: 53}
  - to:
    - ipBlock: {cidr: \"203.0.113.7/32\"}
    ports:
    - {port: 443}
  - to:
    - podSelector: {matchLabels: {role: db}}
    ports:
    - {port: 5432}
  # the API server
  - to:
    - ipBlock: {cidr: \"192.0.2.10/32\"} # node one
    ports:
    - {port: 6443}
";

#[test]
fn s12_s40_a_table_becomes_the_least_policies() -> io::Result<()> {
    let output = run(CLUSTER, ("flows.csv", TABLE), &[])?;
    assert_code(&output, 0);
    assert_eq!(answer(&output), LEAST, "{}", printed(&output));
    Ok(())
}

/// A flow of Hubble.
fn hubble(from: (&str, &str), to: (&str, &str), l4: &str, rest: &str) -> String {
    format!(
        "{{\"flow\": {{\"verdict\": \"FORWARDED\", \"IP\": {{\"source\": \"{}\", \"destination\": \"{}\"}}, \
         \"source\": {{{}}}, \"destination\": {{{}}}, \"l4\": {l4}{rest}}}}}\n",
        from.0, to.0, from.1, to.1
    )
}

#[test]
fn s58_flow_logs_and_hubble_give_the_same_policies() -> io::Result<()> {
    let web = "\"namespace\": \"shop\", \"pod_name\": \"web-0ld-xyz\", \"labels\": [\"k8s:app=web\", \"k8s:pod-template-hash=0ld\", \"k8s:io.kubernetes.pod.namespace=shop\"]";
    let db = "\"namespace\": \"shop\", \"pod_name\": \"db-0\"";
    let tcp = "{\"TCP\": {\"source_port\": 4711, \"destination_port\": 5432}}";
    let flows = [
        hubble(("10.1.0.99", web), ("10.1.0.2", db), tcp, ""),
        hubble(("10.1.0.2", db), ("10.1.0.99", web), tcp, ", \"is_reply\": true"),
        hubble(("10.1.0.3", ""), ("10.1.0.2", db), tcp, "").replace("FORWARDED", "DROPPED"),
    ];
    let of_hubble = run(CLUSTER, ("flows.jsonl", &flows.concat()), &[])?;
    assert_code(&of_hubble, 0);
    let stderr = printed(&of_hubble);
    assert!(stderr.contains("passed over: 1 x a reply"), "{stderr}");
    assert!(stderr.contains("passed over: 1 x denied (--with-denied"), "{stderr}");
    let line = |reason: &str, protocol: &str| {
        format!(
            "{{\"time\": \"2026-03-01T09:30:00Z\", \"verdict\": \"drop\", \"reason\": \"{reason}\", \"direction\": \"ingress\", \
             \"source\": {{\"address\": \"10.1.0.99\", \"port\": 40112, \"namespace\": \"shop\", \"pod\": \"web-0ld-xyz\", \"labels\": {{}}, \
             \"workload\": {{\"kind\": \"Deployment\", \"name\": \"web\"}}}}, \
             \"destination\": {{\"address\": \"10.1.0.2\", \"port\": 5432, \"namespace\": \"shop\", \"pod\": \"db-0\"}}, \"protocol\": \"{protocol}\"}}\n"
        )
    };
    let lines = [line("no-rule", "TCP"), line("spoofed-source", "TCP")].concat();
    let of_log = run(CLUSTER, ("flows.jsonl", &lines), &[])?;
    assert_code(&of_log, 0);
    assert_eq!(answer(&of_hubble), answer(&of_log), "{}", printed(&of_log));
    assert_answers(&of_log, &["name: db-observed", "name: web-observed"]);
    let with_denied = run(CLUSTER, ("flows.jsonl", &flows.concat()), &["--with-denied"])?;
    assert_answers(&with_denied, &["podSelector: {matchLabels: {role: cache}}"]);
    // ICMP has no ports.
    let output = run(CLUSTER, ("flows.jsonl", &line("no-rule", "ICMP")), &[])?;
    assert_code(&output, 1);
    let want = "flows.jsonl:1: shop/web-0ld-xyz -> shop/db-0 ICMP: a rule cannot name ICMP";
    assert!(printed(&output).contains(want), "{}", printed(&output));
    Ok(())
}

#[test]
fn what_is_allowed_already_needs_no_policy() -> io::Result<()> {
    let text = CLUSTER.to_owned()
        + "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec: {podSelector: {matchLabels: {role: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}
";
    let output = run(&text, ("f.csv", "from,to,port\nshop/web,shop/db,5432\n"), &[])?;
    assert_code(&output, 0);
    assert!(answer(&output).is_empty(), "{}", printed(&output));
    assert!(printed(&output).contains("every connection is allowed already"));
    let output = run(&text, ("f.csv", "from,to,port\nshop/cache,shop/db,5432\n"), &["-o", "json"])?;
    assert_code(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let names = report["policies"].as_array().cloned().unwrap_or_default();
    let names: Vec<&Value> = names.iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!(names, ["cache-observed", "db-observed"], "{report}");
    assert_eq!(report["connections"], 1);
    Ok(())
}

#[test]
fn s51_what_cannot_be_expressed_is_listed() -> io::Result<()> {
    let text = CLUSTER.to_owned()
        + "---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: shut}
spec: {tier: Admin, priority: 1, subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {role: db}}}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: shop}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.9.9}]}
";
    let table = "from,to,port\nshop/web,shop/db,5432\nshop/bare,shop/cache,6379\nshop/gone,shop/db,1\n192.0.2.10,203.0.113.7,80\nshop/bare,shop/plain,80\n";
    let output = run(&text, ("f.csv", table), &["-o", "json"])?;
    assert_code(&output, 1);
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let listed = report["not_expressed"].as_array().cloned().unwrap_or_default();
    let listed: Vec<String> = listed
        .iter()
        .map(|one| format!("{} {}", one["line"], one["reason"].as_str().unwrap_or_default()))
        .collect();
    let want = [
        "2 stays denied: ingress by ClusterNetworkPolicy shut",
        "3 the pods of shop/bare have no label that stays the same",
        "4 no pod of the manifests is shop/gone or like it",
        "5 neither end is a pod that policies select",
        "6 the pods of shop/bare and shop/plain have no label that stays the same",
    ];
    assert_eq!(listed, want, "{report}");
    assert!(
        printed(&output)
            .contains("f.csv:2: shop/web-7d9f8-aaaaa -> shop/db-0 5432/TCP: stays denied")
    );
    Ok(())
}

#[test]
fn flows_that_cannot_be_read_are_bad_input() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("f.jsonl", "{\"a\": 1}\n",                        "f.jsonl:1:1: the line is no flow"),
        ("f.csv",   "source,to,port\n",                    "f.csv:1:1: the first line must name the columns from, to and port"),
        ("f.csv",   "from,to,port\nshop/web,shop/db,http\n", "f.csv:2:1: \"http\" is no port"),
        ("f.csv",   "from,to,port\n",                      "no connection was observed"),
    ];
    for (name, flows, message) in cases {
        let output = run(CLUSTER, (name, flows), &[])?;
        assert_code(&output, 2);
        assert!(printed(&output).contains(message), "{message}: {}", printed(&output));
    }
    Ok(())
}
