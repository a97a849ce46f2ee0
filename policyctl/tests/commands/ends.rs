//! Ends of connections by the names that people use, and questions without a port.

use std::io;

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl_on, printed};

/// Two workloads, a Service, and a policy that lets one reach the other at one port.
const SHOP: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: c}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: c, ports: [{containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: sql, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 3306, targetPort: 5432}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5432}]}]
";

/// Three pods of one Deployment, one of which has other labels, as a cluster has them.
const PODS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: shop, labels: {app: web, canary: CANARY}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: ADDRESS}]}
---
";

#[test]
fn a_workload_and_a_service_are_ends() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("a Deployment in the namespace of -n", "deploy/web",      "svc/sql",      "3306", "shop/web -> service/shop/sql 3306/TCP IPv4: allow"),
        ("with its namespace",                  "deploy/shop/web", "svc/shop/sql", "3306", "shop/web -> service/shop/sql 3306/TCP IPv4: allow"),
        ("a StatefulSet",                       "web",             "sts/db",       "5432", "shop/web -> shop/db 5432/TCP IPv4: allow"),
        ("a port that is shut",                 "shop/web",        "sts/db",       "80",   "shop/web -> shop/db 80/TCP IPv4: deny"),
        ("a workload and itself",               "deploy/web",      "deploy/web",   "80",   "shop/web -> shop/web-2 80/TCP IPv4: no policy applies"),
    ];
    for (claim, from, to, port, part) in cases {
        println!("{claim}");
        let question = ["explain", "-n", "shop", "--from", from, "--to", to, "--port", port];
        let output = policyctl_on(SHOP, &question)?;
        assert_code(&output, 0);
        let part = part.replace("no policy applies", "allow");
        assert_answers(&output, &[&part]);
    }
    let question = ["explain", "-n", "shop", "--from", "deploy/wed", "--to", "db", "--port", "1"];
    let output = policyctl_on(SHOP, &question)?;
    assert_code(&output, 2);
    let message = "there is no pod of Deployment shop/wed; did you mean shop/web?";
    assert!(printed(&output).contains(message), "{}", printed(&output));
    Ok(())
}

#[test]
fn pods_of_a_workload_that_differ_are_explained_each() -> io::Result<()> {
    let pod = |name: &str, canary: &str, address: &str| {
        PODS.replace("NAME", name).replace("CANARY", canary).replace("ADDRESS", address)
    };
    let policy = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: canary, namespace: shop}
spec: {podSelector: {matchLabels: {canary: new}}}
";
    let text = pod("web-0", "old", "10.0.0.1")
        + &pod("web-1", "old", "10.0.0.2")
        + &pod("web-2", "new", "10.0.0.3")
        + policy;
    let question =
        ["explain", "-n", "shop", "--from", "192.0.2.1", "--to", "sts/web", "--port", "80"];
    let output = policyctl_on(&text, &question)?;
    assert_code(&output, 0);
    assert_answers(&output, &["shop/web-0 80/TCP IPv4: allow", "shop/web-2 80/TCP IPv4: deny"]);
    assert!(!answer(&output).contains("web-1"), "{}", printed(&output));
    assert!(printed(&output).contains("note: 1 more pairs of pods"), "{}", printed(&output));
    Ok(())
}

#[test]
fn without_a_port_every_port_is_explained() -> io::Result<()> {
    let question = ["explain", "-n", "shop", "--from", "web", "--to", "db"];
    let output = policyctl_on(SHOP, &question)?;
    assert_code(&output, 0);
    #[rustfmt::skip]
    assert_answers(&output, &[
        "shop/web -> shop/db IPv4\n",
        "  allow TCP 5432: ingress: shop/db rule 0\n",
        "  deny TCP 1-5431, 5433-65535; UDP; SCTP: ingress: no rule of shop/db\n",
        "  deny other protocols, such as ICMP\n",
    ]);
    let output = policyctl_on(SHOP, &[&question[..], &["-o", "json"]].concat())?;
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let first = &found["answers"][0];
    assert_eq!(first["other_protocols"], "deny");
    assert_eq!(first["ports"][0]["verdict"], "allow");
    assert_eq!(first["ports"][0]["ports"]["ranges"][0]["first"], 5432);
    Ok(())
}

#[test]
fn a_line_of_the_flow_log_is_a_question() -> io::Result<()> {
    let flow = |protocol: &str| {
        format!(
            "{{\"verdict\": \"drop\", \"source\": {{\"address\": \"10.9.9.9\", \"port\": 4, \"namespace\": \
             \"shop\", \"pod\": \"gone\"}}, \"destination\": {{\"address\": \"240.0.0.1\", \"port\": \
             5432, \"namespace\": \"shop\", \"pod\": \"db\"}}, \"protocol\": \"{protocol}\"}}"
        )
    };
    let output = policyctl_on(SHOP, &["explain", "--flow", &flow("TCP")])?;
    assert_code(&output, 0);
    // A pod that is gone is its address.
    assert_answers(&output, &["10.9.9.9 -> shop/db 5432/TCP IPv4: deny"]);
    let cases = [(flow("ICMP"), "of protocol ICMP"), ("{}".to_owned(), "not a line of the flow")];
    for (line, message) in cases {
        let output = policyctl_on(SHOP, &["explain", "--flow", &line])?;
        assert_code(&output, 2);
        assert!(printed(&output).contains(message), "{}", printed(&output));
    }
    Ok(())
}

#[test]
fn a_second_pod_that_is_named_is_probed() -> io::Result<()> {
    let question = ["simulate", "-n", "shop", "--from", "web-2", "--to", "db", "-o", "json"];
    let output = policyctl_on(SHOP, &question)?;
    assert_code(&output, 0);
    let table: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(table["probes"].as_array().map(Vec::len), Some(8), "{}", printed(&output));
    assert_eq!(table["probes"][0]["from"], "shop/web-2");
    Ok(())
}
