//! Findings for GitHub, GitLab and test reports.

use std::io;

use serde_json::Value;

use super::MISTAKE;
use crate::program::{answer, assert_answers, assert_code, policyctl_on};

#[test]
fn github_shows_findings_beside_their_lines() -> io::Result<()> {
    let output = policyctl_on(MISTAKE, &["lint", "-o", "github"])?;
    assert_code(&output, 1);
    assert_answers(
        &output,
        &[
            "::error file=-,line=9,col=3,title=NP012 policy-types-contradict-rules::NetworkPolicy web/p: ",
            "::notice title=NP014 no-default-deny::Namespace web: ",
        ],
    );
    // A message ends at its line, and a property at a comma or a colon.
    let lines = answer(&output);
    assert!(lines.lines().all(|line| line.starts_with("::")), "{lines}");
    let percent = MISTAKE.replace("[Ingress]", "[Ingress]  # policyctl:ignore 100%,X it is");
    let output = policyctl_on(&percent, &["lint", "-o", "github"])?;
    assert_answers(&output, &["::suppression 100%25, X: there is no rule 100%25"]);
    Ok(())
}

#[test]
fn gitlab_gets_a_report_of_code_quality() -> io::Result<()> {
    let output = policyctl_on(MISTAKE, &["lint", "-o", "codeclimate"])?;
    assert_code(&output, 1);
    let issues: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let error = issues.iter().find(|issue| issue["check_name"] == "NP012");
    let Some(error) = error else { panic!("{issues:#?}") };
    assert_eq!(error["severity"], "major");
    assert_eq!(error["location"]["path"], "-");
    assert_eq!(error["location"]["lines"]["begin"], 9);
    for issue in &issues {
        for field in ["type", "description", "fingerprint"] {
            assert!(issue[field].as_str().is_some_and(|text| !text.is_empty()), "{issue}");
        }
    }
    // The same finding at another line is the same issue.
    let moved = policyctl_on(&format!("# more\n{MISTAKE}"), &["lint", "-o", "codeclimate"])?;
    let moved: Vec<Value> = serde_json::from_slice(&moved.stdout)?;
    let fingerprints = |issues: &[Value]| -> Vec<Value> {
        issues.iter().map(|issue| issue["fingerprint"].clone()).collect()
    };
    assert_eq!(fingerprints(&issues), fingerprints(&moved));
    Ok(())
}

#[test]
fn a_test_report_has_a_case_for_each_rule() -> io::Result<()> {
    let output = policyctl_on(MISTAKE, &["lint", "-o", "junit"])?;
    assert_code(&output, 1);
    assert_answers(
        &output,
        &[
            "failures=\"1\"",
            "name=\"NP001 subject-selects-no-pod\"",
            "type=\"NP012\"",
            "-:9:3: error[NP012]",
        ],
    );
    let output = policyctl_on(MISTAKE, &["lint", "-o", "junit", "--deny", "note"])?;
    assert_answers(&output, &["failures=\"2\""]);
    Ok(())
}
