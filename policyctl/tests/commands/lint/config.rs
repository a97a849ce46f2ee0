//! Settings of the linter in `.policyctl.yaml`.

use std::{
    fs, io,
    path::Path,
    process::{Command, Output},
};

use super::MISTAKE;
use crate::program::{assert_answers, assert_code, policyctl, printed};

const DISABLE: &str = "lint:\n  disable:\n  - {rule: NP012, reason: generated}\n";

/// Runs the program in a folder with manifests in `deploy/web.yaml`.
fn lint(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = policyctl(&["lint", "-f", "deploy/web.yaml"]);
    command.args(arguments).current_dir(folder);
    command
}

fn repository() -> io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("deploy"))?;
    fs::write(folder.path().join("deploy/web.yaml"), MISTAKE)?;
    Ok(folder)
}

fn with(content: &str) -> io::Result<Output> {
    let folder = repository()?;
    fs::write(folder.path().join(".policyctl.yaml"), content)?;
    lint(folder.path(), &[]).output()
}

#[test]
fn settings_change_levels_and_leave_findings_out() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("none",                  "# nothing\n",                                                  1, "1 error, 0 warnings, 1 note"),
        ("another severity",      "lint:\n  severities: {NP012: note, NP014: warning}\n",         1, "0 errors, 1 warning, 1 note"),
        ("a rule is disabled",    DISABLE,                                                        0, "0 errors, 0 warnings, 1 note"),
        ("in these paths",        "lint:\n  ignore:\n  - {paths: [\"deploy/**\"], reason: old}\n", 0, "0 errors, 0 warnings, 1 note"),
        ("one rule there",        "lint:\n  ignore:\n  - {paths: [\"deploy/**\"], rules: [NP001], reason: old}\n", 1, "1 error, 0 warnings, 1 note"),
        ("in other paths",        "lint:\n  ignore:\n  - {paths: [\"web.yaml\"], reason: old}\n", 1, "1 error, 0 warnings, 1 note"),
    ];
    for (claim, content, code, summary) in cases {
        println!("{claim}");
        let output = with(content)?;
        assert_code(&output, code);
        assert_answers(&output, &[summary]);
    }
    Ok(())
}

#[test]
fn what_the_file_may_not_hold_is_an_error_with_its_place() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("an unknown key",         "lint:\n  severity: {NP012: note}\n",                      ".policyctl.yaml:2:", "severity"),
        ("at the top",             "linter: {}\n",                                            ".policyctl.yaml:1:", "linter"),
        ("an unknown rule",        "lint:\n  severities:\n    NP999: note\n",                 ".policyctl.yaml:3:", "there is no rule NP999"),
        ("an unknown severity",    "lint:\n  severities:\n    NP012: bad\n",                  ".policyctl.yaml:3:", "bad is no severity"),
        ("no reason",              "lint:\n  disable:\n  - {rule: NP012}\n",                  ".policyctl.yaml:3:", "reason"),
        ("an empty reason",        "lint:\n  disable:\n  - {rule: NP012, reason: \"\"}\n",    ".policyctl.yaml:3:", "the reason is empty"),
        ("a bad pattern",          "lint:\n  ignore:\n  - {paths: [\"a[\"], reason: old}\n",  ".policyctl.yaml:3:", "a["),
    ];
    for (claim, content, place, message) in cases {
        let output = with(content)?;
        assert_code(&output, 2);
        let all = printed(&output);
        assert!(all.contains(place) && all.contains(message), "{claim}: {all}");
    }
    Ok(())
}

#[test]
fn a_file_is_found_around_the_manifests_or_named() -> io::Result<()> {
    let folder = repository()?;
    let path = folder.path();
    let named = path.join("other.yaml");
    fs::write(&named, DISABLE)?;
    assert_code(&lint(path, &[]).output()?, 1);
    assert_code(&lint(path, &["--config", "other.yaml"]).output()?, 0);
    assert_code(&lint(path, &["--config", "absent.yaml"]).output()?, 2);
    fs::rename(named, path.join("deploy/.policyctl.yaml"))?;
    assert_code(&lint(path, &[]).output()?, 0);
    // The nearest one counts.
    fs::write(path.join(".policyctl.yaml"), "lint: {severities: {NP012: note}}\n")?;
    assert_answers(&lint(path, &[]).output()?, &["0 errors, 0 warnings, 1 note"]);
    // Two paths with different settings are a question that only the user can answer.
    fs::create_dir(path.join("more"))?;
    let second = MISTAKE.replace("name: p", "name: q").replace("namespace: web", "namespace: db");
    fs::write(path.join("more/db.yaml"), second)?;
    let output = lint(path, &["-f", "more/db.yaml"]).output()?;
    assert_code(&output, 2);
    assert!(printed(&output).contains("--config"), "{}", printed(&output));
    Ok(())
}

#[test]
fn a_suppression_of_a_rule_that_is_off_is_no_finding() -> io::Result<()> {
    let folder = repository()?;
    let suppressed = MISTAKE.replace("  egress:", "  egress:  # policyctl:ignore NP012 later");
    fs::write(folder.path().join("deploy/web.yaml"), suppressed)?;
    fs::write(folder.path().join(".policyctl.yaml"), DISABLE)?;
    assert_code(&lint(folder.path(), &[]).output()?, 0);
    Ok(())
}
