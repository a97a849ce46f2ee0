//! The report as `JUnit` XML.

use std::collections::BTreeMap;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::{TestReport, cases::CaseResult, text::reasons};
use crate::error::Error;

/// A suite for each file, a test case for each case.
pub(super) fn render(report: &TestReport<'_>, warnings: &[String]) -> Result<String, Error> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for result in report.tests {
        let file = result.place.source.as_str();
        let suite = suites.entry(file).or_insert_with(|| TestSuite::new(file));
        suite.add_test_case(case(result));
    }
    let mut junit = Report::new("policyctl test");
    for mut suite in suites.into_values() {
        for warning in warnings {
            suite.add_property(Property::new("warning", warning.as_str()));
        }
        junit.add_test_suite(suite);
    }
    Ok(junit.to_string()?)
}

fn case(result: &CaseResult) -> TestCase {
    let lines = reasons(result, usize::MAX);
    let status = match lines.first().filter(|_| !result.passed) {
        None => TestCaseStatus::success(),
        Some(first) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("verdict").set_message(first.clone()).set_description(lines.join("\n"));
            status
        }
    };
    let mut case = TestCase::new(&result.name, status);
    case.set_classname(format!("line {}", result.place.line));
    case
}
