//! `policyctl lint`.

mod config;
mod fix;
mod formats;
mod suppression;

use std::{fs, io, process::Output};

use serde_json::Value;

use crate::program::{answer, assert_answers, assert_code, policyctl, policyctl_on, printed};

/// A policy whose egress rules are not in force (NP012, an error), in a namespace that it isolates
/// only in part (NP014, a note).
const MISTAKE: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: p
  namespace: web
spec:
  podSelector: {}
  policyTypes: [Ingress]
  egress:
  - to: [{podSelector: {}}]
";

#[test]
fn a_finding_stands_at_its_line_and_column() -> io::Result<()> {
    let output = policyctl_on(MISTAKE, &["lint"])?;
    assert_code(&output, 1);
    assert_answers(
        &output,
        &[
            "-:9:3: error[NP012]: NetworkPolicy web/p: spec.egress: ",
            "no policy isolates every pod for egress\n    add a policy with podSelector: {}, policyTypes: [Egress] and no rules",
            "1 error, 0 warnings, 1 note",
        ],
    );
    Ok(())
}

#[test]
fn deny_sets_the_exit_code() -> io::Result<()> {
    let fine = MISTAKE.replace("[Ingress]", "[Ingress, Egress]").replace("{podSelector: {}}", "");
    let note = MISTAKE.replace("  egress:\n  - to: [{podSelector: {}}]\n", "");
    #[rustfmt::skip]
    let cases = [
        (MISTAKE,          "error",   1),
        (MISTAKE,          "never",   0),
        (note.as_str(),    "warning", 0),
        (note.as_str(),    "note",    1),
        (fine.as_str(),    "error",   0),
    ];
    for (text, level, code) in cases {
        let output = policyctl_on(text, &["lint", "--deny", level])?;
        println!("{level}");
        assert_code(&output, code);
    }
    Ok(())
}

#[test]
fn programs_get_the_place_too() -> io::Result<()> {
    let output = policyctl_on(MISTAKE, &["lint", "-o", "json"])?;
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let findings = found["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let error = findings.iter().find(|finding| finding["code"] == "NP012");
    assert_eq!(error.map(|error| &error["place"]["line"]), Some(&Value::from(9)), "{found}");

    let output = policyctl_on(MISTAKE, &["lint", "-o", "sarif"])?;
    let log: Value = serde_json::from_slice(&output.stdout)?;
    let run = &log["runs"][0];
    let results = run["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    let error = results.iter().find(|result| result["ruleId"] == "NP012");
    let Some(error) = error else { panic!("{}", printed(&output)) };
    assert_eq!(error["level"], "error");
    assert_eq!(error["locations"][0]["physicalLocation"]["region"]["startLine"], 9);
    let index = error["ruleIndex"].as_u64().and_then(|index| usize::try_from(index).ok());
    let rule = index.map(|index| &run["tool"]["driver"]["rules"][index]["id"]);
    assert_eq!(rule, Some(&Value::from("NP012")));
    Ok(())
}

#[test]
fn a_place_in_sarif_is_a_uri() -> io::Result<()> {
    let uri = |output: &Output| -> io::Result<String> {
        let log: Value = serde_json::from_slice(&output.stdout)?;
        let results = log["runs"][0]["results"].as_array().cloned().unwrap_or_default();
        let mut places = results.iter().map(|result| &result["locations"][0]["physicalLocation"]);
        let uri = places.find_map(|place| place["artifactLocation"]["uri"].as_str());
        Ok(uri.unwrap_or_default().to_owned())
    };
    let folder = tempfile::tempdir()?;
    #[rustfmt::skip]
    let cases = [
        ("plain.yaml",        "plain.yaml"),
        ("a#b 100%.yaml",     "a%23b%20100%25.yaml"),
        ("c:d?[e].yaml",      "c%3Ad%3F%5Be%5D.yaml"),
        ("größe.yaml",        "gr%C3%B6%C3%9Fe.yaml"),
    ];
    for (name, want) in cases {
        fs::write(folder.path().join(name), MISTAKE)?;
        let mut command = policyctl(&["lint", "-o", "sarif", "-f", name]);
        let output = command.current_dir(folder.path()).output()?;
        assert_eq!(uri(&output)?, want, "{}", printed(&output));
    }
    assert_eq!(uri(&policyctl_on(MISTAKE, &["lint", "-o", "sarif"])?)?, "stdin");
    Ok(())
}

#[test]
fn a_code_is_explained() -> io::Result<()> {
    let output = policyctl(&["lint", "--explain", "np013"]).output()?;
    assert_code(&output, 0);
    assert_answers(&output, &["NP013 and-split-into-two-items", "one more dash"]);
    for origin in [["-f", "-"], ["-k", "."], ["--helm", "."]] {
        let output = policyctl(&["lint", "--explain", "NP013"]).args(origin).output()?;
        assert_code(&output, 2);
        assert!(printed(&output).contains("cannot be used with"), "{}", printed(&output));
    }
    let output = policyctl(&["lint", "--explain", "NP999"]).output()?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("NP001"), "{}", printed(&output));
    assert_code(&policyctl(&["lint"]).output()?, 2);
    Ok(())
}

#[test]
fn np009_what_the_api_server_refuses_is_found_in_its_place() -> io::Result<()> {
    const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: ns}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24, except: [EXCEPT]}}]}]}
";
    let outside = POLICY.replace("EXCEPT", "10.0.1.0/28");
    let output = policyctl_on(&outside, &["lint"])?;
    assert_code(&output, 1);
    assert_answers(
        &output,
        &[
            "-:4:82: error[NP009]: NetworkPolicy ns/p: spec.ingress[0].from[0].ipBlock.except[0]: ",
            "1 error,",
        ],
    );
    let output = policyctl_on(&outside, &["lint", "-o", "sarif"])?;
    assert_answers(&output, &["\"ruleId\": \"NP009\"", "\"startLine\": 4"]);
    assert_code(&policyctl_on(&outside, &["lint", "--deny", "never"])?, 0);
    let output = policyctl_on(&POLICY.replace("EXCEPT", "10.0.0.0/28"), &["lint"])?;
    assert!(!answer(&output).contains("NP009"), "{}", printed(&output));
    // What is wrong beside it is no finding.
    let broken = outside.replace("podSelector: {}", "podSelector: 5");
    assert_code(&policyctl_on(&broken, &["lint"])?, 2);
    Ok(())
}

#[test]
fn what_an_operator_or_a_kustomization_adds_is_not_known() -> io::Result<()> {
    const PARTIAL: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: []}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: prometheus}}}]}]}
";
    let operated = format!(
        "{PARTIAL}---\n{{apiVersion: monitoring.coreos.com/v1, kind: Prometheus, metadata: {{name: k}}}}\n"
    );
    let other = operated.replace("kind: Prometheus", "kind: ServiceMonitor");
    #[rustfmt::skip]
    let cases = [
        ("every pod is there",      PARTIAL,            false, "warning[NP002]", ""),
        ("an operator adds some",   operated.as_str(),  false, "note[NP002]",    "pods that the operator of Prometheus creates are not known"),
        ("another kind of it",      other.as_str(),     false, "warning[NP002]", ""),
        ("a kustomization does",    PARTIAL,            true,  "note[NP002]",    "-k . shows what its kustomization adds"),
    ];
    for (claim, text, is_kustomized, level, reason) in cases {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("web.yaml"), text)?;
        if is_kustomized {
            fs::write(folder.path().join("kustomization.yaml"), "resources: [web.yaml]\n")?;
        }
        let output = policyctl(&["lint", "-f", "."]).current_dir(folder.path()).output()?;
        println!("{claim}");
        assert_answers(&output, &[level, reason]);
    }
    Ok(())
}
