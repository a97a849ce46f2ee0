//! Suppressions in comments and annotations.

use std::io;

use serde_json::Value;

use super::MISTAKE;
use crate::program::{assert_answers, assert_code, policyctl_on, printed};

/// The codes of findings and of suppressed ones.
fn codes(text: &str) -> io::Result<(Vec<String>, Vec<String>)> {
    let output = policyctl_on(text, &["lint", "-o", "json"])?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", printed(&output)));
    let of = |name: &str| {
        let list = answer[name].as_array().cloned().unwrap_or_default();
        list.iter().map(|one| one["code"].as_str().unwrap_or_default().to_owned()).collect()
    };
    Ok((of("findings"), of("suppressed")))
}

#[test]
fn a_comment_suppresses_what_stands_below_it_or_on_its_line() -> io::Result<()> {
    let above = "# policyctl:ignore NP012 rules of the next release";
    let at = |line: &str, comment: &str| MISTAKE.replace(line, &format!("{line}  {comment}"));
    let over = |line: &str, comment: &str| MISTAKE.replace(line, &format!("  {comment}\n{line}"));
    let egress = "  egress:";
    #[rustfmt::skip]
    let cases: [(&str, String, &[&str], &[&str]); 11] = [
        ("none",                    MISTAKE.to_owned(),                                  &["NP014", "NP012"], &[]),
        ("on the line",             at(egress, above),                                   &["NP014"],          &["NP012"]),
        ("above the line",          over(egress, above),                                 &["NP014"],          &["NP012"]),
        ("above the object",        format!("{above}\n{MISTAKE}"),                       &["NP014"],          &["NP012"]),
        ("above a separator",       format!("{above}\n---\n{MISTAKE}"),                  &["NP014"],          &["NP012"]),
        ("above a comment",         over(egress, &format!("{above}\n  # more")),         &["NP014"],          &["NP012"]),
        ("elsewhere",               at("  podSelector: {}", above),                      &["NP014", "NP028", "NP012"], &[]),
        ("no reason",               at(egress, "# policyctl:ignore NP012"),              &["NP014", "NP012", "NP028"], &[]),
        ("another code",            at(egress, "# policyctl:ignore NP001 it is not"),    &["NP014", "NP012", "NP028"], &[]),
        ("no such code",            at(egress, "# policyctl:ignore NP999 it is not"),    &["NP014", "NP012", "NP028"], &[]),
        ("in a text",               MISTAKE.replace("{podSelector: {}}", "{podSelector: {matchLabels: {a: b#policyctl}}}").replace("#policyctl", ""), &["NP014", "NP012"], &[]),
    ];
    for (claim, text, want, suppressed) in cases {
        let (found, left_out) = codes(&text)?;
        assert_eq!((found, left_out), (owned(want), owned(suppressed)), "{claim}:\n{text}");
    }
    Ok(())
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn an_annotation_suppresses_in_its_whole_policy() -> io::Result<()> {
    let with = |annotation: &str| {
        MISTAKE.replace("  name: p", &format!("  name: p\n  annotations: {{{annotation}}}"))
    };
    let key = "policy-agent.io/lint-ignore-";
    #[rustfmt::skip]
    let cases: [(&str, String, &[&str], &[&str]); 3] = [
        ("with a reason",       with(&format!("{key}NP012: the next release")),   &["NP014"],                   &["NP012"]),
        ("without",             with(&format!("{key}NP012: \"\"")),               &["NP014", "NP028", "NP012"], &[]),
        ("of another code",     with(&format!("{key}NP001: the next release")),   &["NP014", "NP028", "NP012"], &[]),
    ];
    for (claim, text, want, suppressed) in cases {
        let (found, left_out) = codes(&text)?;
        assert_eq!((found, left_out), (owned(want), owned(suppressed)), "{claim}:\n{text}");
    }
    Ok(())
}

#[test]
fn what_is_suppressed_is_counted_and_denies_nothing() -> io::Result<()> {
    let text = MISTAKE.replace("  egress:", "  egress:  # policyctl:ignore NP012 the next release");
    let output = policyctl_on(&text, &["lint"])?;
    assert_code(&output, 0);
    assert_answers(&output, &["0 errors, 0 warnings, 1 note, 1 suppressed"]);
    let output = policyctl_on(&text, &["lint", "-o", "sarif"])?;
    assert_answers(&output, &["\"kind\": \"inSource\"", "\"justification\": \"the next release\""]);
    let output = policyctl_on(&text.replace("the next release", ""), &["lint"])?;
    assert_answers(&output, &["-:9:12: warning[NP028]: suppression NP012: it has no reason"]);
    Ok(())
}
