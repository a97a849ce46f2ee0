//! Findings as `JUnit` XML: a test case for each rule.

use policy_core::lint::RULES;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Deny, report::Located};
use crate::error::Error;

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
        let status = lines.first().map_or_else(TestCaseStatus::success, |first| {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(rule.code).set_message(first.clone());
            status.set_description(lines.join("\n"));
            status
        });
        let mut case = TestCase::new(format!("{} {}", rule.code, rule.name), status);
        case.set_classname("lint");
        if !others.is_empty() {
            let lines: Vec<String> = others.into_iter().map(Located::line).collect();
            case.set_system_out(lines.join("\n"));
        }
        suite.add_test_case(case);
    }
    for warning in warnings {
        suite.add_property(Property::new("warning", warning.as_str()));
    }
    let mut report = Report::new("policyctl");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}
