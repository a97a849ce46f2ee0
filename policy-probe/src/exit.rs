//! Exit codes, the same for every command of this project.

/// Success, nothing to report.
pub const FINE: u8 = 0;
/// Findings: an expectation is not met, a connection opened, wire and compiler disagree.
pub const FINDINGS: u8 = 1;
/// Bad input or usage: the user must change the options or the files.
pub const INPUT: u8 = 2;
/// The environment or the tool itself failed.
pub const FAILED: u8 = 3;
