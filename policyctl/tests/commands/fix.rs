//! `policyctl explain --fix`, and patches of policies of the older API.

use std::{fs, io, process::Output};

use serde_json::Value;

use crate::program::{assert_answers, assert_code, policyctl, policyctl_on, printed};

const PODS: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: ns, labels: {app: a}}
spec: {containers: [{name: c, image: c}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: ns, labels: {app: b}}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
# Who may reach b.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: ns}
spec:
  podSelector: {matchLabels: {app: b}}
  policyTypes: [Ingress]
RULES---
# Nobody leaves a.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: e, namespace: ns}
spec:
  podSelector: {matchLabels: {app: a}}
  policyTypes: [Egress] # on purpose
";

const ADMIN: &str = "\
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: guard}
spec:
  subject: {namespaces: {}}
  priority: 5
  ingress: [{action: Deny, from: [{namespaces: {}}]}]
";

/// Nobody leaves a.
const JSON: &str = r#"{
  "apiVersion": "networking.k8s.io/v1",
  "kind": "NetworkPolicy",
  "metadata": {"name": "e", "namespace": "ns"},
  "spec": {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Egress"]}
}
"#;

fn explain(arguments: &[&str]) -> io::Result<Output> {
    let question = ["explain", "--from", "ns/a", "--to", "ns/b", "--port", "80"];
    policyctl(&question).args(arguments).output()
}

#[test]
fn a_fix_is_written_into_the_file_and_keeps_its_comments() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("no rules yet",             ""),
        ("a list in block style",    "  ingress:\n  # from c\n  - from: [{podSelector: {matchLabels: {app: c}}}]\n    ports: [{port: 443}]\n"),
        ("a list of ports in block", "  ingress:\n    - from: [{podSelector: {matchLabels: {app: a}}}]\n      ports:\n        # https\n        - port: 443\n"),
        ("a list in flow style",     "  ingress: [{from: [{podSelector: {matchLabels: {app: a}}}], ports: [{port: 443}]}]\n"),
    ];
    for (claim, rules) in cases {
        println!("{claim}");
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("all.yaml");
        let text = PODS.replace("RULES", rules);
        fs::write(&path, &text)?;
        let file = path.display().to_string();
        let output = explain(&["-f", &file, "--fix"])?;
        assert_code(&output, 0);
        assert!(printed(&output).contains("of NetworkPolicy ns/e"), "{}", printed(&output));
        let fixed = fs::read_to_string(&path)?;
        for comment in text.split_inclusive('\n').filter(|line| line.contains('#')) {
            assert!(fixed.contains(comment), "{comment:?} is not in\n{fixed}");
        }
        let output = explain(&["-f", &file, "--fix"])?;
        assert_answers(&output, &["ns/a -> ns/b 80/TCP IPv4: allow"]);
        assert_eq!(fs::read_to_string(&path)?, fixed, "a second run changes nothing");
        // Nothing else opens.
        let output =
            policyctl(&["simulate", "-f", &file, "-o", "json", "--port", "81"]).output()?;
        let table: Value = serde_json::from_slice(&output.stdout)?;
        for row in table["probes"].as_array().into_iter().flatten() {
            let allowed = row["from"] == "ns/b" && row["to"] == "ns/a";
            assert_eq!(row["verdict"] == "allow", allowed, "{row}\n{fixed}");
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_written_is_a_command() -> io::Result<()> {
    let question = ["explain", "--from", "ns/a", "--to", "ns/b", "--port", "80", "--fix"];
    let output = policyctl_on(&PODS.replace("RULES", ""), &question)?;
    assert_code(&output, 2);
    let command = "kubectl patch networkpolicy e -n ns --type=json -p '[{\"op\":\"add\",\"path\":\
                   \"/spec/egress\",\"value\":[{\"";
    assert!(printed(&output).contains(command), "{}", printed(&output));
    let question = ["explain", "--from", "ns/a", "--to", "ns/b", "--fix"];
    let output = policyctl_on(&PODS.replace("RULES", ""), &question)?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("--fix needs --port"), "{}", printed(&output));
    Ok(())
}

#[test]
fn a_policy_in_json_stays_as_it_is_and_gets_a_command() -> io::Result<()> {
    let pods: String = PODS.split_inclusive("---\n").take(2).collect();
    let pods = pods.trim_end_matches("---\n");
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [ITEM]}"#;
    #[rustfmt::skip]
    let cases = [
        // claim                      file           text
        ("a file of one line",        "policy.json", JSON.replace('\n', "")),
        ("a file of several lines",   "policy.json", format!("\n  {JSON}")),
        ("a list",                    "policy.json", list.replace("ITEM", JSON)),
        ("a document behind another", "all.yaml",    format!("{pods}---\n{JSON}")),
    ];
    for (claim, name, text) in cases {
        println!("{claim}");
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(name);
        fs::write(&path, &text)?;
        if name == "policy.json" {
            fs::write(folder.path().join("pods.yaml"), pods)?;
        }
        let output = explain(&["-f", &folder.path().display().to_string(), "--fix"])?;
        assert_code(&output, 2);
        let command = "kubectl patch networkpolicy e -n ns --type=json -p '[{\"op\":\"add\"";
        for part in [command, "the document is JSON"] {
            assert!(printed(&output).contains(part), "{part:?} is not in\n{}", printed(&output));
        }
        assert_eq!(fs::read_to_string(&path)?, text);
    }
    Ok(())
}

#[test]
fn a_policy_of_the_older_api_is_named_and_patched_in_its_own_words() -> io::Result<()> {
    let pods: String = PODS.split_inclusive("---\n").take(2).collect();
    let text = pods.trim_end_matches("---\n").to_owned() + ADMIN;
    let block = "ingress:\n  # nobody\n  - action: Deny\n    from:\n    - namespaces: {}";
    let in_block = text.replace("ingress: [{action: Deny, from: [{namespaces: {}}]}]", block);
    for text in [text, in_block] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("all.yaml");
        fs::write(&path, &text)?;
        let file = path.display().to_string();
        let output = explain(&["-f", &file])?;
        assert_code(&output, 0);
        #[rustfmt::skip]
        assert_answers(&output, &[
            "decided by spec.ingress[0] of AdminNetworkPolicy guard\n",
            "Admin 5: spec.ingress[0] of AdminNetworkPolicy guard: Deny, decides",
            "to allow it, add to spec.ingress of AdminNetworkPolicy guard, before [0]:",
            "ports: [{portNumber: {protocol: TCP, port: 80}}]}",
            "kubectl patch adminnetworkpolicy guard --type=json",
        ]);
        assert!(!printed(&output).contains("ClusterNetworkPolicy"), "{}", printed(&output));
        // The reader of the older API accepts the rule.
        assert_code(&explain(&["-f", &file, "--fix"])?, 0);
        let output = explain(&["-f", &file, "-o", "json"])?;
        let found: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(found["answers"][0]["verdict"], "allow", "{}", printed(&output));
        let output =
            policyctl(&["simulate", "-f", &file, "-o", "json", "--port", "81"]).output()?;
        let found: Value = serde_json::from_slice(&output.stdout)?;
        let by = &found["probes"][0]["by"]["ingress"][0];
        assert_eq!((&by["kind"], &by["name"]), (&"AdminNetworkPolicy".into(), &"guard".into()));
        let output = policyctl(&["lint", "-f", &file, "-o", "json", "--deny", "never"]).output()?;
        assert!(!printed(&output).contains("AdminNetworkPolicy/guard"), "{}", printed(&output));
    }
    Ok(())
}
