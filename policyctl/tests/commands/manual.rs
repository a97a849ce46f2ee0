//! Help, completions and the manual.

use std::{io, process::Command};

use crate::program::{assert_answers, assert_code, policyctl};

const VERBS: [&str; 7] = ["simulate", "explain", "lint", "graph", "diff", "completion", "man"];

#[test]
fn every_command_has_help_with_examples_and_a_page() -> io::Result<()> {
    for verb in VERBS {
        let output = policyctl(&[verb, "--help"]).output()?;
        assert_code(&output, 0);
        assert_answers(&output, &["Examples:", &format!("policyctl {verb}")]);
        let output = policyctl(&["man", verb]).output()?;
        assert_code(&output, 0);
        assert_answers(&output, &[&format!(".TH policyctl-{verb} 1"), "Examples:"]);
    }
    let output = policyctl(&["man"]).output()?;
    assert_answers(&output, &[".TH policyctl 1", "policyctl\\-diff(1)"]);
    assert_code(&policyctl(&["man", "dance"]).output()?, 2);
    Ok(())
}

#[test]
fn every_shell_gets_its_script() -> io::Result<()> {
    #[rustfmt::skip]
    let cases = [
        ("bash", "complete -F _policyctl"), ("zsh", "#compdef policyctl"),
        ("fish", "complete -c policyctl"),  ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ];
    for (shell, part) in cases {
        let output = policyctl(&["completion", shell]).output()?;
        assert_code(&output, 0);
        assert_answers(&output, &[part, "simulate"]);
    }
    Ok(())
}

#[test]
fn the_plugin_calls_itself_as_kubectl_does() -> io::Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-policy")).arg("--help").output()?;
    assert_answers(&output, &["Usage: kubectl policy <COMMAND>"]);
    let output = policyctl(&["--help"]).output()?;
    assert_answers(&output, &["Usage: policyctl <COMMAND>"]);
    Ok(())
}
