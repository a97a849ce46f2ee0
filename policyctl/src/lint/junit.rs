//! Findings as `JUnit` XML: a test case for each rule.

use policy_core::lint::RULES;
use quick_junit::{TestCase, TestSuite};

use super::{Deny, report::Located};
use crate::{error::Error, junit};

/// A rule fails with its findings that `--deny` is for; others are in the output of its case.
pub(super) fn render(
    findings: &[Located],
    deny: Deny,
    warnings: &[String],
) -> Result<String, Error> {
    let mut suite = TestSuite::new("lint");
    for rule in RULES {
        let found = findings.iter().filter(|finding| finding.code == rule.code);
        let (denied, others): (Vec<_>, Vec<_>) = found.partition(|one| deny.denies(one.level));
        let lines: Vec<String> = denied.into_iter().map(Located::line).collect();
        let status = junit::status(rule.code, &lines);
        let mut case = TestCase::new(format!("{} {}", rule.code, rule.name), status);
        case.set_classname("lint");
        if !others.is_empty() {
            let lines: Vec<String> = others.into_iter().map(Located::line).collect();
            case.set_system_out(lines.join("\n"));
        }
        suite.add_test_case(case);
    }
    junit::render("policyctl", [suite], warnings)
}
