//! Exit codes, as in every command of this project.

/// Nothing to report.
pub const FINE: u8 = 0;
/// Findings: an expectation not met, something opened, wire and compiler disagree.
pub const FINDINGS: u8 = 1;
/// Bad input or usage.
pub const INPUT: u8 = 2;
/// The environment or the tool itself failed.
pub const FAILED: u8 = 3;
