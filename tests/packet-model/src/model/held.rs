//! The lines of the contract that the programs do not hold yet.

/// Lines that the programs do not hold yet: a packet on which one of them has a say is skipped.
///
/// A line is taken out as soon as the programs hold it.
pub const NOT_HELD: &[&str] = &["S27", "S29", "S33", "S34", "S46"];

/// Whether the programs hold a line.
pub(crate) fn is_held(line: &str) -> bool {
    !NOT_HELD.contains(&line)
}
