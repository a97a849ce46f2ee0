//! Reports as `JUnit` XML: what those of `lint`, `simulate` and `test` have in common.

use quick_junit::{NonSuccessKind, Property, Report, TestCaseStatus, TestSuite};

use crate::error::Error;

/// Passed without lines; otherwise failed, with the first line as the message and all of them as the
/// description.
pub(crate) fn status(kind: &str, lines: &[String]) -> TestCaseStatus {
    let Some(first) = lines.first() else {
        return TestCaseStatus::success();
    };
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(kind).set_message(first.clone()).set_description(lines.join("\n"));
    status
}

/// The text of a report; each suite names the warnings.
pub(crate) fn render(
    name: &str,
    suites: impl IntoIterator<Item = TestSuite>,
    warnings: &[String],
) -> Result<String, Error> {
    let mut report = Report::new(name);
    for mut suite in suites {
        for warning in warnings {
            suite.add_property(Property::new("warning", warning.as_str()));
        }
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}
