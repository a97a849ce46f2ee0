//! A truth table as `JUnit` XML.

use policy_manifest::{Expectation, Expectations, Place};
use policy_probe::{Mismatch, Outcome, Row, Table};
use quick_junit::{TestCase, TestCaseStatus, TestSuite};

use crate::{error::Error, junit};

/// A test case for each expectation, and one for `default`; for each row where nothing is expected.
pub(super) fn render(
    table: &Table,
    expected: Option<&Expectations>,
    mismatches: &[Mismatch],
    warnings: &[String],
) -> Result<String, Error> {
    let mut suite = TestSuite::new("simulate");
    match expected {
        None => {
            suite.add_test_cases(table.probes.iter().map(of_row));
        }
        Some(expected) => {
            suite.add_test_cases(expected.listed.iter().map(|listed| of(listed, mismatches)));
            if let Some(default) = expected.default {
                let mut case = TestCase::new(
                    format!("every other pair of pods: {}", Outcome::from(default)),
                    status(mismatches, None),
                );
                case.set_classname("default");
                suite.add_test_case(case);
            }
        }
    }
    junit::render("policyctl", [suite], warnings)
}

fn of_row(row: &Row) -> TestCase {
    let name = format!("to {} {}/{} {}", row.to, row.port, row.protocol, row.family.name());
    let mut case = TestCase::new(name, TestCaseStatus::success());
    case.set_classname(format!("from {}", row.from));
    case.set_system_out(format!("{} by {}", row.verdict, row.decided_by()));
    case
}

fn of(listed: &Expectation, mismatches: &[Mismatch]) -> TestCase {
    let family = listed.family.map(|family| format!(" {}", family.name())).unwrap_or_default();
    let verdict = Outcome::from(listed.verdict);
    let name = format!("to {} {}/{}{family}: {verdict}", listed.to, listed.port, listed.protocol);
    let mut case = TestCase::new(name, status(mismatches, Some(&listed.place)));
    case.set_classname(format!("from {}", listed.from));
    case
}

/// Failed with every mismatch of the expectation at a place.
fn status(mismatches: &[Mismatch], place: Option<&Place>) -> TestCaseStatus {
    let lines: Vec<String> = mismatches
        .iter()
        .filter(|mismatch| mismatch.place.as_ref() == place)
        .map(ToString::to_string)
        .collect();
    junit::status("verdict", &lines)
}
