//! The report as `JUnit` XML.

use std::collections::BTreeMap;

use quick_junit::{TestCase, TestCaseStatus, TestSuite};

use super::{TestReport, cases::CaseResult, text::reasons};
use crate::{error::Error, junit};

/// A suite for each file, a test case for each case.
pub(super) fn render(report: &TestReport<'_>, warnings: &[String]) -> Result<String, Error> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for result in report.tests {
        let file = result.place.source.as_str();
        let suite = suites.entry(file).or_insert_with(|| TestSuite::new(file));
        suite.add_test_case(case(result));
    }
    junit::render("policyctl test", suites.into_values(), warnings)
}

fn case(result: &CaseResult) -> TestCase {
    let status = if result.passed {
        TestCaseStatus::success()
    } else {
        junit::status("verdict", &reasons(result, usize::MAX))
    };
    let mut case = TestCase::new(&result.name, status);
    case.set_classname(format!("line {}", result.place.line));
    case
}
